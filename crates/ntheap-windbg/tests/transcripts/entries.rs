//! Entries of segments, wherever they are listed: sizes, flags, tags and reports of damage.

use ntheap::heap::nt::{NtHeap, RawEntry, Segment, VirtualBlock};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, key, words},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "UnusedBytes capped at 3f",
        |_| true,
        |context, theirs| {
            let ours = &context.ours;
            let sizes = ours.rewrite(theirs, |theirs, ours| {
                requested(context, theirs, ours).or_else(|| unused(context, theirs, ours))
            });
            complaints(context, theirs, |line| {
                damage(context, line, false) == Some(true)
            }) || sizes
        },
    ),
    known(
        "fill behind blocks looked for inside blocks with traces",
        |context| context.has_traces(),
        |context, theirs| {
            complaints(context, theirs, |line| {
                damage(context, line, true) == Some(true)
            })
        },
    ),
    known(
        "virtual block: flags taken from the encoded entry",
        |_| true,
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite_alone(theirs, |line| virtual_flags(context, line))
        },
    ),
    known(
        "checksum of an encoded entry shown as a tag",
        |context| !context.is_xp(),
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite_alone(theirs, |line| checksum_as_tag(context, line))
        },
    ),
    known(
        "virtual block of a heap that encodes nothing taken for a segment's entry",
        |_| true,
        as_entries,
    ),
    known(
        "2023 extension: -v 0 checks a segment of the first heap for every heap",
        |context| context.newer && context.typed == "!heap -v 0",
        checks_of_first,
    ),
    known(
        "pseudo tags not read",
        |context| context.is("!heap -T "),
        |context, theirs| {
            context.instead(
                theirs,
                pseudo_tags(context, theirs).is_some_and(|wrong| wrong == *theirs),
            )
        },
    ),
];

/// What the debugger can take for the number of unused bytes: six bits of the byte, or all eight,
/// the mark of a trace or of a count that is elsewhere among them.
fn misread(byte: u8) -> [u64; 2] {
    [byte & 0x3f, byte].map(u64::from)
}

/// `ADDRESS: psize . size [flags] - busy (requested)`: the debugger's requested size is the block's
/// less a misread count.
fn requested(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    let parts = |line: &'_ str| -> Option<(String, u64, String)> {
        let (head, rest) = line.split_once("- busy (")?;
        let (size, tail) = rest.split_once(')')?;
        Some((head.to_owned(), hex(size)?, tail.to_owned()))
    };
    let (head, wrong, tail) = parts(theirs)?;
    let (our_head, right, _) = parts(ours)?;
    let block = hex(head.split(". ").nth(1)?.split(' ').next()?)?;
    let (_, raw) = context.raw(hex(key(theirs).trim_end_matches(':'))?)?;
    let known = misread(raw.entry.unused).map(|unused| block.checked_sub(unused));
    (head == our_head && wrong != right && raw.size == block && known.contains(&Some(wrong)))
        .then(|| format!("{head}- busy ({right:x}){tail}"))
}

/// Rows of -x and -l: the unused bytes are a misread count.
fn unused(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    /// Where the number stands in words.
    const COLUMN: usize = 6;
    if theirs.contains("LFH;") || theirs.contains("virtual") {
        return None;
    }
    let (their_words, our_words) = (words(theirs), words(ours));
    let [wrong, right] = [hex(their_words.get(COLUMN)?)?, hex(our_words.get(COLUMN)?)?];
    let (_, raw) = context.raw(hex(their_words[0])?)?;
    let at = x_numbers(context) + 20;
    (their_words[..COLUMN] == our_words[..COLUMN]
        && wrong < right
        && raw.is_busy()
        && misread(raw.entry.unused).contains(&wrong))
    .then(|| {
        Some(format!(
            "{}{right:8x}{}",
            theirs.get(..at)?,
            theirs.get(at + 8..)?
        ))
    })?
}

/// Where in a row of -x the numbers begin.
fn x_numbers(context: &Context<'_, '_>) -> usize {
    4 * (2 + context.digits())
}

/// Drops reports of damage, each with the line that ends a segment's reports.
fn complaints(
    context: &Context<'_, '_>,
    theirs: &mut Lines,
    is_report: impl Fn(&str) -> bool,
) -> bool {
    let ends = |line: &str| {
        let segments = context.model.nt_heaps().flat_map(|heap| &heap.segments);
        let mut headers = segments.map(|segment| segment.header as u32);
        let end = "##The above errors were found in segment at 0x";
        headers.any(|header| line == format!("{end}{header:08X}"))
    };
    let mut reported = false;
    context.ours.drop(theirs, |line| {
        let end = reported && ends(line);
        reported = is_report(line);
        reported || end
    })
}

