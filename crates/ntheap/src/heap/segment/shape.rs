//! Ranges whose page range descriptor is lost: what begins at a page tells what the range is, as far
//! as it has a header of its own. Blocks by themselves have none.

use super::{
    Context, PageSegment, Range, RangeKind, SegmentHeap, keys::bucket_sizes, lfh::Subsegment,
};
use crate::blocks::Certainty;

impl SegmentHeap<'_, '_> {
    /// The range that begins at a unit of a segment by what is there.
    pub(super) fn range_by_shape(
        &self,
        segment: &PageSegment,
        context: &Context,
        index: u64,
    ) -> Option<Range> {
        let start = segment.base + (index << context.unit_shift);
        let whole = Range {
            kind: RangeKind::Vs,
            start,
            size: segment.base + segment.size - start,
            unused: 0,
            extra: false,
            signed: false,
            certainty: Certainty::Shape,
            absent: false,
        };
        if self.memory.readable(start, 1) == 0 {
            return None;
        }
        let unit = 1u64 << context.unit_shift;
        self.vs_by_shape(&whole)
            .map(|end| (RangeKind::Vs, end))
            .or_else(|| Some((RangeKind::Lfh, self.lfh_by_shape(&whole)?)))
            .map(|(kind, end)| Range {
                kind,
                size: (end - start).next_multiple_of(unit),
                ..whole
            })
    }

    /// Where the VS subsegment at the start of a range ends.
    fn vs_by_shape(&self, range: &Range) -> Option<u64> {
        let chunks = self.chunks(range).filter(|chunks| chunks.signed)?;
        let proved = self
            .keys
            .vs
            .is_none_or(|key| self.chain_begins(&chunks, key));
        proved.then_some(chunks.end)
    }

    /// Where the slots of the LFH subsegment at the start of a range end.
    fn lfh_by_shape(&self, range: &Range) -> Option<u64> {
        let unit = self.unit();
        let subsegment = self.subsegment(range)?;
        let slots = subsegment.slots(self.keys.lfh?, unit)?;
        let near = slots.first < subsegment.header_end + 2 * unit;
        let is_bucket = bucket_sizes(unit).any(|size| size == slots.size);
        (near && is_bucket && self.counts_agree(&subsegment))
            .then(|| range.start + slots.first + subsegment.count * slots.size)
    }

    /// Whether as many slots are free by the bitmap as the subsegment counts.
    fn counts_agree(&self, subsegment: &Subsegment) -> bool {
        let layout = &self.layouts.segment_lfh_subsegment;
        let header = self.memory.at(subsegment.start, self.bitness());
        let Some(free) = header.u16(layout.free_count) else {
            return false;
        };
        if u64::from(free) > subsegment.count {
            return false;
        }
        // From 26100 on slots that threads keep for themselves are counted apart.
        layout.state.is_some() || self.busy_slots(subsegment) + u64::from(free) == subsegment.count
    }
}
