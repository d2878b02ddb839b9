//! Where the debugger's output is wrong, and the proof that a difference is of that kind.
//!
//! A difference is excused only if every line that differs is proved to be of one of these kinds,
//! or if the whole output is. `docs/fidelity.md` describes them.

use super::block_at;
use ntheap::{
    blocks::{Kind, State, Trace},
    heap::{Heap, nt::NtHeap},
    process::{HeapKind, Process},
};
use ntheap_windbg::Session;

use crate::{
    address, frames, headers, listing, misplaced, report, segment_x, stat, transcript::Typed,
    triage, unreachable, xp,
};

/// The class of a proved difference.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    session: &mut Session<'_, '_>,
    command: &Typed,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let typed = command.typed();
    if let Some((class, theirs, ours)) =
        headers::without_errors(process, command.newer, &typed, expected, actual)
        && (theirs == ours || rest(process, session, command, &theirs, &ours).is_some())
    {
        return Some(class);
    }
    rest(process, session, command, expected, actual)
}

/// The class of a difference, errors apart that stand between other lines.
fn rest(
    process: &Process<'_, '_>,
    session: &mut Session<'_, '_>,
    command: &Typed,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let typed = command.typed();
    if typed == "!heap -stat" {
        let kept = stat::without_segment_heaps(process, expected);
        if kept != expected
            && (kept == actual || stat::virtual_bytes(process, &kept, actual).is_some())
        {
            return Some("-stat: segment heaps listed as NT heaps");
        }
    }
    if typed.starts_with("!heap -s") && xp::is_xp(process) {
        let kept = xp::without_complaints(process, expected);
        let kept = xp::without_lookaside(process, &kept);
        if kept != expected
            && (kept == actual || excuse(process, session, command, &kept, actual).is_some())
        {
            return Some("XP: uncommitted ranges and free list map misread");
        }
    }
    // Where a message about segment heaps was left out, its empty lines stay.
    let has_segment_heaps = process.heaps.iter().any(|h| h.kind == HeapKind::Segment);
    let shorter = expected.trim_start_matches('\n');
    if has_segment_heaps
        && shorter.len() < expected.len()
        && !typed.starts_with("!heap -s")
        && command.leaves_out_messages()
    {
        if shorter == actual {
            return Some("empty line where a message about segment heaps was left out");
        }
        if let Some(class) = excuse(process, session, command, shorter, actual) {
            return Some(class);
        }
    }
    whole(process, session, command, expected, actual)
        .or_else(|| line_by_line(process, expected, actual))
        .or_else(|| listing::excuse(process, session, &command.typed(), expected, actual))
        .or_else(|| stat::virtual_bytes(process, expected, actual))
        .or_else(|| stat::excuse(process, &command.typed(), expected))
        .or_else(|| {
            command
                .newer
                .then(|| report::excuse(process, &typed, expected, actual))?
        })
}

/// `FLG_USER_STACK_TRACE_DB`.
const STACK_TRACES: u32 = 0x1000;

fn lines(text: &str) -> Vec<&str> {
    text.lines().collect()
}

