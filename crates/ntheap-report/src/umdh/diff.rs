//! Compares two logs.

use std::cmp::Reverse;

use rustc_hash::FxHashMap;

use super::model::{Log, Trace, TraceId};

/// Which of two compared logs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// The log taken first.
    Old,
    /// The log taken last.
    New,
}

/// The difference between two logs, per stack trace.
///
/// As umdh does, stacks are matched by id alone, and a stack whose bytes are the same in both logs
/// is left out, even if the number of its allocations or their overhead changed.
#[derive(Debug, Clone)]
pub struct Diff<'a> {
    old: Option<&'a Log>,
    new: &'a Log,
    entries: Vec<Entry<'a>>,
    unchanged: usize,
}

/// What changed for one stack trace. Sizes are in bytes; sums that do not fit stay at the largest
/// number.
#[derive(Debug, Clone)]
pub struct Entry<'a> {
    /// The stack's id.
    pub trace: TraceId,
    /// Requested bytes in the older log.
    pub old_bytes: u64,
    /// Requested bytes in the newer log.
    pub new_bytes: u64,
    /// Overhead in the older log, in bytes.
    pub old_overhead: u64,
    /// Overhead in the newer log, in bytes.
    pub new_overhead: u64,
    /// Allocations in the older log.
    pub old_count: u64,
    /// Allocations in the newer log.
    pub new_count: u64,
    /// The stack and the log it is from: the newer one if it shows the stack. `None` if no log
    /// does.
    pub stack: Option<(Side, &'a Trace)>,
}

impl Entry<'_> {
    /// Requested bytes gained (or lost, if negative).
    pub fn bytes_delta(&self) -> i128 {
        i128::from(self.new_bytes) - i128::from(self.old_bytes)
    }

    /// Bytes of overhead gained (or lost, if negative).
    pub fn overhead_delta(&self) -> i128 {
        i128::from(self.new_overhead) - i128::from(self.old_overhead)
    }

    /// Allocations gained (or lost, if negative).
    pub fn count_delta(&self) -> i128 {
        i128::from(self.new_count) - i128::from(self.old_count)
    }
}

/// The sum over all entries of a [`Diff`], in bytes. Negative where memory was freed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Requested bytes.
    pub requested: i128,
    /// Overhead.
    pub overhead: i128,
}

impl Total {
    /// Requested bytes and overhead together.
    pub fn sum(self) -> i128 {
        self.requested + self.overhead
    }
}

impl<'a> Diff<'a> {
    /// Compares `old` with the `new` log.
    pub fn between(old: &'a Log, new: &'a Log) -> Self {
        Self::of(Some(old), new)
    }

    /// Every stack of `log` as new, as umdh prints a single log.
    pub fn single(log: &'a Log) -> Self {
        Self::of(None, log)
    }

    fn of(old: Option<&'a Log>, new: &'a Log) -> Self {
        let mut sums = Sums::default();
        if let Some(old) = old {
            sums.add(old, Side::Old);
        }
        sums.add(new, Side::New);
        let all = sums.entries.len();
        // The place in `sums` tells which id was seen first.
        let mut entries: Vec<_> = sums.entries.into_iter().enumerate().collect();
        entries.retain(|(_, entry)| entry.bytes_delta() != 0);
        entries.sort_by_cached_key(|(seen, entry)| {
            (
                Reverse(entry.bytes_delta()),
                Reverse(bucket(entry.trace)),
                Reverse(*seen),
            )
        });
        let entries: Vec<_> = entries
            .into_iter()
            .map(|(_, mut entry)| {
                let in_new = new.traces.get(&entry.trace).map(|trace| (Side::New, trace));
                entry.stack = in_new.or_else(|| {
                    let trace = old?.traces.get(&entry.trace)?;
                    Some((Side::Old, trace))
                });
                entry
            })
            .collect();
        let unchanged = all - entries.len();
        Self {
            old,
            new,
            entries,
            unchanged,
        }
    }

