//! The tree of dominators from its root down, level by level, on all cores.
//!
//! The blocks right below the roots are *heads*. Whatever else they lead to is given to the head that
//! leads to it first, so that each head has a tree of its own. Where a reference leads from one tree
//! to a block of another, two ways that share nothing lead to that block: nothing but what dominates
//! both heads dominates it, and it becomes a head as well. When no reference leads from tree to tree
//! any more, each head dominates its tree, and what it leads to itself are the heads of the next level.
//!
//! A round is one look at the references, mostly in the order in which they lie in memory. A deep
//! tree would take as many rounds as it has levels: where rounds settle too little, and of what is
//! small enough for the cache, [`super::order`] finds the rest at once.

use std::sync::atomic::{AtomicU32, Ordering};

use rayon::prelude::*;

use super::{
    super::{scan::References, sweep::Marks},
    NONE, order,
};

/// How far rounds go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// Blocks that are few enough for the other way.
    pub(super) few: usize,
    /// A round, and a level, should settle one in so many of the blocks that are left.
    pub(super) share: usize,
    /// How many may settle fewer: often all hangs on one block, and that on another.
    pub(super) poor: usize,
}

impl Limits {
    /// What is fastest for so many blocks.
    pub(super) fn of(blocks: usize) -> Self {
        Limits {
            few: blocks / 128,
            share: 16,
            poor: 4,
        }
    }

    /// Whether rounds go on after one that has settled so many blocks, when so many are left.
    fn go_on(&mut self, left: usize, settled: usize) -> bool {
        if left / self.share <= settled {
            return true;
        }
        let allowed = self.poor > 0;
        self.poor = self.poor.saturating_sub(1);
        allowed
    }
}

/// A tree of dominators.
pub(super) struct Tree {
    /// The immediate dominator of each block, or [`NONE`].
    pub(super) immediate: Vec<u32>,
    /// The blocks that roots lead to, each behind its dominator.
    pub(super) order: Vec<u32>,
}

struct Levels<'l> {
    references: &'l References,
    immediate: Vec<AtomicU32>,
    /// The head in whose tree a block lies in this round.
    trees: Vec<AtomicU32>,
    /// Blocks whose immediate dominator is known.
    settled: Marks,
    order: Vec<u32>,
}

/// Makes the tree of dominators of so many blocks from what these holders, the roots, lead to.
pub(super) fn tree(
    references: &References,
    blocks: usize,
    roots: &[usize],
    limits: Limits,
) -> Tree {
    let none = |_| AtomicU32::new(NONE);
    let mut levels = Levels {
        references,
        immediate: (0..blocks).into_par_iter().map(none).collect(),
        trees: (0..blocks).into_par_iter().map(none).collect(),
        settled: Marks::new(blocks),
        order: Vec::new(),
    };
    let heads = Marks::new(blocks);
    roots.par_iter().for_each(|&root| {
        for &target in references.of(root).0 {
            if levels.settled.add(target) {
                heads.add(target);
            }
        }
    });
    levels.order.extend(heads.iter());
    levels.descend(heads, limits);
    Tree {
        immediate: levels
            .immediate
            .into_iter()
            .map(AtomicU32::into_inner)
            .collect(),
        order: levels.order,
    }
}