fn whole(
    process: &Process<'_, '_>,
    session: &mut Session<'_, '_>,
    command: &Typed,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let typed = command.typed();
    let has_segment_heaps = process.heaps.iter().any(|h| h.kind == HeapKind::Segment);
    if expected.trim_matches('\n').is_empty() && actual.is_empty() && command.leaves_out_messages()
    {
        return Some("empty line where a message about segment heaps was left out");
    }
    // 2015: `-s -h H` prints the table of all heaps, without its preamble.
    if !command.newer && typed.starts_with("!heap -s -h") {
        let mut table = String::new();
        let other = if typed.ends_with(" -v") {
            "!heap -s -v"
        } else {
            "!heap -s"
        };
        session.execute(other, &mut table).ok()?;
        let expected = &without_virtual_blocks(process, expected);
        if without_preamble(&table) == without_preamble(expected)
            || line_by_line(
                process,
                without_preamble(expected),
                without_preamble(&table),
            )
            .is_some()
        {
            return Some("2015 extension: -s -h is the table of all heaps");
        }
    }
    if typed.starts_with("!heap -s")
        && !typed.contains(" -h ")
        && (has_segment_heaps || expected.starts_with("LFH Key") || !expected.contains("BELOW"))
        && (without_preamble(expected) == without_preamble(actual)
            || line_by_line(
                process,
                without_preamble(expected),
                without_preamble(actual),
            )
            .is_some())
    {
        return Some("preamble of -s missing: the extension could not start its segment heap part");
    }
    // The caption of the list stands in front of the first heap of the process, if it is an NT heap.
    let first_is_segment = process
        .heaps
        .first()
        .is_some_and(|heap| heap.kind == HeapKind::Segment);
    if first_is_segment
        && let Some((caption, rest)) = actual.split_once('\n')
        && caption.starts_with("Index ")
        && expected.trim_start_matches('\n') == rest
    {
        return Some("caption missing: the first heap is a segment heap");
    }
    if typed == "!heap" && expected.contains("Index   Address") {
        let shown = |text: &str| -> Vec<u64> {
            let number = |word: &str| u64::from_str_radix(word, 16).ok();
            text.lines()
                .filter_map(|line| {
                    line.split_whitespace()
                        .find_map(|w| number(w).filter(|n| *n > 0xffff))
                })
                .collect()
        };
        if shown(expected) == shown(actual) {
            return Some("list of old form: the extension could not start its segment heap part");
        }
    }
    // `ln` in a module whose symbols are not at hand.
    if let Some(operand) = typed.strip_prefix("ln ")
        && actual.is_empty()
        && let Some(address) = hex(operand)
    {
        let modules = &process.dump.modules;
        let module = modules
            .iter()
            .find(|module| (module.base..module.end()).contains(&address))?;
        let prefix = format!("{}!", module.name());
        let below = expected.lines().find_map(|line| {
            let (start, rest) = line.strip_prefix('(')?.split_once(')')?;
            rest.trim_start()
                .starts_with(&prefix)
                .then(|| hex(&start.replace('`', "")))?
        });
        if below.is_some_and(|below| below <= address && below >= module.base) {
            return Some("named by symbols that are not at hand");
        }
    }
    // XP: `-p` wants structures that its symbols do not have.
    if typed == "!heap -p" && process.layouts.heap.encoding.is_none() && expected.trim().is_empty()
    {
        return Some("XP: -p prints nothing");
    }
    // `x` lists in an order of its own, and what was inlined, too.
    if typed.starts_with("x ") {
        let sorted = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .filter(|l| !l.contains("(inline caller)"))
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        let (theirs, ours) = (sorted(expected), sorted(actual));
        if theirs.len() == ours.len()
            && theirs
                .iter()
                .zip(&ours)
                .all(|(a, b)| a == b || line(process, a, b).is_some())
        {
            return Some("x: order, and inlined calls");
        }
    }
    if typed == "!heap -triage" {
        return triage::excuse(process, command.newer, expected, actual);
    }
    if typed.starts_with("!heap -x")
        && let Some(class) = segment_x::excuse(process, command.newer, expected, actual)
    {
        return Some(class);
    }
    // The search is left out where the segment heap part did not start, and by 2023.
    if typed.starts_with("!heap -x -v") {
        let is_search = |line: &str| line.starts_with("Search VM for address range");
        let kept = |text: &str| -> String {
            let lines = text.split_inclusive('\n');
            lines.filter(|line| !is_search(line)).collect()
        };
        let (theirs, ours) = (kept(expected), kept(actual));
        let (theirs, ours) = (theirs.trim_matches('\n'), ours.trim_matches('\n'));
        let among = |line: &str| actual.lines().any(|ours| ours == line);
        let traces = process.nt_global_flag.unwrap_or(0) & STACK_TRACES != 0;
        let no_slot = command.newer && ours.contains("LFH;") && traces && theirs.is_empty();
        let equal = theirs == ours || no_slot || line_by_line(process, theirs, ours).is_some();
        if equal && expected.lines().filter(|line| is_search(line)).all(among) {
            return Some("-x -v leaves out a search of memory");
        }
    }
    if typed == "!address -summary" {
        return address::summary(expected, actual);
    }
    if typed.starts_with("!address ") {
        return address::region(process, expected, actual);
    }
    if typed == "!heap -l" {
        if let Some(class) = misplaced::excuse(process, session, expected, actual) {
            return Some(class);
        }
        return unreachable::excuse(process, command.newer, expected, actual, |theirs, ours| {
            line(process, theirs, ours)
        });
    }
    // 2023: no slot of the LFH is found in heaps with traces.
    if typed.starts_with("!heap -x")
        && actual.contains("LFH;")
        && process.nt_global_flag.unwrap_or(0) & STACK_TRACES != 0
        && (command.newer || process.build < 10240)
    {
        if expected.trim().is_empty() {
            return Some("-x finds no LFH slot in heaps with traces");
        }
        let row = |text: &str| {
            let row = text.lines().nth(2)?;
            let mut words = row.split_whitespace();
            let entry = hex(words.next()?)?;
            Some((entry, hex(words.nth(3)?)?))
        };
        if let (Some((container, size)), Some((slot, _))) = (row(expected), row(actual))
            && slot.wrapping_sub(container) < size
            && expected.trim_end().ends_with("internal")
        {
            return Some("-x finds the container of an LFH slot in heaps with traces");
        }
    }
    // A variable of verifier.dll that is found by its symbols alone.
    const SHUT_DOWN: &str = "\n    ShutDownFlags: ffffffff\n";
    let without = expected.replacen(SHUT_DOWN, "", 1);
    if typed == "!heap -p"
        && without != expected
        && (without == actual || line_by_line(process, &without, actual).is_some())
    {
        return Some("ShutDownFlags: known by verifier.dll's symbols alone");
    }
    None
}

