//! Lost and held blocks.

mod text;

pub use text::{Options, write};

use std::sync::Arc;

use ntheap::{
    graph::{
        Class, Classes, Dominators, Doubt, Graph, LeakRecord, Leaks, Link, Rules, TypeOf, Ways,
    },
    names::NameSource,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    json::{Address, CountReport, ProcessReport},
    text::{holders::Holders, stacks::frame_texts},
};

/// A block with its class.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeakBlock {
    /// Address that the program has: behind the debug C runtime's header where there is one.
    pub address: Address,
    /// Requested size in bytes.
    pub size: u64,
    /// `definite`, `indirect`, `possible` or `reachable`.
    pub class: &'static str,
    /// Type.
    #[serde(rename = "type")]
    pub type_name: Option<Arc<str>>,
    /// Address of the immediate dominator; null for the roots, and of lost blocks.
    pub dominator: Option<Address>,
    /// Bytes that it retains; null of lost blocks.
    pub retained: Option<u64>,
    /// The rule by which a pointer into its middle counts as one to its start.
    pub rule: Option<&'static str>,
    /// Of an indirectly lost block the definitely lost one that keeps it.
    pub leader: Option<Address>,
}

impl LeakBlock {
    /// All blocks of a graph, by ascending address.
    pub fn all<'g>(
        graph: &'g Graph<'_, '_>,
        classes: &'g Classes,
        dominators: &'g Dominators,
        rules: Rules,
        type_of: TypeOf<'g>,
    ) -> impl Iterator<Item = (u32, LeakBlock)> + 'g {
        let interior = graph.interior_rules();
        let index = graph.index();
        let address = move |block: u32| Address(index.block(block).0);
        let blocks = classes.iter().zip(index.blocks());
        blocks.map(move |((block, class), (start, size))| {
            let held = !class.is_lost();
            let report = LeakBlock {
                address: Address(start),
                size,
                class: class.name(),
                type_name: type_of(start),
                dominator: dominators.of(block).filter(|_| held).map(address),
                retained: dominators.retained(block).filter(|_| held),
                rule: interior[block as usize].and(rules).name(),
                leader: classes
                    .leader(block)
                    .filter(|_| class == Class::Indirect)
                    .map(address),
            };
            (block, report)
        })
    }
}

/// Leak records and their sums.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeaksReport {
    /// The process.
    pub process: ProcessReport,
    /// The rules.
    pub heuristics: String,
    /// Blocks and bytes of each class.
    pub summary: LeakSummary,
    /// The records: those definitely lost first, in each class those that keep most first.
    pub records: Vec<LeakRecordReport>,
    /// What the dump does not show.
    pub doubt: DoubtReport,
}

/// Blocks and bytes of each class.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeakSummary {
    /// Definitely lost.
    pub definite: CountReport,
    /// Indirectly lost.
    pub indirect: CountReport,
    /// Possibly lost.
    pub possible: CountReport,
    /// Still reachable.
    pub reachable: CountReport,
}

/// Blocks of one class, type, size and stack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct LeakRecordReport {
    /// Class.
    pub class: &'static str,
    /// Type.
    #[serde(rename = "type")]
    pub type_name: Option<Arc<str>>,
    /// Size of each block.
    pub size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Blocks that are lost with them.
    pub indirect_blocks: u64,
    /// Bytes of those.
    pub indirect_bytes: u64,
    /// The block with the lowest address.
    pub example: Address,
    /// Return addresses of the allocations.
    pub stack: Vec<Address>,
    /// The same by name; left out without symbols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<String>>,
    /// Why the example is but possibly lost: the pointer into the middle of a block.
    pub reason: Option<ReasonReport>,
}

/// A pointer into the middle of a block.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ReasonReport {
    /// The block that it leads to.
    pub block: Address,
    /// Where in that block.
    pub offset: u64,
    /// Where the pointer lies, in words.
    pub from: String,
}

impl ReasonReport {
    /// The reason that a link is.
    #[must_use]
    pub fn of(holders: &Holders<'_, '_, '_>, link: &Link) -> Self {
        ReasonReport {
            block: Address(holders.graph.index().block(link.target).0),
            offset: link.offset,
            from: holders.place(link),
        }
    }
}

/// What the dump does not show.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DoubtReport {
    /// Whether what is called lost may be held by something that the dump does not show.
    pub may_accuse_falsely: bool,
    /// Bytes of roots that are not in the dump.
    pub unread_roots: u64,
    /// Bytes of blocks that are not in the dump.
    pub unread_blocks: u64,
    /// Bytes of heaps that are not in the dump.
    pub unread_heaps: u64,
    /// Bytes of heaps without provable blocks, which were taken for roots.
    pub damaged_bytes: u64,
    /// Whether the dump says which memory the process has.
    pub described: bool,
    /// Threads.
    pub threads: usize,
    /// Threads without registers.
    pub without_context: usize,
    /// Pointers that chance may have made.
    pub chance_hits: f64,
    /// The doubt in words.
    pub text: Vec<String>,
}

impl From<&Doubt> for DoubtReport {
    fn from(doubt: &Doubt) -> Self {
        DoubtReport {
            may_accuse_falsely: doubt.may_accuse_falsely(),
            unread_roots: doubt.unread_roots,
            unread_blocks: doubt.unread_blocks,
            unread_heaps: doubt.unread_heaps,
            damaged_bytes: doubt.damaged,
            described: doubt.described,
            threads: doubt.threads,
            without_context: doubt.without_context,
            chance_hits: (doubt.chance_hits * 100.0).round() / 100.0,
            text: doubt.to_string().lines().map(str::to_owned).collect(),
        }
    }
}

impl LeaksReport {
    /// The report.
    #[must_use]
    pub fn new<'r>(
        holders: &Holders<'_, '_, '_>,
        (leaks, records): (&Leaks, impl IntoIterator<Item = &'r LeakRecord>),
        rules: Rules,
        ways: &Ways,
        frames: Option<&dyn NameSource>,
    ) -> Self {
        let graph = holders.graph;
        let process = graph.process();
        let count = |class: Class| CountReport::from(leaks.total(class));
        let record = |record: &LeakRecord| LeakRecordReport {
            class: record.class.name(),
            type_name: record.type_name.clone(),
            size: record.size,
            blocks: record.own.blocks,
            bytes: record.own.bytes,
            indirect_blocks: record.indirect.blocks,
            indirect_bytes: record.indirect.bytes,
            example: Address(graph.index().block(record.example).0),
            stack: record.stack.iter().copied().map(Address).collect(),
            frames: frames.map(|names| frame_texts(&record.stack, process.bitness, names)),
            reason: (record.class == Class::Possible)
                .then(|| ways.doubtful(graph, record.example))
                .flatten()
                .map(|link| ReasonReport::of(holders, &link)),
        };
        LeaksReport {
            process: ProcessReport::new(process),
            heuristics: rules.to_string(),
            summary: LeakSummary {
                definite: count(Class::Definite),
                indirect: count(Class::Indirect),
                possible: count(Class::Possible),
                reachable: count(Class::Reachable),
            },
            records: records.into_iter().map(record).collect(),
            doubt: DoubtReport::from(graph.doubt()),
        }
    }
}
