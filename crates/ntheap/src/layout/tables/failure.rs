//! What ntdll notes when it finds a heap damaged.
//!
//! One row a change: the first build that has it, the size of the structure, then one offset a
//! field in the order of the fields above; `__` where that build has no such field.

use crate::layout::macros::struct_layout;

struct_layout! {
    /// Offsets of `_HEAP_FAILURE_INFORMATION`.
    pub struct HeapFailureLayout: "_HEAP_FAILURE_INFORMATION" {
        version: "Version",
        structure_size: "StructureSize",
        failure_type: "FailureType",
        heap_address: "HeapAddress",
        address: "Address",
        stack_trace: "StackTrace",
    }
    // 7600 and 17134 by type records; 10240 has 17134's members and, by the size that it notes in
    // itself, one entry more in front of the stack, as 7600.
    x86 {
        7600: 0xb8 [0x0, 0x4, 0x8, 0xc, 0x10, 0x38],
        10240: 0x3d8 [0x0, 0x4, 0x8, 0xc, 0x10, 0x38],
        17134: 0x3d0 [0x0, 0x4, 0x8, 0xc, 0x10, 0x30],
    }
    x64 {
        7600: 0x168 [0x0, 0x4, 0x8, 0x10, 0x18, 0x68],
        10240: 0x6e0 [0x0, 0x4, 0x8, 0x10, 0x18, 0x68],
        17134: 0x6d0 [0x0, 0x4, 0x8, 0x10, 0x18, 0x58],
    }
}
