//! Who keeps chosen blocks: their dominators, and where they accumulate.
//!
//! The accumulation point is found as Eclipse MAT finds it: the shortest ways from the roots to the
//! blocks are merged into a tree, which is followed from the root as long as one branch holds more
//! than four fifths of the blocks.

use rustc_hash::FxHashMap;

use super::{Dominators, Graph, Holder, Ways};
use crate::stats::Count;

/// Share of the blocks that a branch must hold to be followed.
const ACCUMULATION: f64 = 0.8;
/// What the largest block below must retain of what its dominator does, to be followed.
const BIG_DROP: f64 = 0.7;
/// Blocks whose ways are merged; of more, as many are taken at even distances.
const MAX_WAYS: usize = 10_000;
/// Longest way that is merged.
const MAX_DEPTH: usize = 1_000;

/// Where blocks accumulate.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Accumulation {
    /// The block that the ways to most of them share, the last of those on [`chain`](Self::chain).
    pub point: u32,
    /// The blocks of the shared way, from the first behind the root on.
    pub chain: Vec<u32>,
    /// How many of the ways lead through it.
    pub through: usize,
    /// How many ways were looked at.
    pub of: usize,
}

/// A block that dominates chosen ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Keeper {
    /// The block; `None` for the roots.
    pub block: Option<u32>,
    /// The chosen blocks of which it is the immediate dominator.
    pub keeps: Count,
    /// Bytes that those retain.
    pub retained: u64,
}

/// Chosen blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Selection {
    /// Their numbers, ascending.
    pub blocks: Vec<u32>,
    /// Their count and bytes.
    pub count: Count,
    /// Those of them that no root leads to.
    pub lost: Count,
    /// Bytes that all of them together retain.
    pub retained: u64,
    /// Their immediate dominators, those that keep most first.
    pub keepers: Vec<Keeper>,
}

impl Selection {
    /// Looks up who keeps blocks.
    #[must_use]
    pub fn of(graph: &Graph<'_, '_>, dominators: &Dominators, blocks: Vec<u32>) -> Self {
        let mut selection = Selection {
            blocks,
            count: Count::default(),
            lost: Count::default(),
            retained: 0,
            keepers: Vec::new(),
        };
        let chosen: rustc_hash::FxHashSet<u32> = selection.blocks.iter().copied().collect();
        let mut keepers: FxHashMap<Option<u32>, Keeper> = FxHashMap::default();
        let mut covered = Covered::default();
        for &block in &selection.blocks {
            let size = graph.index.size(block);
            selection.count.add(size);
            let Some(retained) = dominators.retained(block) else {
                selection.lost.add(size);
                continue;
            };
            let above = dominators.of(block);
            let keeper = keepers.entry(above).or_insert(Keeper {
                block: above,
                keeps: Count::default(),
                retained: 0,
            });
            keeper.keeps.add(size);
            keeper.retained = keeper.retained.saturating_add(retained);
            // What a chosen block above retains includes this one.
            if !covered.is(dominators, &chosen, block) {
                selection.retained = selection.retained.saturating_add(retained);
            }
        }
        selection.keepers = keepers.into_values().collect();
        selection
            .keepers
            .sort_by_key(|keeper| (std::cmp::Reverse(keeper.retained), keeper.block));
        selection
    }

    /// Where the blocks accumulate, if they do in one place.
    #[must_use]
    pub fn accumulation(&self, ways: &Ways) -> Option<Accumulation> {
        let step = self.blocks.len().div_ceil(MAX_WAYS).max(1);
        let sample = self.blocks.iter().step_by(step);
        let routes: Vec<Vec<u32>> = sample.filter_map(|&block| ways.blocks_to(block)).collect();
        let mut among: Vec<&[u32]> = routes.iter().map(Vec::as_slice).collect();
        let of = among.len();
        let (mut chain, mut through) = (Vec::new(), 0);
        for depth in 0..MAX_DEPTH {
            let mut branches: FxHashMap<u32, usize> = FxHashMap::default();
            // A way's last block is the chosen one itself, which accumulates nothing.
            for route in among.iter().filter(|route| depth + 1 < route.len()) {
                *branches.entry(route[depth]).or_default() += 1;
            }
            let most = branches
                .into_iter()
                .max_by_key(|&(block, count)| (count, std::cmp::Reverse(block)));
            let Some((block, count)) = most else { break };
            if count < 2 || (count as f64) < ACCUMULATION * of as f64 {
                break;
            }
            chain.push(block);
            through = count;
            among.retain(|route| route.get(depth) == Some(&block));
        }
        Some(Accumulation {
            point: *chain.last()?,
            chain,
            through,
            of,
        })
    }
}

/// Which blocks have a chosen one among their dominators; each chain is walked once.
#[derive(Default)]
struct Covered {
    known: FxHashMap<u32, bool>,
    path: Vec<u32>,
}

impl Covered {
    fn is(
        &mut self,
        dominators: &Dominators,
        chosen: &rustc_hash::FxHashSet<u32>,
        block: u32,
    ) -> bool {
        let mut at = block;
        let found = loop {
            if let Some(&known) = self.known.get(&at) {
                break known;
            }
            self.path.push(at);
            match dominators.of(at) {
                None => break false,
                Some(above) if chosen.contains(&above) => break true,
                Some(above) => at = above,
            }
        };
        for block in self.path.drain(..) {
            self.known.insert(block, found);
        }
        found
    }
}

impl Dominators {
    /// Where what a block retains accumulates: the way down from it to the largest block below, as
    /// long as that retains most of what the one above does.
    #[must_use]
    pub fn accumulation(&self, graph: &Graph<'_, '_>, block: u32) -> Vec<u32> {
        // The largest block below each; all in one pass, as there are no lists of children.
        let mut largest: FxHashMap<u32, (u64, u32)> = FxHashMap::default();
        for below in 0..graph.index.len() as u32 {
            if let (Some(above), Some(retained)) = (self.of(below), self.retained(below)) {
                let entry = largest.entry(above).or_insert((retained, below));
                *entry = (*entry).max((retained, below));
            }
        }
        let mut chain = vec![block];
        let mut at = block;
        while let (Some(&(retained, below)), Some(whole)) = (largest.get(&at), self.retained(at)) {
            if (retained as f64) < BIG_DROP * whole as f64 || chain.len() == MAX_DEPTH {
                break;
            }
            chain.push(below);
            at = below;
        }
        chain
    }
}

impl Ways {
    /// The blocks on the way to a block, the one behind the root first, itself last; `None` if no
    /// root leads to it.
    #[must_use]
    pub fn blocks_to(&self, block: u32) -> Option<Vec<u32>> {
        let mut blocks = vec![block];
        let mut at = block;
        while let Holder::Block(holder) = self.before(at)? {
            blocks.push(holder);
            at = holder;
        }
        blocks.reverse();
        Some(blocks)
    }
}
