//! `ntheap verify`: what the program overwrote.

use clap::Args;
use std::path::PathBuf;

use ntheap::{losses::Losses, traces::Traces, verify};
use ntheap_report::{
    json::{ProcessReport, VerificationReport},
    text,
};
use serde::Serialize;

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::{Common, Format},
    output::Output,
};
use ntheap_report::json::document;

#[derive(Serialize)]
struct Report {
    sides: Vec<SideReport>,
}

#[derive(Serialize)]
struct SideReport {
    process: ProcessReport,
    #[serde(flatten)]
    verification: VerificationReport,
}

/// `ntheap verify`.
#[derive(Debug, Args)]
pub(crate) struct Verify {
    /// The dump
    dump: PathBuf,
}

pub(crate) fn run(args: &Verify, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let mut status = Status::Complete;
    let mut sides = Vec::new();
    let names = input.names(&dump);
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        let verification = verify::verify(&heaps);
        let losses = Losses::of(&process).with([&verification.missing]);
        status = status.and(input.report(&losses));
        if !verification.damages.is_empty() {
            status = Status::Partial;
        }
        if format == Format::Text {
            output.text(|out| text::verify::write(&process, &verification, &names, out))?;
        } else {
            let traces = Traces::of(&process);
            sides.push(SideReport {
                process: ProcessReport::new(&process),
                verification: VerificationReport::new(
                    &verification,
                    &traces,
                    &names,
                    process.bitness,
                ),
            });
        }
    }
    if format != Format::Text {
        output.json(&document("verify", Report { sides }))?;
    }
    Ok(status)
}
