//! The entries of a segment, as `!heap -h`, `-a` and `-hl` list them.

use std::fmt::{self, Write};

use super::{format::digits, header::indent};
use ntheap::{
    blocks::{Block, Kind, State, TryVisitor, try_visit},
    heap::nt::flags::{EXTRA, FILL, INTERNAL, USER as USER_FLAGS},
    heap::nt::{NtHeap, Piece, RawEntry, Segment},
    layout::Bitness,
};

const USER_FLAGS_SHIFT: u32 = 5;
/// `HEAP_ENTRY_LAST_ENTRY`: the entry in front of an uncommitted range counts as one.
const LAST: u32 = 0x10;
/// What the flags column shows besides the flags of an encoded entry.
const ENCODED: u32 = 0x100;

/// Writes address, sizes and flags of an entry, without an end of line.
pub(super) fn chain(entry: &RawEntry, bitness: Bitness, out: &mut dyn Write) -> fmt::Result {
    let width = digits(bitness);
    let mut flags = u32::from(entry.entry.flags & !INTERNAL);
    if entry.encoded {
        flags |= ENCODED;
    }
    if entry.marker {
        flags |= LAST;
    }
    write!(
        out,
        "        {:0width$x}: {:05x} . {:05x} [{flags:02x}]",
        entry.address, entry.previous_size, entry.size,
    )
}

/// Prints the entries of one segment.
pub(super) fn entries(
    heap: &NtHeap<'_, '_>,
    index: usize,
    segment: &Segment,
    slots: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = heap.bitness();
    let width = digits(bitness);
    writeln!(
        out,
        "    Heap entries for Segment{index:02} in Heap {:0width$x}\n{}address: psize . size  \
         flags   state (requested size)",
        heap.handle(),
        indent(bitness)
    )?;
    let mut end = segment.header;
    heap.pieces(segment, &mut |piece| {
        match piece {
            Piece::Entry(entry) => {
                end = entry.address + entry.size;
                self::entry(heap, &entry, out)?;
                if slots && entry.is_busy() {
                    self::slots(heap, segment, &entry, out)?;
                }
            }
            Piece::Uncommitted { start, size } => {
                end = start + size;
                uncommitted(start, size, width, out)?;
            }
            Piece::Corrupt { start, size } => {
                end = start + size;
                writeln!(
                    out,
                    "        {start:0width$x}:      {size:08x}      - no valid entry."
                )?;
            }
        }
        Ok(())
    })?;
    // Ranges of no size stand where the last committed page ends.
    if segment.uncommitted_ranges as usize > segment.ranges.len() {
        uncommitted(end, 0, width, out)?;
    }
    Ok(())
}

fn uncommitted(start: u64, size: u64, width: usize, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "        {start:0width$x}:      {size:08x}      - uncommitted bytes."
    )
}

fn entry(heap: &NtHeap<'_, '_>, entry: &RawEntry, out: &mut dyn Write) -> fmt::Result {
    chain(entry, heap.bitness(), out)?;
    let flags = entry.entry.flags;
    if !entry.is_busy() {
        if flags & FILL != 0 {
            write!(out, " free fill")?;
        }
        return writeln!(out);
    }
    write!(out, " - busy ({:x})", entry.requested())?;
    if flags & FILL != 0 {
        write!(out, ", tail fill")?;
    }
    if flags & EXTRA != 0
        && let Some(value) = heap.user_value(entry)
    {
        write!(out, " (Handle {value:08x})")?;
        // Heaps with tags, where nothing is encoded, have the name of a tag here.
        if !entry.encoded && !heap.is_xp() {
            write!(out, " ()")?;
        }
    }
    let user = (flags & USER_FLAGS) >> USER_FLAGS_SHIFT;
    if user != 0 {
        write!(out, ", user flags ({user:x})")?;
    }
    if flags & INTERNAL != 0 {
        write!(out, " Internal ")?;
    }
    writeln!(out)
}

/// Prints the slots of an LFH container.
fn slots(
    heap: &NtHeap<'_, '_>,
    segment: &Segment,
    entry: &RawEntry,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut printer = Slots {
        width: digits(heap.bitness()),
        user_blocks: entry.user,
        any: false,
        out,
    };
    try_visit(&mut printer, |visitor| {
        heap.walk_entry(segment, entry.address, visitor)
    })?;
    if printer.any {
        writeln!(out)?;
    }
    Ok(())
}

struct Slots<'o> {
    width: usize,
    user_blocks: u64,
    any: bool,
    out: &'o mut dyn Write,
}

impl Slots<'_> {
    fn row(&mut self, block: &Block) -> fmt::Result {
        let width = self.width;
        if !self.any {
            self.any = true;
            writeln!(
                self.out,
                "\n        LFH data region at {:0width$x} (subsegment {:0width$x}):",
                self.user_blocks, block.container
            )?;
        }
        write!(
            self.out,
            "            {:0width$x}: {:05x} - ",
            block.entry, block.block_size
        )?;
        match block.state {
            State::Busy => writeln!(self.out, "busy ({:x})", block.size),
            State::Free | State::Freed => writeln!(self.out, "free"),
        }
    }
}

impl TryVisitor for Slots<'_> {
    type Error = fmt::Error;

    fn block(&mut self, block: &Block) -> fmt::Result {
        match block.kind {
            Kind::Lfh => self.row(block),
            _ => Ok(()),
        }
    }
}