impl Levels<'_> {
    /// Settles all that heads lead to.
    fn descend(&mut self, mut heads: Marks, mut limits: Limits) {
        let blocks = self.immediate.len();
        let mut left = blocks.saturating_sub(self.order.len());
        while !heads.is_empty() {
            // A level: rounds until no reference leads from tree to tree.
            let before = self.order.len();
            loop {
                if left <= limits.few {
                    return self.rest(&heads);
                }
                let (mut open, crossed) = self.round(&heads);
                let found = crossed.len();
                self.order.extend(crossed.iter());
                open.add_all(&crossed);
                heads = open;
                if found == 0 {
                    break;
                }
                left = self.unsettled();
                if !limits.go_on(left, found) {
                    return self.rest(&heads);
                }
            }
            heads = self.children(&heads);
            self.order.extend(heads.iter());
            left = self.unsettled();
            if !limits.go_on(left, self.order.len() - before) {
                return self.rest(&heads);
            }
        }
    }

    /// Gives each block that is not settled to a tree, and settles those to which references lead
    /// from another. Gives the heads that lead to blocks that were not settled before, and the blocks
    /// that were.
    fn round(&self, heads: &Marks) -> (Marks, Marks) {
        let blocks = self.immediate.len();
        let (open, crossed) = (Marks::new(blocks), Marks::new(blocks));
        self.trees.par_iter().enumerate().for_each(|(block, tree)| {
            let head = heads.has(block as u32);
            tree.store(if head { block as u32 } else { NONE }, Ordering::Relaxed);
        });
        let mut waiting = Marks::new(blocks);
        waiting.add_all(heads);
        waiting.follow(|block, found| {
            let tree = self.trees[block as usize].load(Ordering::Relaxed);
            let mut leads = false;
            for &target in self.references.of(block as usize).0 {
                if self.settled.has(target) {
                    continue;
                }
                leads = true;
                let (free, relaxed) = (&self.trees[target as usize], Ordering::Relaxed);
                let of = match free.load(relaxed) {
                    NONE => free.compare_exchange(NONE, tree, relaxed, relaxed),
                    other => Err(other),
                };
                match of {
                    Ok(_) => found(target),
                    Err(other) if other != tree && self.settled.add(target) => {
                        // What dominates the one head dominates the other.
                        let above = self.immediate[tree as usize].load(relaxed);
                        self.immediate[target as usize].store(above, relaxed);
                        crossed.add(target);
                    }
                    Err(_) => {}
                }
            }
            if leads && tree == block {
                open.add(block);
            }
        });
        (open, crossed)
    }

    /// Settles what heads lead to themselves, when no reference leads from tree to tree.
    fn children(&self, heads: &Marks) -> Marks {
        let found = Marks::new(self.immediate.len());
        heads.for_each(|head| {
            for &target in self.references.of(head as usize).0 {
                if !self.settled.has(target) && self.settled.add(target) {
                    self.immediate[target as usize].store(head, Ordering::Relaxed);
                    found.add(target);
                }
            }
        });
        found
    }

    /// How many blocks lie in trees and are not settled.
    fn unsettled(&self) -> usize {
        let trees = self.trees.par_iter().enumerate();
        let open = trees.filter(|(block, tree)| {
            tree.load(Ordering::Relaxed) != NONE && !self.settled.has(*block as u32)
        });
        open.count()
    }

    /// Settles what is left below heads.
    fn rest(&mut self, heads: &Marks) {
        let open = Marks::new(self.immediate.len());
        heads.for_each(|head| {
            let targets = self.references.of(head as usize).0;
            if targets.iter().any(|&target| !self.settled.has(target)) {
                open.add(head);
            }
        });
        for (block, dominator) in order::dominated(self.references, &open, &self.settled) {
            let dominator = match dominator {
                Ok(dominator) => dominator,
                // All heads from which a block can be reached have the same dominator.
                Err(head) => self.immediate[head as usize].load(Ordering::Relaxed),
            };
            self.immediate[block as usize].store(dominator, Ordering::Relaxed);
            self.order.push(block);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// References between blocks and, last, of the one root.
    fn graph(blocks: usize, links: &[(usize, usize)], roots: &[usize]) -> References {
        let mut references = References::default();
        for holder in 0..=blocks {
            let mine = links.iter().filter(|link| link.0 % blocks == holder);
            let targets: Vec<u32> = match holder == blocks {
                true => roots.iter().map(|root| (root % blocks) as u32).collect(),
                false => mine.map(|link| (link.1 % blocks) as u32).collect(),
            };
            references
                .targets
                .extend(targets.iter().filter(|target| **target as usize != holder));
            references.ends.push(references.targets.len() as u32);
        }
        references.rules = vec![0; references.targets.len()];
        references
    }

    /// What the root leads to without a block.
    fn reached(references: &References, blocks: usize, without: Option<u32>) -> Vec<bool> {
        let mut reached = vec![false; blocks];
        let mut pending = vec![blocks];
        while let Some(holder) = pending.pop() {
            for &target in references.of(holder).0 {
                if Some(target) != without
                    && !std::mem::replace(&mut reached[target as usize], true)
                {
                    pending.push(target as usize);
                }
            }
        }
        reached
    }

    proptest! {
        #[test]
        fn dominators_are_those_without_which_a_block_is_lost(
            blocks in 1usize..40,
            links in proptest::collection::vec((0usize..1000, 0usize..1000), 0..90),
            roots in proptest::collection::vec(0usize..1000, 0..4),
            few in 0usize..12,
            share in 1usize..40,
            poor in 0usize..6,
        ) {
            let references = graph(blocks, &links, &roots);
            let tree = tree(&references, blocks, &[blocks], Limits { few, share, poor });
            let whole = reached(&references, blocks, None);
            let without: Vec<Vec<bool>> =
                (0..blocks as u32).map(|block| reached(&references, blocks, Some(block))).collect();
            let mut place = vec![None; blocks];
            for (position, &block) in tree.order.iter().enumerate() {
                prop_assert_eq!(place[block as usize].replace(position), None);
            }
            for block in 0..blocks {
                prop_assert_eq!(place[block].is_some(), whole[block]);
                let dominators: Vec<usize> =
                    (0..blocks).filter(|&other| whole[block] && other != block && !without[other][block]).collect();
                // The nearest is the one that all others dominate.
                let nearest = dominators.iter().copied().find(|&near| {
                    dominators.iter().all(|&far| far == near || !without[far][near])
                });
                let expected = nearest.map_or(NONE, |near| near as u32);
                prop_assert_eq!(tree.immediate[block], expected, "block {}", block);
                prop_assert!(nearest.is_none_or(|near| place[near] < place[block]));
            }
        }
    }
}
