//! `_SEGMENT_HEAP`: what the heap's header says of the whole heap.

use crate::{
    address_space::AddressSpace,
    layout::{Layouts, PAGE},
};

/// The fields of `_SEGMENT_HEAP` that reports need; what is not in the dump reads as 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Header {
    /// `GlobalFlags`.
    pub global_flags: u32,
    /// `ProcessHeapListIndex`: position in the process's heap list, from 1.
    pub list_index: u16,
    /// Reserved bytes without large blocks.
    pub reserved: u64,
    /// Committed bytes without large blocks.
    pub committed: u64,
    /// Bytes of committed pages that hold no blocks (16299 and later).
    pub free_committed: u64,
    /// Bytes of committed pages that the LFH holds free (16299 and later).
    pub lfh_free_committed: u64,
    /// Reserved bytes of large blocks.
    pub large_reserved: u64,
    /// Committed bytes of large blocks.
    pub large_committed: u64,
}

impl Header {
    /// Reads the header at `handle`.
    #[must_use]
    pub fn read(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Self {
        let layout = &layouts.segment_heap;
        let heap = memory.at(handle, layouts.bitness);
        // The counters are members of the heap before 16299, then a structure of their own.
        let stats = heap
            .address(layout.mem_stats)
            .map(|at| memory.at(at, layouts.bitness));
        let counter = |own: Option<u32>, moved: Option<u32>| match &stats {
            Some(stats) => stats.pointer(moved),
            None => heap.pointer(own),
        };
        let bytes = |pages: Option<u64>| pages.unwrap_or(0).saturating_mul(PAGE);
        let moved = &layouts.memory_stats;
        Header {
            global_flags: heap.u32(layout.global_flags).unwrap_or(0),
            list_index: heap.u16(layout.process_heap_list_index).unwrap_or(0),
            reserved: bytes(counter(
                layout.total_reserved_pages,
                moved.total_reserved_pages,
            )),
            committed: bytes(counter(
                layout.total_committed_pages,
                moved.total_committed_pages,
            )),
            free_committed: bytes(counter(None, moved.free_committed_pages)),
            lfh_free_committed: bytes(counter(None, moved.lfh_free_committed_pages)),
            large_reserved: bytes(heap.pointer(layout.large_reserved_pages)),
            large_committed: bytes(heap.pointer(layout.large_committed_pages)),
        }
    }
}
