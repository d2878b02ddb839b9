//! Proofs about `-a`, `-m`, `-h`, `-hl`, `-f` and `-v`, and about what the debugger says of XP's
//! segments whenever it walks them.
//!
//! Each proof takes a known error out of the debugger's output: what it removes there must be what
//! the error is bound to print. What is left is compared as any other output.

use ntheap::{
    heap::{
        Heap,
        nt::{NtHeap, Piece, Segment, VirtualBlock},
    },
    process::Process,
};

use crate::{excuse::hex, regions};

const XP: &str = "XP: uncommitted ranges and free list map misread";
const NOT_ENCODED: &str =
    "virtual block of a heap that encodes nothing taken for a segment's entry";
const CHECKS_FIRST: &str = "2023 extension: -v 0 checks a segment of the first heap for every heap";
const PSEUDO_TAGS: &str = "pseudo tags not read";

/// Both outputs without the errors that are proved here, and their class; `None` if there are none.
pub(crate) fn without_errors(
    process: &Process<'_, '_>,
    newer: bool,
    typed: &str,
    expected: &str,
    actual: &str,
) -> Option<(&'static str, String, String)> {
    let heaps = nt_heaps(process);
    let checks_first = newer && typed == "!heap -v 0";
    let mut class = None;
    let (mut expected, mut actual) = (expected.to_owned(), actual.to_owned());
    if process.layouts.heap.encoding.is_none() {
        let (theirs, ours) = without_xp(&heaps, checks_first, &expected, &actual);
        if theirs != expected {
            (expected, actual) = (theirs, ours);
            class = Some(XP);
        }
    }
    let (theirs, ours) = as_entries(process, &heaps, &expected, &actual);
    if ours != actual {
        (expected, actual) = (theirs, ours);
        class.get_or_insert(NOT_ENCODED);
    }
    if checks_first
        && let Some(ours) = with_checks_of_first(process, &heaps, &actual)
        && ours != actual
    {
        actual = ours;
        class.get_or_insert(CHECKS_FIRST);
    }
    if let Some((region_class, ours)) = regions::as_listed(process, &expected, &actual) {
        actual = ours;
        class.get_or_insert(region_class);
    }
    if let Some(ours) = without_pseudo_tags(process, &expected, &actual) {
        actual = ours;
        class.get_or_insert(PSEUDO_TAGS);
    }
    class.map(|class| (class, expected, actual))
}

/// The NT heaps of a process, those behind page heaps included.
pub(crate) fn nt_heaps<'p, 'a>(process: &'p Process<'_, 'a>) -> Vec<NtHeap<'p, 'a>> {
    let open = |reference| match Heap::open(process, reference) {
        Heap::Nt(heap) => Some(*heap),
        _ => None,
    };
    let all = process.heaps.iter().chain(&process.normal_heaps);
    all.filter_map(open).collect()
}

/// `HEAP_ENTRY_LAST_ENTRY`.
const LAST: u8 = 0x10;

/// The entry at the end of the segment's first committed run: its address, the address behind it
/// and whether it is busy.
fn last_of_run(heap: &NtHeap<'_, '_>, segment: &Segment) -> Option<(u64, u64, bool)> {
    let found = heap.pieces(segment, &mut |piece| match piece {
        Piece::Entry(entry) if entry.entry.flags & LAST != 0 => {
            Err((entry.address, entry.address + entry.size, entry.is_busy()))
        }
        _ => Ok(()),
    });
    found.err()
}