/// `-s -a` of 2015 also lists the virtual blocks: the output without those that there are.
fn without_virtual_blocks(process: &Process<'_, '_>, text: &str) -> String {
    const START: &str = "Virtual block: ";
    if !text.contains(START) {
        return text.to_owned();
    }
    let mut elements = Vec::new();
    for reference in &process.heaps {
        if let Heap::Nt(heap) = Heap::open(process, reference) {
            elements.extend(heap.virtual_blocks.iter().map(|block| block.element));
        }
    }
    let known = |line: &str| {
        let start = line.strip_prefix(START).and_then(|l| l.split(' ').next());
        start
            .and_then(hex)
            .is_some_and(|start| elements.contains(&start))
    };
    text.split_inclusive('\n')
        .filter(|line| !known(line))
        .collect()
}

/// The table of `-s` from the line of the LFH key on.
fn without_preamble(text: &str) -> &str {
    [
        "NtGlobalFlag",
        "LFH Key",
        "Termination",
        "          Heap ",
        "  Heap ",
    ]
    .iter()
    .filter_map(|start| {
        text.match_indices(start)
            .find(|(at, _)| *at == 0 || text.as_bytes()[at - 1] == b'\n')
    })
    .map(|(at, _)| at)
    .min()
    .map_or(text, |at| &text[at..])
}

fn line_by_line(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    let (expected, actual) = (lines(expected), lines(actual));
    // Lines of a check that trips over the capped count have no counterpart of ours.
    let capped = expected
        .iter()
        .any(|line| line.contains("past requested size of") && line.ends_with("- 3f)"));
    let inside = expected.iter().any(|line| inside_block(process, line));
    let is_report = |line: &str| {
        inside && inside_block(process, line)
            || capped && line.starts_with("    Heap block at ") && line.ends_with("- 3f)")
    };
    let mut reported = false;
    let mut expected = expected;
    expected.retain(|line| {
        // The line that ends a segment's reports.
        let end = reported && line.starts_with("##The above errors were found in segment");
        reported = is_report(line);
        !reported && !end
    });
    if expected.len() != actual.len() {
        return None;
    }
    let mut class = capped
        .then_some("UnusedBytes capped at 3f")
        .or(inside.then_some("fill behind blocks looked for inside blocks with traces"));
    for (expected, actual) in expected.iter().zip(&actual) {
        if expected != actual {
            class = Some(line(process, expected, actual)?);
        }
    }
    class
}

fn line(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    capped(process, expected, actual)
        .or_else(|| virtual_block(process, expected, actual))
        .or_else(|| checksum_as_tag(expected, actual))
        .or_else(|| symbol(expected, actual))
        .or_else(|| frames::export(process, expected, actual))
        .or_else(|| slot_state(process, expected, actual))
        .or_else(|| segment_heap_flags(process, expected, actual))
        .or_else(|| cached_blocks(expected, actual))
        .or_else(|| lookaside(process, expected, actual))
        .or_else(|| xp::slot(process, expected, actual))
        .or_else(|| xp::stale_unused(process, expected, actual))
        .or_else(|| virtual_trace(process, expected, actual))
        .or_else(|| parameters(expected, actual))
        .or_else(|| {
            let unknown = actual.ends_with("unknown (no LFH in use)");
            (unknown && expected.starts_with("LFH Key "))
                .then_some("LFH key can't be told without symbols while no LFH is in use")
        })
}

