//! What a walk found missing, inconsistent or corrupt.

use std::fmt;

/// Something that a walk could not read or prove, with the place and the number of bytes that it
/// concerns. No finding ends a walk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Handle of the heap.
    pub heap: u64,
    /// Where.
    pub address: u64,
    /// How many bytes were skipped or are in doubt; 0 where nothing was skipped.
    pub bytes: u64,
    /// What.
    pub kind: FindingKind,
}

/// Kinds of findings.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum FindingKind {
    /// The dump does not hold these bytes of the heap.
    Unreadable,
    /// A structure that is needed is not in the dump.
    MissingStructure {
        /// Its name.
        structure: &'static str,
    },
    /// No valid entry is at this address; the walk went on at the next provable one.
    CorruptEntry {
        /// The entry's eight bytes as they are in the dump.
        raw: u64,
    },
    /// The header of an entry is not encoded, as while the heap changes it; what is behind it shows
    /// where it ends.
    HalfDone {
        /// The entry's eight bytes as they are in the dump.
        raw: u64,
        /// Bytes of the entry.
        size: u64,
    },
    /// `PreviousSize` does not match the entry before.
    PreviousSize {
        /// Bytes that the entry before has.
        expected: u64,
        /// Bytes that this entry says.
        found: u64,
    },
    /// The time that was given was up: the rest of this part of the heap was not walked.
    OutOfTime,
    /// A list of the heap is broken or does not end.
    BrokenList {
        /// Name of the list.
        list: &'static str,
    },
    /// A segment of the segment list does not belong to the heap.
    ForeignSegment,
    /// The unused byte count of a block is larger than the block.
    UnusedBytes {
        /// Unused bytes.
        unused: u64,
        /// Bytes of the block.
        block: u64,
    },
    /// An LFH container's geometry could not be proved.
    LfhContainer {
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The busy bitmap of an LFH container disagrees with the headers of its slots.
    LfhBitmap {
        /// Number of slots that disagree.
        slots: u32,
    },
    /// A page heap's record of a block makes no sense; the block is left out.
    PageHeapNode {
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// The program wrote outside a block: page heap's bytes around it are damaged.
    PageHeapDamage {
        /// Which bytes.
        part: &'static str,
    },
    /// A structure contradicts itself or what is around it.
    BrokenStructure {
        /// Its name.
        structure: &'static str,
        /// What does not hold.
        reason: &'static str,
    },
    /// The bytes that were accounted for are not the bytes that the segment reserves.
    Accounting {
        /// Bytes that the segment reserves.
        reserved: u64,
        /// Bytes that the walk accounted for.
        accounted: u64,
    },
    /// The heap's own totals disagree with the walk.
    Totals {
        /// Which total.
        total: &'static str,
        /// What the heap says.
        recorded: u64,
        /// What the walk found.
        found: u64,
    },
}

impl FindingKind {
    /// Whether blocks may be missing from the result because of it.
    #[must_use]
    pub fn loses_blocks(&self) -> bool {
        !matches!(
            self,
            FindingKind::HalfDone { .. }
                | FindingKind::PreviousSize { .. }
                | FindingKind::LfhBitmap { .. }
                | FindingKind::PageHeapDamage { .. }
                | FindingKind::Totals { .. }
        )
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "heap {:x}: ", self.heap)?;
        let at = self.address;
        match &self.kind {
            FindingKind::Unreadable => {
                write!(f, "{:#x} bytes at {at:x} are not in the dump", self.bytes)
            }
            FindingKind::MissingStructure { structure } => {
                write!(f, "{structure} at {at:x} is not in the dump")
            }
            FindingKind::OutOfTime => {
                write!(
                    f,
                    "the time was up at {at:x}: what lies behind was not walked"
                )
            }
            FindingKind::CorruptEntry { raw } => write!(
                f,
                "no valid entry at {at:x} (raw {raw:016x}); {:#x} bytes skipped",
                self.bytes
            ),
            FindingKind::HalfDone { raw, size } => write!(
                f,
                "entry {at:x} of {size:#x} bytes was being changed (raw {raw:016x})"
            ),
            FindingKind::PreviousSize { expected, found } => write!(
                f,
                "entry {at:x} says that the entry before it has {found:#x} bytes; it has {expected:#x}"
            ),
            FindingKind::BrokenList { list } => write!(f, "{list} is broken at {at:x}"),
            FindingKind::ForeignSegment => {
                write!(
                    f,
                    "the segment at {at:x} has no valid signature or another owner"
                )
            }
            FindingKind::UnusedBytes { unused, block } => write!(
                f,
                "entry {at:x} of {block:#x} bytes claims {unused:#x} unused bytes"
            ),
            FindingKind::LfhContainer { reason } => {
                write!(
                    f,
                    "LFH user blocks at {at:x}: {reason}; {:#x} bytes skipped",
                    self.bytes
                )
            }
            FindingKind::LfhBitmap { slots } => write!(
                f,
                "LFH user blocks at {at:x}: bitmap and headers disagree on {slots} slots"
            ),
            FindingKind::PageHeapNode { reason } => {
                write!(f, "page heap block record at {at:x}: {reason}")
            }
            FindingKind::PageHeapDamage { part } => {
                write!(f, "block {at:x} of the page heap: {part} was overwritten")
            }
            FindingKind::BrokenStructure { structure, reason } => write!(
                f,
                "{structure} at {at:x}: {reason}; {:#x} bytes skipped",
                self.bytes
            ),
            FindingKind::Accounting {
                reserved,
                accounted,
            } => write!(
                f,
                "segment {at:x} reserves {reserved:#x} bytes, {accounted:#x} are accounted for"
            ),
            FindingKind::Totals {
                total,
                recorded,
                found,
            } => write!(
                f,
                "{total}: the heap records {recorded:#x}, the walk found {found:#x}"
            ),
        }
    }
}
