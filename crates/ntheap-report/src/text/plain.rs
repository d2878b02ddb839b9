//! The heaps of a process as a table for people: sorted by size, with units and a total.

use std::fmt::{self, Write};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Trace, Visitor},
    diff::human_bytes,
    heap::{Heap, Heaps, nt::FrontEndKind},
    layout::PAGE,
    names::is_allocator,
    printable::printable,
    process::Process,
    stats::{HeapStatistics, SummaryRow, collect, total},
    traces::Traces,
};

/// What the table shows of a heap.
#[derive(Debug, Clone)]
pub struct HeapOverview {
    /// Handle.
    pub handle: u64,
    /// `nt`, `segment`, ...
    pub kind: &'static str,
    /// Reserved bytes; `None` for page heaps, which keep no count.
    pub reserved: Option<u64>,
    /// Committed bytes, blocks with a mapping of their own included.
    pub committed: Option<u64>,
    /// Front end: `LFH`, `lookaside`, `none`.
    pub front_end: &'static str,
    /// Bytes of free blocks that are whole committed pages: what the heap could give back.
    pub decommittable: u64,
    /// File name of the module that created the heap, where a trace tells it.
    pub creator: Option<String>,
    /// What the walk counted.
    pub statistics: HeapStatistics,
}

impl HeapOverview {
    /// Part of the committed bytes that lies in slots of the low fragmentation heap, in per cent.
    #[must_use]
    pub fn lfh_percent(&self) -> Option<u64> {
        let slots = self
            .statistics
            .lfh_busy
            .bytes
            .saturating_add(self.statistics.lfh_free.bytes);
        slots.saturating_mul(100).checked_div(self.committed?)
    }
}

/// Gathers the rows, the largest committed first.
#[must_use]
pub fn overview(heaps: &Heaps<'_, '_>) -> Vec<HeapOverview> {
    let process = heaps.process();
    let traces = Traces::of(process);
    let pages = heaps.walk_parallel(
        |_| FreePages { process, bytes: 0 },
        |mut a, b| {
            a.bytes = a.bytes.saturating_add(b.bytes);
            a
        },
    );
    let mut rows: Vec<HeapOverview> = heaps
        .iter()
        .zip(collect(heaps))
        .zip(pages)
        .map(|((heap, statistics), pages)| {
            let (reserved, committed) = sizes(heap);
            HeapOverview {
                handle: heap.handle(),
                kind: heap.reference().kind.name(),
                reserved,
                committed,
                front_end: front_end(heap),
                decommittable: pages.bytes,
                creator: creator(process, heap, &traces),
                statistics,
            }
        })
        .collect();
    rows.sort_by_key(|row| {
        let size = row.committed.unwrap_or(row.statistics.busy_bytes);
        (std::cmp::Reverse(size), row.handle)
    });
    rows
}

fn sizes(heap: &Heap<'_, '_>) -> (Option<u64>, Option<u64>) {
    match heap {
        Heap::Nt(heap) => {
            let row = SummaryRow::of(heap, false);
            let blocks = &heap.virtual_blocks;
            let reserved = total(blocks.iter().map(|block| block.reserved));
            let committed = total(blocks.iter().map(|block| block.committed));
            (
                Some(row.reserved.saturating_add(reserved)),
                Some(row.committed.saturating_add(committed)),
            )
        }
        Heap::Segment(heap) => (Some(heap.reserved_bytes()), Some(heap.committed_bytes())),
        Heap::Page(_) => (None, None),
    }
}

fn front_end(heap: &Heap<'_, '_>) -> &'static str {
    match heap {
        Heap::Nt(heap) => match heap.header.front_end.kind {
            FrontEndKind::Lfh => "LFH",
            FrontEndKind::Lookaside => "lookaside",
            FrontEndKind::None => "none",
            FrontEndKind::Unknown(_) => "unknown",
        },
        Heap::Segment(_) => "LFH",
        Heap::Page(_) => "page heap",
    }
}

