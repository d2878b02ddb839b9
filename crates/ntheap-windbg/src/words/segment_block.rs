//! A block of a segment heap: the range of pages that it lies in, and its sizes.

use std::fmt::{self, Write};

use super::format::digits;
use ntheap::{
    blocks::{Block, State},
    heap::segment::{PageRange, RangeKind, SegmentHeap},
};

/// The flags of a range in use as builds from 17134 on number them.
const FIRST_AND_ALLOCATED: u8 = 0x3;
const INTERNAL: u8 = 0x4;
const LFH: u8 = 0x8;
const VS: u8 = 0xc;

/// Prints a block of this heap.
///
/// # Errors
/// Those of `out`.
pub(crate) fn segment_block(
    heap: &SegmentHeap<'_, '_>,
    block: &Block,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(heap.bitness());
    let address = block.address;
    writeln!(out)?;
    match heap.page_range_at(block.entry) {
        Some(place) => range(&place, address, width, out)?,
        None => writeln!(
            out,
            "The address {address:0width$x} is in a Large Allocation of heap {:0width$x}\n\
             Node metadata address:         {:0width$x}",
            heap.handle(),
            block.container,
        )?,
    }
    let state = match block.state {
        State::Busy => "Busy",
        State::Free | State::Freed => "Free",
    };
    // What the heap counts as unused lies behind what the program asked for.
    let used = (address - block.entry).saturating_add(block.size);
    let unused = block.block_size.saturating_sub(used);
    writeln!(
        out,
        "\nUserAddress:             0x{address:0width$x}\n\
         Block is :                {state}\n\
         Total Block Size (Bytes): {:#x}\n\
         User Size (bytes):        {:#x}\n\
         UnusedBytes (bytes):      {unused:#x}",
        block.block_size, block.size,
    )?;
    match heap.extra(block) {
        Some(extra) if extra.value != 0 => writeln!(
            out,
            "Extra Stuff Present in this block at {:0width$x}\n\
             Extra Space reserved (Bytes): {:#x}\n\
             UserSettable Value :          0x{:0width$x}",
            extra.address, extra.reserved, extra.value,
        ),
        _ => Ok(()),
    }
}

fn range(place: &PageRange, address: u64, width: usize, out: &mut dyn Write) -> fmt::Result {
    let (flags, kind) = match place.range.kind {
        RangeKind::Free | RangeKind::None => (0, ""),
        RangeKind::User => (FIRST_AND_ALLOCATED, "First Allocated "),
        RangeKind::Internal => (FIRST_AND_ALLOCATED | INTERNAL, "First Allocated "),
        RangeKind::Lfh => (FIRST_AND_ALLOCATED | LFH, "First Allocated LFH "),
        RangeKind::Vs => (FIRST_AND_ALLOCATED | VS, "First Allocated VS"),
    };
    writeln!(
        out,
        "The address {address:0width$x} is in Segment {:0width$x}\n\
         Page range descriptor address: {:0width$x}\n\
         Page range start address:      {:0width$x}\n\
         Range flags ({flags:x}): {kind}",
        place.segment, place.descriptor, place.range.start,
    )?;
    // Of the first unit alone.
    match place.committed_pages {
        Some(pages) => writeln!(out, "Committed pages: {pages}"),
        None => Ok(()),
    }
}
