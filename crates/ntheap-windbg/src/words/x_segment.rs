//! `!heap -x` of an address in a segment heap.

use std::fmt::{self, Write};

use super::format::digits;
use ntheap::{
    blocks::{Block, Kind, State},
    heap::{
        Heap, Heaps,
        segment::{PageRange, RangeKind, SegmentHeap},
    },
};

/// Prints what a segment heap has at an address; `false` if none holds it.
///
/// # Errors
/// Those of `out`.
pub(super) fn find(
    heaps: &Heaps<'_, '_>,
    address: u64,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    for heap in heaps {
        let Heap::Segment(heap) = heap else {
            continue;
        };
        let range = heap.page_range_at(address);
        let large = heap.large_blocks.iter();
        let mut large = large.filter(|block| address.wrapping_sub(block.start) < block.size);
        if range.is_none() && large.next().is_none() {
            continue;
        }
        let block = heaps.block_at(address);
        write(heap, address, range.as_ref(), block.as_ref(), out)?;
        return Ok(true);
    }
    Ok(false)
}

fn write(
    heap: &SegmentHeap<'_, '_>,
    address: u64,
    range: Option<&PageRange>,
    block: Option<&Block>,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(heap.bitness());
    writeln!(
        out,
        "Search was performed for the following Address: 0x{address:0width$x}\n\
         Below is a detailed information about this address.\n\
         Heap Address             : 0x{:0width$x}",
        heap.handle()
    )?;
    match (range, block) {
        (Some(range), block) => {
            in_range(range, width, out)?;
            status(range, block, width, out)?;
            writeln!(out)
        }
        (None, Some(block)) => writeln!(
            out,
            "Allocation type          : Large Allocation\n\
             Virtual address          : 0x{:0width$x}\n\
             Node metadata address    : 0x{:0width$x}\n\
             Total BlockSize          : {} Bytes\n\
             User requested size      : {} Bytes",
            block.entry, block.container, block.block_size, block.size,
        ),
        (None, None) => Ok(()),
    }
}

fn in_range(range: &PageRange, width: usize, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "The address was found in backend heap.\n\
         Segment Address          : 0x{:0width$x}\n\
         Segment Unit size        : {} Bytes\n\
         Page range index (0-255) : {}\n\
         Page descriptor address  : 0x{:0width$x}\n\
         Subsegment address       : 0x{:0width$x}\n\
         Subsegment Size          : {} Bytes",
        range.segment,
        range.unit,
        range.index,
        range.descriptor,
        range.range.start,
        range.range.size,
    )
}

/// What the range holds at the address: the slot or chunk, with its sizes.
fn status(
    range: &PageRange,
    block: Option<&Block>,
    width: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    let line =
        |out: &mut dyn Write, status: &str| writeln!(out, "Allocation status        : {status}");
    let block = match (range.range.kind, block) {
        (RangeKind::Free, _) => return line(out, "Free"),
        (RangeKind::User | RangeKind::Internal, _) => return line(out, "Backend"),
        (RangeKind::None, _) => return line(out, "Unknown"),
        // The subsegment's header, or what is left behind its last block.
        (_, None) => return line(out, "No block"),
        (_, Some(block)) => block,
    };
    let busy = block.state == State::Busy;
    // What the heap counts as unused lies behind what the program asked for.
    let used = (block.address - block.entry).saturating_add(block.size);
    let unused = block.block_size.saturating_sub(used);
    if block.kind == Kind::Vs {
        let status = if busy { "allocated" } else { "free" };
        line(out, &format!("Variable size {status} chunk."))?;
        return writeln!(
            out,
            "Chunk header address     : {:0width$x}\n\
             Chunk size (bytes)       : {}\n\
             Chunk unused bytes       : {unused}",
            block.entry, block.block_size,
        );
    }
    line(out, if busy { "LFH Allocated" } else { "LFH Free" })?;
    if busy {
        writeln!(
            out,
            "User requested size      : {} Bytes\nUnused bytes             : {unused}",
            block.size,
        )?;
    }
    writeln!(
        out,
        "Block Address            : 0x{:0width$x}\nBlock Size               : {} Bytes",
        block.entry, block.block_size,
    )
}
