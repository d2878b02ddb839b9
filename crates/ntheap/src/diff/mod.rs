//! Comparing two dumps of one process: which heap grew, by which block sizes, from which stacks.
//!
//! * Heaps are the same when address, flags and the random key of their entries are; a heap that
//!   was destroyed and created again at its old address is gone and new.
//! * Blocks are counted by requested size, by stack, or both.
//! * Native blocks do not move: a block with the same address, size and trace in both dumps survived.
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

mod heaps;
mod snapshot;
mod verdict;

pub use heaps::{BlockChanges, GroupChange, GroupKey, HeapChange, HeapStatus, compare_heaps};
pub use snapshot::Snapshot;
pub use verdict::{Culprit, Verdict, human_bytes};

use std::fmt;

use crate::{
    losses::Losses,
    stats::Count,
    usage::{Usage, UsageChange},
};

/// What blocks are counted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grouping {
    /// By requested size.
    pub size: bool,
    /// By stack.
    pub stack: bool,
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
    /// Seconds between the dumps.
    pub seconds: i64,
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
    let mut heaps = compare_heaps(before, after, by);
    heaps.sort_by_key(|heap| {
        (
            std::cmp::Reverse(heap.busy.bytes()),
            std::cmp::Reverse(heap.busy.blocks()),
            heap.handle,
        )
    });
    let mut total = Change::default();
    heaps.iter().for_each(|heap| total.merge(heap.busy));
    let losses = |side: usize, snapshot: &Snapshot<'_, '_>| {
        Losses::of(snapshot.process()).with(heaps.iter().map(|heap| &heap.losses[side]))
    };
    let losses = [losses(0, before), losses(1, after)];
    let identical = heaps.iter().all(|heap| {
        heap.status == HeapStatus::Survived
            && heap.busy.is_zero()
            && heap.blocks.new.blocks == 0
            && heap.blocks.gone.blocks == 0
    });
    Comparison {
        warnings: warnings(before, after),
        heaps,
        total,
        usage: UsageChange::between(&Usage::of(&before.heaps), &Usage::of(&after.heaps)),
        seconds: i64::from(after.process().dump.timestamp)
            - i64::from(before.process().dump.timestamp),
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
