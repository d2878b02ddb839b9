//! The blocks of a heap by size and stack, through all dumps.

use std::{cmp::Reverse, sync::Arc};

use rustc_hash::FxHashMap;

use super::{
    Grouping,
    heaps::{GroupChange, GroupKey},
    merge::{Held, Totals, trace_hash},
};
use crate::{blocks::Trace, stats::Count, traces::Traces};

/// Groups that are at hand.
const SLOTS: usize = 1 << 13;

/// Counts of traced blocks by size and trace. Most blocks share few of both, whose counts lie where size and
/// record lead without a search; the others, and what has to make room, go to a map.
#[derive(Debug, Default)]
pub(super) struct TracedCounts {
    /// Size, address of the record, and the count.
    at_hand: Vec<(u64, u64, Count)>,
    others: FxHashMap<(u64, Trace), Count>,
}

impl TracedCounts {
    /// Counts one block.
    #[inline(always)]
    pub(super) fn add(&mut self, size: u64, trace: Trace) {
        if let Trace::Record(record) = trace
            && let Some(slot) = self.at_hand.get_mut(place(size, record))
            && (slot.0, slot.1) == (size, record)
        {
            slot.2.add(size);
            return;
        }
        self.add_other(size, trace);
    }

    #[inline(never)]
    fn add_other(&mut self, size: u64, trace: Trace) {
        let Trace::Record(record) = trace else {
            return self.others.entry((size, trace)).or_default().add(size);
        };
        if self.at_hand.is_empty() {
            self.at_hand = vec![(0, 0, Count::default()); SLOTS];
        }
        let one = Count {
            blocks: 1,
            bytes: size,
        };
        let slot = &mut self.at_hand[place(size, record)];
        let (size, record, count) = std::mem::replace(slot, (size, record, one));
        self.put(size, record, count);
    }

    fn put(&mut self, size: u64, record: u64, count: Count) {
        if count.blocks > 0 {
            let key = (size, Trace::Record(record));
            self.others.entry(key).or_default().merge(count);
        }
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: Self) {
        for (key, count) in other.into_counts() {
            self.others.entry(key).or_default().merge(count);
        }
    }

    /// The counts, by size and trace.
    pub(super) fn into_counts(mut self) -> impl Iterator<Item = ((u64, Trace), Count)> {
        for (size, record, count) in std::mem::take(&mut self.at_hand) {
            self.put(size, record, count);
        }
        self.others.into_iter()
    }
}

/// Where the count of a size and a record lies.
#[inline(always)]
fn place(size: u64, record: u64) -> usize {
    let mixed = (record ^ size.rotate_left(40)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> (64 - SLOTS.ilog2())) as usize
}

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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(blocks in proptest::collection::vec((0..300u64, 0..400u64), 0..3000)) {
            let mut counts = [TracedCounts::default(), TracedCounts::default()];
            let mut map: FxHashMap<(u64, Trace), Count> = FxHashMap::default();
            for (index, (size, trace)) in blocks.into_iter().enumerate() {
                let trace = match trace {
                    0..10 => Trace::Index(trace as u32),
                    _ => Trace::Record(trace * 64),
                };
                counts[index % 2].add(size, trace);
                map.entry((size, trace)).or_default().add(size);
            }
            let [mut first, second] = counts;
            first.merge(second);
            let counted: FxHashMap<_, _> = first.into_counts().collect();
            prop_assert_eq!(counted, map);
        }
    }
}
