//! Who holds chosen blocks.

use ntheap::{
    graph::{Graph, Rules},
    names::NameSource,
    types::Types,
};
use ntheap_report::{
    owners::{Chosen, Found, OwnersReport},
    text::holders::Holders,
};

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
            let graph = view.graph();
            let types = Types::of(&graph, Some(view.names as &dyn NameSource));
            let (chosen, blocks) = choose(choice, &graph, &types)?;
            let found = Found::of(&graph, &chosen, blocks, rules);
            let holders = Holders {
                graph: &graph,
                names: view.names,
                type_of: &|address| types.name_of(address),
            };
            Ok(OwnersReport::new(&holders, &found, top))
        })?
    }
}

fn choose(
    choice: &Choice,
    graph: &Graph<'_, '_>,
    types: &Types<'_, '_>,
) -> Result<(Chosen, Vec<u32>)> {
    let (chosen, blocks) = match choice {
        Choice::Address(address) => {
            let block = graph.index().find(*address);
            let block = block.ok_or(Error::NoSuchBlock { address: *address })?;
            (Chosen::Block(block), vec![block])
        }
        Choice::Size(size) => Chosen::of_size(graph, *size),
        Choice::Type(name) => Chosen::of_type(graph, types, name),
    };
    match &chosen {
        Chosen::Group(what) if blocks.is_empty() => Err(Error::NoSuchBlocks { what: what.clone() }),
        _ => Ok((chosen, blocks)),
    }
}
