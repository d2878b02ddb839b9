//! `ntheap info`: what the dump is of, and what it lacks.

use clap::Args;
use std::path::PathBuf;

use ntheap::{stats, traces::Traces};

use ntheap_report::info::{InfoReport, SideInfo};

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::Input,
    options::{Common, Format},
    output::Output,
};
use ntheap_report::json::document;

/// `ntheap info`.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The dump
    dump: PathBuf,
}

pub(crate) fn run(args: &Info, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let mut info = InfoReport::new(&dump);
    let names = input.names(&dump);
    let status = input.each_side_without_heaps(&dump, common, |heaps| {
        let process = heaps.process();
        let statistics = stats::collect(heaps);
        let traces = Traces::of(process);
        info.sides
            .push(SideInfo::new(process, heaps, &statistics, &traces, &names));
        Ok(stats::losses(&statistics))
    })?;
    match format {
        Format::Text => output.text(|out| info.write_text(out))?,
        Format::Json | Format::Jsonl | Format::Csv => output.json(&document("info", info))?,
    }
    Ok(status)
}
