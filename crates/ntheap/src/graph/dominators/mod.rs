//! Dominators: which block alone keeps which others alive.
//!
//! A block dominates another if every way from the roots to that one leads through it; freeing it
//! would take the other along. Each block has one immediate dominator, the nearest, and so the blocks
//! form a tree, whose root stands for all roots together. What a block *retains* are its bytes and
//! those of all below it.
//!
//! The tree is found from its root down as long as that settles many blocks at a time ([`levels`]),
//! what is left from semidominators ([`order`]): 22 bytes a block, and for each of what is left 57, with 8 a
//! reference that leads backwards, of which half goes before they are found.

mod levels;
mod order;

use super::{Graph, Rules};
use levels::Limits;

/// No block: of the roots, and of what they don't lead to.
const NONE: u32 = u32::MAX;

/// The tree of dominators over all pointers, whatever rules hold for them, from the roots that count
/// without any rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dominators {
    /// By number of the block; [`NONE`] if no block dominates it.
    immediate: Vec<u32>,
    /// Bytes that each block retains; 0 if no root leads to it.
    retained: Vec<u64>,
    /// Whether a root leads to the block.
    reached: Vec<bool>,
}

impl Dominators {
    /// The immediate dominator of a block; `None` if that are the roots, or if none leads to it.
    #[must_use]
    pub fn of(&self, block: u32) -> Option<u32> {
        let immediate = self.immediate[block as usize];
        (immediate != NONE).then_some(immediate)
    }

    /// Whether a root leads to the block, by whatever pointers.
    #[must_use]
    pub fn is_reached(&self, block: u32) -> bool {
        self.reached[block as usize]
    }

    /// Bytes that a block retains, its own among them; `None` if no root leads to it.
    #[must_use]
    pub fn retained(&self, block: u32) -> Option<u64> {
        let block = block as usize;
        self.reached[block].then_some(self.retained[block])
    }

    /// The dominators of a block, the nearest first.
    pub fn above(&self, block: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.of(block), |&block| self.of(block))
    }
}

/// The tree of dominators of a graph.
pub(super) fn dominators(graph: &Graph<'_, '_>) -> Dominators {
    let count = graph.index.len();
    let roots: Vec<usize> = graph.root_holders(Rules::NONE).collect();
    let tree = levels::tree(&graph.references, count, &roots, Limits::of(count));
    let mut found = Dominators {
        immediate: tree.immediate,
        retained: vec![0; count],
        reached: vec![false; count],
    };
    // A block comes before those that it dominates, so that going back each sum is whole when it is
    // added to that of its dominator.
    for &block in tree.order.iter().rev() {
        found.reached[block as usize] = true;
        let mine = &mut found.retained[block as usize];
        *mine = mine.saturating_add(graph.index.size(block));
        let retained = *mine;
        if let Some(above) = found.of(block) {
            let sum = &mut found.retained[above as usize];
            *sum = sum.saturating_add(retained);
        }
    }
    found
}
