//! Page heap: heap roots, blocks and the information in front of user data.
//!
//! One row a change: the first build that has it, the size of the structure, then one offset a
//! field in the order of the fields above; `__` where that build has no such field.

use crate::layout::macros::struct_layout;

struct_layout! {
    /// Offsets of `_DPH_HEAP_ROOT`.
    ///
    /// XP's rows name the members of XP's own structure, whose busy blocks form a list instead of a
    /// tree. The rows of 7 are used for Vista, and those of XP, aligned for 8 bytes, for x64 of
    /// Server 2003: no dump of these was seen. From 14393 on the structure is that of verifier.dll,
    /// whose queue of freed blocks is not the one in the type records of ntdll: `FreeQueueLength` is
    /// no name of theirs; it counts the freed blocks of both sorts, full and light.
    pub struct DphRootLayout: "_DPH_HEAP_ROOT" {
        signature: "Signature",
        heap_flags: "HeapFlags",
        heap_crit_sect: "HeapCritSect",
        n_remote_lock_acquired: "nRemoteLockAcquired",
        p_virtual_storage_list_head: "pVirtualStorageListHead",
        p_virtual_storage_list_tail: "pVirtualStorageListTail",
        n_virtual_storage_ranges: "nVirtualStorageRanges",
        n_virtual_storage_bytes: "nVirtualStorageBytes",
        busy_nodes_table: "BusyNodesTable",
        node_to_allocate: "NodeToAllocate",
        n_busy_allocations: "nBusyAllocations",
        n_busy_allocation_bytes_committed: "nBusyAllocationBytesCommitted",
        p_free_allocation_list_head: "pFreeAllocationListHead",
        p_free_allocation_list_tail: "pFreeAllocationListTail",
        n_free_allocations: "nFreeAllocations",
        n_free_allocation_bytes_committed: "nFreeAllocationBytesCommitted",
        available_allocation_head: "AvailableAllocationHead",
        n_available_allocations: "nAvailableAllocations",
        n_available_allocation_bytes_committed: "nAvailableAllocationBytesCommitted",
        p_unused_node_list_head: "pUnusedNodeListHead",
        p_unused_node_list_tail: "pUnusedNodeListTail",
        n_unused_nodes: "nUnusedNodes",
        n_busy_allocation_bytes_accessible: "nBusyAllocationBytesAccessible",
        p_node_pool_list_head: "pNodePoolListHead",
        p_node_pool_list_tail: "pNodePoolListTail",
        n_node_pools: "nNodePools",
        n_node_pool_bytes: "nNodePoolBytes",
        next_heap: "NextHeap",
        extra_flags: "ExtraFlags",
        seed: "Seed",
        normal_heap: "NormalHeap",
        create_stack_trace: "CreateStackTrace",
        first_thread: "FirstThread",
        p_busy_allocation_list_head: "pBusyAllocationListHead",
        p_next_heap_root: "pNextHeapRoot",
        p_prev_heap_root: "pPrevHeapRoot",
        free_queue_length: "FreeQueueLength",
    }
    x86 {
        2600: 0x94 [0x0, 0x4, 0x8, 0xc, 0x10, 0x14, 0x18, 0x1c, __, __, 0x28, 0x2c, 0x30, 0x34, 0x38, 0x3c, __, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x64, 0x68, 0x6c, __, 0x80, 0x84, 0x88, 0x8c, 0x90, 0x20, 0x70, 0x74, __],
        6000: 0xc0 [0x0, 0x4, 0x8, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x58, 0x5c, 0x60, 0x64, 0x68, 0x6c, 0x70, 0x74, 0x7c, 0x80, 0x84, 0x88, 0x8c, 0x90, 0x94, 0x98, 0x9c, 0xa0, 0xa4, 0xac, 0xb0, 0xb4, 0xb8, 0xbc, __, __, __, __],
        14393: 0xc0 [0x0, 0x4, 0x8, 0xc, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x58, 0x5c, 0x60, 0x64, 0x68, __, __, __, __, __, 0x84, 0x88, 0x8c, 0x90, 0x94, 0x98, 0x9c, 0xa0, 0xa4, 0xac, 0xb0, 0xb4, 0xb8, 0xbc, __, __, __, 0x74],
    }
    x64 {
        3790: 0x110 [0x0, 0x4, 0x8, 0x10, 0x18, 0x20, 0x28, 0x30, __, __, 0x48, 0x50, 0x58, 0x60, 0x68, 0x70, __, 0x88, 0x90, 0x98, 0xa0, 0xa8, 0xb0, 0xb8, 0xc0, 0xc8, 0xd0, __, 0xf0, 0xf4, 0xf8, 0x100, 0x108, 0x38, 0xd8, 0xe0, __],
        6000: 0x168 [0x0, 0x4, 0x8, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0xa0, 0xa8, 0xb0, 0xb8, 0xc0, 0xc8, 0xd0, 0xd8, 0xe8, 0xf0, 0xf8, 0x100, 0x108, 0x110, 0x118, 0x120, 0x128, 0x130, 0x138, 0x148, 0x14c, 0x150, 0x158, 0x160, __, __, __, __],
        14393: 0x168 [0x0, 0x4, 0x8, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0xa0, 0xa8, 0xb0, 0xb8, 0xc0, __, __, __, __, __, 0xf8, 0x100, 0x108, 0x110, 0x118, 0x120, 0x128, 0x130, 0x138, 0x148, 0x14c, 0x150, 0x158, 0x160, __, __, __, 0xd8],
    }
}