/// XP: behind the last entry of a run the debugger wants what Vista has there, and complains once a
/// segment. The ranges' own list it does not read at all, nor the map of the free lists.
///
/// With `checks_first` the first heap's last segment was checked in place of the other heaps'.
fn without_xp(
    heaps: &[NtHeap<'_, '_>],
    checks_first: bool,
    expected: &str,
    actual: &str,
) -> (String, String) {
    let (mut theirs, mut ours) = (expected.to_owned(), String::new());
    for heap in heaps {
        let (heap, segments) = match heaps.first() {
            Some(first) if checks_first && first.handle() != heap.handle() => {
                let last = first.segments.len().saturating_sub(1);
                (first, &first.segments[last..])
            }
            _ => (heap, heap.segments.as_slice()),
        };
        for segment in segments {
            let Some((entry, end, busy)) = last_of_run(heap, segment) else {
                continue;
            };
            let (at, error) = match busy {
                true => (entry, "Invalid uncommitted range descriptor"),
                false => (end, "Missing BUSY flag for an uncommitted range"),
            };
            let complaint = format!(
                "HEAP {:08x} (Seg {:08x}) At {at:08x} Error: {error}\n\n",
                heap.handle(),
                segment.header
            );
            theirs = theirs.replace(&complaint, "");
            let complaint = format!(
                "Invalid uncommitted range descriptor {:08x}\n",
                entry + heap.unit()
            );
            theirs = theirs.replacen(&complaint, "", 1);
        }
    }
    if theirs == expected {
        return (theirs, actual.to_owned());
    }
    theirs = theirs.replace(
        "    Unable to read nt!_HEAP_UCR_DESCRIPTOR structure at 00000000\n",
        "",
    );
    // Ours without the ranges, and with a map of zeros.
    let ranges = || {
        heaps
            .iter()
            .flat_map(|h| &h.segments)
            .flat_map(|s| &s.ranges)
    };
    let is_range = |line: &str| {
        ranges().any(|range| {
            let (start, size) = (range.start, range.size);
            line == format!("            {start:08x}: {size:08x}  ({size} bytes)")
                || line == format!("        {start:08x}:      {size:08x}      - uncommitted bytes.")
        })
    };
    let mut lines = actual.lines().peekable();
    while let Some(line) = lines.next() {
        if is_range(line) {
            continue;
        }
        if let Some(map) = line.strip_prefix("    FreeList Usage:     ") {
            let list = |line: &&str| line.strip_prefix("    FreeList[ ")?.get(..2).and_then(hex);
            let lists = lines
                .clone()
                .take_while(|line| !line.ends_with(' ') || list(line).is_some());
            let lists: Vec<u64> = lists.filter_map(|line| list(&line)).collect();
            if map == free_list_map(&lists) {
                ours += "    FreeList Usage:      00000000 00000000 00000000 00000000\n";
                continue;
            }
        }
        ours += line;
        ours.push('\n');
    }
    (theirs, ours)
}

/// The map of the lists that are not empty; the first, of all sizes, has no bit.
fn free_list_map(lists: &[u64]) -> String {
    let word = |word: u64| {
        let bit = |list: &u64| u32::from(*list / 32 == word && *list != 0) << (list % 32);
        lists.iter().map(bit).fold(0, |map, bit| map | bit)
    };
    (0..4)
        .map(|index| format!(" {:08x}", word(index)))
        .collect()
}

/// Both outputs with the virtual blocks of heaps that encode nothing as entries of segments, and
/// without the debugger's message behind their list.
fn as_entries(
    process: &Process<'_, '_>,
    heaps: &[NtHeap<'_, '_>],
    expected: &str,
    actual: &str,
) -> (String, String) {
    let mut theirs = expected.to_owned();
    let mut ours = String::new();
    for line in actual.split_inclusive('\n') {
        match as_entry(process, heaps, line.trim_end_matches('\n')) {
            Some(line) => {
                ours += &line;
                ours.push('\n');
            }
            None => ours += line,
        }
    }
    if ours != actual {
        let message =
            "    Unable to read nt!_HEAP_VIRTUAL_ALLOC_ENTRY structure at 0000000000000000\n";
        theirs = theirs.replacen(message, "", 1);
    }
    (theirs, ours)
}

/// The row of a virtual block with the numbers that the entry would have in a segment: its size
/// field counts units there, and its last byte is all that is unused.
pub(crate) fn as_entry(
    process: &Process<'_, '_>,
    heaps: &[NtHeap<'_, '_>],
    line: &str,
) -> Option<String> {
    let block = |wanted: &dyn Fn(&VirtualBlock) -> bool| {
        heaps.iter().find_map(|heap| {
            let block = heap.virtual_blocks.iter().find(|block| wanted(block))?;
            let raw = heap.raw_entry_at(block.entry)?;
            (!raw.encoded).then_some((raw.size, u64::from(raw.entry.unused)))
        })
    };
    if let Some((element, rest)) = line.trim_start().split_once(": ")
        && rest.contains(" [commited ")
    {
        let element_address = hex(element)?;
        let (size, unused) = block(&|block| block.element == element_address)?;
        let tag = if is_tagged(process) { " (?)" } else { "" };
        return Some(format!(
            "        {element}: {:08x} [commited {size:x}, unused {unused:x}] - busy (b){tag}",
            size.saturating_sub(unused)
        ));
    }
    // Rows of -x: size, that of the entry before, unused bytes.
    let entry = hex(line.split(' ').next()?)?;
    let (size, unused) = block(&|block| block.entry == entry)?;
    let numbers = 4 * (2 + 2 * process.bitness.pointer_size() as usize);
    let flags = line.get(numbers + 30..)?;
    flags.contains("virtual").then(|| {
        format!(
            "{}{size:8x}  {:8x}  {unused:8x}  {flags}",
            &line[..numbers],
            0
        )
    })
}

fn is_tagged(process: &Process<'_, '_>) -> bool {
    /// `FLG_HEAP_ENABLE_TAGGING`.
    const TAGGING: u32 = 0x800;
    process.nt_global_flag.unwrap_or(0) & TAGGING != 0
}

