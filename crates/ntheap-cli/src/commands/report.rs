//! `ntheap report`: a comparison as one HTML file.

use std::path::{Path, PathBuf};

use clap::Args;
use ntheap::{
    diff::{self, Grouping, Snapshot},
    dump::Dump,
};
use ntheap_report::html;

use super::diff::{Judging, in_order, open, processes, report, snapshots};
use crate::{
    failure::{Failure, Status},
    input::Input,
    options::{Common, Format},
    output::{Output, write_to},
    progress::Working,
    symbols,
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
    let inputs = open(&args.dumps, common)?;
    let dumps: Vec<Dump<'_>> = inputs.iter().map(Input::parse).collect::<Result<_, _>>()?;
    let order = in_order(&dumps);
    let inputs: Vec<&Input> = order.iter().map(|&place| &inputs[place]).collect();
    let dumps: Vec<&Dump<'_>> = order.iter().map(|&place| &dumps[place]).collect();
    let processes = processes(&inputs, &dumps, common)?;
    let snapshots = snapshots(&inputs, &processes, common)?;
    let all: Vec<&Snapshot<'_, '_>> = snapshots.iter().collect();
    let by = Grouping {
        size: true,
        stack: true,
    };
    let bytes = all.iter().map(|snapshot| snapshot.heaps.bytes()).sum();
    let working = Working::walking("comparing heaps", bytes);
    let comparison = diff::compare_series(&all, by);
    let (Some(comparison), [first, .., last], [.., input]) = (comparison, &all[..], &inputs[..])
    else {
        return Err(Failure::Usage(
            "a report needs two dumps at least".to_owned(),
        ));
    };
    drop(working);
    let names = input.names(last.process().dump);
    let working = Working::on("looking up who holds what");
    let judgement = comparison.judge(last, &names, &args.judging.options());
    let status = report(&inputs, &comparison);
    let files: Vec<String> = inputs
        .iter()
        .map(|input| input.name().into_owned())
        .collect();
    let page = html::Report {
        comparison: &comparison,
        judgement: &judgement,
        ends: [first, last],
        files: &files,
        names: &names,
    };
    let paths: Vec<&Path> = inputs.iter().map(|input| input.path()).collect();
    write_to(args.output.as_deref(), &paths, output, |out| {
        Ok(page.write(out)?)
    })?;
    drop(working);
    Ok(status.and(symbols::report(last.process().dump, input.symbols())))
}
