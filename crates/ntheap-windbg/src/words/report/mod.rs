//! `!heap -s -h H`: the report of one heap.

mod front_end;
mod histogram;
mod listing;
mod segment;

use std::fmt::{self, Write};

use super::{flags, format::digits};
use histogram::Histogram;
use ntheap::{
    heap::{Heap, nt::NtHeap},
    process::Process,
    stats::{SummaryRow, total},
};

/// What a report is made of.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct ReportOptions {
    /// `-b`: bytes in a row of the histogram, of segment heaps in a row of the page ranges.
    pub bucket: Option<u64>,
    /// `-v`: the walk prints two dots a segment.
    pub verbose: bool,
    /// `-a`: every entry of the heap first.
    pub entries: bool,
}

/// Bytes in a row of an NT heap's histogram, unless the user says otherwise.
const DEFAULT_BUCKET: u64 = 1024;

/// Prints the report.
///
/// # Errors
/// Those of `out`.
pub(crate) fn report(
    process: &Process<'_, '_>,
    opened: &Heap<'_, '_>,
    options: ReportOptions,
    out: &mut dyn Write,
) -> fmt::Result {
    let heap = match opened {
        Heap::Nt(heap) => heap,
        Heap::Segment(heap) => return segment::write(opened, heap, options, out),
        _ => return Ok(()),
    };
    let histogram = Histogram::of(
        opened,
        heap,
        options.bucket.unwrap_or(DEFAULT_BUCKET).max(1),
    );
    if options.entries {
        writeln!(out)?;
        caption(heap, out)?;
        front_end::write(process, heap, &histogram, out)?;
        listing::write(process, heap, out)?;
        writeln!(out)?;
    } else {
        let width = digits(process.bitness);
        let segments = heap.segments.len();
        let dots = ".".repeat(if options.verbose {
            2 * segments
        } else {
            segments
        });
        writeln!(out, "Walking the heap {:0width$x} {dots}", heap.handle())?;
    }
    header(heap, out)?;
    front_end::write(process, heap, &histogram, out)?;
    histogram.write(out)
}

/// Prints handle and flags; the line of the flags is left open.
fn caption(heap: &NtHeap<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let width = digits(heap.bitness());
    writeln!(out, " 0: Heap {:0width$x}", heap.handle())?;
    write!(out, "   Flags          {:08x} - ", heap.header.flags)?;
    flags::names(heap.header.flags, false, out)
}

fn header(heap: &NtHeap<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let row = SummaryRow::of(heap, true);
    let sum =
        |size: fn(&ntheap::heap::nt::Segment) -> u64| total(heap.segments.iter().map(size)) >> 10;
    let blocks = row.free_list_length;
    caption(heap, out)?;
    writeln!(out)?;
    let reserved = sum(|segment| segment.reserved);
    writeln!(
        out,
        "   Reserved memory in segments              {reserved} (k)"
    )?;
    let committed = row.segments_committed >> 10;
    writeln!(
        out,
        "   Commited memory in segments              {committed} (k)"
    )?;
    let corrected = row.virtual_size >> 10;
    writeln!(
        out,
        "   Virtual bytes (correction for large UCR) {corrected} (k)"
    )?;
    let free = row.free >> 10;
    writeln!(
        out,
        "   Free space                               {free} (k) ({blocks} blocks)"
    )?;
    let external = row.external_fragmentation();
    writeln!(
        out,
        "   External fragmentation          {external}% ({blocks} free blocks)"
    )?;
    let address = row.address_fragmentation();
    let ranges = row.uncommitted_ranges;
    writeln!(
        out,
        "   Virtual address fragmentation   {address}% ({ranges} uncommited ranges)"
    )?;
    let in_virtual = total(heap.virtual_blocks.iter().map(|block| block.committed));
    writeln!(
        out,
        "   Virtual blocks  {} - total {} KBytes",
        heap.virtual_blocks.len(),
        in_virtual >> 10
    )?;
    match row.lock_contention {
        Some(contention) => writeln!(out, "   Lock contention {contention}")?,
        None => writeln!(out, "   Lock-free heap")?,
    }
    // What is counted are the entries of XP's array, of which later heaps have one.
    let segments = if heap.is_xp() { heap.segments.len() } else { 1 };
    writeln!(out, "   Segments        {segments}")
}
