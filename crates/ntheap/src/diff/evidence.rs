//! What the references of the newest dump say of blocks that are new in it: whether they are lost, who
//! holds them, what they are.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};

use super::{
    Comparison, NewBlock, Snapshot,
    candidates::{Candidate, Takes},
};
use crate::{
    graph::{Dominators, Graph, Holder, Place, RootKind, Rules, Ways},
    heap::Heaps,
    layout::Bitness,
    names::NameSource,
    stats::Count,
    types::Types,
    usage::Owner,
};

/// Blocks of a candidate whose holders are looked at.
const SAMPLE: usize = 5000;
/// Holders above a block that are looked at.
const LEVELS: usize = 64;
/// The part of the blocks, in per cent, that one owner must hold to be called theirs.
const OWNED_PERCENT: usize = 80;

/// How many of some blocks are lost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Lost {
    /// Blocks that no root leads to.
    pub lost: Count,
    /// All blocks that were asked about.
    pub of: Count,
}

impl Lost {
    /// The lost part, from 0 to 1.
    #[must_use]
    pub fn share(&self) -> f64 {
        match self.of.blocks {
            0 => 0.0,
            of => self.lost.blocks as f64 / of as f64,
        }
    }
}

/// Who holds blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HeldBy {
    /// One block, without which they would be lost.
    Block {
        /// Its address.
        address: u64,
        /// Its size.
        size: u64,
        /// What it is.
        type_name: Option<Arc<str>>,
    },
    /// A root.
    Root {
        /// What holds it.
        kind: RootKind,
        /// Who uses that memory.
        owner: Owner,
        /// Where the pointer lies; `None` for a register.
        place: Option<u64>,
    },
}

/// The one owner of most of some blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// Who it is.
    pub by: HeldBy,
    /// How many of the blocks it holds.
    pub blocks: u64,
    /// Of how many that were looked at.
    pub of: u64,
}

/// What the newest dump says of the new blocks of a suspect.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Evidence {
    /// How many are lost; `None` where nobody looked.
    pub lost: Option<Lost>,
    /// Their owner, where they have one.
    pub held: Option<Held>,
    /// What most of them are.
    pub type_name: Option<Arc<str>>,
}

/// The references of the newest dump, over all heaps of the process, whichever the comparison is about:
/// a heap that is left out would hold nothing.
pub(super) fn references<'p, 'a>(last: &Snapshot<'p, 'a>) -> Graph<'p, 'a> {
    let process = last.process();
    match last.heaps.len() >= process.heaps.len() {
        true => Graph::of(&last.heaps),
        false => Graph::of(&Heaps::of(process)),
    }
}

/// What the references of the newest dump tell.
pub(super) struct Witness<'g, 'p, 'a> {
    graph: &'g Graph<'p, 'a>,
    classes: crate::graph::Classes,
    dominators: Dominators,
    ways: Ways,
    types: Types<'g, 'a>,
    bitness: Bitness,
}

impl<'g, 'p, 'a> Witness<'g, 'p, 'a> {
    pub(super) fn of(graph: &'g Graph<'p, 'a>, names: &dyn NameSource) -> Self {
        Witness {
            classes: graph.classes(Rules::ALL),
            dominators: graph.dominators(),
            ways: graph.ways(Rules::ALL),
            types: Types::of(graph, Some(names)),
            bitness: graph.process().bitness,
            graph,
        }
    }

    /// The number of a block in the graph, where the debug C runtime's header is no part of it.
    fn number(&self, block: &NewBlock) -> Option<u32> {
        let header = match self.bitness {
            Bitness::X64 => 0x30,
            Bitness::X86 => 0x20,
        };
        let index = self.graph.index();
        let behind = || {
            (block.size > header)
                .then(|| index.find(block.address + header))
                .flatten()
        };
        index.find(block.address).or_else(behind)
    }

    /// For each group, by the positions of its heap and of itself, the number of its new blocks that
    /// are lost, and of all.
    pub(super) fn lost(&self, comparison: &Comparison) -> FxHashMap<(usize, usize), (u64, u64)> {
        let mut lost: FxHashMap<(usize, usize), (u64, u64)> = FxHashMap::default();
        for (heap, change) in comparison.heaps.iter().enumerate() {
            for block in &change.new_blocks {
                if let Some(number) = self.number(block) {
                    let seen = lost.entry((heap, block.group as usize)).or_default();
                    seen.0 += u64::from(self.classes.of(number).is_lost());
                    seen.1 += 1;
                }
            }
        }
        lost
    }

