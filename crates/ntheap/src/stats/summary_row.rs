//! What the headers of an NT heap say of it, as `!heap -s` adds it up.

use super::total;
use crate::{
    heap::nt::{FrontEndKind, NtHeap},
    layout::Bitness,
};

/// The numbers of a row, in bytes. Sources: the heap's header and its segments' headers.
#[derive(Debug, Clone, Copy, Default)]
pub struct SummaryRow {
    /// Handle of the heap.
    pub handle: u64,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// Reserved: segments and the LFH's own region.
    pub reserved: u64,
    /// Committed: segments and the LFH's own region.
    pub committed: u64,
    /// Committed in segments alone.
    pub segments_committed: u64,
    /// Reserved in segments less what the debugger takes for not really reserved.
    pub virtual_size: u64,
    /// Free blocks of the segments.
    pub free: u64,
    /// Blocks on the free lists.
    pub free_list_length: u32,
    /// Uncommitted ranges.
    pub uncommitted_ranges: u64,
    /// Virtual blocks.
    pub virtual_blocks: usize,
    /// Contention count of the lock; `None` for a heap without one.
    pub lock_contention: Option<u32>,
    /// Front end.
    pub front_end: Option<FrontEndKind>,
}

impl SummaryRow {
    /// The row of an NT heap.
    #[must_use]
    pub fn of(heap: &NtHeap<'_, '_>, verbose: bool) -> Self {
        let segments = || heap.segments.iter();
        let (lfh_reserved, lfh_committed) = heap.header.lfh_region;
        let segments_reserved = total(segments().map(|segment| segment.reserved));
        let segments_committed = total(segments().map(|segment| segment.committed()));
        let large = match heap.bitness() {
            Bitness::X64 => 0xf_e000,
            Bitness::X86 => 0x7_f000,
        };
        let not_counted = total(segments().map(|segment| {
            let ranges = segment.ranges.iter().map(|range| range.size);
            let large = total(ranges.filter(|&size| verbose && size >= large));
            // XP keeps the largest range, which is one of the large ones.
            large.max(segment.largest_uncommitted)
        }));
        SummaryRow {
            handle: heap.handle(),
            flags: heap.header.flags,
            reserved: segments_reserved.saturating_add(lfh_reserved),
            committed: segments_committed.saturating_add(lfh_committed),
            segments_committed,
            virtual_size: segments_reserved.saturating_sub(not_counted),
            free: heap.header.total_free,
            free_list_length: heap.header.free_blocks,
            uncommitted_ranges: segments().map(|s| u64::from(s.uncommitted_ranges)).sum(),
            virtual_blocks: heap.virtual_blocks.len(),
            lock_contention: (heap.header.lock != 0).then_some(heap.header.lock_contention),
            front_end: Some(heap.header.front_end.kind),
        }
    }

    /// Free bytes in per cent of the committed ones of the segments.
    #[must_use]
    pub fn external_fragmentation(&self) -> u64 {
        (self.free.saturating_mul(100))
            .checked_div(self.segments_committed)
            .unwrap_or(0)
    }

    /// Uncommitted bytes in per cent of the virtual size.
    #[must_use]
    pub fn address_fragmentation(&self) -> u64 {
        let uncommitted = self.virtual_size.saturating_sub(self.segments_committed);
        uncommitted
            .saturating_mul(100)
            .checked_div(self.virtual_size)
            .unwrap_or(0)
    }
}