/// Whether a report is one of damage that is none: the fill behind a block is looked for where a
/// misread count of unused bytes, or one that leaves the header of a trace out of account, puts it.
/// The place is the first that does not hold the fill.
fn damage(context: &Context<'_, '_>, line: &str, traced: bool) -> Option<bool> {
    /// `CHECK_HEAP_TAIL_FILL`.
    const FILL: u8 = 0xab;
    // `Heap block at E modified at M past requested size of S (units * unit - unused)`
    let rest = line.strip_prefix("    Heap block at ")?;
    let (entry, rest) = rest.split_once(" modified at ")?;
    let place = rest.split_once(" past requested size of ")?.0;
    let (_, raw) = context.raw(hex(entry)?)?;
    let unit = context.unit();
    let unused = match traced {
        true => vec![raw.unused],
        false => misread(raw.entry.unused).to_vec(),
    };
    Some(unused.into_iter().any(|unused| {
        let size = raw.size.saturating_sub(unused);
        let start = raw.address + unit + size;
        let memory = context.process.memory();
        let found = (start..start + 4 * unit).find(|at| memory.u8(*at) != Some(FILL));
        let end = format!("{size:x} ({:x} * {unit:x} - {unused:x})", raw.size / unit);
        found == hex(place)
            && entry.len() == place.len()
            && line.ends_with(&format!(" of {end}"))
            && (!traced || start < raw.user + raw.requested())
    }))
}

/// Flags of a virtual block: the debugger takes them from the entry without decoding it.
fn virtual_flags(context: &Context<'_, '_>, theirs: &str) -> Option<String> {
    const FILL: u64 = 4;
    let (head, tail) = theirs.split_once(", tail fill")?;
    let element = hex(key(theirs).trim_end_matches(':'))?;
    let raw = context.model.nt_heaps().find_map(|heap| {
        let mut blocks = heap.virtual_blocks.iter();
        let block = blocks.find(|block| block.element == element)?;
        let header = block.entry + heap.header.codec.header_offset();
        context.process.memory().u64(header)
    })?;
    (raw >> 16 & FILL != 0).then(|| format!("{head}{tail}"))
}

/// A checksum shown as a heap tag: `(Tag N)` with N the checksum that the size and flags give. Where
/// the heap's own first entry, still encoded, has 0 for its tag, the name of a tag can stand there.
fn checksum_as_tag(context: &Context<'_, '_>, theirs: &str) -> Option<String> {
    let (_, rest) = theirs.split_once("- busy (")?;
    let block = hex(theirs.split(". ").nth(1)?.split(' ').next()?)?;
    let [low, high, ..] = (block / context.unit()).to_le_bytes();
    let flags = hex(theirs.split('[').nth(1)?.split(']').next()?)?;
    const ENCODED: u64 = 0x100;
    const LAST: u8 = 0x10;
    let internal = if rest.contains("Internal") { 8 } else { 0 };
    let checksum = low ^ high ^ (flags as u8 & !LAST | internal);
    let tag = format!(" (Tag {checksum:x})");
    if flags & ENCODED == 0 {
        return None;
    }
    if theirs.contains(&tag) {
        return Some(theirs.replacen(&tag, "", 1));
    }
    let (heap, _) = context.raw(hex(key(theirs).trim_end_matches(':'))?)?;
    let first = heap.handle() + heap.header.codec.header_offset();
    let unmarked = context.process.memory().u8(first + 3) == Some(0);
    let (at, name) = rest.match_indices(" (").next().and_then(|(at, _)| {
        let name = rest[at + 2..].split(')').next()?;
        Some((at, name))
    })?;
    let named = name.len() <= 2 && hex(name).is_none();
    let at = theirs.len() - rest.len() + at;
    let end = at + 2 + name.len() + 1;
    (unmarked && named).then(|| format!("{}{}", &theirs[..at], &theirs[end..]))
}

