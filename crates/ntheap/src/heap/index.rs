//! The blocks of all heaps by address.

use rayon::prelude::*;

use super::Heaps;
use crate::blocks::{Block, CONTINUE, Flow, Visitor};

/// The blocks of the heaps of a process, busy and free, in order of their addresses.
///
/// It takes one [`Block`] of memory a block: for who looks up addresses by the thousand. Of an LFH
/// container, which is itself a block, the slots stand behind it.
#[derive(Debug, Clone, Default)]
pub struct BlockIndex {
    blocks: Vec<Block>,
    /// The furthest end of any block up to each place, so that a look-up knows when to stop.
    reach: Vec<u64>,
}

impl BlockIndex {
    pub(super) fn of(heaps: &Heaps<'_, '_>) -> Self {
        let collected = heaps.walk_parallel(|_| Collector::default(), Collector::merged);
        let mut blocks: Vec<Block> = collected.into_iter().flat_map(|c| c.0).collect();
        // An outer block comes before those inside it.
        let order = |block: &Block| {
            let (start, end) = block.extent();
            (start, std::cmp::Reverse(end))
        };
        blocks.par_sort_by_key(order);
        let mut furthest = 0;
        let reach = blocks.iter().map(|block| {
            furthest = block.extent().1.max(furthest);
            furthest
        });
        BlockIndex {
            reach: reach.collect(),
            blocks,
        }
    }

    /// The blocks, by ascending address.
    #[must_use]
    pub fn blocks(&self) -> &[Block] {
        &self.blocks
    }

    /// The innermost block that holds `address`.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<&Block> {
        let behind = self
            .blocks
            .partition_point(|block| block.extent().0 <= address);
        let candidates = self.blocks[..behind].iter().zip(&self.reach[..behind]);
        candidates
            .rev()
            .take_while(|(_, reach)| **reach > address)
            .map(|(block, _)| block)
            .find(|block| address < block.extent().1)
    }
}

#[derive(Default)]
struct Collector(Vec<Block>);

impl Collector {
    fn merged(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }
}

impl Visitor for Collector {
    fn block(&mut self, block: &Block) -> Flow {
        self.0.push(*block);
        CONTINUE
    }
}
