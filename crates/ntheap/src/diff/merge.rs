//! Which blocks are in which dumps: the walks of a heap through all dumps, merged in the order of
//! addresses.
//!
//! Blocks do not move, so those of the same addresses are compared with each other alone: a segment
//! (with whatever lay over the same addresses in other dumps) at a time, some on each core. What is
//! held in memory are the blocks of a few segments, however large the heap is.

use std::{
    hash::{Hash, Hasher},
    ops::Range,
};

use rayon::prelude::*;
use rustc_hash::FxHasher;

use super::{
    Grouping, Keep,
    heaps::{BlockChanges, Chain, FreeBlocks},
};
use crate::{
    blocks::{Block, CONTINUE, Finding, Flow, Span, State, Trace, Visitor},
    heap::Part,
    losses::Losses,
    stats::{Count, SizeCounts, TraceCounts},
};

/// A block: address, size, hash of the trace.
pub(super) type Held = (u64, u64, u32);

/// What became of the blocks of a heap.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The heap in each dump, the oldest first.
    pub(super) moments: Vec<Totals>,
    pub(super) changes: BlockChanges,
    /// Blocks that are in every dump.
    pub(super) survivors: Count,
    /// Blocks that are in the last dump and not in the first, where they are kept, by address.
    pub(super) fresh: Vec<Held>,
}

impl Merged {
    fn of(moments: usize) -> Self {
        Merged {
            moments: (0..moments).map(|_| Totals::default()).collect(),
            ..Merged::default()
        }
    }

    fn with(mut self, other: Self) -> Self {
        for (mine, theirs) in self.moments.iter_mut().zip(other.moments) {
            mine.merge(theirs);
        }
        self.changes.merge(other.changes);
        self.survivors.merge(other.survivors);
        self.fresh.extend(other.fresh);
        self
    }

    /// Compares the blocks of the same addresses, by dump.
    fn compare(&mut self, blocks: &[Vec<Held>], keep: Keep) {
        let (Some(oldest), Some(newest)) = (blocks.first(), blocks.last()) else {
            return;
        };
        let mut changes = BlockChanges::default();
        let fresh = &mut self.fresh;
        compare_blocks(oldest, newest, &mut changes, |block| {
            if keep == Keep::NewBlocks {
                fresh.push(block);
            }
        });
        self.changes.merge(changes);
        if let [_, between @ .., _] = blocks
            && !between.is_empty()
        {
            let mut survivors = oldest.clone();
            blocks
                .iter()
                .for_each(|other| keep_common(&mut survivors, other));
            survivors.iter().for_each(|held| self.survivors.add(held.1));
        } else {
            self.survivors.merge(changes.survived);
        }
    }
}

/// What a heap holds in one dump.
#[derive(Debug, Default)]
pub(super) struct Totals {
    pub(super) busy: Count,
    pub(super) free: FreeBlocks,
    /// By size, where stacks are not told apart or there is none.
    sizes: SizeCounts,
    /// By size and trace, however they are grouped later: the new blocks are looked up by both.
    traced: TraceCounts<(u64, Trace)>,
    pub(super) losses: Losses,
}

impl Totals {
    fn merge(&mut self, other: Self) {
        self.busy.merge(other.busy);
        self.free.merge(other.free);
        self.sizes.merge(other.sizes);
        self.traced.merge(other.traced);
        self.losses.merge(other.losses);
    }

    /// The counts by size and trace.
    pub(super) fn take_groups(&mut self) -> impl Iterator<Item = ((u64, Trace), Count)> + use<> {
        let sizes: Vec<(u64, Count)> = std::mem::take(&mut self.sizes).iter().collect();
        let sizes = sizes.into_iter().map(|(size, n)| ((size, Trace::None), n));
        sizes.chain(std::mem::take(&mut self.traced).into_groups().into_counts())
    }
}

/// Gathers blocks during a walk.
struct Collector<'t> {
    by_stack: bool,
    totals: &'t mut Totals,
    blocks: &'t mut Vec<Held>,
}

