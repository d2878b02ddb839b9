//! What the debugger makes of Windows XP, whose structures it takes for those of Vista.

use ntheap::{
    blocks::{Block, Kind, State},
    heap::nt::{NtHeap, Piece, Segment},
};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, key, words},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "XP: uncommitted ranges and free list map misread",
        |context| context.is_xp(),
        ranges,
    ),
    known(
        "XP: cached blocks shown as busy",
        |context| context.is_xp(),
        |context, theirs| {
            context.ours.rewrite_alone(theirs, |line| {
                let row = line.strip_suffix("(busy)")?;
                let block = context.block(hex(key(line))?)?;
                (block.kind == Kind::Lookaside).then(|| format!("{row}(free LookAside)"))
            })
        },
    ),
    known(
        "XP: cached blocks listed below the table of -s -a",
        |context| context.is_xp() && context.is("!heap -s"),
        |context, theirs| {
            context
                .ours
                .drop(theirs, |line| lookaside(context, line) == Some(true))
        },
    ),
    known(
        "XP: -p prints nothing",
        |context| context.is_xp() && context.typed == "!heap -p",
        |context, theirs| context.instead(theirs, theirs.iter().all(|line| line.trim().is_empty())),
    ),
    known(
        "XP: unused bytes of a free block left from before",
        |context| context.is_xp(),
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| stale_unused(context, theirs, ours))
        },
    ),
    known(
        "XP: the header of an LFH slot not decoded",
        |context| context.is_xp(),
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| slot(context, theirs, ours))
        },
    ),
];

/// `HEAP_ENTRY_LAST_ENTRY`.
const LAST: u8 = 0x10;
/// Offset of `_HEAP_ENTRY.UnusedBytes`.
const UNUSED: u64 = 6;

/// A block as the 2015 extension lists it: of the LFH it knows the heap's own block alone, which it
/// tells by the pointer in the heap's header, so containers are blocks like any other; so are blocks
/// that lie on lookaside lists.
pub(crate) fn as_seen(block: &Block, front_end: u64, unit: u64) -> Option<Block> {
    let mut seen = *block;
    if block.kind == Kind::Lfh {
        return None;
    }
    if block.kind == Kind::Lookaside {
        (seen.kind, seen.state) = (Kind::Backend, State::Busy);
    }
    seen.internal = block.address == front_end;
    // Six bits are read of the count, which is ff where more bytes are unused.
    const LARGEST: u64 = 0xff;
    const BITS: u64 = 0x3f;
    let unused = block.block_size.saturating_sub(block.size);
    if seen.kind == Kind::Backend && seen.state == State::Busy {
        seen.size = block.block_size.saturating_sub(unused.min(LARGEST) & BITS);
    }
    if seen.internal {
        // With what lies behind the block, such as the record of a trace.
        seen.size = block.block_size.saturating_sub(unit);
    }
    Some(seen)
}

/// The entry at the end of the segment's first committed run.
fn last_of_run(heap: &NtHeap<'_, '_>, segment: &Segment) -> Option<u64> {
    let found = heap.pieces(segment, &mut |piece| match piece {
        Piece::Entry(entry) if entry.entry.flags & LAST != 0 => Err(entry.address),
        _ => Ok(()),
    });
    found.err()
}

