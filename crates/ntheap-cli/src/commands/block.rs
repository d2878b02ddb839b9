//! `ntheap block`: `!heap -p -a` and `!heap -x`.

use std::path::PathBuf;

use clap::Args;
use ntheap::{
    heap::{Heaps, references::references},
    losses::Losses,
    names::NameSource,
    traces::Traces,
};
use ntheap_report::{
    block::{BlocksReport, Describer, write_crt, write_references},
    json::document,
};
use ntheap_windbg::Session;

use super::{debugger, document_format};
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
    symbols,
};

/// `ntheap block`.
#[derive(Debug, Args)]
pub(crate) struct Block {
    /// The dump
    dump: PathBuf,
    /// Addresses, anywhere inside blocks
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
    /// Also every pointer in the process to the block (!heap -x -v)
    #[arg(long)]
    references: bool,
}

pub(crate) fn run(args: &Block, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = Heaps::of(&process);
    let mut status = Status::Complete;
    let names = input.names(&dump);
    let traces = Traces::named(&process, |name| names.address_of(name));
    let mut session = Session::new(&heaps, &names);
    let describer = Describer {
        process: &process,
        traces: &traces,
        names: &names,
        by_name: input.has_symbols(),
    };
    let mut report = BlocksReport::default();
    for text in &args.addresses {
        let address = numbers::parse_address(text)?;
        let block = heaps.block_at(address);
        if block.is_none() {
            say!("{address:x} is in no block of a heap");
            status = Status::Partial;
        }
        let pointers = block.filter(|_| args.references).map(|block| {
            let (start, end) = block.extent();
            references(&heaps, start, end)
        });
        match format {
            Format::Text => output.text(|out| {
                debugger(&mut session, &format!("!heap -p -a {address:x}"), out)?;
                debugger(&mut session, &format!("!heap -x {address:x}"), out)?;
                if let Some(block) = &block {
                    write_crt(&process, block, out)?;
                }
                match &pointers {
                    Some(pointers) => write_references(pointers, &process, &names, out),
                    None => Ok(()),
                }
            })?,
            Format::Json | Format::Jsonl | Format::Csv => {
                let found = describer.address(address, block.as_ref(), pointers.as_ref());
                report.addresses.push(found);
            }
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("block", report))?;
    }
    Ok(status.and(input.report(&Losses::of(&process))))
}