/// A report of damage behind a block at a place that the program's own bytes take: the header of a
/// trace, which lies in front of them, was left out of account.
fn inside_block(process: &Process<'_, '_>, line: &str) -> bool {
    let parts = || {
        let rest = line.strip_prefix("    Heap block at ")?;
        let (entry, rest) = rest.split_once(" modified at ")?;
        let place = rest.split_once(" past requested size of ")?.0;
        let (entry, place) = (hex(entry)?, hex(place)?);
        let block = block_at(process, entry)?;
        Some(block.entry == entry && place < block.address + block.size)
    };
    process.nt_global_flag.unwrap_or(0) & TRACES != 0 && parts() == Some(true)
}

/// `FLG_USER_STACK_TRACE_DB`.
const TRACES: u32 = 0x1000;

pub(crate) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// The debugger cuts a count of unused bytes to six bits: what it prints as the requested size is
/// the block's size - 3f, and more than was requested.
fn capped(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    const CLASS: &str = "UnusedBytes capped at 3f";
    // XP has eight bits, and no more of them than Vista's six say that the count is elsewhere.
    let cap = match process.layouts.heap.encoding {
        None => 0xff,
        Some(_) => 0x3f,
    };
    let parts = |line: &str| {
        let (head, rest) = line.split_once("- busy (")?;
        let (size, tail) = rest.split_once(')')?;
        Some((head.to_owned(), hex(size)?, tail.to_owned()))
    };
    if let (Some(theirs), Some(ours)) = (parts(expected), parts(actual)) {
        let block = hex(theirs.0.split(". ").nth(1)?.split(' ').next()?)?;
        return (theirs.0 == ours.0
            && theirs.2 == ours.2
            && theirs.1 == block.checked_sub(cap)?
            && ours.1 < theirs.1)
            .then_some(CLASS);
    }
    // Rows of -p: the user size is the last number, the block's size in units the second.
    let row = |line: &str| {
        let mut words: Vec<String> = line
            .trim_start_matches([' ', '*'])
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        (words.len() >= 8 && words[words.len() - 1] == "(busy)").then(|| {
            let size = words.remove(5);
            (words, size)
        })
    };
    if let (Some((theirs, their_size)), Some((ours, our_size))) = (row(expected), row(actual)) {
        let unit = if theirs[0].len() == 16 { 16 } else { 8 };
        let block = hex(&theirs[1])? * unit;
        return (theirs == ours
            && hex(&their_size)? == block.checked_sub(cap)?
            && hex(&our_size)? < hex(&their_size)?)
        .then_some(CLASS);
    }
    // Rows of -x: unused is the seventh column.
    let row = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words.len() >= 8 && !line.contains("LFH;")).then(|| {
            let unused = words.remove(6);
            (words, unused)
        })
    };
    let ((theirs, unused), (ours, more)) = (row(expected)?, row(actual)?);
    (theirs == ours && hex(&unused)? == cap && hex(&more)? > cap).then_some(CLASS)
}

/// Flags of a virtual block: the debugger takes them from the entry without decoding it.
fn virtual_block(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    let stripped = expected.strip_suffix(", tail fill")?;
    let element = hex(actual.trim_start().split(':').next()?)?;
    let raw = |heap: &NtHeap<'_, '_>| {
        let block = heap.virtual_blocks.iter().find(|b| b.element == element)?;
        let header = block.entry + heap.header.codec.header_offset();
        process.memory().u64(header)
    };
    let raw = process
        .heaps
        .iter()
        .find_map(|reference| match Heap::open(process, reference) {
            Heap::Nt(heap) => raw(&heap),
            _ => None,
        })?;
    (stripped == actual && raw >> 16 & 4 != 0)
        .then_some("virtual block: flags taken from the encoded entry")
}

/// A checksum shown as a heap tag: `(Tag N)` with N the checksum that the size and flags give.
fn checksum_as_tag(expected: &str, actual: &str) -> Option<&'static str> {
    let (head, rest) = expected.split_once(" (Tag ")?;
    let (tag, tail) = rest.split_once(')')?;
    let block = hex(expected.split(". ").nth(1)?.split(' ').next()?)?;
    let [low, high, ..] = (block / 16).to_le_bytes();
    let flags = hex(expected.split('[').nth(1)?.split(']').next()?)? as u8;
    let internal = if tail.contains("Internal") { 8 } else { 0 };
    let checksum = low ^ high ^ (flags & 0xef | internal);
    (format!("{head}{tail}") == actual && hex(tag)? == u64::from(checksum))
        .then_some("checksum of an encoded entry shown as a tag")
}

