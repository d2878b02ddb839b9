//! `_DPH_HEAP_BLOCK`: page heap's records of its full blocks.

use rustc_hash::FxHashSet;

use super::{Root, trace_at};
use crate::{
    address_space::AddressSpace,
    blocks::{Block, Certainty, FindingKind, Kind, State, Trace},
    dump::{Region, is_absent},
    layout::Layouts,
    process::Process,
};

/// A block with pages of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageBlock {
    /// Address of its `_DPH_HEAP_BLOCK`.
    pub node: u64,
    /// Address that the program has.
    pub address: u64,
    /// Bytes that the program asked for.
    pub requested: u64,
    /// Bytes with what alignment adds; `None` from 14393 on, where it is not kept.
    pub actual: Option<u64>,
    /// First address of its pages.
    pub virtual_block: u64,
    /// Bytes of its pages, the guard page included.
    pub virtual_size: u64,
    /// Busy, or freed and kept in the queue without its pages.
    pub state: State,
    /// Trace of the allocation; of a freed block that of the call that freed it. Page heap does not
    /// keep the trace of the allocation then.
    pub trace: Trace,
    /// Identifier of the thread that allocated the block, or freed it; `None` before 14393.
    pub thread: Option<u32>,
    /// What proves it: its record, or the stamps around it where that is lost.
    pub certainty: Certainty,
}

impl PageBlock {
    /// Bytes of its pages that can be accessed while it is busy: all but the guard page.
    #[must_use]
    pub fn accessible(&self) -> u64 {
        const GUARD_PAGE: u64 = 0x1000;
        self.virtual_size.saturating_sub(GUARD_PAGE)
    }

    /// One past the last byte of its pages.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.virtual_block.saturating_add(self.virtual_size)
    }

    /// Whether [`trace`](Self::trace) is that of the call that freed the block.
    #[must_use]
    pub fn has_freeing_trace(&self) -> bool {
        self.state == State::Freed && self.trace != Trace::None
    }

    /// The block as a walk reports it.
    #[must_use]
    pub fn block(&self, heap: u64) -> Block {
        Block {
            heap,
            container: self.virtual_block,
            entry: self.node,
            address: self.address,
            size: self.requested,
            block_size: self.virtual_size,
            state: self.state,
            kind: Kind::Page,
            internal: false,
            flags: u8::from(self.state == State::Busy),
            tag: 0,
            trace: self.trace,
            certainty: self.certainty,
        }
    }
}

/// Reads the records of one page heap.
pub(super) struct Nodes<'s, 'a> {
    pub(super) memory: &'s AddressSpace<'a>,
    pub(super) layouts: &'s Layouts,
    /// The regions of the process, empty where the dump does not describe them.
    regions: &'s [Region],
    pub(super) root: Root,
    /// What is broken, and where.
    pub(super) problems: Vec<(u64, FindingKind)>,
    seen: FxHashSet<u64>,
}

impl<'s, 'a> Nodes<'s, 'a> {
    pub(super) fn new(process: &'s Process<'_, 'a>, root: Root) -> Self {
        Nodes {
            memory: process.memory(),
            layouts: &process.layouts,
            regions: &process.dump.regions,
            root,
            problems: Vec::new(),
            seen: FxHashSet::default(),
        }
    }

    /// The busy blocks: by ascending address from the tree, in the order of the list on XP.
    pub(super) fn busy(&mut self) -> Vec<PageBlock> {
        if self.root.xp {
            let field = self.layouts.dph_root.p_busy_allocation_list_head;
            return self.list(field, "list of busy page heap blocks", State::Busy);
        }
        self.tree()
    }

    /// The freed blocks that are still kept, those freed first in front.
    pub(super) fn freed(&mut self) -> Vec<PageBlock> {
        let field = self.layouts.dph_root.p_free_allocation_list_head;
        self.list(field, "list of freed page heap blocks", State::Freed)
    }

    fn broken(&mut self, at: u64, list: &'static str) {
        let kind = if is_absent(self.memory, self.regions, at) {
            FindingKind::MissingStructure { structure: list }
        } else {
            FindingKind::BrokenList { list }
        };
        self.problems.push((at, kind));
    }

