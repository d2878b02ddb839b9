//! What a comparison comes to.

use schemars::JsonSchema;
use serde::Serialize;

use super::{ChangeReport, verdict};
use crate::json::{Address, CountReport};
use ntheap::{
    diff::{
        Comparison, Evidence, Fragmentation, Held, HeldBy, Judgement, Outside, Reason, SizeChange,
        Suspect, Trend,
    },
    dump::Dump,
    names::NameSource,
};

/// What the blocks of one size did.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SizeReport {
    /// Requested size.
    pub size: u64,
    /// How many there are.
    #[serde(flatten)]
    pub change: ChangeReport,
}

impl From<&SizeChange> for SizeReport {
    fn from(size: &SizeChange) -> Self {
        SizeReport {
            size: size.size,
            change: size.change.into(),
        }
    }
}

/// Who holds most of some blocks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HolderReport {
    /// `block`, or what kind of root it is: `image`, `stack`, `register`, …
    pub kind: &'static str,
    /// Address of the block, or of the pointer; null for a register.
    pub address: Option<Address>,
    /// What the block is; null for a root, and where nothing tells.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// In words.
    pub text: String,
    /// How many of the blocks it holds.
    pub blocks: u64,
    /// Of how many that were looked at.
    pub of: u64,
}

impl HolderReport {
    fn new(held: &Held, dump: &Dump<'_>, names: &dyn NameSource) -> Self {
        let (kind, address, type_name) = match &held.by {
            HeldBy::Block {
                address, type_name, ..
            } => ("block", Some(*address), type_name.as_deref()),
            HeldBy::Root { kind, place, .. } => (kind.name(), *place, None),
        };
        HolderReport {
            kind,
            address: address.map(Address),
            type_name: type_name.map(str::to_owned),
            text: verdict::holder(&held.by, dump, names),
            blocks: held.blocks,
            of: held.of,
        }
    }
}

/// How many of some blocks are lost.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LostReport {
    /// Those that nothing leads to.
    pub lost: CountReport,
    /// All that were asked about.
    pub of: CountReport,
}

/// Blocks that grew together.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SuspectReport {
    /// In one line.
    pub text: String,
    /// `high`, `medium` or `low`: how sure it is that it is a leak.
    pub confidence: &'static str,
    /// Why it is suspect, the best reason first: `lost`, `every-interval`, `one-owner`,
    /// `many-of-one-size`, `bytes`.
    pub reasons: Vec<&'static str>,
    /// The functions that say who wanted the memory, innermost first; empty without stacks.
    pub frames: Vec<String>,
    /// Number of distinct stacks that meet there.
    pub stacks: usize,
    /// The heap that most of the blocks lie in.
    pub heap: Address,
    /// What most of the blocks are; null where nothing tells.
    #[serde(rename = "type")]
    pub type_name: Option<String>,
    /// By size, in order of growth.
    pub sizes: Vec<SizeReport>,
    /// From the first dump to the last.
    #[serde(flatten)]
    pub change: ChangeReport,
    /// Growth in bytes per hour; null where the dumps' times don't tell.
    pub bytes_per_hour: Option<i64>,
    /// In each dump, the oldest first.
    pub counts: Vec<CountReport>,
    /// `every-interval`, `once`, `sometimes`, `comes-and-goes`, `shrinks` or `same`.
    pub trend: &'static str,
    /// The interval in which it came, counted from 1; null unless it came once.
    pub interval: Option<usize>,
    /// How near the curve comes to a straight line: 1 for the line, 0 for a step; null of two dumps.
    pub steadiness: Option<f64>,
    /// How many of the new blocks are lost; null where nobody looked.
    pub lost: Option<LostReport>,
    /// Who holds them; null where no one owner does.
    pub holder: Option<HolderReport>,
    /// Whether it is a large block or two.
    pub one_off: bool,
}

impl SuspectReport {
    fn new(suspect: &Suspect, dump: &Dump<'_>, names: &dyn NameSource) -> Self {
        let Evidence {
            lost,
            held,
            type_name,
            ..
        } = &suspect.evidence;
        SuspectReport {
            text: verdict::suspect_text(suspect, dump, names),
            confidence: suspect.confidence.name(),
            reasons: suspect.reasons.iter().copied().map(Reason::name).collect(),
            frames: suspect.frames.iter().map(|f| f.to_string()).collect(),
            stacks: suspect.stacks,
            heap: Address(suspect.heap),
            type_name: type_name.as_deref().map(str::to_owned),
            sizes: suspect.sizes.iter().map(Into::into).collect(),
            change: suspect.change.into(),
            bytes_per_hour: suspect.bytes_per_hour,
            counts: suspect.counts.iter().map(|&count| count.into()).collect(),
            trend: suspect.course.trend.name(),
            interval: match suspect.course.trend {
                Trend::Once(interval) if suspect.counts.len() > 2 => Some(interval),
                _ => None,
            },
            steadiness: suspect.course.steadiness,
            lost: lost.map(|lost| LostReport {
                lost: lost.lost.into(),
                of: lost.of.into(),
            }),
            holder: held
                .as_ref()
                .map(|held| HolderReport::new(held, dump, names)),
            one_off: suspect.one_off,
        }
    }
}

