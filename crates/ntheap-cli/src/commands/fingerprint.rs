//! `ntheap fingerprint`: what can be kept of a dump that can't be kept itself.

use std::path::{Path, PathBuf};

use clap::Args;
use ntheap_report::{
    fingerprint::{COMMAND, LIMIT, Sum},
    json::document,
};

use crate::{
    failure::{Failure, Status},
    fingerprints,
    labels::Labels,
    numbers,
    options::{Common, Format},
    output::{Output, write_to},
    patterns, symbols,
};

const EXAMPLES: &str = "\
Examples:
  ntheap fingerprint app.dmp -o app.json
  ntheap fingerprint --add monday/*.json -o monday.json
  ntheap diff monday.json tuesday.json -s C:\\symbols
  ntheap fingerprint app.json -f text -s C:\\symbols";

/// `ntheap fingerprint`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Fingerprint {
    /// The dump, or a fingerprint to show or to name; a name may be a pattern
    #[arg(required = true, value_name = "DUMP")]
    files: Vec<PathBuf>,
    /// Add up several dumps or fingerprints to one
    #[arg(long)]
    add: bool,
    /// Don't look up what the blocks are and who holds them
    #[arg(long)]
    no_owners: bool,
    #[command(flatten)]
    labels: Labels,
    /// Rows of each table with --format text
    #[arg(short = 'n', long, value_name = "N", default_value = "0n10")]
    top: String,
    /// Where to write [default: standard output]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(crate) fn run(
    args: &Fingerprint,
    common: &Common,
    output: &mut Output,
) -> Result<Status, Failure> {
    super::no_table(common)?;
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let files = patterns::expand(&args.files)?;
    if files.len() > 1 && !args.add {
        return Err(Failure::Usage(
            "several files: --add makes one fingerprint of them, ntheap diff compares two"
                .to_owned(),
        ));
    }
    let (mut sum, mut status) = (Sum::default(), Status::Complete);
    for file in &files {
        if fingerprints::is_one(file) {
            sum.add(fingerprints::read(file)?);
            continue;
        }
        let (mut one, lost) = fingerprints::open(file, common, !args.no_owners)?;
        args.labels.put(file, &mut one)?;
        sum.add(one);
        status = status.and(lost);
    }
    let mut sum = sum.finish();
    let text = common.format == Some(Format::Text);
    // JSON is the same on every machine, unless names are asked for.
    if common.symbols.is_some() || (text && symbols::path_text(common).is_some()) {
        let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
        status = status.and(fingerprints::name(
            &mut sum,
            &symbols::open(common, &inputs)?,
        ));
    }
    if text {
        output.text(|out| sum.write_text(top, out))?;
        return Ok(status);
    }
    let folded = sum.folded(LIMIT);
    let inputs: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    match &args.output {
        None => output.json_line(&document(COMMAND, &folded))?,
        file => write_to(file.as_deref(), &inputs, output, |out| {
            Ok(out.write_all(folded.to_line().as_bytes())?)
        })?,
    }
    Ok(status)
}
