//! `ntheap symbol`: `ln`.

use std::path::PathBuf;

use clap::Args;
use ntheap::heap::Heaps;
use ntheap_report::{
    json::document,
    symbol::{NamedReport, SymbolsReport},
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

/// `ntheap symbol`.
#[derive(Debug, Args)]
pub(crate) struct Symbol {
    /// The dump
    dump: PathBuf,
    /// Addresses
    #[arg(required = true, value_name = "ADDRESS")]
    addresses: Vec<String>,
}

pub(crate) fn run(args: &Symbol, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let names = input.names(&dump);
    let heaps = Heaps::of(&process);
    let mut session = Session::new(&heaps, &names).with_source_lines();
    let mut status = Status::Complete;
    let mut report = SymbolsReport::default();
    for text in &args.addresses {
        let address = numbers::parse_address(text)?;
        let named = NamedReport::new(address, &names);
        if named.name.is_none() {
            say!("{address:x} is in no module");
            status = Status::Partial;
        }
        match (format, &named.name) {
            (Format::Text, _) if named.has_neighbours() => {
                output.text(|out| debugger(&mut session, &format!("ln {address:x}"), out))?;
            }
            // No PDB: the export or the offset is what is known.
            (Format::Text, Some(name)) => output.text(|out| writeln!(out, "{name}"))?,
            (Format::Text, None) => {}
            (Format::Json | Format::Jsonl | Format::Csv, _) => report.addresses.push(named),
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("symbol", report))?;
    }
    Ok(status)
}
