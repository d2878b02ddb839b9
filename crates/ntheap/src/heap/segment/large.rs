//! Large blocks, each with a mapping of its own.

use rustc_hash::FxHashSet;

use super::{
    SegmentHeap,
    sink::{RawBlock, Sink, Unused},
};
use crate::{
    address_space::END,
    blocks::{Certainty, Flow, Kind, State},
    layout::PAGE,
};

/// More large blocks than fit an address space.
const MAX_BLOCKS: usize = 1 << 28;

/// The part of `VirtualAddress` that is the address; the rest is `UnusedBytes`.
const ADDRESS_MASK: u64 = !0xffff;

/// Bit 0 of the tree's second member: the pointers of the tree are encoded.
const ENCODED: u64 = 1;

/// `ExtraPresent` in the word that holds `AllocatedPages` in its bits from 12 on.
const EXTRA_PRESENT: u64 = 1;

/// A block with a mapping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LargeBlock {
    /// Address of its `_HEAP_LARGE_ALLOC_DATA`.
    pub node: u64,
    /// Start of the mapping.
    pub start: u64,
    /// Committed bytes.
    pub size: u64,
    /// Bytes at the end that the program did not ask for.
    pub unused: u64,
    /// Whether a `SEGMENT_HEAP_EXTRA` is behind the block.
    pub extra: bool,
}

impl SegmentHeap<'_, '_> {
    /// Lists the nodes of the heap's tree of large blocks.
    pub(super) fn read_large_blocks(&mut self) {
        let bitness = self.bitness();
        let pointer = bitness.pointer_size();
        let Some(tree) = self
            .memory
            .at(self.handle(), bitness)
            .address(self.layouts.segment_heap.large_alloc_metadata)
        else {
            return;
        };
        let read = |at: Option<u64>| at.and_then(|at| self.memory.pointer(at, bitness));
        let (Some(root), Some(minimum)) = (read(Some(tree)), read(tree.checked_add(pointer)))
        else {
            self.report_broken_list(tree, TREE);
            return;
        };
        let encoded = minimum & ENCODED != 0;
        // A child is stored as its distance, bit by bit, from the node (or tree) that holds it.
        let decode = |stored: u64, holder: u64| match stored {
            0 => 0,
            _ if encoded => stored ^ holder,
            _ => stored,
        };
        let mut pending = vec![decode(root, tree)];
        let mut seen = FxHashSet::default();
        let mut broken = Vec::new();
        let mut blocks = Vec::new();
        while let Some(node) = pending.pop() {
            if node == 0 {
                continue;
            }
            let aligned = node.is_multiple_of(pointer);
            if !aligned || !seen.insert(node) || seen.len() > MAX_BLOCKS {
                broken.push(node);
                continue;
            }
            let children = [read(Some(node)), read(node.checked_add(pointer))];
            let (Some(block), [Some(left), Some(right)]) = (self.large_block(node), children)
            else {
                broken.push(node);
                continue;
            };
            blocks.push(block);
            pending.extend([decode(left, node), decode(right, node)]);
        }
        for node in broken {
            self.report_broken_list(node, TREE);
        }
        blocks.sort_by_key(|block| block.start);
        self.large_blocks = blocks;
    }

    fn large_block(&self, node: u64) -> Option<LargeBlock> {
        let layout = &self.layouts.large_alloc;
        let data = self.memory.at(node, self.bitness());
        let address = data.pointer(layout.virtual_address)?;
        let pages = data.pointer(layout.allocated_pages)?;
        let start = address & ADDRESS_MASK;
        let size = pages & !(PAGE - 1);
        let sound =
            start != 0 && size != 0 && start.checked_add(size).is_some_and(|end| end <= END);
        sound.then_some(LargeBlock {
            node,
            start,
            size,
            unused: address & !ADDRESS_MASK,
            extra: pages & EXTRA_PRESENT != 0,
        })
    }

    pub(super) fn walk_large_blocks<S: Sink>(&self, sink: &mut S) -> Flow {
        self.large_blocks.iter().try_for_each(|block| {
            sink.raw(RawBlock {
                container: block.node,
                entry: block.start,
                start: block.start,
                usable: block.size,
                block_size: block.size,
                state: State::Busy,
                kind: Kind::Large,
                internal: false,
                unused: Unused {
                    bytes: Some(block.unused),
                    extra: block.extra,
                },
                certainty: Certainty::Certain,
            })
        })
    }
}

const TREE: &str = "tree of large blocks";
