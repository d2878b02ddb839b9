//! What the program overwrote: every check that heap structures and fills allow.
//!
//! * headers: checksums, the chain of sizes, unused counts (what every walk proves);
//! * free lists: links, and that list and walk know the same free blocks; `TotalFreeSize`;
//! * the low fragmentation heap: bitmaps against headers, the code in each slot's header, the
//!   number of free slots that the container's subsegment records;
//! * fills: behind blocks (`gflags +htc`), in free ones (`+hfc`), around blocks of page heap;
//! * structures of segment heaps.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, verify};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for damage in verify::verify(&Heaps::of(&process)).damages {
//!     println!("{damage}");
//! }
//! # Ok(())
//! # }
//! ```

mod fills;
mod free_lists;
mod lfh;
mod neighbours;
mod nt;
mod unfinished;

use std::fmt;

use crate::{
    blocks::{Block, Finding, FindingKind},
    heap::{Heap, Heaps, Operation},
    losses::Losses,
    process::Process,
};
use nt::Checker;
pub use unfinished::Unfinished;

/// Damages that are kept per heap: a wholly overwritten heap can have millions.
pub const MAX_DAMAGES: usize = 1000;

/// What was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Check {
    /// The header of an entry: checksum and plausibility.
    Header,
    /// The header of an entry that is not encoded, as while the heap changes it.
    HalfDone,
    /// `PreviousSize`.
    PreviousSize,
    /// The unused bytes that an entry claims.
    UnusedBytes,
    /// The fill behind a block.
    TailFill,
    /// The fill of a free block.
    FreeFill,
    /// The links of a free list and the blocks on it.
    FreeList,
    /// `TotalFreeSize`, or another total that the heap keeps.
    Total,
    /// The header of a slot of the low fragmentation heap.
    SlotHeader,
    /// The bitmap of busy slots.
    Bitmap,
    /// The number of free slots that a subsegment records.
    Depth,
    /// Page heap's bytes around a block.
    PageHeap,
    /// Another structure of the heap.
    Structure,
}

impl Check {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Check::Header => "header",
            Check::HalfDone => "half-done",
            Check::PreviousSize => "previous-size",
            Check::UnusedBytes => "unused-bytes",
            Check::TailFill => "tail-fill",
            Check::FreeFill => "free-fill",
            Check::FreeList => "free-list",
            Check::Total => "total",
            Check::SlotHeader => "slot-header",
            Check::Bitmap => "bitmap",
            Check::Depth => "depth",
            Check::PageHeap => "page-heap",
            Check::Structure => "structure",
        }
    }
}

/// Something that is not as the heap left it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Handle of the heap.
    pub heap: u64,
    /// Address of what is wrong: of the first overwritten byte where that is known.
    pub address: u64,
    /// What was checked.
    pub check: Check,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// How much is wrong, where that is a number: by how much a count differs.
    pub(crate) extent: u64,
    /// The block that holds the address.
    pub block: Option<Block>,
    /// The block before that one (before the address, where no block holds it).
    pub before: Option<Block>,
    /// The block behind.
    pub after: Option<Block>,
}

impl Damage {
    fn new(
        heap: u64,
        address: u64,
        check: Check,
        expected: impl Into<String>,
        found: impl Into<String>,
    ) -> Self {
        Damage {
            heap,
            address,
            check,
            expected: expected.into(),
            found: found.into(),
            extent: 0,
            block: None,
            before: None,
            after: None,
        }
    }

    /// The block whose owner most likely wrote here: of a damaged fill behind a block that block,
    /// else the one before.
    #[must_use]
    pub fn suspect(&self) -> Option<&Block> {
        match self.check {
            Check::TailFill | Check::PageHeap => self.block.as_ref(),
            _ => self.before.as_ref(),
        }
    }