struct_layout! {
    /// Offsets of `_DPH_HEAP_BLOCK`. From 14393 on it is that of verifier.dll, which is shorter than
    /// the one in the type records of ntdll: it keeps no accessible and actual size, but the thread
    /// (`ThreadId` is no name of theirs).
    pub struct DphBlockLayout: "_DPH_HEAP_BLOCK" {
        p_next_alloc: "pNextAlloc",
        available_entry: "AvailableEntry",
        table_links: "TableLinks",
        p_user_allocation: "pUserAllocation",
        p_virtual_block: "pVirtualBlock",
        n_virtual_block_size: "nVirtualBlockSize",
        n_virtual_access_size: "nVirtualAccessSize",
        n_user_requested_size: "nUserRequestedSize",
        n_user_actual_size: "nUserActualSize",
        user_value: "UserValue",
        user_flags: "UserFlags",
        stack_trace: "StackTrace",
        adjacency_entry: "AdjacencyEntry",
        p_virtual_region: "pVirtualRegion",
        thread_id: "ThreadId",
    }
    x86 {
        2600: 0x28 [0x0, __, __, 0x10, 0x4, 0x8, 0xc, 0x14, 0x18, 0x1c, 0x20, 0x24, __, __, __],
        6000: 0x40 [0x0, 0x0, 0x0, 0x10, 0x14, 0x18, 0x1c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x3c, __],
        14393: 0x34 [0x0, 0x0, 0x0, 0x10, 0x14, 0x18, __, 0x20, __, __, __, 0x30, 0x24, __, 0x2c],
    }
    x64 {
        3790: 0x50 [0x0, __, __, 0x20, 0x8, 0x10, 0x18, 0x28, 0x30, 0x38, 0x40, 0x48, __, __, __],
        6000: 0x80 [0x0, 0x0, 0x0, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x50, 0x58, 0x60, 0x68, 0x78, __],
        14393: 0x68 [0x0, 0x0, 0x0, 0x20, 0x28, 0x30, __, 0x40, __, __, __, 0x60, 0x48, __, 0x5c],
    }
}

struct_layout! {
    /// Offsets of `_DPH_BLOCK_INFORMATION`.
    pub struct DphBlockInformationLayout: "_DPH_BLOCK_INFORMATION" {
        start_stamp: "StartStamp",
        heap: "Heap",
        requested_size: "RequestedSize",
        actual_size: "ActualSize",
        free_queue: "FreeQueue",
        free_push_list: "FreePushList",
        trace_index: "TraceIndex",
        stack_trace: "StackTrace",
        padding: "Padding",
        end_stamp: "EndStamp",
    }
    x86 {
        7600: 0x20 [0x0, 0x4, 0x8, 0xc, 0x10, 0x10, 0x10, 0x18, __, 0x1c],
    }
    x64 {
        7600: 0x40 [0x0, 0x8, 0x10, 0x18, 0x20, 0x20, 0x20, 0x30, 0x38, 0x3c],
    }
}

struct_layout! {
    /// Offsets of `_RTL_BALANCED_LINKS`.
    pub struct BalancedLinksLayout: "_RTL_BALANCED_LINKS" {
        parent: "Parent",
        left_child: "LeftChild",
        right_child: "RightChild",
    }
    x86 {
        6000: 0x10 [0x0, 0x4, 0x8],
    }
    x64 {
        6000: 0x20 [0x0, 0x8, 0x10],
    }
}
