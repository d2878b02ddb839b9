//! `ntheap umdh`: logs and comparisons in umdh's forms.

mod names;
mod side;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use ntheap::{dump::Module, losses::Losses, process::Process};
use ntheap_report::umdh::{self, Diff, Radix, ReportOptions, Snapshot};

use self::{names::Names, side::Source};
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::{Common, Format, Side},
    output::{Output, write_to},
};
use ntheap_report::text::shell_word;

/// `ntheap umdh`.
#[derive(Debug, Subcommand)]
pub(crate) enum Umdh {
    /// A raw log of a dump, as umdh writes it of a process (needs gflags +ust)
    Snapshot(SnapshotArguments),
    /// Compare two dumps or logs, in any mix, as umdh prints it
    Diff(DiffArguments),
}

/// `ntheap umdh snapshot`.
#[derive(Debug, Args)]
pub(crate) struct SnapshotArguments {
    /// The dump
    dump: PathBuf,
    /// Where to write the log [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// `ntheap umdh diff`.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The older dump or log; alone, everything in it counts as new
    old: PathBuf,
    /// The newer dump or log
    new: Option<PathBuf>,
    /// Decimal numbers instead of hexadecimal ones
    #[arg(short = 'd')]
    decimal: bool,
    /// Print stacks (always done, as umdh 10 does)
    #[arg(short = 'v')]
    verbose: bool,
    /// Print source lines (always done, as umdh 10 does)
    #[arg(short = 'l')]
    lines: bool,
    /// A dump of the same program, to tell which PDBs belong to a log's modules
    #[arg(long, visible_alias = "with", value_name = "DUMP")]
    modules_of: Option<PathBuf>,
    /// Where to write the comparison [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(args: &Umdh, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    if !matches!(common.format, None | Some(Format::Text)) {
        return Err(Failure::Usage(
            "umdh's forms are text; for data use blocks or diff".to_owned(),
        ));
    }
    if common.bitness == Some(Side::All) {
        return Err(Failure::Usage(
            "a log is of one side of the process: --bitness 32 or 64".to_owned(),
        ));
    }
    match args {
        Umdh::Snapshot(args) => snapshot(args, common, output),
        Umdh::Diff(args) => diff(args, common, output),
    }
}

fn snapshot(
    args: &SnapshotArguments,
    common: &Common,
    output: &mut Output,
) -> Result<Status, Failure> {
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = heaps(&input, &process, common)?;
    let snapshot = write_to(args.output.as_deref(), &[&args.dump], output, |out| {
        let (_, snapshot) = umdh::write_snapshot(&heaps, out).map_err(failure)?;
        Ok(snapshot)
    })?;
    Ok(report_snapshot(&input, &process, &snapshot))
}

/// Says on stderr what a log of a dump lacks.
fn report_snapshot(input: &Input, process: &Process<'_, '_>, snapshot: &Snapshot) -> Status {
    let name = input.name();
    if snapshot.allocations == 0 {
        say!("{name}: no allocation has a stack; {}", advice(process));
    }
    let mut status = Status::Complete;
    if snapshot.unreadable_stacks > 0 {
        let stacks = snapshot.unreadable_stacks;
        say!("{name}: {stacks} stacks are not in the dump; their allocations have no frames");
        status = Status::Partial;
    }
    status.and(input.report(&Losses::of(process).with([&snapshot.losses])))
}

/// How to have stacks next time.
fn advice(process: &Process<'_, '_>) -> String {
    let program = shell_word(process.program().map_or("", Module::file_name));
    format!("for the next start of the program: gflags /i {program} +ust")
}

fn diff(args: &DiffArguments, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let paths = [Some(&args.old), args.new.as_ref(), args.modules_of.as_ref()];
    let open = |path: &PathBuf| Input::open(path, common);
    let inputs: Vec<Input> = paths
        .into_iter()
        .flatten()
        .map(open)
        .collect::<Result<_, _>>()?;
    let sources: Vec<Source<'_>> = inputs.iter().map(Source::of).collect::<Result<_, _>>()?;
    let compared = 1 + usize::from(args.new.is_some());
    if args.modules_of.is_some() && sources[compared].dump().is_none() {
        return Err(Failure::Usage("--modules-of is to name a dump".to_owned()));
    }
    let mut status = Status::Complete;
    let mut logs = Vec::new();
    for source in &sources[..compared] {
        let (log, read) = source.log(common)?;
        status = status.and(read);
        logs.push(log);
    }
    let diff = match &logs[..] {
        [old, new] => Diff::between(old, new),
        logs => Diff::single(&logs[0]),
    };
    let options = ReportOptions {
        radix: if args.decimal {
            Radix::Decimal
        } else {
            Radix::Hex
        },
        ..ReportOptions::default()
    };
    let names = Names::new(&sources, &logs, &diff, common);
    status = status.and(names.report_problems());
    let paths: Vec<&Path> = inputs.iter().map(Input::path).collect();
    write_to(args.output.as_deref(), &paths, output, |out| {
        umdh::write_report(&diff, &options, &names, out).map_err(failure)
    })?;
    Ok(status)
}

fn failure(error: umdh::Error) -> Failure {
    match error {
        umdh::Error::Io(error) => error.into(),
        other => Failure::Usage(other.to_string()),
    }
}
