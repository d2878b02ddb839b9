//! `ntheap symbol`: `ln`.

use ntheap::{
    heap::Heaps,
    names::{NameSource, NamedAddress},
};
use ntheap_report::json::Address;
use ntheap_windbg::Session;
use serde::Serialize;

use super::{debugger, document, document_format};
use crate::{
    args::{Common, Format, Symbol},
    failure::{Failure, Status},
    input::Input,
    numbers,
    output::Output,
    symbols,
};

#[derive(Serialize)]
struct Report {
    addresses: Vec<AddressReport>,
}

#[derive(Serialize)]
struct AddressReport {
    address: Address,
    name: Option<String>,
    file: Option<String>,
    line: Option<u32>,
    below: Option<SymbolReport>,
    above: Option<SymbolReport>,
}

#[derive(Serialize)]
struct SymbolReport {
    address: Address,
    module: String,
    symbol: String,
}

impl From<NamedAddress> for SymbolReport {
    fn from(symbol: NamedAddress) -> Self {
        SymbolReport {
            address: Address(symbol.address),
            module: symbol.module,
            symbol: symbol.symbol,
        }
    }
}

pub(crate) fn run(args: &Symbol, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let names = input.names(&dump);
    let mut status = Status::Complete;
    let heaps = Heaps::of(&process);
    let mut session = Session::new(&heaps, &names).with_source_lines();
    let mut report = Report {
        addresses: Vec::new(),
    };
    for text in &args.addresses {
        let address = numbers::parse_address(text)?;
        let name = names.name(address);
        if name.is_none() {
            say!("{address:x} is in no module");
            status = Status::Partial;
        }
        let (below, above) = names.neighbours(address);
        match format {
            Format::Text if below.is_some() || above.is_some() => {
                output.text(|out| debugger(&mut session, &format!("ln {address:x}"), out))?;
            }
            // No PDB: the export or the offset is what is known.
            Format::Text => output.text(|out| match &name {
                Some(name) => writeln!(out, "{name}"),
                None => Ok(()),
            })?,
            Format::Json | Format::Jsonl => {
                let line = name.as_ref().and_then(|name| name.line.clone());
                let (file, line) = line.unzip();
                report.addresses.push(AddressReport {
                    address: Address(address),
                    name: name.map(|name| name.to_string()),
                    file,
                    line,
                    below: below.map(SymbolReport::from),
                    above: above.map(SymbolReport::from),
                });
            }
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("symbol", report))?;
    }
    Ok(status)
}
