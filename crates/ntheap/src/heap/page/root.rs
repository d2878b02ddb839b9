//! `_DPH_HEAP_ROOT`: what page heap keeps of a whole heap.

use super::trace_at;
use crate::{
    address_space::AddressSpace, blocks::Trace, heap::list::page_heap_root, layout::Layouts,
};

/// The root of a page heap; what is not in the dump reads as 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// Address of the `_DPH_HEAP_ROOT`, a page behind the handle.
    pub address: u64,
    /// `HeapFlags`: those of the creation.
    pub heap_flags: u32,
    /// `ExtraFlags`: page heap's own, as `gflags` set them.
    pub page_heap_flags: u32,
    /// `NormalHeap`: handle of the heap that serves light blocks.
    pub normal_heap: u64,
    /// `nBusyAllocations`: busy full blocks.
    pub busy_blocks: u64,
    /// Freed blocks that are still kept: full ones on XP, full and light ones from 14393 on; `None`
    /// for the builds between, whose count was not proved.
    pub freed_blocks: Option<u64>,
    /// Address of the page heap's critical section.
    pub lock: u64,
    /// Trace of the heap's creation.
    pub creation: Trace,
    /// Whether it has the structure of XP: a list of busy blocks, not a tree.
    pub xp: bool,
}

/// `ExtraFlags`: new blocks get pages of their own.
const ENABLE_PAGE_HEAP: u32 = 0x1;
/// `ExtraFlags`: traces are recorded.
const COLLECT_STACK_TRACES: u32 = 0x2;

impl Root {
    pub(super) fn read(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Self {
        let address = page_heap_root(handle).unwrap_or(0);
        let layout = &layouts.dph_root;
        let root = memory.at(address, layouts.bitness);
        let xp = layout.busy_nodes_table.is_none();
        Root {
            address,
            heap_flags: root.u32(layout.heap_flags).unwrap_or(0),
            page_heap_flags: root.u32(layout.extra_flags).unwrap_or(0),
            normal_heap: root.pointer(layout.normal_heap).unwrap_or(0),
            busy_blocks: root.u32(layout.n_busy_allocations).unwrap_or(0).into(),
            freed_blocks: root
                .u32(layout.free_queue_length)
                .or_else(|| root.u32(layout.n_free_allocations).filter(|_| xp))
                .map(u64::from),
            lock: root.pointer(layout.heap_crit_sect).unwrap_or(0),
            creation: trace_at(root.pointer(layout.create_stack_trace), xp),
            xp,
        }
    }

    /// Whether new blocks get pages of their own where no other flag decides.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.page_heap_flags & ENABLE_PAGE_HEAP != 0
    }

    /// Whether traces are recorded.
    #[must_use]
    pub fn captures_stacks(&self) -> bool {
        self.page_heap_flags & COLLECT_STACK_TRACES != 0
    }
}