/// Virtual blocks of heaps that encode nothing, read as entries of segments; the debugger's message
/// behind their list goes, too.
fn as_entries(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    const MESSAGE: &str =
        "    Unable to read nt!_HEAP_VIRTUAL_ALLOC_ENTRY structure at 0000000000000000";
    let ours = &context.ours;
    let changed = ours.rewrite(theirs, |theirs, ours| as_entry(context, theirs, ours));
    let plain = || {
        let blocks = |heap: &NtHeap<'_, '_>| heap.virtual_blocks.clone().into_iter();
        let mut heaps = context.model.nt_heaps();
        heaps.any(|heap| {
            let encoded =
                |block: VirtualBlock| heap.raw_entry_at(block.entry).map(|raw| raw.encoded);
            blocks(heap).any(|block| encoded(block) == Some(false))
        })
    };
    let message = theirs.iter().any(|line| line == MESSAGE) && plain();
    if message {
        let mut first = true;
        theirs.retain(|line| line != MESSAGE || !std::mem::replace(&mut first, false));
    }
    changed || message
}

/// Our row, if theirs is that of the virtual block with the numbers that its entry would have in a
/// segment: the size field counts units there, and the last byte is all that is unused.
fn as_entry(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    let find = |wanted: &dyn Fn(&VirtualBlock) -> bool| {
        context.model.nt_heaps().find_map(|heap| {
            let block = heap.virtual_blocks.iter().find(|block| wanted(block))?;
            heap.raw_entry_at(block.entry)
        })
    };
    let listed = ours.split_once(" [commited ").and_then(|(head, rest)| {
        let unused = rest.split_once("unused ")?.1.split(']').next()?;
        Some((head, hex(unused)?))
    });
    if let Some((head, right)) = listed {
        let element = head.trim_start().split(':').next()?;
        let address = hex(element)?;
        let raw = find(&|block| block.element == address)?;
        // A tag that has no name.
        let shown = theirs.strip_suffix(" (?)").unwrap_or(theirs);
        return numbers(&raw, right)
            .any(|(size, unused)| {
                let first = size.saturating_sub(unused);
                let numbers = format!("{first:08x} [commited {size:x}, unused {unused:x}]");
                shown == format!("        {element}: {numbers} - busy (b)")
            })
            .then(|| ours.to_owned());
    }
    // Rows of -x: size, that of the entry before, unused bytes.
    let entry = hex(key(ours))?;
    let raw = find(&|block| block.entry == entry)?;
    let at = x_numbers(context);
    let (head, flags) = (ours.get(..at)?, ours.get(at + 30..)?);
    let right = hex(ours.get(at + 20..at + 28)?.trim())?;
    (flags.contains("virtual")
        && numbers(&raw, right).any(|(size, unused)| {
            theirs == format!("{head}{size:8x}  {:8x}  {unused:8x}  {flags}", 0)
        }))
    .then(|| ours.to_owned())
}

/// Size and unused bytes of a virtual block's entry as one of a segment has them. The count can be
/// the right one where a trace keeps it.
fn numbers(raw: &RawEntry, right: u64) -> impl Iterator<Item = (u64, u64)> {
    let size = (!raw.encoded).then_some(raw.size);
    let [bits, byte] = misread(raw.entry.unused);
    let counts = [byte, bits, right].into_iter();
    size.into_iter()
        .flat_map(move |size| counts.clone().map(move |unused| (size, unused)))
}

/// 2023: `-v 0` checks the first heap's last segment again for every heap, with that heap's key. What
/// it is bound to find stands in place of the empty line in front of segments.
fn checks_of_first(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let heaps = || context.model.nt_heaps();
    let first = heaps()
        .next()
        .and_then(|heap| Some((heap, heap.segments.last()?)));
    let Some((first, segment)) = first else {
        return false;
    };
    let heap_of = |line: &str| {
        let handle = hex(line.split_once(":   ")?.1.trim_end())?;
        heaps().find(|heap| heap.handle() == handle)
    };
    // Behind which line of ours the empty line of each other heap comes.
    let (mut heap, mut changed) = (None, false);
    let text = context
        .ours
        .lines
        .split_last()
        .map_or(&[][..], |(_, text)| text);
    for pair in text.windows(2) {
        heap = heap_of(&pair[0]).or(heap);
        let Some(heap) = heap.filter(|heap| heap.handle() != first.handle()) else {
            continue;
        };
        let caption = |line: &String| heap_of(line).is_some_and(|h| h.handle() == heap.handle());
        let Some(start) = theirs
            .iter()
            .position(caption)
            .filter(|_| pair[1].is_empty())
        else {
            continue;
        };
        let Some(before) = theirs[start..].iter().position(|line| *line == pair[0]) else {
            continue;
        };
        let at = start + before + 1;
        let check = check(context, segment, heap);
        let found = theirs
            .get(at..at + check.len())
            .is_some_and(|lines| *lines == check);
        // A check that finds nothing leaves nothing, not even the empty line.
        let end = at + 1 == theirs.len();
        let lost = !check.is_empty() || end || theirs.get(at).is_some_and(|line| !line.is_empty());
        if found && lost {
            theirs.splice(at..at + check.len(), [String::new()]);
            changed = true;
        }
    }
    changed
}

