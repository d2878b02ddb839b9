//! Segments that no list leads to.

use rustc_hash::FxHashSet;

use super::{
    super::{NtHeap, segments::SEGMENT_SIGNATURE},
    extent::GRANULARITY,
};
use crate::dump::{RegionKind, RegionState};

/// More segments than a search is for.
const MAX_FOUND: usize = 1 << 16;

impl NtHeap<'_, '_> {
    /// Headers of segments that name this heap as their owner.
    pub(super) fn signed_segments(&self, known: &FxHashSet<u64>) -> Vec<u64> {
        self.owned_segments
            .iter()
            .filter(|&&(header, owner)| owner == self.handle() && !known.contains(&header))
            .map(|&(header, _)| header)
            .take(MAX_FOUND)
            .collect()
    }

    /// Takes in the segments that own this heap but are on no list, and those whose headers are lost
    /// at these addresses or, where more are missing, anywhere.
    pub(in super::super) fn adopt_segments(&mut self, suspects: &[u64]) {
        let known: FxHashSet<u64> = self.segments.iter().map(|s| s.header).collect();
        for header in self.signed_segments(&known) {
            let segment = self.read_segment(header);
            self.segments.extend(segment);
        }
        for &header in suspects {
            if !self.segments.iter().any(|segment| segment.header == header) {
                self.adopt_lost_segment(header);
            }
        }
        let total = self.header.total_segments.unwrap_or(0) as usize;
        if self.segments.len() < total {
            self.adopt_unclaimed_segments();
        }
    }

    /// Takes in allocations that nothing claims and in which entries chain under the heap's key.
    pub(super) fn adopt_unclaimed_segments(&mut self) {
        // Without a key any heap's entries would do.
        if self.header.codec.mask == 0 || !self.may_search {
            return;
        }
        let layout = &self.layouts.segment;
        let bases: Vec<u64> = self
            .regions
            .iter()
            .filter(|region| {
                // A segment begins with its header. (The stack of a thread begins with what is only reserved.)
                region.kind == RegionKind::Private
                    && region.state == RegionState::Commit
                    && region.base == region.allocation_base
                    && region.base.is_multiple_of(GRANULARITY)
            })
            .map(|region| region.base)
            .filter(|&base| {
                let header = self.memory.at(base, self.bitness());
                header.u32(layout.segment_signature) != Some(SEGMENT_SIGNATURE)
                    && !self
                        .segments
                        .iter()
                        .any(|s| s.base <= base && base < s.base + s.reserved)
            })
            .collect();
        for base in bases.into_iter().take(MAX_FOUND) {
            self.adopt_lost_segment(base);
        }
    }

    /// Takes in the allocation at `base` if entries chain in it under the heap's key.
    fn adopt_lost_segment(&mut self, base: u64) {
        let header_size = u64::from(self.layouts.segment.struct_size);
        let Some(segment) = self.lost_segment(base, header_size) else {
            return;
        };
        let mut window = self.memory.window();
        let mut at = segment.first_entry;
        while at < segment.end {
            let limit = segment.limit_at(at);
            if limit <= at {
                at = segment
                    .ranges
                    .iter()
                    .map(|range| range.end())
                    .find(|&end| end > at)
                    .unwrap_or(segment.end);
                continue;
            }
            if self.resynchronise(&mut window, at, limit) < limit {
                self.report_lost(base, "_HEAP_SEGMENT", "its signature or owner is wrong");
                self.segments.push(segment);
                return;
            }
            at = limit;
        }
    }
}
