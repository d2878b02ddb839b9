//! `ntheap verify`: what the program overwrote.

use clap::Args;
use std::path::PathBuf;

use ntheap::{traces::Traces, verify};
use ntheap_report::{
    json::ProcessReport,
    noted::{ExceptionReport, HeapFailureReport},
    verify::{self as report, SideVerificationReport, VerificationReport, VerificationsReport},
};

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::Input,
    options::{Common, Format},
    output::Output,
};
use ntheap_report::json::document;

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
    let mut damaged = false;
    let mut sides = Vec::new();
    let names = input.names(&dump);
    let status = input.each_side(&dump, common, |heaps| {
        let process = heaps.process();
        let verification = verify::verify(heaps);
        damaged |= !verification.damages.is_empty();
        if format == Format::Text {
            output.text(|out| report::write(process, &verification, &names, out))?;
        } else {
            let traces = Traces::of(process);
            sides.push(SideVerificationReport {
                process: ProcessReport::new(process),
                exception: dump.exception.as_ref().map(ExceptionReport::from),
                heap_failure: HeapFailureReport::of(process, &names),
                verification: VerificationReport::new(
                    &verification,
                    &traces,
                    &names,
                    process.bitness,
                ),
            });
        }
        Ok(verification.missing)
    })?;
    if format != Format::Text {
        output.json(&document("verify", VerificationsReport { sides }))?;
    }
    Ok(match damaged {
        true => Status::Partial,
        false => status,
    })
}
