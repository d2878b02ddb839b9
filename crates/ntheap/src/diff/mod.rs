//! Comparing two dumps of one process: which heap grew, by which block sizes, from which stacks.
//!
//! * Heaps are the same when address, flags and the random key of their entries are; a heap that
//!   was destroyed and created again at its old address is gone and new.
//! * Blocks are counted by requested size, by stack, or both.
//! * Native blocks do not move: a block with the same address, size and trace in both dumps survived.
//! * [`compare_series`] takes any number of dumps: each group then has a [`Course`].
//! * [`Comparison::judge`] says which growth is suspect, and why.
//!
//! ```no_run
//! use ntheap::{diff::{self, Snapshot}, dump::{Dump, DumpFile}, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let files = [DumpFile::open("before.dmp".as_ref())?, DumpFile::open("after.dmp".as_ref())?];
//! let dumps = [Dump::parse(files[0].bytes())?, Dump::parse(files[1].bytes())?];
//! let [before, after] = [Process::of(&dumps[0])?, Process::of(&dumps[1])?];
//! let by = diff::Grouping { size: true, stack: false };
//! let comparison = diff::compare(&Snapshot::of(&before), &Snapshot::of(&after), by);
//! println!("{}", comparison.verdict());
//! # Ok(())
//! # }
//! ```

mod candidates;
mod evidence;
mod groups;
mod heaps;
mod merge;
mod series;
mod snapshot;
mod suspects;
mod verdict;

pub use evidence::{Evidence, Held, HeldBy, Lost};
pub use heaps::{
    BlockChanges, FreeBlocks, GroupChange, GroupKey, HeapChange, HeapStatus, NewBlock,
    compare_heaps,
};
pub use series::{Course, Moment, Trend};
pub use snapshot::Snapshot;
pub use suspects::{
    Confidence, Fragmentation, Judgement, Options, Outside, Reason, SizeChange, Suspect,
};
pub use verdict::{Culprit, Verdict, human_bytes};

use std::fmt;

use crate::{
    losses::Losses,
    names::NameSource,
    stats::Count,
    usage::{Class, Usage, UsageChange},
};

/// What blocks are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// By requested size.
    pub size: bool,
    /// By stack.
    pub stack: bool,
}

/// What a comparison keeps besides counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Keep {
    /// The blocks that are in the last dump alone ([`HeapChange::new_blocks`]): what
    /// [`Comparison::judge`] looks up. They take 24 bytes each.
    #[default]
    NewBlocks,
    /// Nothing: memory stays the same however large the dumps are.
    Nothing,
}

/// A number before and after.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Change {
    /// In the first dump.
    pub before: Count,
    /// In the second.
    pub after: Count,
}

impl Change {
    /// From the first of some counts to the last.
    #[must_use]
    pub fn of(counts: &[Count]) -> Change {
        Change {
            before: counts.first().copied().unwrap_or_default(),
            after: counts.last().copied().unwrap_or_default(),
        }
    }

    /// Growth in bytes; negative for less.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.after.bytes.wrapping_sub(self.before.bytes) as i64
    }

    /// Growth in blocks; negative for fewer.
    #[must_use]
    pub fn blocks(&self) -> i64 {
        self.after.blocks.wrapping_sub(self.before.blocks) as i64
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        self.before == self.after
    }

    /// Adds another change.
    pub fn merge(&mut self, other: Change) {
        self.before.merge(other.before);
        self.after.merge(other.after);
    }

    /// The change from the second dump to the first.
    #[must_use]
    pub fn reversed(self) -> Change {
        Change {
            before: self.after,
            after: self.before,
        }
    }
}

/// Something about the two dumps that makes their comparison doubtful.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Warning {
    /// The process identifiers differ.
    OtherProcess {
        /// Of the first dump.
        before: u32,
        /// Of the second.
        after: u32,
    },
    /// The start times of the processes differ.
    OtherStart {
        /// Of the first dump, in seconds since 1970.
        before: u32,
        /// Of the second.
        after: u32,
    },
    /// The programs differ.
    OtherProgram {
        /// Path in the first dump.
        before: String,
        /// Path in the second.
        after: String,
    },
    /// The first dump was taken after the second.
    WrongOrder {
        /// By how many seconds.
        seconds: u32,
    },
    /// One dump is of a 32-bit process, the other of a 64-bit one.
    OtherBitness,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::OtherProcess { before, after } => {
                write!(
                    f,
                    "the dumps are of different processes: {before} and {after}"
                )
            }
            Warning::OtherStart { .. } => write!(
                f,
                "the dumps are of processes that started at different times: addresses can't be compared"
            ),
            Warning::OtherProgram { before, after } => {
                write!(
                    f,
                    "the dumps are of different programs: {before} and {after}"
                )
            }
            Warning::WrongOrder { seconds } => write!(
                f,
                "the first dump was taken {seconds} s after the second: are they in the wrong order?"
            ),
            Warning::OtherBitness => write!(f, "one process is 32-bit, the other 64-bit"),
        }
    }
}

/// The comparison of two dumps.
#[derive(Debug, Clone)]
pub struct Comparison {
    /// What makes it doubtful.
    pub warnings: Vec<Warning>,
    /// Every heap of either dump, in order of growth.
    pub heaps: Vec<HeapChange>,
    /// Sum over all heaps.
    pub total: Change,
    /// What became of the address space: whether it is the heaps that grew.
    pub usage: UsageChange,
    /// Seconds between the first dump and the last.
    pub seconds: i64,
    /// The dumps, the oldest first: two, or more of a series.
    pub moments: Vec<Moment>,
    /// Whether both dumps have the same contents as far as heaps go.
    pub identical: bool,
    /// What of the first dump and of the second could not be read or proved.
    pub losses: [Losses; 2],
}

