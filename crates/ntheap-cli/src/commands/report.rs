//! `ntheap report`: a comparison as one HTML file.

use std::path::{Path, PathBuf};

use clap::Args;
use ntheap::diff::Grouping;
use ntheap_report::html;

use super::series::{Judging, compared};
use crate::{
    failure::{Failure, Status},
    options::{Common, Format},
    output::{Output, write_to},
    patterns,
};

const EXAMPLES: &str = "\
Examples:
  ntheap report before.dmp after.dmp -o growth.html
  ntheap report 'nightly/app-*.dmp' --symbols C:\\symbols -o growth.html";

/// `ntheap report`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Report {
    /// The dumps, two or more; a name may be a pattern
    #[arg(required = true, value_name = "DUMP")]
    dumps: Vec<PathBuf>,
    /// The file to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    judging: Judging,
}

pub(crate) fn run(args: &Report, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    if !matches!(common.format, None | Some(Format::Text)) {
        return Err(Failure::Usage(
            "report writes HTML; for data use diff --format json".to_owned(),
        ));
    }
    let by = Grouping {
        size: true,
        stack: true,
    };
    let paths = patterns::expand(&args.dumps)?;
    let (status, ()) = compared(&paths, by, &args.judging, common, |found| {
        let names = found.inputs.iter().map(|input| input.name().into_owned());
        let page = html::Report {
            comparison: found.comparison,
            judgement: found.judgement,
            ends: found.ends,
            files: &names.collect::<Vec<_>>(),
            names: found.names,
        };
        let paths: Vec<&Path> = found.inputs.iter().map(|input| input.path()).collect();
        write_to(args.output.as_deref(), &paths, output, |out| {
            Ok(page.write(out)?)
        })
    })?;
    Ok(status)
}
