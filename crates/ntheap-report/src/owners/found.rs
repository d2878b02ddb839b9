//! Which blocks are asked about, and what is found of them.

use ntheap::{
    graph::{Accumulation, Classes, Dominators, Graph, Link, Rules, Selection},
    names::is_meant,
    types::Types,
};

/// What was chosen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chosen {
    /// One block.
    Block(u32),
    /// Blocks of this description: `Listener`, `0x30 bytes`.
    Group(String),
}

impl Chosen {
    /// All blocks of a requested size in bytes, ascending.
    #[must_use]
    pub fn of_size(graph: &Graph<'_, '_>, size: u64) -> (Self, Vec<u32>) {
        let all = (0..).zip(graph.index().blocks());
        let blocks = all.filter(|(_, block)| block.1 == size);
        let blocks = blocks.map(|(number, _)| number).collect();
        (Chosen::Group(format!("{size:#x} bytes")), blocks)
    }

    /// All blocks of the types that `name` means ([`is_meant`]) and of classes that derive from them,
    /// ascending.
    #[must_use]
    pub fn of_type(graph: &Graph<'_, '_>, types: &Types<'_, '_>, name: &str) -> (Self, Vec<u32>) {
        let is_it = |address: u64| {
            types
                .type_of(address)
                .is_some_and(|found| is_meant(name, &found.name) || types.derives(found, name))
        };
        let all = (0..).zip(graph.index().blocks());
        let blocks = all.filter(|(_, block)| is_it(block.0));
        let blocks = blocks.map(|(number, _)| number).collect();
        (Chosen::Group(name.to_owned()), blocks)
    }
}

/// What was found of chosen blocks.
#[derive(Debug)]
pub struct Found {
    /// The blocks.
    pub selection: Selection,
    /// Classes of all blocks.
    pub classes: Classes,
    /// Dominators of all blocks.
    pub dominators: Dominators,
    /// Where they accumulate, if they are a group and do in one place.
    pub accumulation: Option<Accumulation>,
    /// The way to that point.
    pub to_point: Vec<Link>,
    /// The way to the first of the blocks that is held.
    pub to_first: Vec<Link>,
}

impl Found {
    /// Looks for who holds the blocks.
    #[must_use]
    pub fn of(graph: &Graph<'_, '_>, chosen: &Chosen, blocks: Vec<u32>, rules: Rules) -> Self {
        // The ways are looked for on one thread.
        let (ways, (dominators, classes)) = rayon::join(
            || graph.ways(rules),
            || (graph.dominators(), graph.classes(rules)),
        );
        let selection = Selection::of(graph, &dominators, blocks);
        let accumulation = match chosen {
            Chosen::Group(_) => selection.accumulation(&ways),
            Chosen::Block(_) => None,
        };
        let to = |block: Option<u32>| block.map_or_else(Vec::new, |block| ways.to(graph, block));
        let mut held = selection.blocks.iter().copied();
        let first = held.find(|&block| ways.before(block).is_some());
        Found {
            to_point: to(accumulation.as_ref().map(|found| found.point)),
            to_first: to(first),
            selection,
            classes,
            dominators,
            accumulation,
        }
    }
}
