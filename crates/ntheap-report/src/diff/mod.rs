//! The comparison of two dumps.

mod judgement;
mod text;
pub mod verdict;

pub use judgement::{
    FragmentationReport, HolderReport, JudgementReport, LostReport, MomentReport, OutsideReport,
    RegionOwnerReport, SeriesReport, SizeReport, SuspectReport,
};
pub use text::{Options, Show, write};

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    address::UsageChangeReport,
    json::{Address, CountReport, FindingReport},
    text::stacks::frame_texts,
};
use ntheap::{
    diff::{Change, Comparison, Course, Culprit, GroupChange, HeapChange, HeapStatus},
    layout::Bitness,
    losses::Losses,
    names::NameSource,
    stats::total,
};

/// A number of blocks and bytes before and after.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    /// In each dump of a series of more than two, the oldest first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub counts: Vec<CountReport>,
    /// How steadily it grew in a series: 1 for a straight line; left out of two dumps, and where it
    /// did not grow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steadiness: Option<f64>,
    /// Of a size: its stacks, in order of growth; left out when there are none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stacks: Vec<GroupReport>,
}

impl GroupReport {
    fn new(group: &GroupChange, naming: &Naming<'_>) -> Self {
        GroupReport {
            stacks: Vec::new(),
            size: group.key.size,
            stack: group
                .key
                .stack
                .as_ref()
                .map(|s| s.iter().map(|&f| Address(f)).collect()),
            frames: group
                .key
                .stack
                .as_deref()
                .and_then(|stack| naming.frames(stack)),
            change: group.change.into(),
            counts: match group.counts.len() {
                ..=2 => Vec::new(),
                _ => group.counts.iter().map(|&count| count.into()).collect(),
            },
            steadiness: Course::of(naming.times, &group.counts).steadiness,
        }
    }
}

/// A heap of either dump.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HeapDiffReport {
    /// Handle.
    pub heap: Address,
    /// Kind.
    pub kind: &'static str,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// `survived`, `new` or `gone`; in a series also `between`: neither in the first nor in the last.
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

/// How stacks are named, and which groups a report has.
pub struct Naming<'n> {
    /// Names for frames; stacks are addresses alone without.
    pub names: Option<&'n dyn NameSource>,
    /// Width of the process.
    pub bitness: Bitness,
    /// Times of the dumps of a series, for how steadily groups grew; else empty.
    pub times: &'n [u32],
    /// Whether stacks are listed under sizes, instead of each group by itself.
    pub nested: bool,
}

impl std::fmt::Debug for Naming<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Naming")
            .field("nested", &self.nested)
            .finish_non_exhaustive()
    }
}

impl Naming<'_> {
    fn frames(&self, stack: &[u64]) -> Option<Vec<String>> {
        Some(frame_texts(stack, self.bitness, self.names?))
    }
}

impl HeapDiffReport {
    /// The report of a heap with its `top` groups.
    #[must_use]
    pub fn new(heap: &HeapChange, top: usize, naming: &Naming<'_>) -> Self {
        let all = if naming.nested {
            heap.by_size()
        } else {
            heap.groups.clone()
        };
        let by_size = (naming.nested && heap.has_stacks()).then(|| heap.stacks_by_size());
        let report = |group: &GroupChange| {
            let mut report = GroupReport::new(group, naming);
            let stacks = by_size
                .as_ref()
                .and_then(|sizes| sizes.get(&group.key.size));
            if let Some(stacks) = stacks {
                let stacks = stacks.iter().copied();
                let changed = stacks.filter(|stack| !stack.change.is_zero()).take(top);
                report.stacks = changed
                    .map(|stack| GroupReport::new(stack, naming))
                    .collect();
            }
            report
        };
        let changed = || all.iter().filter(|group| !group.change.is_zero());
        let mut others = Change::default();
        changed()
            .skip(top)
            .for_each(|group| others.merge(group.change));
        HeapDiffReport {
            heap: Address(heap.handle),
            kind: heap.kind.name(),
            flags: heap.flags,
            status: match heap.status {
                HeapStatus::Survived => "survived",
                HeapStatus::New => "new",
                HeapStatus::Gone => "gone",
                HeapStatus::Between => "between",
            },
            change: heap.busy.into(),
            new_blocks: heap.blocks.new.into(),
            gone_blocks: heap.blocks.gone.into(),
            survived_blocks: heap.blocks.survived.into(),
            groups: changed().take(top).map(report).collect(),
            others: (changed().count() > top).then(|| others.into()),
            unread_bytes: total(heap.losses.iter().map(Losses::unread_bytes)),
            findings: heap
                .losses
                .iter()
                .flat_map(Losses::findings)
                .map(FindingReport::from)
                .collect(),
        }
    }
}

/// The stack that most of the growth of a heap comes from.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CulpritReport {
    /// Return addresses, innermost first.
    pub stack: Vec<Address>,
    /// The frames by name; left out where they are not resolved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<String>>,
    /// Growth in bytes.
    pub delta_bytes: i64,
    /// Growth in blocks.
    pub delta_blocks: i64,
}

impl CulpritReport {
    fn new(culprit: &Culprit, naming: &Naming<'_>) -> Self {
        CulpritReport {
            stack: culprit.stack.iter().map(|&frame| Address(frame)).collect(),
            frames: naming.frames(&culprit.stack),
            delta_bytes: culprit.bytes,
            delta_blocks: culprit.blocks,
        }
    }
}

/// New allocations that are listed.
const NEW_ALLOCATIONS: usize = 10;

/// The comparison.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DiffReport {
    /// The result in words.
    pub verdict: String,
    /// Whether both dumps hold the same blocks.
    pub identical: bool,
    /// Whether everything of both dumps was read.
    pub complete: bool,
    /// What could not be read, where that is not everything.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// The stack that most of the growth comes from, where blocks have stacks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub culprit: Option<CulpritReport>,
    /// Seconds between the dumps.
    pub seconds: i64,
    /// What grew, why it is suspect, and how sure that is.
    pub judgement: JudgementReport,
    /// The dumps that were compared.
    pub series: SeriesReport,
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
    pub fn new(
        comparison: &Comparison,
        judgement: JudgementReport,
        top: usize,
        naming: &Naming<'_>,
    ) -> Self {
        let verdict = comparison.verdict();
        DiffReport {
            judgement,
            series: SeriesReport::new(comparison),
            verdict: verdict.to_string(),
            identical: comparison.identical,
            complete: comparison.is_complete(),
            missing: match comparison.is_complete() {
                true => Vec::new(),
                false => comparison.losses.iter().flat_map(Losses::lines).collect(),
            },
            culprit: verdict
                .culprit
                .as_ref()
                .map(|culprit| CulpritReport::new(culprit, naming)),
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
                .map(|heap| HeapDiffReport::new(heap, top, naming))
                .collect(),
        }
    }
}
