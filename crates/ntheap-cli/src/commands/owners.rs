//! `ntheap owners`: who holds a block, or all blocks of a size or type.

use std::path::PathBuf;

use clap::Args;
use ntheap::{graph::Graph, heap::Heaps, types::Types};
use ntheap_report::{
    json::document,
    owners::{self as report, Chosen, Found, OwnersReport},
    text::holders::Holders,
};

use super::{document_format, read_graph};
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
    progress::Working,
    symbols,
};

/// `ntheap owners`.
#[derive(Debug, Args)]
#[command(group(clap::ArgGroup::new("which").required(true).args(["address", "size", "type_name"])))]
pub(crate) struct Owners {
    /// The dump
    dump: PathBuf,
    /// An address, anywhere inside a block
    #[arg(value_name = "ADDRESS")]
    address: Option<String>,
    /// All blocks of this size
    #[arg(long, value_name = "N")]
    size: Option<String>,
    /// All blocks of this type, as `types` names it (`Session` means `depot::Session`, too; `*` stands
    /// for any text), and of classes that derive from it
    #[arg(long = "type", value_name = "TYPE")]
    type_name: Option<String>,
    /// Which pointers into the middle of blocks count (see leaks)
    #[arg(long, value_name = "RULES", default_value = super::leaks::DEFAULT_RULES)]
    heuristics: String,
    /// Dominators to show
    #[arg(long, value_name = "N", default_value = "0n10")]
    top: String,
}

pub(crate) fn run(args: &Owners, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    super::no_table(common)?;
    let format = document_format(common)?;
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let rules = super::leaks::rules(&args.heuristics)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = Heaps::of(&process);
    let graph = read_graph(&heaps);
    let working = Working::on("following references");
    let names = input.names(&dump);
    let types = Types::of(&graph, Some(&names));
    let (chosen, blocks) = choose(args, common, &graph, &heaps, &types)?;
    let found = Found::of(&graph, &chosen, blocks, rules);
    drop(working);
    super::leaks::warn_of_cookie(rules, &dump);
    let status = input.report(graph.losses());
    let holders = Holders {
        graph: &graph,
        names: &names,
        type_of: &|address| types.name_of(address),
    };
    if format == Format::Text {
        output.text(|out| report::write(&holders, &chosen, &found, top, out))?;
    } else {
        output.json(&document(
            "owners",
            OwnersReport::new(&holders, &found, top),
        ))?;
    }
    symbols::report(&dump, input.symbols());
    Ok(status)
}

/// The blocks that the options name.
fn choose(
    args: &Owners,
    common: &Common,
    graph: &Graph<'_, '_>,
    heaps: &Heaps<'_, '_>,
    types: &Types<'_, '_>,
) -> Result<(Chosen, Vec<u32>), Failure> {
    if let Some(text) = &args.address {
        let address = numbers::parse_address(text)?;
        let block = graph.index().find(address).ok_or_else(|| {
            Failure::Usage(format!(
                "{address:x} lies in no block that the program holds"
            ))
        })?;
        return Ok((Chosen::Block(block), vec![block]));
    }
    let (chosen, mut blocks) = match (&args.size, &args.type_name) {
        (Some(size), _) => Chosen::of_size(graph, numbers::parse(size, common.hex)?),
        (None, Some(name)) => Chosen::of_type(graph, types, name),
        (None, None) => (Chosen::Group(String::new()), Vec::new()),
    };
    if let Some(text) = &common.heap {
        let handle = numbers::parse_address(text)?;
        let here = graph.blocks_where(heaps, &|block| block.heap == handle);
        blocks.retain(|block| here.binary_search(block).is_ok());
    }
    match &chosen {
        Chosen::Group(what) if blocks.is_empty() => Err(Failure::Usage(format!(
            "the program holds no blocks of {what}{}",
            match args.type_name {
                Some(_) => "; `ntheap types` lists the types",
                None => "",
            }
        ))),
        _ => Ok((chosen, blocks)),
    }
}
