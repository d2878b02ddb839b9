//! Counting blocks by the trace of their allocation.

use super::{Count, Groups};
use crate::blocks::Trace;

/// Records that are at hand.
const SLOTS: usize = 1 << 12;

/// Counts by trace. Most blocks share few traces, whose counts lie where the address of the record
/// leads without a search; the others, and what has to make room, go to a map.
#[derive(Debug, Default)]
pub(super) struct TraceCounts {
    at_hand: Vec<(u64, Count)>,
    others: Groups<Trace>,
}

impl TraceCounts {
    /// Counts one block of `bytes` requested bytes.
    #[inline(always)]
    pub(super) fn add(&mut self, trace: Trace, bytes: u64) {
        if let Trace::Record(address) = trace
            && let Some(slot) = self.at_hand.get_mut(place(address))
            && slot.0 == address
        {
            slot.1.add(bytes);
            return;
        }
        self.add_other(trace, bytes);
    }

    /// Counts some blocks of `bytes` requested bytes each.
    pub(super) fn add_many(&mut self, trace: Trace, bytes: u64, blocks: u64) {
        let bytes = bytes.wrapping_mul(blocks);
        self.others.add_count(trace, Count { blocks, bytes });
    }

    #[inline(never)]
    fn add_other(&mut self, trace: Trace, bytes: u64) {
        let Trace::Record(address) = trace else {
            return self.others.add(trace, bytes);
        };
        if self.at_hand.is_empty() {
            self.at_hand = vec![(0, Count::default()); SLOTS];
        }
        let slot = &mut self.at_hand[place(address)];
        let (old, count) = std::mem::replace(slot, (address, Count { blocks: 1, bytes }));
        if count.blocks > 0 {
            self.others.add_count(Trace::Record(old), count);
        }
    }

    /// Adds all of another.
    pub(super) fn merge(&mut self, other: Self) {
        self.others.merge(other.into_groups());
    }

    /// The counts, by trace.
    pub(super) fn into_groups(mut self) -> Groups<Trace> {
        for (address, count) in self.at_hand {
            if count.blocks > 0 {
                self.others.add_count(Trace::Record(address), count);
            }
        }
        self.others
    }
}

/// Where the count of the record at an address lies.
#[inline(always)]
fn place(address: u64) -> usize {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - SLOTS.ilog2())) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counts_are_those_of_a_map(addresses in proptest::collection::vec(0..20_000u64, 0..2000)) {
            let (mut counts, mut groups) = (TraceCounts::default(), Groups::default());
            for address in addresses {
                let trace = match address {
                    0..10 => Trace::None,
                    _ => Trace::Record(address * 64),
                };
                counts.add(trace, address);
                groups.add(trace, address);
            }
            let sorted = |groups: Groups<Trace>| {
                let mut counts: Vec<_> = groups.into_counts().collect();
                counts.sort_by_key(|(trace, count)| (format!("{trace:?}"), count.blocks));
                counts
            };
            prop_assert_eq!(sorted(counts.into_groups()), sorted(groups));
        }
    }
}
