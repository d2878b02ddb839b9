//! What the debugger makes of Windows XP, whose structures it takes for those of Vista.

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    heap::Heap,
    process::Process,
};

use crate::excuse::hex;

/// Whether the process is one of Windows XP or 2003: nothing in its heaps is encoded.
pub(crate) fn is_xp(process: &Process<'_, '_>) -> bool {
    process.layouts.heap.encoding.is_none()
}

/// A block as the extension lists it: of the LFH it knows the heap's own block alone, which it tells by
/// the pointer in the heap's header, so containers are blocks like any other; so are blocks that lie
/// on lookaside lists.
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

/// The text without complaints about the uncommitted ranges of a heap's segments, which are looked for
/// where Vista has them. Each follows the dot of its segment, and ends a line of its own.
pub(crate) fn without_complaints(process: &Process<'_, '_>, text: &str) -> String {
    const START: &str = "HEAP ";
    const KINDS: [&str; 2] = [
        " Error: Missing BUSY flag for an uncommitted range\n\n",
        " Error: Invalid uncommitted range descriptor\n\n",
    ];
    // `HEAP H (Seg S) At A Error: ...`
    let complaint = |text: &str| {
        let (heap, rest) = text.strip_prefix(START)?.split_once(" (Seg ")?;
        let (segment, rest) = rest.split_once(") At ")?;
        let end = rest.find(" Error:")?;
        let kind = KINDS.iter().find(|kind| rest[end..].starts_with(**kind))?;
        let (heap, segment) = (hex(heap)?, hex(segment)?);
        let at = hex(&rest[..end])?;
        let Heap::Nt(heap) = Heap::open(process, process.heap(heap).ok()?) else {
            return None;
        };
        let mut segments = heap.segments.iter();
        segments
            .any(|s| s.header == segment && (s.base..=s.base + s.reserved).contains(&at))
            .then_some(text.len() - rest.len() + end + kind.len())
    };
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(START) {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let length = complaint(from);
        if length.is_none() {
            kept.push_str(START);
        }
        rest = &from[length.unwrap_or(START.len())..];
    }
    kept + rest
}

/// The text without the rows of blocks that lie on lookaside lists.
pub(crate) fn without_lookaside(process: &Process<'_, '_>, text: &str) -> String {
    if !text.contains(" - lookaside ") {
        return text.to_owned();
    }
    #[derive(Default)]
    struct Cached(std::collections::BTreeMap<u64, u64>);
    impl Visitor for Cached {
        fn block(&mut self, block: &Block) -> Flow {
            if block.kind == Kind::Lookaside {
                self.0.insert(block.entry, block.block_size);
            }
            CONTINUE
        }
    }
    let mut cached = Cached::default();
    for reference in &process.heaps {
        let _ = Heap::open(process, reference).walk(&mut cached);
    }
    let known = |line: &str| {
        let words: Vec<&str> = line
            .trim_end()
            .strip_suffix(" - lookaside")?
            .split_whitespace()
            .collect();
        let size = cached.0.get(&hex(words.first()?)?)?;
        (hex(words.get(4)?)? == *size).then_some(())
    };
    let lines = text.split_inclusive('\n');
    lines.filter(|line| known(line).is_none()).collect()
}

/// The row of a free block: its entry still counts the unused bytes of the block that it was.
pub(crate) fn stale_unused(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    const COLUMN: usize = 6;
    let mut theirs: Vec<&str> = expected.split_whitespace().collect();
    let mut ours: Vec<&str> = actual.split_whitespace().collect();
    let entry = hex(ours.first()?)?;
    let count = process.memory().u8(entry + UNUSED)?;
    let proved = is_xp(process)
        && theirs.len() == ours.len()
        && ours.get(COLUMN + 1) == Some(&"free")
        && ours.remove(COLUMN) == "0"
        && hex(theirs.remove(COLUMN))? == u64::from(count)
        && theirs == ours;
    proved.then_some("XP: unused bytes of a free block left from before")
}

/// Offset of `_HEAP_ENTRY.UnusedBytes`.
const UNUSED: u64 = 6;

/// The row of an LFH slot: its `SubSegmentCode` is shown as it is, for the subsegment; the size, which
/// would be the subsegment's, is 0, the state always free, and the unused bytes are the header's.
pub(crate) fn slot(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    const CODE: u64 = 0;
    let theirs: Vec<&str> = expected.split_whitespace().collect();
    let ours: Vec<&str> = actual.split_whitespace().collect();
    let [entry, .., segment, size, previous, unused, state] = theirs[..] else {
        return None;
    };
    let memory = process.memory();
    let entry = hex(entry)?;
    let proved = is_xp(process)
        && theirs.len() == ours.len()
        && theirs[..3] == ours[..3]
        && hex(segment)? == u64::from(memory.u32(entry + CODE)?)
        && size == "0"
        && previous == "-"
        && hex(unused)? == u64::from(memory.u8(entry + UNUSED)?)
        && state == "LFH;free"
        && ours[7].starts_with("LFH;");
    proved.then_some("XP: the header of an LFH slot not decoded")
}
