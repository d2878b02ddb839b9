//! The comparison of two dumps.

use serde::Serialize;

use super::{Address, CountReport, FindingReport, UsageChangeReport, process::kind_name};
use crate::diff::{Change, Comparison, GroupChange, HeapChange, HeapStatus};

/// A number of blocks and bytes before and after.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct ChangeReport {
    /// In the first dump.
    pub before: CountReport,
    /// In the second.
    pub after: CountReport,
    /// Growth in bytes.
    pub delta_bytes: i64,
    /// Growth in blocks.
    pub delta_blocks: i64,
}

impl From<Change> for ChangeReport {
    fn from(change: Change) -> Self {
        ChangeReport {
            before: change.before.into(),
            after: change.after.into(),
            delta_bytes: change.bytes(),
            delta_blocks: change.blocks(),
        }
    }
}

/// A group of blocks.
#[derive(Debug, Clone, Serialize)]
pub struct GroupReport {
    /// Requested size; left out when sizes are not told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// Return addresses, innermost first; left out when stacks are not told apart.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stack: Option<Vec<Address>>,
    /// The stack's frames by name; left out where they are not resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<String>>,
    /// What changed.
    #[serde(flatten)]
    pub change: ChangeReport,
}

impl From<&GroupChange> for GroupReport {
    fn from(group: &GroupChange) -> Self {
        GroupReport {
            size: group.key.size,
            stack: group
                .key
                .stack
                .as_ref()
                .map(|s| s.iter().map(|&f| Address(f)).collect()),
            frames: None,
            change: group.change.into(),
        }
    }
}

/// A heap of either dump.
#[derive(Debug, Clone, Serialize)]
pub struct HeapDiffReport {
    /// Handle.
    pub heap: Address,
    /// Kind.
    pub kind: &'static str,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// `survived`, `new` or `gone`.
    pub status: &'static str,
    /// What the program holds.
    #[serde(flatten)]
    pub change: ChangeReport,
    /// Blocks only in the second dump.
    pub new_blocks: CountReport,
    /// Blocks only in the first dump.
    pub gone_blocks: CountReport,
    /// Blocks in both, by address, size and trace.
    pub survived_blocks: CountReport,
    /// By size or stack, in order of growth.
    pub groups: Vec<GroupReport>,
    /// Sum of the groups that were left out.
    pub others: Option<ChangeReport>,
    /// Bytes of either heap that could not be read or proved.
    pub unread_bytes: u64,
    /// What was missing or inconsistent, in either dump.
    pub findings: Vec<FindingReport>,
}

impl HeapDiffReport {
    /// The report of a heap with its `top` groups.
    #[must_use]
    pub fn new(heap: &HeapChange, top: usize) -> Self {
        let changed = || heap.groups.iter().filter(|group| !group.change.is_zero());
        let mut others = Change::default();
        changed()
            .skip(top)
            .for_each(|group| others.merge(group.change));
        HeapDiffReport {
            heap: Address(heap.handle),
            kind: kind_name(heap.kind),
            flags: heap.flags,
            status: match heap.status {
                HeapStatus::Survived => "survived",
                HeapStatus::New => "new",
                HeapStatus::Gone => "gone",
            },
            change: heap.busy.into(),
            new_blocks: heap.blocks.new.into(),
            gone_blocks: heap.blocks.gone.into(),
            survived_blocks: heap.blocks.survived.into(),
            groups: changed().take(top).map(GroupReport::from).collect(),
            others: (changed().count() > top).then(|| others.into()),
            unread_bytes: heap.unread_bytes,
            findings: heap
                .details
                .iter()
                .flatten()
                .map(FindingReport::from)
                .collect(),
        }
    }
}

/// New allocations that are listed.
const NEW_ALLOCATIONS: usize = 10;

/// The comparison.
#[derive(Debug, Clone, Serialize)]
pub struct DiffReport {
    /// The result in words.
    pub verdict: String,
    /// Whether both dumps hold the same blocks.
    pub identical: bool,
    /// Whether everything of every heap was read.
    pub complete: bool,
    /// Seconds between the dumps.
    pub seconds: i64,
    /// What makes the comparison doubtful.
    pub warnings: Vec<String>,
    /// What became of the address space.
    pub address_space: UsageChangeReport,
    /// Sum over all heaps.
    pub total: ChangeReport,
    /// Heaps in order of growth.
    pub heaps: Vec<HeapDiffReport>,
}

impl DiffReport {
    /// The report of a comparison with the `top` groups of each heap.
    #[must_use]
    pub fn new(comparison: &Comparison, top: usize) -> Self {
        DiffReport {
            verdict: comparison.verdict().to_string(),
            identical: comparison.identical,
            complete: comparison.is_complete(),
            seconds: comparison.seconds,
            warnings: comparison
                .warnings
                .iter()
                .map(ToString::to_string)
                .collect(),
            address_space: UsageChangeReport::new(&comparison.usage, NEW_ALLOCATIONS),
            total: comparison.total.into(),
            heaps: comparison
                .heaps
                .iter()
                .map(|heap| HeapDiffReport::new(heap, top))
                .collect(),
        }
    }
}