impl Comparison {
    /// The result in words.
    #[must_use]
    pub fn verdict(&self) -> Verdict<'_> {
        Verdict::of(self)
    }

    /// The result as suspects: what grew, why it is suspected, how sure that is. `last` is the newest
    /// dump, in which is looked up who holds the blocks.
    #[must_use]
    pub fn judge(
        &self,
        last: &Snapshot<'_, '_>,
        names: &dyn NameSource,
        options: &Options,
    ) -> Judgement {
        suspects::judge(self, last, names, options)
    }

    /// Whether everything of both dumps was read: the files whole, the lists of heaps, every byte of
    /// every heap.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.losses.iter().all(Losses::complete)
    }
}

/// Compares two snapshots, the older first.
#[must_use]
pub fn compare(before: &Snapshot<'_, '_>, after: &Snapshot<'_, '_>, by: Grouping) -> Comparison {
    compare_pair(before, after, &[before, after], (by, Keep::NewBlocks))
}

/// Compares the snapshots of a series, the oldest first: the first with the last, and what each
/// group did in between. `None` of fewer than two.
#[must_use]
pub fn compare_series(snapshots: &[&Snapshot<'_, '_>], by: Grouping) -> Option<Comparison> {
    compare_keeping(snapshots, by, Keep::NewBlocks)
}

/// [`compare_series`], and what it keeps.
#[must_use]
pub fn compare_keeping(
    snapshots: &[&Snapshot<'_, '_>],
    by: Grouping,
    keep: Keep,
) -> Option<Comparison> {
    match snapshots {
        [first, .., last] => Some(compare_pair(first, last, snapshots, (by, keep))),
        _ => None,
    }
}

fn compare_pair(
    before: &Snapshot<'_, '_>,
    after: &Snapshot<'_, '_>,
    snapshots: &[&Snapshot<'_, '_>],
    (by, keep): (Grouping, Keep),
) -> Comparison {
    let mut heaps = compare_heaps(snapshots, by, keep);
    heaps.sort_by_key(|heap| {
        (
            std::cmp::Reverse(heap.busy.bytes()),
            std::cmp::Reverse(heap.busy.blocks()),
            heap.handle,
        )
    });
    let mut total = Change::default();
    heaps.iter().for_each(|heap| total.merge(heap.busy));
    let mut losses = [Losses::of(before.process()), Losses::of(after.process())];
    for snapshot in snapshots.iter().skip(1).rev().skip(1) {
        losses[1].merge(Losses::of(snapshot.process()));
    }
    let [first, last] = losses;
    let losses = [
        first.with(heaps.iter().map(|heap| &heap.losses[0])),
        last.with(heaps.iter().map(|heap| &heap.losses[1])),
    ];
    let identical = heaps.iter().all(|heap| {
        heap.status == HeapStatus::Survived
            && heap.busy.is_zero()
            && heap.blocks.new.blocks == 0
            && heap.blocks.gone.blocks == 0
    });
    let usages: Vec<Usage> = snapshots
        .iter()
        .map(|snapshot| Usage::of(&snapshot.heaps))
        .collect();
    let none = || Usage {
        regions: Vec::new(),
        described: false,
    };
    let ends = [usages.first(), usages.last()].map(|usage| usage.cloned().unwrap_or_else(none));
    for (side, usage) in ends.iter().enumerate() {
        for (owner, sum) in usage.owners() {
            let handle = owner.identity().filter(|_| owner.class() == Class::Heap);
            for heap in heaps.iter_mut().filter(|heap| Some(heap.handle) == handle) {
                heap.committed[side] = sum.committed;
            }
        }
    }
    let moments = snapshots.iter().zip(&usages).enumerate();
    Comparison {
        warnings: snapshots
            .windows(2)
            .flat_map(|pair| warnings(pair[0], pair[1]))
            .collect(),
        total,
        usage: UsageChange::between(&ends[0], &ends[1]),
        seconds: i64::from(after.process().dump.timestamp)
            - i64::from(before.process().dump.timestamp),
        moments: moments
            .map(|(index, (snapshot, usage))| Moment::of(index, snapshot, usage, &heaps))
            .collect(),
        heaps,
        identical,
        losses,
    }
}

fn warnings(before: &Snapshot<'_, '_>, after: &Snapshot<'_, '_>) -> Vec<Warning> {
    let mut warnings = Vec::new();
    let (first, second) = (before.process().dump, after.process().dump);
    if let (Some(before), Some(after)) = (first.process_id, second.process_id)
        && before != after
    {
        warnings.push(Warning::OtherProcess { before, after });
    }
    if let (Some(before), Some(after)) = (first.process_create_time, second.process_create_time)
        && before != after
    {
        warnings.push(Warning::OtherStart { before, after });
    }
    let program =
        |side: &Snapshot<'_, '_>| side.process().program().map(|module| module.path.clone());
    if let (Some(before), Some(after)) = (program(before), program(after))
        && !before.eq_ignore_ascii_case(&after)
    {
        warnings.push(Warning::OtherProgram { before, after });
    }
    if second.timestamp < first.timestamp {
        warnings.push(Warning::WrongOrder {
            seconds: first.timestamp - second.timestamp,
        });
    }
    if before.process().bitness != after.process().bitness {
        warnings.push(Warning::OtherBitness);
    }
    warnings
}