    /// Numbers of the new blocks of each candidate.
    pub(super) fn blocks(
        &self,
        comparison: &Comparison,
        candidates: &[Candidate],
    ) -> Vec<Vec<u32>> {
        let mut places: FxHashMap<(usize, usize, bool), usize> = FxHashMap::default();
        for (place, candidate) in candidates.iter().enumerate() {
            let lost: &[bool] = match candidate.takes {
                Takes::All => &[true, false],
                Takes::Lost => &[true],
                Takes::Held => &[false],
            };
            for &(heap, group) in &candidate.groups {
                places.extend(lost.iter().map(|&lost| ((heap, group, lost), place)));
            }
        }
        let mut blocks = vec![Vec::new(); candidates.len()];
        for (heap, change) in comparison.heaps.iter().enumerate() {
            for block in &change.new_blocks {
                let Some(number) = self.number(block) else {
                    continue;
                };
                let is_lost = self.classes.of(number).is_lost();
                if let Some(&place) = places.get(&(heap, block.group as usize, is_lost)) {
                    blocks[place].push(number);
                }
            }
        }
        blocks
    }

    /// For each candidate the one whose lost blocks keep its own lost blocks, if that is another: a
    /// lost object and its parts are one leak.
    pub(super) fn parts_of(&self, blocks: &[Vec<u32>]) -> Vec<Option<usize>> {
        let mut owner: FxHashMap<u32, usize> = FxHashMap::default();
        for (place, blocks) in blocks.iter().enumerate() {
            owner.extend(blocks.iter().map(|&block| (block, place)));
        }
        let leader = |(place, blocks): (usize, &Vec<u32>)| {
            let mut votes: FxHashMap<usize, usize> = FxHashMap::default();
            let lost = blocks.iter().filter(|&&b| self.classes.of(b).is_lost());
            for leader in lost.filter_map(|&block| self.classes.leader(block)) {
                if let Some(&leads) = owner.get(&leader) {
                    *votes.entry(leads).or_default() += 1;
                }
            }
            let (leads, count) = votes.into_iter().max_by_key(|&(place, n)| (n, place))?;
            (leads != place && count * 100 >= blocks.len() * OWNED_PERCENT).then_some(leads)
        };
        blocks.iter().enumerate().map(leader).collect()
    }

    pub(super) fn evidence(&self, blocks: &[u32]) -> Evidence {
        let mut lost = Lost::default();
        let mut types: FxHashMap<&Arc<str>, usize> = FxHashMap::default();
        for &block in blocks {
            let (address, size) = self.graph.index().block(block);
            lost.of.add(size);
            if self.classes.of(block).is_lost() {
                lost.lost.add(size);
            }
            if let Some(of) = self.types.type_of(address) {
                *types.entry(&of.name).or_default() += 1;
            }
        }
        let most = types.into_iter().max_by_key(|&(name, count)| (count, name));
        Evidence {
            lost: (lost.of.blocks > 0).then_some(lost),
            held: self.held(blocks),
            type_name: most
                .filter(|(_, count)| count * 2 > blocks.len())
                .map(|(name, _)| name.clone()),
        }
    }

    /// The nearest block that holds most of some blocks by itself, else the root that most hang on.
    fn held(&self, blocks: &[u32]) -> Option<Held> {
        let own: FxHashSet<u32> = blocks.iter().copied().collect();
        let reached = blocks.iter().filter(|&&b| self.dominators.is_reached(b));
        let all: Vec<u32> = reached.copied().collect();
        let step = all.len().div_ceil(SAMPLE).max(1);
        let sample: Vec<u32> = all.into_iter().step_by(step).collect();
        if sample.is_empty() || sample.len() * 2 < blocks.len() / step {
            return None;
        }
        let mut above: FxHashMap<u32, usize> = FxHashMap::default();
        for &block in &sample {
            let holders = self.dominators.above(block).take(LEVELS);
            for holder in holders.filter(|holder| !own.contains(holder)) {
                *above.entry(holder).or_default() += 1;
            }
        }
        let enough = |count: usize| count * 100 >= sample.len() * OWNED_PERCENT;
        let nearest = above
            .into_iter()
            .filter(|&(_, count)| enough(count))
            .min_by_key(|&(block, _)| (self.dominators.retained(block), block));
        if let Some((block, count)) = nearest {
            let (address, size) = self.graph.index().block(block);
            let of = self.types.type_of(address);
            return Some(Held {
                by: HeldBy::Block {
                    address,
                    size,
                    type_name: of.map(|of| of.name.clone()),
                },
                blocks: count as u64,
                of: sample.len() as u64,
            });
        }
        self.root(&sample, enough)
    }

    fn root(&self, sample: &[u32], enough: impl Fn(usize) -> bool) -> Option<Held> {
        let mut roots: FxHashMap<(usize, Option<u64>), usize> = FxHashMap::default();
        for &block in sample {
            if let Some(link) = self.ways.to(self.graph, block).first()
                && let Holder::Root(area) = link.holder
            {
                let place = match link.place {
                    Place::Memory(address) => Some(address),
                    Place::Register(_) => None,
                };
                *roots.entry((area, place)).or_default() += 1;
            }
        }
        let most = roots.into_iter().max_by_key(|&(root, count)| (count, root));
        let ((area, place), count) = most.filter(|&(_, count)| enough(count))?;
        let area = self.graph.areas().get(area)?;
        Some(Held {
            by: HeldBy::Root {
                kind: area.kind,
                owner: area.owner,
                place,
            },
            blocks: count as u64,
            of: sample.len() as u64,
        })
    }
}
