//! Slots of the LFH that the 2015 extension does not list.
//!
//! It steps through a container while a slot ends before its container's block does, instead of
//! counting slots. So it misses a slot that ends exactly there, and where more than a whole slot is
//! left behind the last one it reads a header that is none, which ends the list of the heap.

use std::collections::BTreeSet;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::Heap,
    process::{HeapRef, Process},
};

/// The blocks of a heap, and what of them the extension is bound to miss.
#[derive(Default)]
pub(crate) struct Walk {
    /// The blocks in the order of the walk.
    pub(crate) blocks: Vec<Block>,
    /// Entries of slots that end where their container does.
    pub(crate) ends: BTreeSet<u64>,
    /// How many blocks are listed till the first container with room for one more slot ends the list.
    pub(crate) stop: Option<usize>,
    /// The container that the walk is in, and its last slot.
    container: Option<Block>,
    last: Option<Block>,
}

impl Walk {
    /// Walks a heap; of a page heap the full blocks, too.
    pub(crate) fn of(process: &Process<'_, '_>, reference: &HeapRef) -> Self {
        let mut walk = Walk::default();
        let _ = Heap::open(process, reference).walk(&mut walk);
        walk.end_container();
        walk
    }

    /// The blocks that are listed in spite of these errors.
    pub(crate) fn listed(&self) -> impl Iterator<Item = &Block> {
        let blocks = self.blocks.iter().take(self.stop.unwrap_or(usize::MAX));
        blocks.filter(|block| !self.ends.contains(&block.entry))
    }

    /// Whether a block lies behind the end of the list.
    pub(crate) fn is_behind(&self, entry: u64) -> bool {
        let mut behind = self.blocks.iter().skip(self.stop.unwrap_or(usize::MAX));
        behind.any(|block| block.entry == entry)
    }

    fn end_container(&mut self) {
        if let (Some(container), Some(last)) = (self.container.take(), self.last.take()) {
            let end = container.entry + container.block_size;
            let slots_end = last.entry + last.block_size;
            if slots_end == end {
                self.ends.insert(last.entry);
            }
            if end.saturating_sub(slots_end) > last.block_size {
                self.stop.get_or_insert(self.blocks.len());
            }
        }
    }
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.kind == Kind::Lfh {
            self.last = Some(*block);
        } else {
            self.end_container();
            self.container = Some(*block);
        }
        self.blocks.push(*block);
        CONTINUE
    }
}