/// 2023: `-v 0` checks the first heap's last segment again for every heap, with that heap's key.
/// Ours with what it is bound to find, in place of the empty line in front of segments.
fn with_checks_of_first(
    process: &Process<'_, '_>,
    heaps: &[NtHeap<'_, '_>],
    actual: &str,
) -> Option<String> {
    let first = heaps.first()?;
    let segment = first.segments.last()?;
    let mut ours = String::new();
    let mut current: Option<&NtHeap<'_, '_>> = None;
    for line in actual.split_inclusive('\n') {
        let handle = || hex(line.trim_end().split_once(":   ")?.1);
        if let Some(handle) = handle() {
            let found = heaps.iter().find(|heap| heap.handle() == handle);
            current = found.or(current);
        }
        match current {
            Some(heap) if line == "\n" && heap.handle() != first.handle() => {
                ours += &check(process, segment, heap);
            }
            _ => ours += line,
        }
    }
    Some(ours)
}

/// What a check of a segment finds that decodes its entries with the key of another heap.
fn check(process: &Process<'_, '_>, segment: &Segment, heap: &NtHeap<'_, '_>) -> String {
    let mut text = String::new();
    let mut previous = None;
    let mut at = segment.header;
    let mut ranges = segment.ranges.iter();
    let mut range = ranges.next();
    while at < segment.end {
        if let Some(gap) = range.filter(|range| range.start == at) {
            at = gap.end();
            range = ranges.next();
            continue;
        }
        let Some(entry) = heap
            .raw_entry_at(at)
            .filter(|_| process.memory().u64(at + heap.unit() - 8).is_some())
        else {
            text += &format!("            unable to read heap entry at {at:08x}\n");
            break;
        };
        let before = entry.entry.previous_size;
        match previous {
            None if before != 0 => {
                text += "    PreviousSize field is non-zero when it should be zero to mark first entry\n";
            }
            Some((size, last)) if before != size => {
                text += &format!(
                    "    \n##CORRUPTION FOUND at 0x{:08X}\n    PreviousSize field does not match Size \
                     field in previous entry \n    Entry->PreviousSize == {:#x}\n    \
                     PreviousEntry->Size == {last:#x}\n",
                    at as u32, entry.entry.size
                );
            }
            _ => {}
        }
        if entry.size == 0 {
            break;
        }
        previous = Some((entry.entry.size, before));
        at += entry.size;
    }
    if !text.is_empty() {
        text += &format!(
            "##The above errors were found in segment at {:#010X}\n",
            segment.header as u32
        )
        .replace("0X", "0x");
    }
    text
}

/// Without the type of a pseudo tag the debugger complains of each instead of reading it. Ours with
/// these complaints in place of its rows, which are those of the tags that were used.
fn without_pseudo_tags(process: &Process<'_, '_>, expected: &str, actual: &str) -> Option<String> {
    const CAPTION: &str = " Tag Name            Allocs    Frees   Diff  Allocated\n";
    const COMPLAINT: &str = ": unable to read HEAP_PSEUDO_TAG_ENTRY at ";
    let (head, rows) = actual.split_once(CAPTION)?;
    let complaint = expected.lines().find(|line| line.contains(COMPLAINT))?;
    let (index, first) = complaint.split_once(COMPLAINT)?;
    let size = u64::from(process.layouts.pseudo_tag_entry.struct_size);
    let table = hex(first)?.checked_sub(hex(index)? * size)?;
    let handle = hex(head.lines().nth(1)?.split_once(":   ")?.1.trim_end())?;
    let heap = process.memory().at(handle, process.bitness);
    if heap.pointer(process.layouts.heap.pseudo_tag_entries) != Some(table) {
        return None;
    }
    let width = 2 * process.bitness.pointer_size() as usize;
    let mut ours = format!("{head}{CAPTION}");
    let mut rows = rows.lines();
    for index in 1..=0x80 {
        let at = table + index * size;
        ours += &format!("{index:04x}{COMPLAINT}{at:0width$x}\n");
        // Allocations, frees, and the sum in units.
        let number = |offset| process.memory().u32(at + offset);
        let (allocations, frees) = (number(0)?, number(4)?);
        if allocations != 0 {
            let row = rows.next()?;
            let bytes = process.memory().pointer(at + 8, process.bitness)? * process.bitness.unit();
            let numbers = format!(
                " {allocations:8} {frees:8} {:6} {bytes:10}",
                allocations.wrapping_sub(frees)
            );
            if !row.starts_with(&format!("{index:04x}: ")) || !row.ends_with(&numbers) {
                return None;
            }
        }
    }
    rows.next().is_none().then_some(ours)
}