    /// The log on one side. In a comparison of a single log there is no old one.
    pub fn log(&self, side: Side) -> Option<&'a Log> {
        match side {
            Side::Old => self.old,
            Side::New => Some(self.new),
        }
    }

    /// The entries in umdh's order: by bytes gained, most first, losses last.
    ///
    /// Entries that gained the same are in the order umdh 10 was seen to print them, which is that
    /// of a hash table: by the sum of the characters of the id modulo 64, highest first, then the
    /// id that was seen last (in the old log, then in the new one) first.
    pub fn entries(&self) -> &[Entry<'a>] {
        &self.entries
    }

    /// Number of stacks left out because their bytes did not change.
    pub fn unchanged(&self) -> usize {
        self.unchanged
    }

    /// The sum over the entries. Stacks that are left out do not count, not even their overhead.
    pub fn total(&self) -> Total {
        self.entries
            .iter()
            .fold(Total::default(), |total, entry| Total {
                requested: total.requested + entry.bytes_delta(),
                overhead: total.overhead + entry.overhead_delta(),
            })
    }
}

/// Sums per id, in the order of the ids' first appearance.
#[derive(Debug, Default)]
struct Sums<'a> {
    index: FxHashMap<TraceId, usize>,
    entries: Vec<Entry<'a>>,
}

impl Sums<'_> {
    fn add(&mut self, log: &Log, side: Side) {
        for heap in &log.heaps {
            for allocation in &heap.allocations {
                self.add_one(
                    allocation.trace,
                    side,
                    allocation.requested,
                    allocation.overhead,
                    1,
                );
            }
            for sum in &heap.aggregates {
                self.add_one(sum.trace, side, sum.bytes, 0, sum.count);
            }
        }
    }

    fn add_one(&mut self, trace: TraceId, side: Side, bytes: u64, overhead: u64, count: u64) {
        let at = *self.index.entry(trace).or_insert_with(|| {
            self.entries.push(Entry {
                trace,
                old_bytes: 0,
                new_bytes: 0,
                old_overhead: 0,
                new_overhead: 0,
                old_count: 0,
                new_count: 0,
                stack: None,
            });
            self.entries.len() - 1
        });
        let entry = &mut self.entries[at];
        let (all_bytes, all_overhead, all_count) = match side {
            Side::Old => (
                &mut entry.old_bytes,
                &mut entry.old_overhead,
                &mut entry.old_count,
            ),
            Side::New => (
                &mut entry.new_bytes,
                &mut entry.new_overhead,
                &mut entry.new_count,
            ),
        };
        *all_bytes = all_bytes.saturating_add(bytes);
        *all_overhead = all_overhead.saturating_add(overhead);
        *all_count = all_count.saturating_add(count);
    }
}