    /// The damage behind a walk's finding; `None` for what is merely not in the dump.
    fn of_finding(finding: &Finding) -> Option<Self> {
        let (check, expected, found) = match &finding.kind {
            FindingKind::Unreadable
            | FindingKind::OutOfTime
            | FindingKind::MissingStructure { .. } => return None,
            FindingKind::CorruptEntry { raw } => (
                Check::Header,
                "the header of an entry".to_owned(),
                format!("raw {raw:016x}, {:#x} bytes without entries", finding.bytes),
            ),
            FindingKind::HalfDone { raw, size } => (
                Check::HalfDone,
                format!("the encoded header of an entry of {size:#x} bytes"),
                format!("raw {raw:016x}"),
            ),
            FindingKind::PreviousSize { expected, found } => (
                Check::PreviousSize,
                format!("{expected:#x} bytes before"),
                format!("{found:#x}"),
            ),
            FindingKind::UnusedBytes { unused, block } => (
                Check::UnusedBytes,
                format!("at most {block:#x} unused bytes"),
                format!("{unused:#x}"),
            ),
            FindingKind::LfhBitmap { slots } => (
                Check::Bitmap,
                "bitmap and headers of the slots agree".to_owned(),
                format!("{slots} slots disagree"),
            ),
            FindingKind::PageHeapDamage { part } => (
                Check::PageHeap,
                format!("{part} as page heap wrote it"),
                "overwritten".to_owned(),
            ),
            FindingKind::Totals {
                total,
                recorded,
                found,
            } => (
                Check::Total,
                format!("{total}: {recorded:#x}"),
                format!("{found:#x}"),
            ),
            FindingKind::BrokenList { list } => {
                (Check::Structure, format!("a sound {list}"), "broken".into())
            }
            FindingKind::LfhContainer { reason }
            | FindingKind::PageHeapNode { reason }
            | FindingKind::BrokenStructure { reason, .. } => (
                Check::Structure,
                "a sound structure".to_owned(),
                (*reason).to_owned(),
            ),
            FindingKind::ForeignSegment => (
                Check::Structure,
                "a segment of the heap".to_owned(),
                "no valid signature, or another owner".to_owned(),
            ),
            FindingKind::Accounting {
                reserved,
                accounted,
            } => (
                Check::Structure,
                format!("{reserved:#x} bytes in the segment"),
                format!("{accounted:#x}"),
            ),
        };
        let extent = match finding.kind {
            FindingKind::LfhBitmap { slots } => slots.into(),
            _ => 0,
        };
        let damage = Damage::new(finding.heap, finding.address, check, expected, found);
        Some(Damage { extent, ..damage })
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "heap {:x}: {} at {:x}: expected {}, found {}",
            self.heap,
            self.check.name(),
            self.address,
            self.expected,
            self.found
        )
    }
}

/// How much was checked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Heaps.
    pub heaps: u64,
    /// Blocks and slots, busy and free.
    pub blocks: u64,
    /// Fills behind blocks.
    pub tail_fills: u64,
    /// Free blocks with a fill.
    pub free_fills: u64,
    /// Entries of free lists.
    pub free_list_entries: u64,
    /// Headers of slots of the low fragmentation heap whose code was proved.
    pub slot_headers: u64,
    /// Subsegments whose number of free slots was compared.
    pub depths: u64,
}

impl Checked {
    fn merge(&mut self, other: Checked) {
        let Checked {
            heaps,
            blocks,
            tail_fills,
            free_fills,
            free_list_entries,
            slot_headers,
            depths,
        } = other;
        self.heaps += heaps;
        self.blocks += blocks;
        self.tail_fills += tail_fills;
        self.free_fills += free_fills;
        self.free_list_entries += free_list_entries;
        self.slot_headers += slot_headers;
        self.depths += depths;
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Default)]
pub struct Verification {
    /// What is wrong, heap by heap, by ascending address.
    pub damages: Vec<Damage>,
    /// How much was checked.
    pub checked: Checked,
    /// What contradicts itself because a thread was in the middle of changing it.
    pub unfinished: Vec<Unfinished>,
    /// What could not be checked because the dump does not hold it.
    pub missing: Losses,
}

/// Checks these heaps, and the normal heaps behind page heaps.
#[must_use]
pub fn verify(heaps: &Heaps<'_, '_>) -> Verification {
    let process = heaps.process();
    let mut result = Verification::default();
    for heap in heaps {
        let operations = heaps.operations_on(heap);
        verify_heap(process, heap, &operations, &mut result);
        if let Heap::Page(page) = heap
            && let Some(normal) = page.normal()
        {
            verify_heap(process, normal, &operations, &mut result);
        }
    }
    result
}

fn verify_heap(
    process: &Process<'_, '_>,
    heap: &Heap<'_, '_>,
    operations: &[Operation],
    result: &mut Verification,
) {
    let nt = match heap {
        Heap::Nt(heap) => Some(&**heap),
        _ => None,
    };
    let mut walked = heap.walk_parallel(|| Checker::new(process, nt), Checker::merge);
    walked.finish();
    let mut damages = walked.damages;
    damages.sort_by_key(|damage| (damage.address, damage.check));
    damages.dedup_by(|b, a| a.address == b.address && a.check == b.check);
    damages.truncate(MAX_DAMAGES);
    // The page heap's walk has reported what it shares with the heap behind it.
    damages.retain(|damage| {
        let same = |known: &Damage| known.address == damage.address && known.check == damage.check;
        !result.damages.iter().any(same)
    });
    result
        .unfinished
        .extend(unfinished::take(&mut damages, operations));
    if !damages.is_empty() {
        neighbours::find(heap, &mut damages);
    }
    result.damages.extend(damages);
    result.missing.merge(walked.missing);
    result.checked.heaps += 1;
    result.checked.merge(walked.checked);
}
