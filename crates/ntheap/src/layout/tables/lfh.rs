//! The low fragmentation heap of NT heaps: zones, subsegments and user blocks.
//!
//! One row a change: the first build that has it, the size of the structure, then one offset a
//! field in the order of the fields above; `__` where that build has no such field.

use crate::layout::macros::struct_layout;

struct_layout! {
    /// Offsets of `_LFH_HEAP`.
    pub struct LfhHeapLayout: "_LFH_HEAP" {
        lock: "Lock",
        sub_segment_zones: "SubSegmentZones",
        zone_block_size: "ZoneBlockSize",
        heap: "Heap",
        segment_change: "SegmentChange",
        segment_create: "SegmentCreate",
        segment_insert_in_free: "SegmentInsertInFree",
        segment_delete: "SegmentDelete",
        cache_allocs: "CacheAllocs",
        cache_frees: "CacheFrees",
        size_in_cache: "SizeInCache",
        run_info: "RunInfo",
        user_block_cache: "UserBlockCache",
        buckets: "Buckets",
        local_data: "LocalData",
        next_segment_info_array_address: "NextSegmentInfoArrayAddress",
        first_uncommitted_address: "FirstUncommittedAddress",
        reserved_address_limit: "ReservedAddressLimit",
        minimum_cache_depth: "MinimumCacheDepth",
        cache_shift_threshold: "CacheShiftThreshold",
        segment_info_arrays: "SegmentInfoArrays",
        affinitized_info_arrays: "AffinitizedInfoArrays",
        memory_policies: "MemoryPolicies",
        segment_allocator: "SegmentAllocator",
    }
    x86 {
        7600: 0x3728 [0x0, 0x18, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x34, 0x38, 0x3c, 0x40, 0x48, 0x50, 0x110, 0x310, __, __, __, __, __, __, __, __, __],
        9200: 0x7e8 [0x0, 0x4, __, 0xc, __, 0x1c, __, 0x20, __, __, 0x2c, 0x30, 0x38, 0x1bc, 0x7d0, 0x10, 0x14, 0x18, 0x24, 0x28, 0x3c0, 0x5c4, 0x1b8, 0x7c8],
    }
    x64 {
        7600: 0x6420 [0x0, 0x28, 0x38, 0x40, 0x48, 0x4c, 0x50, 0x54, 0x58, 0x5c, 0x60, 0x68, 0x70, 0x1f0, 0x3f0, __, __, __, __, __, __, __, __, __],
        9200: 0xcf0 [0x0, 0x8, __, 0x18, __, 0x38, __, 0x3c, __, __, 0x48, 0x50, 0x60, 0x2a0, 0xcc0, 0x20, 0x28, 0x30, 0x40, 0x44, 0x4a8, 0x8b0, __, __],
        9600: 0xcf0 [0x0, 0x8, __, 0x18, __, 0x38, __, 0x3c, __, __, 0x48, 0x50, 0x60, 0x2a4, 0xcc0, 0x20, 0x28, 0x30, 0x40, 0x44, 0x4a8, 0x8b0, 0x2a0, 0xcb8],
    }
}

struct_layout! {
    /// Offsets of `_LFH_BLOCK_ZONE`.
    pub struct BlockZoneLayout: "_LFH_BLOCK_ZONE" {
        list_entry: "ListEntry",
        free_pointer: "FreePointer",
        limit: "Limit",
        next_index: "NextIndex",
    }
    x86 {
        7600: 0x10 [0x0, 0x8, 0xc, __],
        9200: 0x10 [0x0, 0x8, __, __],
        9600: 0xc [0x0, __, __, 0x8],
    }
    x64 {
        7600: 0x20 [0x0, 0x10, 0x18, __],
        9600: 0x18 [0x0, __, __, 0x10],
    }
}

struct_layout! {
    /// Offsets of `_USER_MEMORY_CACHE_ENTRY`.
    pub struct UserMemoryCacheLayout: "_USER_MEMORY_CACHE_ENTRY" {
        user_blocks: "UserBlocks",
        available_blocks: "AvailableBlocks",
    }
    x86 {
        7600: 0x10 [0x0, 0x8],
        9200: 0x20 [0x0, 0x8],
    }
    x64 {
        7600: 0x20 [0x0, 0x10],
        9200: 0x30 [0x0, 0x10],
    }
}

