//! The address space of each heap as a strip of cells: what lies free, in use and uncommitted.

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    dump::RegionState,
    heap::Heaps,
    usage::{Owner, Usage},
};
use serde::Serialize;

/// Cells of a strip.
const CELLS: usize = 256;
/// Strips of all heaps.
const STRIPS: usize = 64;

/// An allocation of a heap: a segment, as a rule.
#[derive(Debug, Serialize)]
pub(super) struct Strip {
    heap: String,
    start: String,
    size: u64,
    busy_bytes: u64,
    free_bytes: u64,
    /// For each cell the parts, of 255, that are busy, busy in the low fragmentation heap, free, and
    /// uncommitted.
    cells: Vec<[u8; 4]>,
}

struct Segment {
    heap: u64,
    start: u64,
    end: u64,
    cells: Vec<[u64; 4]>,
}

impl Segment {
    /// Gives the bytes of a stretch to the cells that it lies in.
    fn add(&mut self, start: u64, end: u64, what: usize) {
        let (start, end) = (start.max(self.start), end.min(self.end));
        let size = self.end - self.start;
        if start >= end || size == 0 {
            return;
        }
        let cell = |address: u64| {
            (u128::from(address - self.start) * CELLS as u128 / u128::from(size)) as usize
        };
        let edge = |cell: usize| {
            self.start + (u128::from(size) * cell as u128).div_ceil(CELLS as u128) as u64
        };
        for index in cell(start)..=cell(end - 1).min(CELLS - 1) {
            let (from, to) = (edge(index).max(start), edge(index + 1).min(end));
            self.cells[index][what] += to.saturating_sub(from);
        }
    }
}

#[derive(Default)]
struct Extents(Vec<(u64, u64, usize)>);

const BUSY: usize = 0;
const LFH: usize = 1;
const FREE: usize = 2;
const UNCOMMITTED: usize = 3;

impl Visitor for Extents {
    fn block(&mut self, block: &Block) -> Flow {
        let (start, end) = block.extent();
        let is_lfh = matches!(block.kind, Kind::Lfh | Kind::SegmentLfh);
        let what = match block.state {
            State::Free => FREE,
            _ if is_lfh => LFH,
            // What holds slots is told by these.
            _ if block.internal => return CONTINUE,
            _ => BUSY,
        };
        // Neighbours of one kind are one stretch.
        match self.0.last_mut() {
            Some(last) if last.2 == what && last.1 == start => last.1 = end,
            _ => self.0.push((start, end, what)),
        }
        CONTINUE
    }
}

/// The strips of the heaps' largest segments, by heap and address.
pub(super) fn of(heaps: &Heaps<'_, '_>) -> Vec<Strip> {
    let usage = Usage::of(heaps);
    let mut segments: Vec<Segment> = Vec::new();
    let mut uncommitted: Vec<(u64, u64)> = Vec::new();
    for used in &usage.regions {
        let Owner::Heap(heap) = used.owner else {
            continue;
        };
        let (base, end) = (used.region.base, used.region.end());
        if used.region.state == RegionState::Reserve {
            uncommitted.push((base, end));
        }
        match segments
            .last_mut()
            .filter(|last| last.heap == heap && last.end == base)
        {
            Some(last) => last.end = end,
            None => segments.push(Segment {
                heap,
                start: base,
                end,
                cells: vec![[0; 4]; CELLS],
            }),
        }
    }
    segments.sort_by_key(|segment| std::cmp::Reverse(segment.end - segment.start));
    segments.truncate(STRIPS);
    segments.sort_by_key(|segment| segment.start);
    let merge = |mut a: Extents, b: Extents| {
        a.0.extend(b.0);
        a
    };
    let walked = heaps.walk_parallel(|_| Extents::default(), merge);
    let found = walked.into_iter().flat_map(|heap| heap.0);
    let reserved = uncommitted
        .iter()
        .map(|&(start, end)| (start, end, UNCOMMITTED));
    for (start, end, what) in found.chain(reserved) {
        let place = segments.partition_point(|segment| segment.start <= start);
        if let Some(place) = place.checked_sub(1) {
            segments[place].add(start, end, what);
        }
    }
    segments.sort_by_key(|segment| (segment.heap, segment.start));
    segments.iter().map(strip).collect()
}

fn strip(segment: &Segment) -> Strip {
    let size = segment.end - segment.start;
    let sum = |what: usize| segment.cells.iter().map(|cell| cell[what]).sum::<u64>();
    let cell = |cell: &[u64; 4]| {
        let whole = (size / CELLS as u64).max(1);
        cell.map(|bytes| (u128::from(bytes) * 255 / u128::from(whole)).min(255) as u8)
    };
    Strip {
        heap: format!("{:x}", segment.heap),
        start: format!("{:x}", segment.start),
        size,
        busy_bytes: sum(BUSY) + sum(LFH),
        free_bytes: sum(FREE),
        cells: segment.cells.iter().map(cell).collect(),
    }
}
