//! `ntheap summary`: `!heap -s`.

use std::path::Path;

use ntheap::{
    layout::Bitness,
    process::{Process, ProcessOptions},
    stats,
};
use ntheap_report::{
    json::{HeapReport, ProcessReport},
    text::plain,
};
use ntheap_windbg as windbg;
use serde::Serialize;

use super::{document, document_format};
use crate::{
    args::{Common, Format, Side, Style},
    failure::{Failure, Status},
    input::{Input, heaps},
    output::Output,
};

#[derive(Serialize)]
struct Report {
    sides: Vec<SideReport>,
}

#[derive(Serialize)]
struct SideReport {
    process: ProcessReport,
    heaps: Vec<HeapReport>,
    /// Heaps of the other side of a WOW64 process.
    #[serde(skip_serializing_if = "Option::is_none")]
    heaps_of_other_side: Option<usize>,
    problems: Vec<String>,
}

pub(crate) fn run(
    path: &Path,
    style: Style,
    common: &Common,
    output: &mut Output,
) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(path, common)?;
    let dump = input.parse()?;
    let mut status = Status::Complete;
    let mut sides = Vec::new();
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        status = status.and(input.report(heaps.losses()));
        let other = (common.bitness != Some(Side::All))
            .then(|| heaps_of_other_side(&process))
            .flatten();
        match format {
            Format::Text => {
                output.text(|out| {
                    match style {
                        Style::Windbg => {
                            let names = input.names(&dump);
                            let options = windbg::SummaryOptions::named(&process, &names);
                            windbg::summary(&heaps, &options, out)?;
                        }
                        Style::Plain => plain::summary(&plain::overview(&heaps), out)?,
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
            Format::Json | Format::Jsonl => {
                let statistics = stats::collect(&heaps);
                let reports = heaps.iter().zip(&statistics);
                sides.push(SideReport {
                    process: ProcessReport::new(&process),
                    heaps: reports
                        .map(|(heap, stats)| HeapReport::new(heap, stats))
                        .collect(),
                    heaps_of_other_side: other,
                    problems: process
                        .problems
                        .iter()
                        .map(ToString::to_string)
                        .chain(dump.problems.iter().map(ToString::to_string))
                        .collect(),
                });
            }
        }
    }
    if format != Format::Text {
        output.json(&document("summary", Report { sides }))?;
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
