//! What a segment heap is made of: its large blocks, its page ranges, its chunks and its slots.

use std::collections::BTreeMap;

use rustc_hash::FxHashMap;

use crate::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    heap::{
        Heap,
        segment::{PageSegment, RangeKind, SegmentHeap},
    },
    layout::{Bitness, PAGE},
};

/// Buckets that have a size of their own; what is larger counts as one more.
pub const BUCKETS: u64 = 128;
/// The doublings of size have as many buckets each.
const BUCKETS_PER_DOUBLING: u64 = 16;

/// Counts of a whole segment heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// Blocks with a mapping of their own.
    pub large: LargeBlocks,
    /// Segments.
    pub segments: usize,
    /// Page ranges by their size: the key counts from 0, one a [`bucket`](SegmentReport::of) bytes.
    pub ranges: BTreeMap<u64, Ranges>,
    /// Variable size chunks by bucket.
    pub chunks: BTreeMap<Bucket, Chunks>,
    /// Slots of the low fragmentation heap by bucket.
    pub slots: BTreeMap<Bucket, Slots>,
}

/// Large blocks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LargeBlocks {
    /// Their number.
    pub count: u64,
    /// Bytes that were asked of the heap.
    pub busy: u64,
    /// Committed bytes that were not asked for.
    pub unused: u64,
}

/// Page ranges of about one size.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Ranges {
    /// Their number.
    pub count: u64,
    /// Their pages.
    pub pages: u64,
    /// Pages of those in use.
    pub busy_pages: u64,
    /// Committed pages.
    pub committed_pages: u64,
    /// Pages of ranges in use that are not committed.
    pub decommitted_busy_pages: u64,
    /// Pages of free ranges that are not committed.
    pub decommitted_free_pages: u64,
    /// Bytes at the ends of ranges in use that were not asked for.
    pub unused: u64,
    /// Those of them that are committed.
    pub unused_committed: u64,
}

/// A class of sizes: number, and the largest size in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bucket {
    /// From 1 on.
    pub index: u64,
    /// The largest size that belongs to it; of the last one the smallest.
    pub size: u64,
}

impl Bucket {
    /// The bucket of blocks of `size` bytes: one a unit first, then 16 a doubling up to 16 KiB.
    #[must_use]
    pub const fn of(size: u64, bitness: Bitness) -> Self {
        let unit = bitness.unit();
        let mut index = match bitness {
            Bitness::X64 => 64,
            Bitness::X86 => 32,
        };
        let mut base = index * unit;
        if size <= base {
            let index = size.div_ceil(unit);
            return Bucket {
                index,
                size: index * unit,
            };
        }
        while index < BUCKETS {
            let step = base / BUCKETS_PER_DOUBLING;
            if size <= 2 * base {
                let more = (size - base).div_ceil(step);
                return Bucket {
                    index: index + more,
                    size: base + more * step,
                };
            }
            base *= 2;
            index += BUCKETS_PER_DOUBLING;
        }
        Bucket {
            index: BUCKETS + 1,
            size: base + 1,
        }
    }
}

/// Variable size chunks of one bucket, in bytes with their headers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Chunks {
    /// Busy chunks.
    pub busy_count: u64,
    /// Free chunks.
    pub free_count: u64,
    /// Bytes of busy chunks.
    pub busy: u64,
    /// Bytes of free chunks that are not committed.
    pub free_decommitted: u64,
    /// Bytes of free chunks that are committed.
    pub free_committed: u64,
    /// Bytes of busy chunks that were not asked for.
    pub unused: u64,
}

/// Slots of one bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Slots {
    /// Subsegments.
    pub subsegments: u64,
    /// Subsegments without a busy slot.
    pub empty_subsegments: u64,
    /// Slots.
    pub count: u64,
    /// Bytes that were asked of the heap.
    pub busy: u64,
    /// Bytes of free slots that are not committed.
    pub free_decommitted: u64,
    /// Bytes of free slots that are committed.
    pub free_committed: u64,
    /// Bytes of busy slots that were not asked for.
    pub unused: u64,
    /// Bytes behind the last slots.
    pub tail: u64,
    /// Those of them that are committed.
    pub tail_committed: u64,
    /// Subsegments and slots by affinity slot; those of none stand last.
    pub affinity: Vec<(u64, u64)>,
}

impl SegmentReport {
    /// Counts a heap. `bucket` is the size in bytes of a class of page ranges, `buckets` their
    /// number; what is larger counts in the last.
    #[must_use]
    pub fn of(
        opened: &Heap<'_, '_>,
        heap: &SegmentHeap<'_, '_>,
        bucket: u64,
        buckets: u64,
    ) -> Self {
        let mut counter = Counter {
            heap,
            ends: FxHashMap::default(),
            report: SegmentReport {
                segments: heap.segments.len(),
                ..SegmentReport::default()
            },
            subsegment: None,
        };
        for segment in &heap.segments {
            counter.ranges(segment, bucket.max(1), buckets.max(1));
        }
        let _ = opened.walk(&mut counter);
        counter.finish_subsegment();
        counter.report
    }
}

/// The subsegment that the walk is in.
struct Subsegment {
    start: u64,
    bucket: Bucket,
    slots: u64,
    any_busy: bool,
    /// End of its last slot.
    end: u64,
}

struct Counter<'h, 'p, 'a> {
    heap: &'h SegmentHeap<'p, 'a>,
    /// Ends of the ranges that hold slots, by their start.
    ends: FxHashMap<u64, u64>,
    report: SegmentReport,
    subsegment: Option<Subsegment>,
}

