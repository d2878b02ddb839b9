//! Which range of pages an address lies in.

use super::{Range, SegmentHeap};
use crate::layout::PAGE;

/// A range of pages and its place in its segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageRange {
    /// The segment's first address.
    pub segment: u64,
    /// Size of the segment's units in bytes.
    pub unit: u64,
    /// Number of the range's first unit, and so of its descriptor.
    pub index: u64,
    /// Address of that descriptor.
    pub descriptor: u64,
    /// The range.
    pub range: Range,
    /// Committed pages of its first unit; `None` before 16299, which have no count.
    pub committed_pages: Option<u64>,
}

impl SegmentHeap<'_, '_> {
    /// The range that holds an address; `None` outside the segments and in their headers.
    #[must_use]
    pub fn page_range_at(&self, address: u64) -> Option<PageRange> {
        let inside = |start: u64, size: u64| address.wrapping_sub(start) < size;
        let segment = self.segments.iter().find(|s| inside(s.base, s.size))?;
        let context = self.contexts.get(segment.context)?;
        let ranges = self.ranges(segment);
        let range = ranges
            .iter()
            .find(|range| inside(range.start, range.size))?;
        let index = (range.start - segment.base) >> context.unit_shift;
        let array = self.layouts.page_segment.desc_array?;
        let step = u64::from(self.layouts.page_range_descriptor.struct_size);
        let mut unit = *range;
        unit.size = 1 << context.unit_shift;
        Some(PageRange {
            segment: segment.base,
            unit: unit.size,
            index,
            descriptor: segment
                .base
                .checked_add(u64::from(array))?
                .checked_add(index * step)?,
            range: *range,
            committed_pages: self.committed(segment, &unit).map(|bytes| bytes / PAGE),
        })
    }
}
