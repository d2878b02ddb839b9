//! `_HEAP`: what the heap's header says of the whole heap.

use super::entry::EntryCodec;
use crate::{address_space::AddressSpace, heap::LockState, layout::Layouts};

/// Which front end serves small allocations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrontEndKind {
    /// None.
    None,
    /// Lookaside lists (XP and Server 2003).
    Lookaside,
    /// The low fragmentation heap.
    Lfh,
    /// A value that no build is known to use.
    Unknown(u8),
}

/// The front end of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrontEnd {
    /// `FrontEndHeapType`.
    pub kind: FrontEndKind,
    /// `FrontEndHeap`: address of the `_LFH_HEAP` or of the array of lookaside lists.
    pub address: u64,
}

/// The fields of `_HEAP` that reports need; what is not in the dump reads as 0.
#[derive(Debug, Clone)]
pub struct Header {
    /// Handle of the heap.
    pub handle: u64,
    /// `Flags`.
    pub flags: u32,
    /// `ForceFlags`.
    pub force_flags: u32,
    /// How entries are encoded.
    pub codec: EntryCodec,
    /// Front end.
    pub front_end: FrontEnd,
    /// `TotalFreeSize` in bytes: free blocks of the segments.
    pub total_free: u64,
    /// `Counters.TotalMemoryReserved` in bytes; `None` before Vista.
    pub reserved: Option<u64>,
    /// `Counters.TotalMemoryCommitted` in bytes; `None` before Vista.
    pub committed: Option<u64>,
    /// `Counters.TotalSegments`; `None` before Vista.
    pub total_segments: Option<u32>,
    /// Bytes that the LFH keeps outside the segments: reserved and committed (8 and later).
    pub lfh_region: (u64, u64),
    /// Number of blocks on the free lists, as the first two free list lookups count them
    /// (`NonDedicatedListLength` where there is none).
    pub free_blocks: u32,
    /// Address of the heap's critical section; 0 for a heap without serialization.
    pub lock: u64,
    /// `ContentionCount` of that critical section, 0 if it has no debug information.
    pub lock_contention: u32,
    /// `AllocatorBackTraceIndex`: trace of the heap's creation, 0 if none.
    pub creator_trace: u16,
}

/// `HEAP_CAPTURE_STACK_BACKTRACES`: set in `_HEAP.Flags` while traces are recorded.
const CAPTURE_STACKS: u32 = 0x0800_0000;

impl Header {
    /// Reads the header at `handle`.
    #[must_use]
    pub fn read(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Self {
        let bitness = layouts.bitness;
        let layout = &layouts.heap;
        let heap = memory.at(handle, bitness);
        let front_end = FrontEnd {
            kind: match heap.u8(layout.front_end_heap_type) {
                None | Some(0) => FrontEndKind::None,
                Some(1) => FrontEndKind::Lookaside,
                Some(2) => FrontEndKind::Lfh,
                Some(other) => FrontEndKind::Unknown(other),
            },
            address: heap.pointer(layout.front_end_heap).unwrap_or(0),
        };
        let counters = layout
            .counters
            .map(|at| memory.at(handle + u64::from(at), bitness));
        let lock = heap.pointer(layout.lock_variable).unwrap_or(0);
        Header {
            handle,
            flags: heap.u32(layout.flags).unwrap_or(0),
            force_flags: heap.u32(layout.force_flags).unwrap_or(0),
            codec: EntryCodec::of_heap(memory, layouts, handle),
            front_end,
            total_free: heap
                .pointer(layout.total_free_size)
                .unwrap_or(0)
                .saturating_mul(bitness.unit()),
            reserved: counters.and_then(|c| c.pointer(layouts.counters.total_memory_reserved)),
            committed: counters.and_then(|c| c.pointer(layouts.counters.total_memory_committed)),
            total_segments: counters.and_then(|c| c.u32(layouts.counters.total_segments)),
            lfh_region: lfh_region(memory, layouts, front_end),
            free_blocks: free_blocks(memory, layouts, handle),
            lock,
            lock_contention: LockState::read(memory, layouts, lock)
                .and_then(|lock| lock.contention)
                .unwrap_or(0),
            creator_trace: heap.u16(layout.allocator_back_trace_index).unwrap_or(0),
        }
    }

    /// Whether allocations of this heap are recorded with stack traces.
    #[must_use]
    pub fn captures_stacks(&self) -> bool {
        self.flags & CAPTURE_STACKS != 0
    }
}

/// The region of the `_LFH_HEAP` itself, which grows outside the segments from Windows 8 on.
fn lfh_region(memory: &AddressSpace<'_>, layouts: &Layouts, front_end: FrontEnd) -> (u64, u64) {
    if front_end.kind != FrontEndKind::Lfh {
        return (0, 0);
    }
    let lfh = memory.at(front_end.address, layouts.bitness);
    let extent = |field| {
        lfh.pointer(field)
            .and_then(|end| end.checked_sub(front_end.address))
            .unwrap_or(0)
    };
    (
        extent(layouts.lfh_heap.reserved_address_limit),
        extent(layouts.lfh_heap.first_uncommitted_address),
    )
}

fn free_blocks(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> u32 {
    let heap = memory.at(handle, layouts.bitness);
    let Some(first) = heap
        .pointer(layouts.heap.blocks_index)
        .filter(|&address| address != 0)
    else {
        return heap
            .u32(layouts.heap.non_dedicated_list_length)
            .unwrap_or(0);
    };
    let first = memory.at(first, layouts.bitness);
    let count = first.u32(layouts.list_lookup.item_count).unwrap_or(0);
    let second = first
        .pointer(layouts.list_lookup.extended_lookup)
        .filter(|&address| address != 0)
        .and_then(|at| {
            memory
                .at(at, layouts.bitness)
                .u32(layouts.list_lookup.item_count)
        });
    count.wrapping_add(second.unwrap_or(0))
}
