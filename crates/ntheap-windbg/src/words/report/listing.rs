//! The segments of a heap and their entries, as a report with `-a` lists them.

use std::fmt::{self, Write};

use crate::words::{format::digits, x::Line};
use ntheap::{
    blocks::{Block, Kind, TryVisitor, try_visit},
    heap::nt::{NtHeap, Piece, Segment},
    layout::PAGE,
    process::Process,
};

/// Prints segment by segment, the LFH's slots below the block that holds them; then the virtual
/// blocks.
pub(super) fn write(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    for (index, segment) in heap.segments.iter().enumerate() {
        write!(out, "{index}: ")?;
        header(process, heap, segment, out)?;
        // XP's header is an entry in front of its first segment, which has one of its own.
        if heap.is_xp()
            && index == 0
            && let Some(entry) = heap.raw_entry_at(heap.handle())
        {
            Line::of_entry(heap, &entry, segment.header).write(heap.bitness(), out)?;
        }
        heap.pieces(segment, &mut |piece| match piece {
            Piece::Entry(entry) => {
                Line::of_entry(heap, &entry, segment.header).write(heap.bitness(), out)?;
                let mut slots = Slots { process, heap, out };
                if !entry.is_busy() {
                    return Ok(());
                }
                try_visit(&mut slots, |visitor| {
                    heap.walk_entry(segment, entry.address, visitor)
                })
            }
            Piece::Uncommitted { start, size } => {
                range("Uncommitted range", start, size, heap, out)
            }
            Piece::Corrupt { start, size } => range("Corrupt range", start, size, heap, out),
        })?;
    }
    for block in &heap.virtual_blocks {
        range("Virtual block:", block.element, block.committed, heap, out)?;
    }
    Ok(())
}

fn header(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    segment: &Segment,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(heap.bitness());
    let layout = &process.layouts.segment;
    let fields = process.memory().at(segment.header, heap.bitness());
    // Vista renamed both; the debugger knows the signature by its new name and the flags by their
    // old one, and shows 0 where there is no such field.
    let signature = fields.u32(layout.segment_signature).unwrap_or(0);
    let flags = fields.u32(layout.flags).unwrap_or(0);
    writeln!(out, "Segment {:0width$x}", segment.header)?;
    writeln!(out, "    Signature:                    {signature:#010x}")?;
    writeln!(out, "    Flags:                        {flags:#010x}")?;
    writeln!(
        out,
        "    Range:                        0x{:0width$x} - 0x{:0width$x}",
        segment.base,
        segment.base + segment.reserved
    )?;
    let reserved = segment.reserved >> 10;
    writeln!(out, "    Reserved memory (KBytes):     {reserved}")?;
    let committed = segment.committed() >> 10;
    writeln!(out, "    Committed memory (KBytes):    {committed}")?;
    let largest = segment.largest_uncommitted;
    writeln!(
        out,
        "    LargestUnCommittedRange:      0x{largest:0width$x}"
    )?;
    let pages = segment.reserved / PAGE;
    writeln!(out, "    Number of pages:              {pages}")?;
    let uncommitted = segment.uncommitted / PAGE;
    writeln!(out, "    Uncommitted pages:            {uncommitted}")?;
    let ranges = segment.uncommitted_ranges;
    writeln!(out, "    Uncommited ranges:            {ranges}")
}

fn range(
    what: &str,
    start: u64,
    size: u64,
    heap: &NtHeap<'_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(heap.bitness());
    writeln!(
        out,
        "{what} {start:0width$x} - {:0width$x} (size {size:0width$x})",
        start + size,
    )
}

struct Slots<'o, 'h, 'd, 'p, 'a> {
    process: &'h Process<'d, 'a>,
    heap: &'h NtHeap<'p, 'a>,
    out: &'o mut dyn Write,
}

impl TryVisitor for Slots<'_, '_, '_, '_, '_> {
    type Error = fmt::Error;

    fn block(&mut self, block: &Block) -> fmt::Result {
        match block.kind {
            Kind::Lfh => Line::of_user_block(self.process, self.heap, block)
                .write(self.heap.bitness(), self.out),
            _ => Ok(()),
        }
    }
}
