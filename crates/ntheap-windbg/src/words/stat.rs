//! `!heap -stat` and `!heap -stat -h H`.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{
    heap::{
        Heap, Heaps,
        nt::{NtHeap, Segment},
    },
    layout::Bitness,
    stats::{HeapStatistics, Order, total},
};

/// Rows that are printed when the command does not say how many.
pub const DEFAULT_ROWS: usize = 20;

/// `!heap -stat`: segments and virtual blocks of each heap, largest first.
///
/// The debugger prints the address of the list of virtual blocks as `VirtAlloc bytes` and sorts by
/// it; this is the number of bytes (see docs/fidelity.md). A page heap is listed by its own handle,
/// with the numbers of the normal heap behind it.
///
/// # Errors
/// Those of `out`.
pub(crate) fn heap_sizes(
    heaps: &Heaps<'_, '_>,
    bitness: Bitness,
    out: &mut dyn Write,
) -> fmt::Result {
    let row = |opened: &Heap<'_, '_>, heap: &NtHeap<'_, '_>| {
        let sum = |size: fn(&Segment) -> u64| total(heap.segments.iter().map(size));
        HeapSizes {
            handle: opened.handle(),
            segments: heap.segments.len(),
            reserved: sum(|s| s.reserved),
            committed: sum(Segment::committed),
            virtual_blocks: heap.virtual_blocks.len(),
            in_virtual: total(heap.virtual_blocks.iter().map(|b| b.committed)),
        }
    };
    // Of equal ones the last comes first.
    let mut rows: Vec<HeapSizes> = heaps
        .iter()
        .rev()
        .filter_map(|opened| Some(row(opened, opened.nt()?)))
        .collect();
    rows.sort_by_key(|row| std::cmp::Reverse(row.committed.saturating_add(row.in_virtual)));
    for row in rows {
        writeln!(out, "_HEAP {}", pointer(row.handle, bitness))?;
        writeln!(out, "     Segments            {:08x}", row.segments)?;
        let [reserved, committed, in_virtual] =
            [row.reserved, row.committed, row.in_virtual].map(|bytes| pointer(bytes, bitness));
        writeln!(out, "         Reserved  bytes {reserved}")?;
        writeln!(out, "         Committed bytes {committed}")?;
        writeln!(out, "     VirtAllocBlocks     {:08x}", row.virtual_blocks)?;
        writeln!(out, "         VirtAlloc bytes {in_virtual}")?;
    }
    Ok(())
}

/// What `!heap -stat` says of a heap.
struct HeapSizes {
    handle: u64,
    segments: usize,
    reserved: u64,
    committed: u64,
    virtual_blocks: usize,
    in_virtual: u64,
}

/// `!heap -stat -h 0`: the block sizes of every heap.
///
/// # Errors
/// Those of `out`.
pub fn all_block_sizes(
    heaps: &[HeapStatistics],
    bitness: Bitness,
    order: Order,
    rows: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    for heap in heaps {
        writeln!(out, "\nAllocations statistics for")?;
        block_sizes(heap.handle, Some(heap), bitness, order, rows, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// `!heap -stat -h H`: the block sizes of one heap; of an address that is no heap only the caption.
///
/// # Errors
/// Those of `out`.
pub fn block_sizes(
    handle: u64,
    heap: Option<&HeapStatistics>,
    bitness: Bitness,
    order: Order,
    rows: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    let (group, columns) = match order {
        Order::Total => (
            "TOTSIZE",
            "    size     #blocks     total     ( %) (percent of total busy bytes)",
        ),
        Order::Size => (
            "ALLOCATIONSIZE",
            "    size     #blocks    total     ( %) (percent of total busy bytes)",
        ),
        Order::Blocks => (
            "BLOCKCOUNT",
            "    size     #blocks    total     ( %) (percent of totalblocks)",
        ),
    };
    writeln!(out, " heap @ {}", pointer(handle, bitness))?;
    writeln!(out, "group-by: {group} max-display: {rows}")?;
    writeln!(out, "{columns}")?;
    let Some(heap) = heap else { return Ok(()) };
    for (size, count) in heap.sizes.rows(order).into_iter().take(rows) {
        let (part, whole) = match order {
            Order::Blocks => (count.blocks, heap.busy_blocks),
            Order::Total | Order::Size => (count.bytes, heap.busy_bytes),
        };
        let percent = if whole == 0 {
            0.0
        } else {
            part as f64 * 100.0 / whole as f64
        };
        writeln!(
            out,
            "    {size:x} {:x} - {:x}  ({})",
            count.blocks,
            count.bytes,
            two_digits(percent)
        )?;
    }
    Ok(())
}

/// A percentage with two digits; a half is rounded up, as the debugger's runtime does.
fn two_digits(percent: f64) -> String {
    // More digits than the number has, so that none but a true half is taken for one.
    let exact = format!("{percent:.17}");
    let (whole, digits) = exact.split_once('.').unwrap_or((&exact, ""));
    let hundredths = format!("{whole}{}", digits.get(..2).unwrap_or_default());
    let up = digits.as_bytes().get(2).is_some_and(|&digit| digit >= b'5');
    let rounded = hundredths.parse::<u64>().unwrap_or(0) + u64::from(up);
    format!("{}.{:02}", rounded / 100, rounded % 100)
}
