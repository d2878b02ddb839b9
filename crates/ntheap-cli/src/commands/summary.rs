//! `ntheap summary`: `!heap -s`.

use clap::{Args, ValueEnum};
use std::path::PathBuf;

use ntheap::{
    layout::Bitness,
    process::{Process, ProcessOptions},
};
use ntheap_report::{
    json::document,
    summary::{SideSummary, SummaryReport},
    text::plain,
};
use ntheap_windbg as windbg;

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::Input,
    options::{Common, Format, Side},
    output::Output,
};

/// `ntheap summary`.
#[derive(Debug, Args)]
pub(crate) struct Summary {
    /// The dump
    dump: PathBuf,
    /// How the text looks
    #[arg(long, value_enum, default_value = "windbg")]
    style: Style,
}

/// How `summary` looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Style {
    /// As `!heap -s` prints it, byte by byte
    Windbg,
    /// Sorted by size, with units, LFH and returnable pages
    Plain,
}

pub(crate) fn run(args: &Summary, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let mut report = SummaryReport::default();
    let status = input.each_side(&dump, common, |heaps| {
        let process = heaps.process();
        let other = (common.bitness != Some(Side::All))
            .then(|| heaps_of_other_side(process))
            .flatten();
        match format {
            Format::Text => {
                output.text(|out| {
                    match args.style {
                        Style::Windbg => {
                            let names = input.names(&dump);
                            let options = windbg::SummaryOptions::named(process, &names);
                            windbg::summary(heaps, &options, &names, out)?;
                        }
                        Style::Plain => plain::summary(&plain::overview(heaps), out)?,
                    }
                    if let Some(count) = other {
                        let bits = 96 - process.bitness.bits();
                        writeln!(
                            out,
                            "{count} {bits}-bit heap{} of this WOW64 process not shown: --bitness {bits} or all",
                            if count == 1 { "" } else { "s" }
                        )?;
                    }
                    Ok(())
                })?;
            }
            Format::Json | Format::Jsonl | Format::Csv => {
                report.sides.push(SideSummary::new(heaps, other));
            }
        }
        Ok(heaps.losses().clone())
    })?;
    if format != Format::Text {
        output.json(&document("summary", report))?;
    }
    Ok(status)
}

/// How many heaps the side of a WOW64 process has that is not looked at.
fn heaps_of_other_side(process: &Process<'_, '_>) -> Option<usize> {
    let other = match process.bitness {
        Bitness::X86 => Bitness::X64,
        Bitness::X64 => Bitness::X86,
    };
    if !process.wow64 {
        return None;
    }
    let options = ProcessOptions {
        bitness: Some(other),
        ..ProcessOptions::default()
    };
    Process::with_options(process.dump, &options)
        .ok()
        .map(|other| other.heaps.len())
}