/// Bucket of umdh's hash table, as far as its output shows it. Observed orders also fit a few other
/// numbers of buckets; 64 is the only power of two among them.
fn bucket(trace: TraceId) -> u32 {
    trace.to_string().bytes().map(u32::from).sum::<u32>() % 64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::umdh::{Aggregate, Allocation, Frame, LogHeap};
    use proptest::collection::vec;
    use proptest::prelude::*;

    /// A log with one heap and, per allocation, (id, requested, overhead).
    fn log(allocations: &[(u64, u64, u64)]) -> Log {
        let mut log = Log::default();
        let mut heap = LogHeap {
            address: Some(0x1a_0000),
            ..LogHeap::default()
        };
        for (index, &(id, requested, overhead)) in allocations.iter().enumerate() {
            let (address, trace) = (index as u64 * 0x100, TraceId::new(id));
            heap.allocations.push(Allocation {
                address,
                requested,
                overhead,
                trace,
            });
            log.traces.insert(trace, vec![Frame::Address(id)].into());
        }
        log.heaps.push(heap);
        log
    }

    fn ids(diff: &Diff<'_>) -> Vec<u64> {
        diff.entries()
            .iter()
            .map(|entry| entry.trace.value())
            .collect()
    }

    #[test]
    fn gains_come_first_and_unchanged_bytes_not_at_all() {
        let old = log(&[(1, 0x100, 8), (2, 0x40, 8), (3, 0x10, 8), (4, 0x10, 8)]);
        let new = log(&[
            (1, 0x80, 8),
            (2, 0x20, 8),
            (2, 0x20, 8),
            (3, 0x30, 8),
            (5, 0, 8),
        ]);
        let diff = Diff::between(&old, &new);
        assert_eq!(ids(&diff), [3, 4, 1]);
        let deltas: Vec<_> = diff.entries().iter().map(Entry::bytes_delta).collect();
        assert_eq!(deltas, [0x20, -0x10, -0x80]);
        assert_eq!(diff.unchanged(), 2);
        assert_eq!(
            diff.total(),
            Total {
                requested: -0x70,
                overhead: -8
            }
        );
        assert_eq!(diff.total().sum(), -0x78);
        assert_eq!(diff.entries()[1].count_delta(), -1);
    }

    #[test]
    fn the_stack_is_the_newer_one() {
        let mut old = log(&[(1, 1, 0), (2, 1, 0), (3, 1, 0)]);
        let mut new = log(&[(1, 2, 0), (3, 3, 0)]);
        new.traces
            .insert(TraceId::new(1), vec![Frame::Address(0x99)].into());
        new.traces.remove(&TraceId::new(3));
        let diff = Diff::between(&old, &new);
        let sides: Vec<_> = diff
            .entries()
            .iter()
            .map(|e| e.stack.map(|(side, _)| side))
            .collect();
        assert_eq!(ids(&diff), [3, 1, 2]);
        assert_eq!(sides, [Some(Side::Old), Some(Side::New), Some(Side::Old)]);
        assert_eq!(
            diff.entries()[1].stack.unwrap().1.frames,
            [Frame::Address(0x99)]
        );
        old.traces.clear();
        assert!(Diff::between(&old, &new).entries()[0].stack.is_none());
    }

    #[test]
    fn equal_gains_come_in_the_order_of_the_hash_table() {
        // 10F has the highest sum of characters; 11D and 10E have the same.
        let new = log(&[(0x100, 4, 0), (0x10e, 4, 0), (0x10f, 4, 0), (0x11d, 4, 0)]);
        assert_eq!(ids(&Diff::single(&new)), [0x10f, 0x11d, 0x10e, 0x100]);
        // 15F2048B: 444, AFBFCB05: 505, 9FE15DBF: 502; modulo 64: 60, 57, 54.
        let new = log(&[
            (0x9fe1_5dbf, 4, 0),
            (0xafbf_cb05, 4, 0),
            (0x15f2_048b, 4, 0),
        ]);
        assert_eq!(
            ids(&Diff::single(&new)),
            [0x15f2_048b, 0xafbf_cb05, 0x9fe1_5dbf]
        );
    }

    #[test]
    fn sums_of_old_logs_count() {
        let mut new = log(&[(1, 0x10, 8)]);
        let trace = TraceId::new(1);
        new.heaps[0].aggregates.push(Aggregate {
            bytes: 0x20,
            count: 4,
            each: 8,
            trace,
        });
        let diff = Diff::single(&new);
        assert_eq!(
            (diff.entries()[0].new_bytes, diff.entries()[0].new_count),
            (0x30, 5)
        );
        new.heaps[0].aggregates[0].bytes = u64::MAX;
        new.heaps[0].aggregates[0].count = u64::MAX;
        let diff = Diff::single(&new);
        assert_eq!(diff.entries()[0].bytes_delta(), i128::from(u64::MAX));
        assert_eq!(diff.entries()[0].new_count, u64::MAX);
    }

    fn some_log() -> impl Strategy<Value = Log> {
        vec((0u64..12, 0u64..64, 0u64..64), 0..30).prop_map(|allocations| log(&allocations))
    }

    proptest! {
        #[test]
        fn the_other_way_round_everything_is_negative(a in some_log(), b in some_log()) {
            let (there, back) = (Diff::between(&a, &b), Diff::between(&b, &a));
            let deltas = |diff: &Diff<'_>, sign: i128| {
                let mut deltas: Vec<_> = diff
                    .entries()
                    .iter()
                    .map(|e| {
                        let [bytes, overhead, count] =
                            [e.bytes_delta(), e.overhead_delta(), e.count_delta()];
                        (e.trace, sign * bytes, sign * overhead, sign * count)
                    })
                    .collect();
                deltas.sort_unstable();
                deltas
            };
            prop_assert_eq!(deltas(&there, 1), deltas(&back, -1));
            prop_assert_eq!(there.total().requested, -back.total().requested);
            prop_assert_eq!(there.total().overhead, -back.total().overhead);
            prop_assert_eq!(there.unchanged(), back.unchanged());
            prop_assert!(there.entries().is_sorted_by_key(|e| Reverse(e.bytes_delta())));
        }

        #[test]
        fn a_log_does_not_differ_from_itself(a in some_log()) {
            prop_assert!(Diff::between(&a, &a).entries().is_empty());
        }

        #[test]
        fn a_single_log_is_compared_with_nothing(a in some_log()) {
            let empty = Log::default();
            let (single, pair) = (Diff::single(&a), Diff::between(&empty, &a));
            prop_assert_eq!(ids(&single), ids(&pair));
            prop_assert_eq!(single.total(), pair.total());
        }
    }
}
