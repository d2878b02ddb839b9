//! Counting blocks by the trace of their allocation.

use std::hash::Hash;

use super::{Count, Groups};
use crate::blocks::Trace;

/// What traced blocks are counted by.
pub(crate) trait TraceKey: Eq + Hash {
    /// What a key with the record of a trace is told by.
    type Mark: Copy + PartialEq + Default;
    /// Keys that are at hand: a power of two.
    const SLOTS: usize;

    fn of(trace: Trace, size: u64) -> Self;
    fn mark(record: u64, size: u64) -> Self::Mark;
    fn marked(mark: Self::Mark) -> Self;
    /// A number that is another for most other marks.
    fn number(mark: Self::Mark) -> u64;
}

/// By trace alone; marked by the address of its record.
impl TraceKey for Trace {
    type Mark = u64;
    const SLOTS: usize = 1 << 12;

    fn of(trace: Trace, _: u64) -> Self {
        trace
    }

    #[inline(always)]
    fn mark(record: u64, _: u64) -> u64 {
        record
    }

    fn marked(record: u64) -> Self {
        Trace::Record(record)
    }

    #[inline(always)]
    fn number(record: u64) -> u64 {
        record
    }
}

/// By size and trace.
impl TraceKey for (u64, Trace) {
    type Mark = (u64, u64);
    const SLOTS: usize = 1 << 13;

    fn of(trace: Trace, size: u64) -> Self {
        (size, trace)
    }

    #[inline(always)]
    fn mark(record: u64, size: u64) -> (u64, u64) {
        (size, record)
    }

    fn marked((size, record): (u64, u64)) -> Self {
        (size, Trace::Record(record))
    }

    #[inline(always)]
    fn number((size, record): (u64, u64)) -> u64 {
        record ^ size.rotate_left(40)
    }
}

/// Counts by trace, or by size and trace. Most blocks share few of both, whose counts lie where they lead
/// without a search; the others, and what has to make room, go to a map.
#[derive(Debug)]
pub(crate) struct TraceCounts<K: TraceKey> {
    at_hand: Vec<(K::Mark, Count)>,
    others: Groups<K>,
}

impl<K: TraceKey> Default for TraceCounts<K> {
    fn default() -> Self {
        TraceCounts {
            at_hand: Vec::new(),
            others: Groups::default(),
        }
    }
}

impl<K: TraceKey> TraceCounts<K> {
    /// Counts one block of `bytes` requested bytes.
    #[inline(always)]
    pub(crate) fn add(&mut self, trace: Trace, bytes: u64) {
        if let Trace::Record(record) = trace
            && let mark = K::mark(record, bytes)
            && let Some(slot) = self.at_hand.get_mut(Self::place(mark))
            && slot.0 == mark
        {
            slot.1.add(bytes);
            return;
        }
        self.add_other(trace, bytes);
    }

    /// Counts some blocks of `bytes` requested bytes each.
    pub(crate) fn add_many(&mut self, trace: Trace, bytes: u64, blocks: u64) {
        let count = Count {
            blocks,
            bytes: bytes.wrapping_mul(blocks),
        };
        self.others.add_count(K::of(trace, bytes), count);
    }

    #[inline(never)]
    fn add_other(&mut self, trace: Trace, bytes: u64) {
        let Trace::Record(record) = trace else {
            return self.others.add(K::of(trace, bytes), bytes);
        };
        if self.at_hand.is_empty() {
            self.at_hand = vec![(K::Mark::default(), Count::default()); K::SLOTS];
        }
        let mark = K::mark(record, bytes);
        let slot = &mut self.at_hand[Self::place(mark)];
        let (old, count) = std::mem::replace(slot, (mark, Count { blocks: 1, bytes }));
        if count.blocks > 0 {
            self.others.add_count(K::marked(old), count);
        }
    }

    /// Adds all of another.
    pub(crate) fn merge(&mut self, other: Self) {
        self.others.merge(other.into_groups());
    }

    /// The counts.
    pub(crate) fn into_groups(mut self) -> Groups<K> {
        for (mark, count) in self.at_hand {
            if count.blocks > 0 {
                self.others.add_count(K::marked(mark), count);
            }
        }
        self.others
    }

    /// Where the count of a key lies.
    #[inline(always)]
    fn place(mark: K::Mark) -> usize {
        let mixed = K::number(mark).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - K::SLOTS.ilog2())) as usize
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashMap, fmt::Debug};

    use super::*;
    use proptest::prelude::*;

    /// Counts in two parts and joins them, and in a map.
    fn compare<K: TraceKey + Debug>(blocks: &[(u64, u64)]) -> Result<(), TestCaseError> {
        let mut counts = [TraceCounts::<K>::default(), TraceCounts::default()];
        let mut map: HashMap<K, Count> = HashMap::new();
        for (number, &(size, trace)) in blocks.iter().enumerate() {
            let trace = match trace {
                0..5 => Trace::None,
                5..10 => Trace::Index(trace as u32),
                _ => Trace::Record(trace * 64),
            };
            counts[number % 2].add(trace, size);
            map.entry(K::of(trace, size)).or_default().add(size);
        }
        let [mut first, second] = counts;
        first.merge(second);
        let counted: HashMap<K, Count> = first.into_groups().into_counts().collect();
        prop_assert_eq!(counted, map);
        Ok(())
    }

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(
            few in proptest::collection::vec((0..300u64, 0..400u64), 0..3000),
            many in proptest::collection::vec((0..300u64, 0..20_000u64), 0..2000),
        ) {
            for blocks in [few, many] {
                compare::<Trace>(&blocks)?;
                compare::<(u64, Trace)>(&blocks)?;
            }
        }
    }
}
