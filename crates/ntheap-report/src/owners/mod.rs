//! Who holds chosen blocks.

mod found;
mod text;

pub use found::{Chosen, Found};
pub use text::write;

use std::sync::Arc;

use ntheap::graph::{Class, Link};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    json::{Address, CountReport, ProcessReport},
    text::holders::Holders,
};

/// Who holds chosen blocks.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OwnersReport {
    /// The process.
    pub process: ProcessReport,
    /// The chosen blocks.
    pub selected: CountReport,
    /// Bytes that they retain together.
    pub retained: u64,
    /// Those of them that are lost.
    pub lost: CountReport,
    /// Where they accumulate; null if they don't in one place.
    pub accumulation: Option<AccumulationReport>,
    /// Their immediate dominators, those that keep most first.
    pub dominators: Vec<KeeperReport>,
    /// Of one block the way from a root to it; of several that to the first.
    pub path: Vec<StepReport>,
}

/// Where blocks accumulate.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct AccumulationReport {
    /// The block that the ways to them share last.
    pub block: Address,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: Option<Arc<str>>,
    /// Bytes that it retains.
    pub retained: Option<u64>,
    /// How many ways lead through it.
    pub through: usize,
    /// How many ways were looked at.
    pub of: usize,
    /// How a root leads to it.
    pub path: Vec<StepReport>,
}

/// A block that dominates chosen ones.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct KeeperReport {
    /// The block; null for the roots.
    pub block: Option<Address>,
    /// Its type.
    #[serde(rename = "type")]
    pub type_name: Option<Arc<str>>,
    /// The chosen blocks of which it is the immediate dominator.
    pub keeps: CountReport,
    /// Bytes that those retain.
    pub retained: u64,
}

/// A pointer on the way to a block.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StepReport {
    /// Where it lies, in words: a variable, a place on a stack, a block by type and offset.
    pub from: String,
    /// The field of the block or variable in which it lies, by the types of a PDB.
    pub field: Option<String>,
    /// The block that it leads to.
    pub block: Address,
    /// Where in that block.
    pub offset: u64,
    /// The type of that block.
    #[serde(rename = "type")]
    pub type_name: Option<Arc<str>>,
    /// The rule by which a pointer into its middle counts as one to its start.
    pub rule: Option<&'static str>,
}

impl StepReport {
    /// The steps of a way.
    #[must_use]
    pub fn all(holders: &Holders<'_, '_, '_>, links: &[Link]) -> Vec<Self> {
        let step = |link: &Link| StepReport {
            from: holders.place(link),
            field: holders.field(link),
            block: Address(holders.graph.index().block(link.target).0),
            offset: link.offset,
            type_name: holders.type_name(link.target),
            rule: link.rules.name(),
        };
        links.iter().map(step).collect()
    }
}

impl OwnersReport {
    /// The report, with `top` dominators.
    #[must_use]
    pub fn new(holders: &Holders<'_, '_, '_>, found: &Found, top: usize) -> Self {
        let Found {
            selection,
            classes,
            dominators,
            accumulation,
            to_point,
            to_first,
        } = found;
        let graph = holders.graph;
        let address = |block: u32| Address(graph.index().block(block).0);
        let mut lost = ntheap::stats::Count::default();
        for &block in &selection.blocks {
            if classes.of(block) <= Class::Indirect {
                lost.add(graph.index().size(block));
            }
        }
        OwnersReport {
            process: ProcessReport::new(graph.process()),
            selected: selection.count.into(),
            retained: selection.retained,
            lost: lost.into(),
            accumulation: accumulation.as_ref().map(|found| AccumulationReport {
                block: address(found.point),
                type_name: holders.type_name(found.point),
                retained: dominators.retained(found.point),
                through: found.through,
                of: found.of,
                path: StepReport::all(holders, to_point),
            }),
            dominators: selection
                .keepers
                .iter()
                .take(top)
                .map(|keeper| KeeperReport {
                    block: keeper.block.map(address),
                    type_name: keeper.block.and_then(|block| holders.type_name(block)),
                    keeps: keeper.keeps.into(),
                    retained: keeper.retained,
                })
                .collect(),
            path: StepReport::all(holders, to_first),
        }
    }
}
