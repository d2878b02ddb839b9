//! The blocks of a heap by size and stack, through all dumps.

use std::{cmp::Reverse, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    Grouping,
    heaps::{GroupChange, GroupKey},
    merge::{Held, Totals, trace_hash},
};
use crate::{blocks::Trace, stats::Count, traces::Traces};

/// The groups of a heap: distinct stacks and pairs of size and stack have numbers, so that nothing is done
/// with whole stacks but once for each.
#[derive(Debug)]
pub(super) struct Grouped {
    by: Grouping,
    moments: usize,
    stacks: Vec<Arc<[u64]>>,
    numbers: FxHashMap<Arc<[u64]>, u32>,
    /// Size (0 if sizes are not told apart) and number of the stack (likewise) of each group.
    keys: Vec<(u64, u32)>,
    places: FxHashMap<(u64, u32), u32>,
    /// Of each group one in each dump.
    counts: Vec<Count>,
}

/// Which group the blocks of each size and hash of a trace are in.
pub(super) type Places = FxHashMap<(u64, u32), u32>;

impl Grouped {
    pub(super) fn new(by: Grouping, moments: usize) -> Self {
        Grouped {
            by,
            moments,
            stacks: Vec::new(),
            numbers: FxHashMap::default(),
            keys: Vec::new(),
            places: FxHashMap::default(),
            counts: Vec::new(),
        }
    }

    /// Adds what was counted in one dump; tells the group of each size and trace.
    pub(super) fn add(
        &mut self,
        moment: usize,
        walked: &mut Totals,
        traces: &Traces<'_, '_>,
        mut each: impl FnMut((u64, u32), u32),
    ) {
        // Each distinct trace is decoded once; different records can hold the same frames.
        let mut of_traces: FxHashMap<Trace, u32> = FxHashMap::default();
        for ((size, trace), count) in walked.take_groups() {
            let (stack, hash) = match self.by.stack {
                true => {
                    let stack = of_traces.entry(trace);
                    let number = || self.number(traces.frames(trace).unwrap_or_default());
                    (*stack.or_insert_with(number), trace_hash(trace))
                }
                false => (0, 0),
            };
            let key = (if self.by.size { size } else { 0 }, stack);
            let place = *self.places.entry(key).or_insert_with(|| {
                self.keys.push(key);
                self.counts
                    .resize(self.keys.len() * self.moments, Count::default());
                self.keys.len() as u32 - 1
            });
            self.counts[place as usize * self.moments + moment].merge(count);
            each((size, hash), place);
        }
    }

    fn number(&mut self, frames: Vec<u64>) -> u32 {
        if let Some(&number) = self.numbers.get(&frames[..]) {
            return number;
        }
        let (stack, number) = (Arc::from(frames), self.stacks.len() as u32);
        self.stacks.push(Arc::clone(&stack));
        self.numbers.insert(stack, number);
        number
    }

    /// The changes in order of growth, and where each group is among them.
    pub(super) fn into_changes(self) -> (Vec<GroupChange>, Vec<u32>) {
        let mut by_frames: Vec<u32> = (0..self.stacks.len() as u32).collect();
        by_frames.sort_unstable_by_key(|&number| &self.stacks[number as usize]);
        let mut ranks = vec![0; self.stacks.len()];
        for (rank, number) in (0u32..).zip(by_frames) {
            ranks[number as usize] = rank;
        }
        let mut changes: Vec<_> = (0u32..)
            .zip(&self.keys)
            .zip(self.counts.chunks_exact(self.moments.max(1)))
            .map(|((place, &(size, stack)), counts)| {
                let key = GroupKey {
                    size: self.by.size.then_some(size),
                    stack: self
                        .by
                        .stack
                        .then(|| Arc::clone(&self.stacks[stack as usize])),
                };
                let change = GroupChange::new(key, counts.to_vec());
                let growth = (change.change.bytes(), change.change.blocks());
                let rank = ranks.get(stack as usize).copied().unwrap_or(0);
                (Reverse((growth, size, rank)), place, change)
            })
            .collect();
        changes.sort_unstable_by_key(|(order, place, _)| (*order, *place));
        let mut places = vec![0; changes.len()];
        let sorted = (0u32..).zip(changes).map(|(position, (_, place, change))| {
            places[place as usize] = position;
            change
        });
        let sorted = sorted.collect();
        (sorted, places)
    }
}

/// The group that a block is in.
pub(super) fn group_of(places: &Places, by: Grouping, &(_, size, hash): &Held) -> Option<u32> {
    let hash = if by.stack { hash } else { 0 };
    places.get(&(size, hash)).copied()
}
