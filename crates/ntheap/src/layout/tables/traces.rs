//! Stack trace databases.
//!
//! One row a change: the first build that has it, the size of the structure, then one offset a
//! field in the order of the fields above; `__` where that build has no such field.

use crate::layout::macros::struct_layout;

struct_layout! {
    /// Offsets of `_STACK_TRACE_DATABASE`.
    pub struct StackTraceDatabaseLayout: "_STACK_TRACE_DATABASE" {
        resource: "Resource",
        lock: "Lock",
        reserved: "Reserved",
        pre_committed: "PreCommitted",
        dump_in_progress: "DumpInProgress",
        commit_base: "CommitBase",
        current_lower_commit_limit: "CurrentLowerCommitLimit",
        current_upper_commit_limit: "CurrentUpperCommitLimit",
        next_free_lower_memory: "NextFreeLowerMemory",
        next_free_upper_memory: "NextFreeUpperMemory",
        number_of_entries_looked_up: "NumberOfEntriesLookedUp",
        number_of_entries_added: "NumberOfEntriesAdded",
        entry_index_array: "EntryIndexArray",
        number_of_entries_deleted: "NumberOfEntriesDeleted",
        number_of_entries_available: "NumberOfEntriesAvailable",
        number_of_entries_reused: "NumberOfEntriesReused",
        number_of_allocation_failures: "NumberOfAllocationFailures",
        free_lists: "FreeLists",
        number_of_buckets: "NumberOfBuckets",
        buckets: "Buckets",
        reserved2: "Reserved2",
        peak_hash_collision_list_length: "PeakHashCollisionListLength",
        lower_memory_start: "LowerMemoryStart",
        number_of_entries_allocated: "NumberOfEntriesAllocated",
    }
    x86 {
        7600: 0x188 [__, 0x0, 0x0, 0x44, 0x45, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x64, __, 0x6c, __, 0x70, 0x78, 0x178, 0x17c, 0x38, 0x3c, 0x40, 0x68],
    }
    x64 {
        6002: 0x1e0 [0x0, 0x0, 0x68, 0x80, 0x81, 0x88, 0x90, 0x98, 0xa0, 0xa8, 0xb0, 0xb4, 0xb8, 0xc0, 0xc4, 0xc8, 0xcc, 0xd0, 0x1d0, 0x1d8, __, __, __, __],
        7600: 0x2f0 [__, 0x0, 0x0, 0x80, 0x81, 0x88, 0x90, 0x98, 0xa0, 0xa8, 0xb0, 0xb4, 0xb8, __, 0xc4, __, 0xc8, 0xd0, 0x2d0, 0x2d8, 0x68, 0x70, 0x78, 0xc0],
    }
}

struct_layout! {
    /// Offsets of `_RTL_STACK_TRACE_ENTRY`.
    pub struct StackTraceEntryLayout: "_RTL_STACK_TRACE_ENTRY" {
        hash_chain: "HashChain",
        trace_count: "TraceCount",
        index_high: "IndexHigh",
        index: "Index",
        depth: "Depth",
        back_trace: "BackTrace",
    }
    x86 {
        7600: 0x8c [0x0, 0x4, 0x6, 0x8, 0xa, 0xc],
    }
    x64 {
        7600: 0x110 [0x0, 0x8, 0xa, 0xc, 0xe, 0x10],
    }
}

struct_layout! {
    /// Offsets of `_RTL_TRACE_BLOCK`.
    pub struct TraceBlockLayout: "_RTL_TRACE_BLOCK" {
        magic: "Magic",
        count: "Count",
        size: "Size",
        user_count: "UserCount",
        user_size: "UserSize",
        user_context: "UserContext",
        next: "Next",
        trace: "Trace",
    }
    x86 {
        7600: 0x20 [0x0, 0x4, 0x8, 0xc, 0x10, 0x14, 0x18, 0x1c],
    }
    x64 {
        7600: 0x38 [0x0, 0x4, 0x8, 0x10, 0x18, 0x20, 0x28, 0x30],
    }
}

struct_layout! {
    /// Offsets of a trace record of the heap's own log (`RtlpHeapStackTraceLog`). Public type records
    /// do not have it; the offsets were read from dumps of 7 to 24H2 (docs/findings.md).
    pub struct TraceRecordLayout: "_HEAP_TRACE_RECORD" {
        next: "Next",
        hash: "Hash",
        depth: "Depth",
        frames: "Frames",
    }
    x86 {
        6000: 0xc [0x0, 0x4, 0x8, 0xc],
    }
    x64 {
        6000: 0x10 [0x0, 0x8, 0xc, 0x10],
    }
}

struct_layout! {
    /// Offsets of the heap's trace log itself; no public type record has it either.
    pub struct TraceLogLayout: "_HEAP_TRACE_LOG" {
        arena: "Arena",
        count: "Count",
        buckets: "Buckets",
    }
    x86 {
        6000: 0x8 [0x0, 0x4, 0x8],
    }
    x64 {
        6000: 0x10 [0x0, 0x8, 0x10],
    }
}