impl Visitor for Collector<'_> {
    #[inline(always)]
    fn block(&mut self, block: &Block) -> Flow {
        let totals = &mut *self.totals;
        if block.state == State::Free {
            totals.free.add(block.size);
        }
        if !block.is_user_block() {
            return CONTINUE;
        }
        totals.busy.add(block.size);
        let hash = trace_hash(block.trace);
        self.blocks.push((block.address, block.size, hash));
        if self.by_stack && block.trace != Trace::None {
            totals.traced.add(block.trace, block.size);
        } else {
            totals.sizes.add(block.size);
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.totals.losses.span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.totals.losses.finding(finding)
    }
}

#[inline(always)]
pub(super) fn trace_hash(trace: Trace) -> u32 {
    if trace == Trace::None {
        return 0;
    }
    let mut hasher = FxHasher::default();
    trace.hash(&mut hasher);
    hasher.finish() as u32
}

/// Addresses that parts of the heap lie at, in any of the dumps.
#[derive(Debug)]
struct Stretch {
    addresses: Range<u64>,
    /// The parts, with the position of their dump.
    parts: Vec<(usize, Part)>,
}

/// The stretches of a heap by ascending address, and the parts whose blocks can be anywhere.
fn stretches(chain: &Chain<'_, '_, '_>) -> (Vec<Stretch>, Vec<(usize, Part)>) {
    let mut placed: Vec<(Range<u64>, (usize, Part))> = Vec::new();
    let mut anywhere = Vec::new();
    for (moment, heap) in chain.iter().enumerate() {
        let Some(heap) = heap else { continue };
        for part in heap.parts() {
            match heap.extent(part) {
                Some(addresses) => placed.push((addresses, (moment, part))),
                None => anywhere.push((moment, part)),
            }
        }
    }
    placed.sort_by_key(|(addresses, part)| (addresses.start, part.0));
    let mut stretches: Vec<Stretch> = Vec::new();
    for (addresses, part) in placed {
        match stretches.last_mut() {
            Some(last) if addresses.start < last.addresses.end => {
                last.addresses.end = last.addresses.end.max(addresses.end);
                last.parts.push(part);
            }
            _ => stretches.push(Stretch {
                addresses,
                parts: vec![part],
            }),
        }
    }
    (stretches, anywhere)
}

/// Walks a heap through all dumps and compares its blocks.
pub(super) fn merge_blocks(chain: &Chain<'_, '_, '_>, by: Grouping, keep: Keep) -> Merged {
    let (stretches, anywhere) = stretches(chain);
    let walk = |merged: &mut Merged, blocks: &mut [Vec<Held>], parts: &[(usize, Part)]| {
        for &(moment, part) in parts {
            let Some(heap) = chain[moment] else { continue };
            let mut collector = Collector {
                by_stack: by.stack,
                totals: &mut merged.moments[moment],
                blocks: &mut blocks[moment],
            };
            let _ = heap.walk_part(part, &mut collector);
        }
    };
    let empty = || vec![Vec::new(); chain.len()];
    let mut elsewhere = empty();
    let mut whole = Merged::of(chain.len());
    walk(&mut whole, &mut elsewhere, &anywhere);
    elsewhere.iter_mut().for_each(|list| list.sort_unstable());
    let merged = stretches
        .par_iter()
        .fold(
            || (Merged::of(chain.len()), empty()),
            |(mut merged, mut blocks), stretch| {
                blocks.iter_mut().for_each(Vec::clear);
                walk(&mut merged, &mut blocks, &stretch.parts);
                for (list, others) in blocks.iter_mut().zip(&elsewhere) {
                    list.extend_from_slice(within(others, &stretch.addresses));
                    list.sort_unstable();
                }
                merged.compare(&blocks, keep);
                (merged, blocks)
            },
        )
        .map(|(merged, _)| merged)
        .reduce(|| Merged::of(chain.len()), Merged::with);
    // What is in no segment's addresses.
    for list in &mut elsewhere {
        let mut rest = stretches.iter().peekable();
        list.retain(|block| {
            while rest.next_if(|next| next.addresses.end <= block.0).is_some() {}
            rest.peek()
                .is_none_or(|next| block.0 < next.addresses.start)
        });
    }
    whole.compare(&elsewhere, keep);
    let mut whole = whole.with(merged);
    // What lay elsewhere came first, wherever that is.
    whole.fresh.sort_unstable();
    whole
}

