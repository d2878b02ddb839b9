//! `ntheap scan`: a folder of dumps, of which some are broken, in as many runs as it takes.

mod folder;
mod state;
mod work;

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ntheap_report::{json::document, scan::ScanReport};

use crate::{
    deadline,
    failure::{Failure, Status},
    labels::Labels,
    options::{Common, Format},
    output::Output,
    progress::shows_progress,
    tables,
};
use state::{Outcome, State};
use work::Work;

const EXAMPLES: &str = "\
Examples:
  ntheap scan dumps -o out                              (out/fingerprints.jsonl; again: what is new)
  ntheap scan dumps -o out --as parquet --labels-from '{machine}/{version}-*.dmp'

Exit status: 0 every dump was read; 1 some could not be, or in part, now or in a run before (each is said
with the reason); 2 the folder can't be read, or the output can't be written.";

/// `ntheap scan`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Scan {
    /// The folder; what lies in its folders counts, too
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// Folder for the results, and for scan.jsonl, which tells the next run what is done
    #[arg(short, long, value_name = "DIR")]
    output: PathBuf,
    /// What to make of each dump
    #[arg(short = 'a', long = "as", value_enum, default_value = "fingerprints")]
    form: Form,
    /// Look up what the blocks are and who holds them, too (needs time, and memory for every block)
    #[arg(long)]
    owners: bool,
    /// Try dumps again that failed in a run before
    #[arg(long)]
    retry: bool,
    #[command(flatten)]
    labels: Labels,
}

/// What is made of a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Form {
    /// A fingerprint: a line of fingerprints.jsonl
    Fingerprints,
    /// Tables for databases: dumps/, heaps/, size_classes/, stacks/, sites/, types/, owners/
    Parquet,
}

pub(crate) fn run(args: &Scan, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = super::document_format(common)?;
    if args.form == Form::Parquet {
        tables::check()?;
    }
    let name = match args.form {
        Form::Fingerprints => "fingerprints",
        Form::Parquet => "parquet",
    };
    let found = folder::dumps(&args.folder, &args.output)?;
    let mut state = State::open(&args.output, name)?;
    let mut work = Work::open(args, common, &mut state)?;
    let mut report = ScanReport {
        found: found.dumps.len() as u64,
        passed_over: found.others,
        ..ScanReport::default()
    };
    found.unread.iter().for_each(|line| say!("{line}"));
    report.unread_folders = found.unread.len() as u64;
    let bar = shows_progress().then(|| indicatif::ProgressBar::new(report.found));
    for relative in &found.dumps {
        if let Some(bar) = &bar {
            bar.inc(1);
        }
        let is_late = deadline::get().is_some_and(|end| std::time::Instant::now() >= end);
        if is_late {
            report.left += 1;
            continue;
        }
        let seen = work.one(relative, &mut state)?;
        if let (Some(reason), false) = (seen.reason(), seen.known) {
            say!("{}: {reason}", relative.display());
        }
        report.count(seen.known, seen.entry.outcome == Outcome::Copy);
        match seen.entry.outcome {
            Outcome::Done | Outcome::Copy => {}
            Outcome::Partial => report.partial += 1,
            Outcome::Failed => {
                report.failed += 1;
                report.add_failure(
                    &seen.entry.file,
                    seen.entry.reason.as_deref().unwrap_or_default(),
                );
            }
        }
    }
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    match format {
        Format::Text => output.text(|out| report.write_text(out))?,
        _ => output.json(&document("scan", &report))?,
    }
    let is_whole = report.failed + report.partial + report.left + report.unread_folders == 0;
    Ok(if is_whole {
        Status::Complete
    } else {
        Status::Partial
    })
}