/// A heap that keeps memory which the program does not use.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FragmentationReport {
    /// The heap.
    pub heap: Address,
    /// Growth in committed bytes.
    pub delta_committed: i64,
    /// Growth in bytes that the program holds.
    pub delta_busy: i64,
    /// Bytes in free blocks.
    pub free_bytes: u64,
    /// The largest free block.
    pub largest_free: u64,
}

impl From<&Fragmentation> for FragmentationReport {
    fn from(heap: &Fragmentation) -> Self {
        FragmentationReport {
            heap: Address(heap.heap),
            delta_committed: heap.committed,
            delta_busy: heap.busy,
            free_bytes: heap.free,
            largest_free: heap.largest_free,
        }
    }
}

/// An owner of memory outside the heaps.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct RegionOwnerReport {
    /// An allocator, a runtime or a module; null where nothing tells.
    pub name: Option<String>,
    /// Why it is named: `layout`, `module`, `pointers`, `points-to`, `nothing`.
    pub sign: &'static str,
    /// Bytes that it got.
    pub bytes: u64,
    /// Number of its allocations.
    pub allocations: usize,
    /// The one with most of these bytes.
    pub largest: Address,
}

/// Growth outside the heaps.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OutsideReport {
    /// Growth of private memory that is no heap's and no stack's.
    pub delta_bytes: i64,
    /// Growth of the heaps' memory.
    pub delta_heaps: i64,
    /// Who owns what is new.
    pub owners: Vec<RegionOwnerReport>,
}

impl From<&Outside> for OutsideReport {
    fn from(outside: &Outside) -> Self {
        OutsideReport {
            delta_bytes: outside.bytes,
            delta_heaps: outside.heaps,
            owners: outside
                .owners
                .iter()
                .map(|owner| RegionOwnerReport {
                    name: (!owner.name.is_empty()).then(|| owner.name.to_string()),
                    sign: owner.sign.name(),
                    bytes: owner.bytes,
                    allocations: owner.allocations,
                    largest: Address(owner.largest),
                })
                .collect(),
        }
    }
}

/// What a comparison comes to.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct JudgementReport {
    /// The suspects, the worst first, at most three.
    pub suspects: Vec<SuspectReport>,
    /// Suspects that are not among them.
    pub more_suspects: usize,
    /// Large blocks that came alone, and in a series what came in one interval only.
    pub once: Vec<SuspectReport>,
    /// What came and went, in a series.
    pub comes_and_goes: Vec<SuspectReport>,
    /// Growth outside the heaps; null where the heaps grew more.
    pub outside: Option<OutsideReport>,
    /// Heaps that grew without need.
    pub fragmented: Vec<FragmentationReport>,
    /// The program's own functions that only pass allocations on, as they were found.
    pub wrappers: Vec<String>,
}

impl JudgementReport {
    /// The report of a judgement of dumps of which `dump` is the last.
    #[must_use]
    pub fn new(judgement: &Judgement, dump: &Dump<'_>, names: &dyn NameSource) -> Self {
        let suspects = |list: &[Suspect]| -> Vec<SuspectReport> {
            let reports = list.iter();
            reports
                .map(|suspect| SuspectReport::new(suspect, dump, names))
                .collect()
        };
        JudgementReport {
            suspects: suspects(&judgement.suspects),
            more_suspects: judgement.more,
            once: suspects(&judgement.once),
            comes_and_goes: suspects(&judgement.comes_and_goes),
            outside: judgement.outside.as_ref().map(Into::into),
            fragmented: judgement.fragmented.iter().map(Into::into).collect(),
            wrappers: judgement.wrappers.iter().map(|w| w.to_string()).collect(),
        }
    }
}

/// A dump of a series.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MomentReport {
    /// When it was taken, in seconds since 1970.
    pub timestamp: u32,
    /// What the program holds.
    #[serde(flatten)]
    pub busy: CountReport,
}

/// A series of dumps.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SeriesReport {
    /// The dumps, the oldest first.
    pub dumps: Vec<MomentReport>,
    /// Blocks that are in all of them.
    pub survivors: CountReport,
}

impl SeriesReport {
    /// The report of a comparison's dumps.
    #[must_use]
    pub fn new(comparison: &Comparison) -> Self {
        let mut survivors = ntheap::stats::Count::default();
        comparison
            .heaps
            .iter()
            .for_each(|heap| survivors.merge(heap.survivors));
        SeriesReport {
            dumps: comparison
                .moments
                .iter()
                .map(|moment| MomentReport {
                    timestamp: moment.timestamp,
                    busy: moment.busy.into(),
                })
                .collect(),
            survivors: survivors.into(),
        }
    }
}