/// The blocks of a sorted list that have some addresses.
fn within<'l>(blocks: &'l [Held], addresses: &Range<u64>) -> &'l [Held] {
    let from = blocks.partition_point(|block| block.0 < addresses.start);
    let to = blocks.partition_point(|block| block.0 < addresses.end);
    blocks.get(from..to).unwrap_or_default()
}

/// Leaves of a sorted list what is in another, too.
fn keep_common(kept: &mut Vec<Held>, other: &[Held]) {
    let mut other = other.iter().peekable();
    kept.retain(|block| {
        while other.next_if(|next| *next < block).is_some() {}
        other.next_if_eq(&block).is_some()
    });
}

/// Merges two lists that are sorted by address, and tells what is in the second alone.
fn compare_blocks(
    old: &[Held],
    new: &[Held],
    changes: &mut BlockChanges,
    mut fresh: impl FnMut(Held),
) {
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                changes.survived.add(a.1);
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a < b => {
                changes.gone.add(a.1);
                old.next();
            }
            (Some(a), None) => {
                changes.gone.add(a.1);
                old.next();
            }
            (_, Some(&&b)) => {
                changes.new.add(b.1);
                fresh(b);
                new.next();
            }
            (None, None) => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn compare_blocks(old: &[Held], new: &[Held]) -> BlockChanges {
        let mut changes = BlockChanges::default();
        let mut fresh: Vec<Held> = Vec::new();
        super::compare_blocks(old, new, &mut changes, |block| fresh.push(block));
        assert_eq!(fresh.len() as u64, changes.new.blocks);
        changes
    }

    fn blocks() -> impl Strategy<Value = Vec<(u64, u64, u32)>> {
        proptest::collection::btree_map(0..40u64, (1..4u64, 0..2u32), 0..30).prop_map(|map| {
            map.into_iter()
                .map(|(a, (s, t))| (a * 16, s * 8, t))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn what_is_common_is_what_both_have(a in blocks(), b in blocks()) {
            let mut kept = a.clone();
            keep_common(&mut kept, &b);
            let both: Vec<Held> = a.into_iter().filter(|block| b.contains(block)).collect();
            prop_assert_eq!(kept, both);
        }

        #[test]
        fn the_reversed_comparison_exchanges_new_and_gone(a in blocks(), b in blocks()) {
            let (forth, back) = (compare_blocks(&a, &b), compare_blocks(&b, &a));
            prop_assert_eq!(forth.new, back.gone);
            prop_assert_eq!(forth.gone, back.new);
            prop_assert_eq!(forth.survived, back.survived);
        }

        #[test]
        fn new_less_gone_is_the_growth(a in blocks(), b in blocks()) {
            let changes = compare_blocks(&a, &b);
            let sum = |list: &[(u64, u64, u32)]| list.iter().map(|block| block.1 as i64).sum::<i64>();
            prop_assert_eq!(changes.new.bytes as i64 - changes.gone.bytes as i64, sum(&b) - sum(&a));
            prop_assert_eq!((changes.survived.blocks + changes.new.blocks) as usize, b.len());
            prop_assert_eq!((changes.survived.blocks + changes.gone.blocks) as usize, a.len());
        }

        #[test]
        fn nothing_changes_between_a_dump_and_itself(a in blocks()) {
            let changes = compare_blocks(&a, &a);
            prop_assert_eq!(changes.new.blocks + changes.gone.blocks, 0);
        }
    }
}