struct_layout! {
    /// Offsets of `_HEAP_SUBSEGMENT`.
    pub struct SubSegmentLayout: "_HEAP_SUBSEGMENT" {
        bucket: "Bucket",
        user_blocks: "UserBlocks",
        aggregate_exchg: "AggregateExchg",
        block_size: "BlockSize",
        free_threshold: "FreeThreshold",
        block_count: "BlockCount",
        size_index: "SizeIndex",
        affinity_index: "AffinityIndex",
        alignment: "Alignment",
        s_free_list_entry: "SFreeListEntry",
        lock: "Lock",
        local_info: "LocalInfo",
        flags: "Flags",
        delay_free_list: "DelayFreeList",
    }
    x86 {
        2600: 0x20 [0x0, 0x4, 0x8, 0x10, 0x12, 0x14, 0x16, 0x17, 0x10, 0x18, 0x1c, __, __, __],
        6000: 0x20 [__, 0x4, 0x8, 0x10, __, 0x14, 0x16, 0x17, 0x10, 0x18, 0x1c, 0x0, 0x12, __],
        9200: 0x28 [__, 0x4, 0x10, 0x14, __, 0x18, 0x1a, 0x1b, 0x14, 0x20, 0x1c, 0x0, 0x16, 0x8],
    }
    x64 {
        3790: 0x30 [0x0, 0x8, 0x10, 0x18, 0x1a, 0x1c, 0x1e, 0x1f, 0x18, 0x20, 0x28, __, __, __],
        6000: 0x30 [__, 0x8, 0x10, 0x18, __, 0x1c, 0x1e, 0x1f, 0x18, 0x20, 0x28, 0x0, 0x1a, __],
        9200: 0x40 [__, 0x8, 0x20, 0x24, __, 0x28, 0x2a, 0x2b, __, 0x30, 0x38, 0x0, 0x26, 0x10],
        9600: 0x40 [__, 0x8, 0x20, 0x24, __, 0x28, 0x2a, 0x2b, __, 0x30, 0x2c, 0x0, 0x26, 0x10],
        10240: 0x40 [__, 0x8, 0x20, 0x24, __, 0x28, 0x2a, 0x2b, 0x24, 0x30, 0x2c, 0x0, 0x26, 0x10],
    }
}

struct_layout! {
    /// Offsets of `_HEAP_USERDATA_HEADER`.
    pub struct UserDataHeaderLayout: "_HEAP_USERDATA_HEADER" {
        s_free_list_entry: "SFreeListEntry",
        sub_segment: "SubSegment",
        heap_handle: "HeapHandle",
        size_index: "SizeIndex",
        signature: "Signature",
        reserved: "Reserved",
        size_index_and_padding: "SizeIndexAndPadding",
        guard_page_present: "GuardPagePresent",
        padding_bytes: "PaddingBytes",
        first_allocation_offset: "FirstAllocationOffset",
        block_stride: "BlockStride",
        busy_bitmap: "BusyBitmap",
        bitmap_data: "BitmapData",
        encoded_offsets: "EncodedOffsets",
    }
    x86 {
        2600: 0x10 [0x0, 0x0, 0x4, 0x8, 0xc, __, __, __, __, __, __, __, __, __],
        6000: 0x10 [0x0, 0x0, __, 0x8, 0xc, 0x4, __, __, __, __, __, __, __, __],
        9200: 0x20 [0x0, 0x0, __, 0x8, 0xc, 0x4, 0x8, 0x9, 0xa, 0x10, 0x12, 0x14, 0x1c, __],
        9600: 0x20 [0x0, 0x0, __, 0x8, 0xc, 0x4, 0x8, 0x9, 0xa, __, __, 0x14, 0x1c, 0x10],
    }
    x64 {
        3790: 0x20 [0x0, 0x0, 0x8, 0x10, 0x18, __, __, __, __, __, __, __, __, __],
        6000: 0x20 [0x0, 0x0, __, 0x10, 0x18, 0x8, __, __, __, __, __, __, __, __],
        9200: 0x38 [0x0, 0x0, __, 0x10, 0x14, 0x8, 0x10, 0x11, 0x12, 0x18, 0x1a, 0x20, 0x30, __],
        9600: 0x38 [0x0, 0x0, __, 0x10, 0x14, 0x8, 0x10, 0x11, 0x12, __, __, 0x20, 0x30, 0x18],
    }
}