    fn list(&mut self, head: Option<u32>, name: &'static str, state: State) -> Vec<PageBlock> {
        let bitness = self.layouts.bitness;
        let mut blocks = Vec::new();
        let Some(mut next) = self.memory.at(self.root.address, bitness).pointer(head) else {
            let structure = "_DPH_HEAP_ROOT";
            let kind = FindingKind::MissingStructure { structure };
            self.problems.push((self.root.address, kind));
            return blocks;
        };
        while next != 0 {
            // Every address is visited once, so the list ends whatever it links to.
            let link = self.memory.at(next, bitness);
            let after = link.pointer(self.layouts.dph_block.p_next_alloc);
            let (Some(after), true) = (after, self.seen.insert(next)) else {
                self.broken(next, name);
                break;
            };
            self.push(next, state, &mut blocks);
            next = after;
        }
        blocks
    }

    /// The nodes of the AVL tree in order. `BusyNodesTable` begins with a node whose right child is
    /// the real root.
    fn tree(&mut self) -> Vec<PageBlock> {
        const NAME: &str = "tree of busy page heap blocks";
        let bitness = self.layouts.bitness;
        let links = &self.layouts.balanced_links;
        let mut blocks = Vec::new();
        let root = self.memory.at(self.root.address, bitness);
        let table = root.address(self.layouts.dph_root.busy_nodes_table);
        let top = table.and_then(|table| {
            let top = self.memory.at(table, bitness);
            // The balanced root is its own parent, which proves the layout.
            let own = top.pointer(links.parent)? == table;
            own.then(|| top.pointer(links.right_child))?
        });
        let Some(mut at) = top else {
            self.broken(table.unwrap_or(self.root.address), NAME);
            return blocks;
        };
        // A record begins with its links in every build, so their addresses are the same.
        let (memory, own) = (self.memory, self.layouts.dph_block.table_links);
        let child = |node: u64, field: Option<u32>| {
            let links = memory.at(node, bitness).address(own)?;
            memory.at(links, bitness).pointer(field)
        };
        let mut parents: Vec<u64> = Vec::new();
        loop {
            while at != 0 {
                let fresh = self.seen.insert(at);
                let left = child(at, links.left_child).filter(|_| fresh);
                let Some(left) = left else {
                    self.broken(at, NAME);
                    break;
                };
                parents.push(at);
                at = left;
            }
            let Some(node) = parents.pop() else {
                return blocks;
            };
            self.push(node, State::Busy, &mut blocks);
            let right = child(node, links.right_child);
            at = right.unwrap_or(0);
            if right.is_none() {
                self.broken(node, NAME);
            }
        }
    }

    /// Reads the record at `node`, and takes it if it describes a block.
    fn push(&mut self, node: u64, state: State, blocks: &mut Vec<PageBlock>) {
        let layout = &self.layouts.dph_block;
        let record = self.memory.at(node, self.layouts.bitness);
        let read = || {
            Some(PageBlock {
                node,
                address: record.pointer(layout.p_user_allocation)?,
                requested: record.pointer(layout.n_user_requested_size)?,
                actual: record.pointer(layout.n_user_actual_size),
                virtual_block: record.pointer(layout.p_virtual_block)?,
                virtual_size: record.pointer(layout.n_virtual_block_size)?,
                state,
                trace: trace_at(record.pointer(layout.stack_trace), self.root.xp),
                thread: record.u32(layout.thread_id),
                certainty: Certainty::Certain,
            })
        };
        let Some(block) = read() else {
            let structure = "_DPH_HEAP_BLOCK";
            let kind = FindingKind::MissingStructure { structure };
            self.problems.push((node, kind));
            return;
        };
        let offset = block.address.checked_sub(block.virtual_block);
        let fits = offset.is_some_and(|offset| {
            let end = offset.checked_add(block.requested);
            offset < block.virtual_size && end.is_some_and(|end| end <= block.virtual_size)
        });
        if fits
            && block
                .virtual_block
                .checked_add(block.virtual_size)
                .is_some()
        {
            blocks.push(block);
        } else {
            let reason = "the block does not lie in its pages";
            self.problems
                .push((node, FindingKind::PageHeapNode { reason }));
        }
    }
}
