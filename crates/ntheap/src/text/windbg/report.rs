//! `!heap -s -h H`: the report of one heap.

use std::fmt::{self, Write};

use super::{flags, format::digits};
use crate::{
    blocks::{Block, Kind, State, Visitor},
    heap::{
        Heap,
        nt::{FrontEndKind, NtHeap, Piece},
    },
    process::{HeapRef, Process},
    stats::SummaryRow,
};

/// Bytes in a row of the histogram, unless the user says otherwise.
pub const DEFAULT_BUCKET: u64 = 1024;
/// Rows of the histogram; what is larger counts in the last one.
const BUCKETS: usize = 512;
/// Bytes of a zone that the LFH keeps its subsegments in.
const ZONE_BYTES: usize = 1024;
/// More zones than a heap has.
const MAX_ZONES: usize = 1 << 20;
/// Lists of cached user blocks: of 128 bytes and its doublings.
const CACHE_LISTS: u64 = 12;
const CACHE_UNIT: u64 = 128;
/// Blocks in the LFH have at most so many units.
const LFH_SIZES: usize = 1 << 12;

/// Prints the report.
///
/// # Errors
/// Those of `out`.
pub fn report(
    process: &Process<'_, '_>,
    reference: &HeapRef,
    bucket: u64,
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let opened = Heap::open(process, reference);
    let Heap::Nt(heap) = &opened else {
        return Ok(());
    };
    let width = digits(process.bitness);
    let segments = heap.segments.len();
    let dots = ".".repeat(if verbose { 2 * segments } else { segments });
    writeln!(out, "Walking the heap {:0width$x} {dots}", heap.handle())?;
    let histogram = Histogram::of(&opened, heap, bucket.max(1));
    header(heap, out)?;
    if heap.header.front_end.kind == FrontEndKind::Lfh {
        front_end(process, heap, &histogram, out)?;
    } else if heap.header.front_end.kind == FrontEndKind::Lookaside {
        let address = heap.header.front_end.address;
        writeln!(out, "\n   Lookaside heap   {address:0width$x}")?;
    }
    histogram.write(out)
}

fn header(heap: &NtHeap<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let width = digits(heap.bitness());
    let row = SummaryRow::of(heap, true);
    let sum = |size: fn(&crate::heap::nt::Segment) -> u64| {
        heap.segments.iter().map(size).sum::<u64>() >> 10
    };
    let blocks = row.free_list_length;
    writeln!(out, " 0: Heap {:0width$x}", heap.handle())?;
    write!(out, "   Flags          {:08x} - ", row.flags)?;
    flags::names(row.flags, false, out)?;
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
    let in_virtual: u64 = heap
        .virtual_blocks
        .iter()
        .map(|block| block.committed)
        .sum();
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

/// The low fragmentation heap: its statistics, its cache of user blocks, its buckets.
fn front_end(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    histogram: &Histogram<'_, '_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = process.bitness;
    let width = digits(bitness);
    let memory = process.memory();
    let address = heap.header.front_end.address;
    let layout = &process.layouts.lfh_heap;
    let lfh = memory.at(address, bitness);
    let zones = lfh
        .address(layout.sub_segment_zones)
        .map_or(0, |head| memory.list(head, bitness, MAX_ZONES).0.len());
    let word = |field| lfh.u32(field).unwrap_or(0);
    writeln!(out, "\n   Low fragmentation heap   {address:0width$x}")?;
    writeln!(
        out,
        "       Metadata usage      {} bytes",
        zones * ZONE_BYTES
    )?;
    writeln!(out, "       Statistics:")?;
    for (name, field) in [
        ("created", layout.segment_create),
        ("deleted", layout.segment_delete),
        ("reused ", layout.segment_insert_in_free),
    ] {
        writeln!(out, "           Segments {name} {:10}", word(field))?;
    }
    writeln!(out, "       Block cache:")?;
    let entry = &process.layouts.user_memory_cache;
    for index in 0..CACHE_LISTS {
        let Some(cache) = lfh.address(layout.user_block_cache) else {
            break;
        };
        let cache = memory.at(cache + index * u64::from(entry.struct_size), bitness);
        let blocks = cache.u32(entry.available_blocks).unwrap_or(0);
        // The depth of an SLIST_HEADER follows its pointer on x86 and begins it on x64.
        let depth = cache
            .address(entry.user_blocks)
            .and_then(|list| match bitness {
                crate::layout::Bitness::X86 => memory.u16(list + bitness.pointer_size()),
                crate::layout::Bitness::X64 => memory.u16(list),
            });
        let depth = depth.unwrap_or(0);
        if blocks != 0 || depth != 0 {
            let bytes = CACHE_UNIT << index;
            writeln!(
                out,
                "\t\t{index:2}: {bytes:12} bytes ({blocks:6},{depth:6})"
            )?;
        }
    }
    writeln!(out, "\n       Buckets info:")?;
    writeln!(out, "  Size   Blocks  Seg  Empty  Aff    Distribution")?;
    writeln!(out, "------------------------------------------------")?;
    for (units, slots) in histogram.slots.iter().enumerate() {
        if slots.containers > 0 {
            let size = units as u64 * heap.unit();
            let (blocks, containers) = (slots.blocks, slots.containers);
            writeln!(
                out,
                "{size:6} {blocks:7} {containers:5} {:6} {:2} ({containers}-{blocks},0-0)",
                slots.empty, 0
            )?;
        }
    }
    writeln!(out, "------------------------------------------------")
}

/// Slots of one size.
#[derive(Debug, Clone, Copy, Default)]
struct Slots {
    blocks: u64,
    containers: u64,
    empty: u64,
}

/// Counts of a row.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    busy: u64,
    free: u64,
    front_busy: u64,
    front_free: u64,
    unused: u64,
}