impl Counter<'_, '_, '_> {
    fn ranges(&mut self, segment: &PageSegment, bucket: u64, buckets: u64) {
        for range in self.heap.ranges(segment) {
            if range.kind == RangeKind::Lfh {
                self.ends.insert(range.start, range.end());
            }
            let key = ((range.size - 1) / bucket).min(buckets - 1);
            let row = self.report.ranges.entry(key).or_default();
            let committed = self
                .heap
                .committed(segment, &range)
                .unwrap_or_else(|| self.heap.memory().held(range.start, range.size))
                .min(range.size);
            let decommitted = range.size - committed;
            row.count += 1;
            row.pages += range.size / PAGE;
            row.committed_pages += committed / PAGE;
            if matches!(range.kind, RangeKind::Free | RangeKind::None) {
                row.decommitted_free_pages += decommitted / PAGE;
            } else {
                row.busy_pages += range.size / PAGE;
                row.decommitted_busy_pages += decommitted / PAGE;
                row.unused += range.unused;
                row.unused_committed += range.unused.saturating_sub(decommitted);
            }
        }
    }

    fn chunk(&mut self, block: &Block) {
        let bucket = Bucket::of(block.block_size, self.heap.bitness());
        let row = self.report.chunks.entry(bucket).or_default();
        if block.state == State::Busy {
            row.busy_count += 1;
            row.busy += block.block_size;
            let asked = asked(block, self.heap.unit());
            row.unused += block.block_size.saturating_sub(asked);
        } else {
            let held = self.heap.memory().held(block.entry, block.block_size);
            row.free_count += 1;
            row.free_committed += held;
            row.free_decommitted += block.block_size - held;
        }
    }

    fn slot(&mut self, block: &Block) {
        let bucket = Bucket::of(block.block_size, self.heap.bitness());
        let busy = block.state == State::Busy;
        let end = block.entry.saturating_add(block.block_size);
        match &mut self.subsegment {
            Some(subsegment) if subsegment.start == block.container => {
                subsegment.any_busy |= busy;
                subsegment.end = end;
                subsegment.slots += 1;
            }
            _ => {
                self.finish_subsegment();
                self.subsegment = Some(Subsegment {
                    start: block.container,
                    bucket,
                    slots: 1,
                    any_busy: busy,
                    end,
                });
            }
        }
        let row = self.report.slots.entry(bucket).or_default();
        row.count += 1;
        if busy {
            let asked = asked(block, 0);
            row.busy += asked;
            row.unused += block.block_size.saturating_sub(asked);
        } else {
            let held = self.heap.memory().held(block.entry, block.block_size);
            row.free_committed += held;
            row.free_decommitted += block.block_size - held;
        }
    }

    fn finish_subsegment(&mut self) {
        let Some(subsegment) = self.subsegment.take() else {
            return;
        };
        let row = self.report.slots.entry(subsegment.bucket).or_default();
        row.subsegments += 1;
        row.empty_subsegments += u64::from(!subsegment.any_busy);
        if let Some(end) = self.ends.get(&subsegment.start) {
            let tail = end.saturating_sub(subsegment.end);
            row.tail += tail;
            row.tail_committed += self.heap.memory().held(subsegment.end, tail);
        }
        let affinity = self.heap.affinity(subsegment.start);
        let (slot, count) = affinity.unwrap_or_default();
        if row.affinity.len() < count + 1 {
            // What belongs to no slot stays last.
            let last = row.affinity.pop().unwrap_or_default();
            row.affinity.resize(count, (0, 0));
            row.affinity.push(last);
        }
        let at = slot.unwrap_or(row.affinity.len() - 1);
        if let Some((subsegments, slots)) = row.affinity.get_mut(at) {
            *subsegments += 1;
            *slots += subsegment.slots;
        }
    }
}

impl Visitor for Counter<'_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        match block.kind {
            Kind::Large => {
                let large = &mut self.report.large;
                large.count += 1;
                let asked = asked(block, 0);
                // Nothing but the address space bounds what they say of their sizes.
                large.busy = large.busy.saturating_add(asked);
                let unused = block.block_size.saturating_sub(asked);
                large.unused = large.unused.saturating_add(unused);
            }
            Kind::Vs => self.chunk(block),
            Kind::SegmentLfh => self.slot(block),
            _ => {}
        }
        CONTINUE
    }
}

/// What was asked of the heap: the program's bytes and those that ntdll's compatibility mode puts in
/// front of them. `header` is the size of the heap's own.
fn asked(block: &Block, header: u64) -> u64 {
    let front = block.address.saturating_sub(block.entry);
    front.saturating_sub(header).saturating_add(block.size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_are_those_of_both_widths() {
        let of = |size, bitness| {
            let bucket = Bucket::of(size, bitness);
            (bucket.index, bucket.size)
        };
        assert_eq!(of(32, Bitness::X64), (2, 32));
        assert_eq!(of(1024, Bitness::X64), (64, 1024));
        assert_eq!(of(1040, Bitness::X64), (65, 1088));
        assert_eq!(of(3040, Bitness::X64), (88, 3072));
        assert_eq!(of(16384, Bitness::X64), (128, 16384));
        assert_eq!(of(16400, Bitness::X64), (129, 16385));
        assert_eq!(of(16, Bitness::X86), (2, 16));
        assert_eq!(of(264, Bitness::X86), (33, 272));
        assert_eq!(of(504, Bitness::X86), (48, 512));
        assert_eq!(of(992, Bitness::X86), (63, 992));
        assert_eq!(of(8232, Bitness::X86), (113, 8704));
    }
}