/// What a check of a segment finds that decodes its entries with the key of another heap.
fn check(context: &Context<'_, '_>, segment: &Segment, heap: &NtHeap<'_, '_>) -> Lines {
    let memory = context.process.memory();
    let mut text = Lines::new();
    let mut previous = None;
    let mut at = segment.header;
    let mut ranges = segment.ranges.iter().peekable();
    while at < segment.end {
        if let Some(gap) = ranges.next_if(|range| range.start == at) {
            at = gap.end();
            continue;
        }
        let readable = memory.u64(at + heap.unit() - 8).is_some();
        let Some(entry) = heap.raw_entry_at(at).filter(|_| readable) else {
            text.push(format!("            unable to read heap entry at {at:08x}"));
            break;
        };
        let before = entry.entry.previous_size;
        match previous {
            None if before != 0 => text.push(
                "    PreviousSize field is non-zero when it should be zero to mark first entry"
                    .into(),
            ),
            Some((size, last)) if before != size => text.extend([
                "    ".to_owned(),
                format!("##CORRUPTION FOUND at 0x{:08X}", at as u32),
                "    PreviousSize field does not match Size field in previous entry ".to_owned(),
                format!("    Entry->PreviousSize == {:#x}", entry.entry.size),
                format!("    PreviousEntry->Size == {last:#x}"),
            ]),
            _ => {}
        }
        if entry.size == 0 {
            break;
        }
        previous = Some((entry.entry.size, before));
        at += entry.size;
    }
    if !text.is_empty() {
        let header = segment.header as u32;
        text.push(format!(
            "##The above errors were found in segment at 0x{header:08X}"
        ));
    }
    text
}

/// Without the type of a pseudo tag the debugger complains of each instead of reading it: our output
/// with these complaints in place of its rows, which are those of the tags that were used.
fn pseudo_tags(context: &Context<'_, '_>, theirs: &Lines) -> Option<Lines> {
    const CAPTION: &str = " Tag Name            Allocs    Frees   Diff  Allocated";
    const COMPLAINT: &str = ": unable to read HEAP_PSEUDO_TAG_ENTRY at ";
    let process = context.process;
    let lines = &context.ours.lines;
    let caption = lines.iter().position(|line| line == CAPTION)?;
    let (index, first) = theirs.iter().find_map(|line| line.split_once(COMPLAINT))?;
    let size = u64::from(process.layouts.pseudo_tag_entry.struct_size);
    let table = hex(first)?.checked_sub(hex(index)? * size)?;
    let handle = hex(lines.get(1)?.split_once(":   ")?.1.trim_end())?;
    let heap = process.memory().at(handle, process.bitness);
    if heap.pointer(process.layouts.heap.pseudo_tag_entries) != Some(table) {
        return None;
    }
    let width = context.digits();
    let mut wrong = lines[..=caption].to_vec();
    let mut rows = lines[caption + 1..].iter();
    for index in 1..=0x80 {
        let at = table + index * size;
        wrong.push(format!("{index:04x}{COMPLAINT}{at:0width$x}"));
        // Allocations, frees, and the sum in units.
        let number = |offset| process.memory().u32(at + offset);
        let (allocations, frees) = (number(0)?, number(4)?);
        if allocations != 0 {
            let row = rows.next()?;
            let bytes = process.memory().pointer(at + 8, process.bitness)? * context.unit();
            let left = allocations.wrapping_sub(frees);
            let numbers = format!(" {allocations:8} {frees:8} {left:6} {bytes:10}");
            if !row.starts_with(&format!("{index:04x}: ")) || !row.ends_with(&numbers) {
                return None;
            }
        }
    }
    wrong.extend(rows.cloned());
    Some(wrong)
}