struct Histogram<'h, 'p, 'a> {
    heap: &'h NtHeap<'p, 'a>,
    bucket: u64,
    unit: u64,
    rows: Vec<Counts>,
    slots: Vec<Slots>,
    /// Container that the walk is in, whether a slot of it was busy, and its slots' units.
    container: Option<(u64, bool, usize)>,
    /// The entry that the walk met last outside the LFH.
    entry: u64,
}

impl<'h, 'p, 'a> Histogram<'h, 'p, 'a> {
    fn of(opened: &Heap<'_, '_>, heap: &'h NtHeap<'p, 'a>, bucket: u64) -> Self {
        let mut histogram = Histogram {
            heap,
            bucket,
            unit: heap.unit(),
            rows: vec![Counts::default(); BUCKETS],
            slots: vec![Slots::default(); LFH_SIZES],
            container: None,
            entry: 0,
        };
        for segment in &heap.segments {
            // The visitor never fails.
            let _ = heap.pieces::<std::convert::Infallible>(segment, &mut |piece| {
                if let Piece::Entry(entry) = piece {
                    let row = histogram.row(entry.size);
                    if entry.is_busy() {
                        row.busy += 1;
                        row.unused += entry.unused;
                    } else {
                        row.free += 1;
                    }
                }
                Ok(())
            });
        }
        histogram.rows[BUCKETS - 1].busy += heap.virtual_blocks.len() as u64;
        opened.walk(&mut histogram);
        histogram.finish_container();
        histogram
    }

    fn row(&mut self, size: u64) -> &mut Counts {
        let index = (size / self.bucket).min(BUCKETS as u64 - 1);
        &mut self.rows[index as usize]
    }

    /// Takes back the entry that holds the slots.
    fn leave_out(&mut self, entry: u64) {
        if let Some(entry) = self.heap.raw_entry_at(entry) {
            let row = self.row(entry.size);
            row.busy = row.busy.saturating_sub(1);
            row.unused = row.unused.saturating_sub(entry.unused);
        }
    }

    fn finish_container(&mut self) {
        if let Some((_, any_busy, units)) = self.container.take() {
            self.slots[units].empty += u64::from(!any_busy);
        }
    }

    fn write(&self, out: &mut dyn Write) -> fmt::Result {
        const RULE: &str = "------------------------------------------------------------------ ";
        writeln!(
            out,
            "\n                    Default heap   Front heap       Unused bytes\n   Range \
             (bytes)     Busy  Free    Busy   Free     Total  Average \n{RULE}"
        )?;
        let mut total = Counts::default();
        for (index, row) in self.rows.iter().enumerate() {
            if row.busy + row.free + row.front_busy + row.front_free == 0 {
                continue;
            }
            let from = index as u64 * self.bucket;
            write!(out, "{from:6} - {:6}", from + self.bucket)?;
            counts(row, out)?;
            total.busy += row.busy;
            total.free += row.free;
            total.front_busy += row.front_busy;
            total.front_free += row.front_free;
            total.unused += row.unused;
        }
        write!(out, "{RULE}\n  Total        ")?;
        counts(&total, out)
    }
}

fn counts(row: &Counts, out: &mut dyn Write) -> fmt::Result {
    let average = row
        .unused
        .checked_div(row.busy + row.front_busy)
        .unwrap_or(0);
    writeln!(
        out,
        "{:9}{:7}{:7}{:7}{:11}{average:7}",
        row.busy, row.free, row.front_busy, row.front_free, row.unused
    )
}

impl Visitor for Histogram<'_, '_, '_> {
    fn block(&mut self, block: &Block) {
        if block.kind != Kind::Lfh {
            self.entry = block.entry;
            return;
        }
        let busy = block.state == State::Busy;
        let row = self.row(block.block_size);
        if busy {
            row.front_busy += 1;
            row.unused += block.block_size.saturating_sub(block.size);
        } else {
            row.front_free += 1;
        }
        let units = (block.block_size / self.unit) as usize;
        let units = units.min(LFH_SIZES - 1);
        match &mut self.container {
            Some((container, any_busy, _)) if *container == block.container => *any_busy |= busy,
            _ => {
                self.finish_container();
                self.leave_out(self.entry);
                self.container = Some((block.container, busy, units));
                self.slots[units].containers += 1;
            }
        }
        self.slots[units].blocks += 1;
    }
}
