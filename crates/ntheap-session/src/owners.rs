//! Who holds chosen blocks.

use std::sync::Arc;

use ntheap::{
    graph::{Graph, Link, Rules, Selection},
    names::NameSource,
    types::Types,
};
use ntheap_report::{owners::Found, owners::OwnersReport, text::holders::Holders};

use crate::{Error, Result, Session};

/// Which blocks are asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Choice {
    /// The block that an address lies in.
    Address(u64),
    /// All blocks of a requested size.
    Size(u64),
    /// All blocks of a type, and of classes that derive from it.
    Type(String),
}

impl Session {
    /// Who holds blocks: where they accumulate, the way from a root, and the `top` dominators.
    ///
    /// # Errors
    /// As [`Session::with`]; [`Error::NoSuchBlock`] and [`Error::NoSuchBlocks`] if there are none.
    pub fn owners(&self, choice: &Choice, rules: Rules, top: usize) -> Result<OwnersReport> {
        self.with(|view| {
            let graph = Graph::of(view.heaps);
            let types = Types::of(&graph, Some(view.names as &dyn NameSource));
            let blocks = choose(choice, &graph, &types)?;
            let dominators = graph.dominators();
            let selection = Selection::of(&graph, &dominators, blocks);
            let (classes, ways) = (graph.classes(rules), graph.ways(rules));
            let accumulation = match choice {
                Choice::Address(_) => None,
                Choice::Size(_) | Choice::Type(_) => selection.accumulation(&ways),
            };
            let type_of = |address: u64| -> Option<Arc<str>> {
                types.type_of(address).map(|found| found.name.clone())
            };
            let holders = Holders {
                graph: &graph,
                names: view.names,
                type_of: &type_of,
            };
            let to = |block: Option<u32>| -> Vec<Link> {
                block.map_or_else(Vec::new, |block| ways.to(&graph, block))
            };
            let point = to(accumulation.as_ref().map(|found| found.point));
            // Of several blocks the first that is held.
            let mut held = selection.blocks.iter().copied();
            let first = to(held.find(|&block| ways.before(block).is_some()));
            let found = Found {
                selection: &selection,
                classes: &classes,
                dominators: &dominators,
                accumulation: accumulation.as_ref(),
                ways: [&point, &first],
                top,
            };
            Ok(OwnersReport::new(&holders, found))
        })?
    }
}

fn choose(choice: &Choice, graph: &Graph<'_, '_>, types: &Types<'_, '_>) -> Result<Vec<u32>> {
    let numbered = || (0..).zip(graph.index().blocks());
    let (what, blocks): (String, Vec<u32>) = match choice {
        Choice::Address(address) => {
            let found = graph.index().find(*address);
            let found = found.ok_or(Error::NoSuchBlock { address: *address })?;
            return Ok(vec![found]);
        }
        Choice::Size(size) => {
            let all = numbered().filter(|(_, block)| block.1 == *size);
            (
                format!("{size:#x} bytes"),
                all.map(|found| found.0).collect(),
            )
        }
        Choice::Type(name) => {
            let is_it = |address: u64| {
                types
                    .type_of(address)
                    .is_some_and(|found| *found.name == **name || types.derives(found, name))
            };
            let all = numbered().filter(|(_, block)| is_it(block.0));
            (name.clone(), all.map(|found| found.0).collect())
        }
    };
    match blocks.is_empty() {
        true => Err(Error::NoSuchBlocks { what }),
        false => Ok(blocks),
    }
}