/// Behind the last entry of a run the debugger wants what Vista has there, and complains. The ranges'
/// own list it does not read at all, nor the map of the free lists.
fn ranges(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    const UNREADABLE: &str = "    Unable to read nt!_HEAP_UCR_DESCRIPTOR structure at 00000000";
    const DESCRIPTOR: &str = "Invalid uncommitted range descriptor ";
    const MAP: &str = "    FreeList Usage:     ";
    let mut changed = false;
    let mut index = 0;
    while index < theirs.len() {
        match complaint(context, &theirs[index]) {
            // What was printed goes on behind the complaint's empty line.
            Some(at) if theirs.get(index + 1).is_some_and(String::is_empty) => {
                let before = theirs[index][..at].to_owned();
                theirs.drain(index..index + 2);
                if let Some(next) = theirs.get_mut(index) {
                    next.insert_str(0, &before);
                }
                changed = true;
            }
            _ => index += 1,
        }
    }
    let segments = || {
        let heaps = context.model.nt_heaps();
        heaps.flat_map(|heap| heap.segments.iter().map(move |segment| (heap, segment)))
    };
    let descriptors: Vec<u64> = segments()
        .filter_map(|(heap, segment)| Some(last_of_run(heap, segment)? + heap.unit()))
        .collect();
    let ours = &context.ours;
    changed |= ours.drop(theirs, |line| {
        let descriptor = line.strip_prefix(DESCRIPTOR).and_then(hex);
        line == UNREADABLE || descriptor.is_some_and(|at| descriptors.contains(&at))
    });
    let maps = |lines: &[String]| -> Vec<usize> {
        (0..lines.len())
            .filter(|at| lines[*at].starts_with(MAP))
            .collect()
    };
    let empty = format!("{MAP}{}", free_list_map(&[]));
    for (wrong, right) in maps(theirs).into_iter().zip(maps(&ours.lines)) {
        let map = format!("{MAP}{}", free_list_map(&lists(&ours.lines[right + 1..])));
        if theirs[wrong] == empty && map != empty && map == ours.lines[right] {
            theirs[wrong] = map;
            changed = true;
        }
    }
    let is_range = |line: &str| {
        let mut ranges = segments().flat_map(|(_, segment)| &segment.ranges);
        ranges.any(|range| {
            let (start, size) = (range.start, range.size);
            line == format!("            {start:08x}: {size:08x}  ({size} bytes)")
                || line == format!("        {start:08x}:      {size:08x}      - uncommitted bytes.")
                || line.starts_with(&format!("Uncommitted range {start:08x} "))
        })
    };
    changed | ours.put_back(theirs, |index| is_range(&ours.lines[index]))
}

/// Where in a line a complaint of uncommitted ranges begins that there is a reason for: the place is
/// the start of a range or the end of a segment, or the last entry in front of one.
fn complaint(context: &Context<'_, '_>, line: &str) -> Option<usize> {
    // `HEAP H (Seg S) At A Error: ...`
    let start = line.find("HEAP ")?;
    let (heap, rest) = line[start..].strip_prefix("HEAP ")?.split_once(" (Seg ")?;
    let (segment, rest) = rest.split_once(") At ")?;
    let (at, error) = rest.split_once(' ')?;
    let (heap, segment, at) = (context.nt(hex(heap)?)?, hex(segment)?, hex(at)?);
    let segment = heap.segments.iter().find(|s| s.header == segment)?;
    let ends = |at| at == segment.end || segment.ranges.iter().any(|range| range.start == at);
    let proved = match error {
        "Error: Missing BUSY flag for an uncommitted range" => ends(at),
        "Error: Invalid uncommitted range descriptor" => {
            let entry = heap.raw_entry_at(at)?;
            ends(entry.address + entry.size)
        }
        _ => false,
    };
    proved.then_some(start)
}

/// The free lists that stand below a map, with their blocks.
fn lists(lines: &[String]) -> Vec<u64> {
    let list = |line: &String| hex(line.strip_prefix("    FreeList[ ")?.get(..2)?);
    let below = lines
        .iter()
        .take_while(|line| !line.ends_with(' ') || list(line).is_some());
    below.filter_map(list).collect()
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

/// Whether a row is that of a block on a lookaside list.
fn lookaside(context: &Context<'_, '_>, line: &str) -> Option<bool> {
    line.trim_end().strip_suffix(" - lookaside")?;
    context.is_row_of(hex(key(line))?, line)
}

/// The row of a free block: its entry still counts the unused bytes of the block that it was.
fn stale_unused(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    const COLUMN: usize = 6;
    let (mut wrong, mut right) = (words(theirs), words(ours));
    let count = context.process.memory().u8(hex(right.first()?)? + UNUSED)?;
    let proved = wrong.len() == right.len()
        && right.get(COLUMN + 1) == Some(&"free")
        && right.remove(COLUMN) == "0"
        && hex(wrong.remove(COLUMN))? == u64::from(count)
        && wrong == right;
    proved.then(|| ours.to_owned())
}

/// The row of an LFH slot: its `SubSegmentCode` is shown as it is, for the subsegment; the size, which
/// would be the subsegment's, is 0, the state always free, and the unused bytes are the header's.
fn slot(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    const CODE: u64 = 0;
    let (wrong, right) = (words(theirs), words(ours));
    let [entry, _, _, segment, size, previous, unused, state] = wrong[..] else {
        return None;
    };
    let memory = context.process.memory();
    let entry = hex(entry)?;
    let proved = wrong.len() == right.len()
        && wrong[..3] == right[..3]
        && hex(segment)? == u64::from(memory.u32(entry + CODE)?)
        && (size, previous, state) == ("0", "-", "LFH;free")
        && hex(unused)? == u64::from(memory.u8(entry + UNUSED)?)
        && right[7].starts_with("LFH;");
    proved.then(|| ours.to_owned())
}