/// The same address in the same module, named by symbols that are not at hand.
pub(crate) fn symbol(expected: &str, actual: &str) -> Option<&'static str> {
    const CLASS: &str = "named by symbols that are not at hand";
    let expected = expected.trim();
    let (theirs, ours) = match (
        expected.strip_prefix("? "),
        actual.trim().strip_prefix("? "),
    ) {
        (Some(theirs), Some(ours)) => (theirs, ours),
        (None, Some(ours)) if expected.contains("<PERF>") => (expected, ours),
        _ => {
            let (at, theirs) = expected.split_once(' ')?;
            let (also, ours) = actual.trim().split_once(' ')?;
            (at == also && theirs.contains("+0x") && ours.contains("+0x")).then_some(())?;
            (theirs, ours)
        }
    };
    let module = |name: &str| name.split(['!', '+']).next().map(str::to_owned);
    let offset = |name: &str| match name.rsplit_once('+') {
        Some((_, offset)) => hex(offset.trim_start_matches("0x")),
        None => Some(0),
    };
    // A constant among types, taken for a symbol; the offset in the module stands behind.
    if let Some((_, inside)) = theirs.split_once(" <PERF> (") {
        let same = inside.trim_end_matches(')');
        let place = |text: &str| Some((module(text)?, offset(text)?));
        return (module(same) == module(ours)
            && (ours.contains('!') || place(same) == place(ours)))
        .then_some("a constant among types taken for a symbol");
    }
    // A symbol is nearer than the module's base, and a private one nearer than an export.
    let (their_offset, our_offset) = (offset(theirs)?, offset(ours)?);
    let nearer = match (theirs.contains('!'), ours.contains('!')) {
        (true, _) => their_offset < our_offset,
        (false, true) => our_offset < their_offset,
        (false, false) => false,
    };
    (module(theirs) == module(ours) && nearer).then_some(CLASS)
}

/// `stack_trace` behind a virtual block: from case to case, of the same block.
fn virtual_trace(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    let row = expected.strip_suffix(" stack_trace")?;
    let block = block_at(process, hex(row.split(' ').next()?)?)?;
    let traced = block.kind == Kind::Virtual && block.trace != Trace::None;
    (row == actual && traced).then_some("-x: a virtual block's trace told from case to case")
}

/// A slot shown as busy whatever it is, where the debugger knows the build's LFH by guess only.
fn slot_state(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    let theirs = expected.strip_suffix("LFH;busy")?;
    let (ours, state) = actual.split_once("LFH;")?;
    let entry = hex(ours.split(' ').next()?)?;
    let slot = block_at(process, entry).is_some_and(|block| {
        block.entry == entry
            && block.kind == Kind::Lfh
            && state
                == if block.state == State::Busy {
                    "busy "
                } else {
                    "free "
                }
    });
    (slot && theirs == ours).then_some("state of LFH slots not told for this build")
}

/// `HEAP_...` behind a segment heap, read where NT heaps have their flags.
fn segment_heap_flags(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let segment = process.heaps.iter().any(|h| h.kind == HeapKind::Segment);
    (segment && actual == "          " && expected.starts_with("          HEAP_"))
        .then_some("flags of a segment heap read as an NT heap's")
}

/// The number of user blocks in a cache list is always 0 in the debugger's report.
pub(crate) fn cached_blocks(expected: &str, actual: &str) -> Option<&'static str> {
    let head = expected.strip_suffix("     0)")?;
    let (ours, number) = actual.rsplit_once(',')?;
    let number: u32 = number.trim().strip_suffix(')')?.parse().ok()?;
    (head.strip_suffix(',')? == ours && expected.contains(" bytes (") && number > 0)
        .then_some("cached user blocks are not counted")
}

/// A procedure whose record has no type is shown as one that takes nothing.
fn parameters(expected: &str, actual: &str) -> Option<&'static str> {
    (actual.strip_suffix("(<no parameter info>)")? == expected.strip_suffix("(void)")?)
        .then_some("a function without a type record shown as taking nothing")
}

/// XP: a cached block is still busy for the segment; the debugger does not ask the lookaside lists.
fn lookaside(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<&'static str> {
    (process.layouts.heap.encoding.is_none()
        && expected.strip_suffix("(busy)")? == actual.strip_suffix("(free LookAside)")?)
    .then_some("XP: cached blocks shown as busy")
}