/// The module whose code created the heap: the first in the trace that is no runtime.
fn creator(
    process: &Process<'_, '_>,
    heap: &Heap<'_, '_>,
    traces: &Traces<'_, '_>,
) -> Option<String> {
    let trace = match heap {
        Heap::Nt(heap) if heap.header.creator_trace != 0 => {
            Trace::Index(heap.header.creator_trace.into())
        }
        Heap::Page(heap) => heap.root.creation,
        _ => return None,
    };
    let frames = traces.frames(trace)?;
    let modules = frames
        .iter()
        .filter_map(|&frame| process.dump.module_at(frame));
    modules
        .filter(|module| !is_allocator(module.name()))
        .map(|module| printable(module.file_name()).into_owned())
        .next()
}

/// Counts the committed whole pages inside free blocks.
struct FreePages<'c, 'p, 'a> {
    process: &'c Process<'p, 'a>,
    bytes: u64,
}

impl Visitor for FreePages<'_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        if block.state != State::Free || !matches!(block.kind, Kind::Backend | Kind::Vs) {
            return CONTINUE;
        }
        // The links of the free list lie behind the header and stay.
        let first = block.entry.saturating_add(2 * self.process.bitness.unit());
        let start = first.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX);
        let end = block.entry.saturating_add(block.block_size) & !(PAGE - 1);
        // Pages inside that were decommitted already are not in the dump.
        let held = self.process.memory().held(start, end.saturating_sub(start));
        self.bytes = self.bytes.saturating_add(held);
        CONTINUE
    }
}

/// Writes the table.
///
/// # Errors
/// Those of `out`.
pub fn summary(rows: &[HeapOverview], out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "{:<17} {:<9} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}  {:<9} {:>4} {:>11} {:>11}  creator",
        "heap",
        "kind",
        "reserved",
        "committed",
        "busy",
        "free",
        "largest",
        "returnable",
        "front end",
        "LFH",
        "LFH busy",
        "LFH free",
    )?;
    let bytes = |bytes: Option<u64>| bytes.map_or_else(|| "-".to_owned(), human_bytes);
    /// Which of the numbers is the largest free block.
    const LARGEST: usize = 4;
    let mut total = [0u64; 8];
    for row in rows {
        let statistics = &row.statistics;
        let percent = row.lfh_percent().unwrap_or(0);
        let numbers = [
            row.reserved.unwrap_or(0),
            row.committed.unwrap_or(0),
            statistics.busy_bytes,
            statistics.free.bytes,
            statistics.largest_free,
            row.decommittable,
            statistics.lfh_busy.bytes,
            statistics.lfh_free.bytes,
        ];
        for (index, number) in numbers.into_iter().enumerate() {
            // Of the largest free blocks the largest counts, of all else the sum.
            total[index] = match index {
                LARGEST => total[index].max(number),
                _ => total[index].saturating_add(number),
            };
        }
        writeln!(
            out,
            "{:<17} {:<9} {:>11} {:>11} {:>11} {:>11} {:>11} {:>11}  {:<9} {:>3}% {:>11} {:>11}  {}",
            format!("{:x}", row.handle),
            row.kind,
            bytes(row.reserved),
            bytes(row.committed),
            human_bytes(statistics.busy_bytes),
            human_bytes(statistics.free.bytes),
            human_bytes(statistics.largest_free),
            human_bytes(row.decommittable),
            row.front_end,
            percent,
            human_bytes(statistics.lfh_busy.bytes),
            human_bytes(statistics.lfh_free.bytes),
            row.creator.as_deref().unwrap_or("-"),
        )?;
    }
    let [
        reserved,
        committed,
        busy,
        free,
        largest,
        returnable,
        lfh_busy,
        lfh_free,
    ] = total.map(human_bytes);
    writeln!(
        out,
        "{:<17} {:<9} {reserved:>11} {committed:>11} {busy:>11} {free:>11} {largest:>11} \
         {returnable:>11}  {:<9} {:>4} {lfh_busy:>11} {lfh_free:>11}",
        format!("{} heaps", rows.len()),
        "",
        "",
        "",
    )
}
