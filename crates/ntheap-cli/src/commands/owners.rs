//! `ntheap owners`: who holds a block, or all blocks of a size or type.

use std::{path::PathBuf, sync::Arc};

use clap::Args;
use ntheap::{
    graph::{Graph, Link, Rules, Selection},
    heap::Heaps,
    types::Types,
};
use ntheap_report::{
    json::document,
    owners::{self as report, Chosen, Found, OwnersReport},
    text::holders::Holders,
};

use super::document_format;
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
    /// All blocks of this type, as `types` names it, and of classes that derive from it
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
    let rules: Rules = args
        .heuristics
        .parse()
        .map_err(|error| Failure::Usage(format!("--heuristics: {error}")))?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = Heaps::of(&process);
    let working = Working::on("reading references");
    let graph = Graph::of(&heaps);
    let names = input.names(&dump);
    let types = Types::of(&graph, Some(&names));
    let (chosen, blocks) = choose(args, common, &graph, &heaps, &types)?;
    let dominators = graph.dominators();
    let selection = Selection::of(&graph, &dominators, blocks);
    let (classes, ways) = (graph.classes(rules), graph.ways(rules));
    let accumulation = match chosen {
        Chosen::Group(_) => selection.accumulation(&ways),
        Chosen::Block(_) => None,
    };
    drop(working);
    let status = input.report(graph.losses());
    let type_of = |address: u64| -> Option<Arc<str>> {
        types.type_of(address).map(|found| found.name.clone())
    };
    let holders = Holders {
        graph: &graph,
        names: &names,
        type_of: &type_of,
    };
    let to = |block: Option<u32>| -> Vec<Link> {
        block
            .map(|block| ways.to(&graph, block))
            .unwrap_or_default()
    };
    let point = to(accumulation.as_ref().map(|found| found.point));
    // Of several blocks the first that is held.
    let held = selection.blocks.iter().copied();
    let first = to(held.clone().find(|&block| ways.before(block).is_some()));
    let found = Found {
        selection: &selection,
        classes: &classes,
        dominators: &dominators,
        accumulation: accumulation.as_ref(),
        ways: [&point, &first],
        top,
    };
    if format == Format::Text {
        output.text(|out| report::write(&holders, &chosen, found, out))?;
    } else {
        output.json(&document("owners", OwnersReport::new(&holders, found)))?;
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
    let (what, mut blocks): (String, Vec<u32>) = match (&args.size, &args.type_name) {
        (Some(size), _) => {
            let size = numbers::parse(size, common.hex)?;
            let all = (0..).zip(graph.index().blocks());
            let of_size = all.filter(|(_, block)| block.1 == size);
            (
                format!("{size:#x} bytes"),
                of_size.map(|found| found.0).collect(),
            )
        }
        (None, Some(name)) => {
            let all = (0..).zip(graph.index().blocks());
            let of_type = all.filter(|(_, (address, _))| {
                types.type_of(*address).is_some_and(|found| {
                    &*found.name == name.as_str() || types.derives(found, name)
                })
            });
            (name.clone(), of_type.map(|found| found.0).collect())
        }
        (None, None) => (String::new(), Vec::new()),
    };
    if let Some(text) = &common.heap {
        let handle = numbers::parse_address(text)?;
        let here = graph.blocks_where(heaps, &|block| block.heap == handle);
        blocks.retain(|block| here.binary_search(block).is_ok());
    }
    if blocks.is_empty() {
        return Err(Failure::Usage(format!(
            "the program holds no blocks of {what}"
        )));
    }
    Ok((Chosen::Group(what), blocks))
}
