//! `ntheap address`: who uses the address space.

use clap::Args;
use ntheap::{heap::Heaps, losses::Losses, usage::Usage};
use ntheap_report::{
    address::{self, AddressSpaceReport, UsageReport},
    json::{ProcessReport, document},
};
use std::path::PathBuf;

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
};

/// `ntheap address`.
#[derive(Debug, Args)]
pub(crate) struct Address {
    /// The dump
    dump: PathBuf,
    /// Owners and regions to show
    #[arg(long, value_name = "N", default_value = "10")]
    top: String,
}

pub(crate) fn run(args: &Address, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    // Regions are told also where no heap is in the dump.
    let process = input.process_without_heaps(&dump, common)?;
    let heaps = Heaps::of(&process);
    let usage = Usage::of(&heaps);
    if format == Format::Text {
        output.text(|out| address::write(&process, &usage, top, out))?;
    } else {
        let report = AddressSpaceReport {
            process: ProcessReport::new(&process),
            usage: UsageReport::new(&usage, &dump, top),
        };
        output.json(&document("address", report))?;
    }
    Ok(input.report(&Losses::of(&process)))
}
