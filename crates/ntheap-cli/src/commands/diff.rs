//! `ntheap diff`: what grew between two dumps, or through a series of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ntheap::diff::{Comparison, Grouping, Judgement};
use ntheap_report::{
    csv,
    diff::{Options, Show},
    fingerprint::compare::Sites,
    json::document,
};

use super::{
    diff_fingerprints::DiffOfFingerprints,
    series::{Judging, compared},
};
use crate::{
    failure::{Failure, Status},
    fingerprints, numbers,
    options::{Common, Format},
    output::Output,
    patterns,
};

const EXAMPLES: &str = "\
Examples:
  ntheap diff before.dmp after.dmp --symbols 'srv*C:\\symbols*https://msdl.microsoft.com/download/symbols'
  ntheap diff 'nightly/app-*.dmp' --fail-if-growth 10MiB/h";

/// `ntheap diff`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Diff {
    /// The dumps: the older and the newer, or any number of a series, which are put in the order of
    /// their times; a name may be a pattern. Of two, each may be a fingerprint in place of a dump
    #[arg(required = true, value_name = "DUMP")]
    pub(crate) dumps: Vec<PathBuf>,
    /// What to count blocks by [default: size, and stacks under each size where there are any]
    #[arg(short = 'g', long, value_enum)]
    pub(crate) group_by: Option<DiffGroup>,
    /// Groups to show of each heap
    #[arg(short = 'n', long, value_name = "N", default_value = "10")]
    pub(crate) top: String,
    /// Leave out groups that grew by fewer bytes
    #[arg(long, value_name = "BYTES", default_value = "1")]
    pub(crate) min_growth: String,
    #[command(flatten)]
    pub(crate) judging: Judging,
    /// End with status 3 if the heaps grew by more: bytes, or bytes an hour (10MiB/h)
    #[arg(long, value_name = "BYTES[/h]")]
    pub(crate) fail_if_growth: Option<String>,
}

/// What `diff` counts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DiffGroup {
    /// Requested size
    Size,
    /// Heaps alone
    Heap,
    /// Call stack of the allocation
    Stack,
    /// Requested size and call stack together
    #[value(name = "size,stack")]
    SizeStack,
}

pub(crate) fn run(args: &Diff, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = common.format.unwrap_or(Format::Text);
    if format == Format::Jsonl {
        super::document_format(common)?;
    }
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let min_growth = numbers::parse(&args.min_growth, common.hex)?;
    let limit = args.fail_if_growth.as_deref().map(Limit::parse);
    let limit = limit.transpose()?;
    let (by, show) = match args.group_by {
        None => ((true, true), Show::Sizes),
        Some(DiffGroup::Size) => ((true, false), Show::Sizes),
        Some(DiffGroup::Heap) => ((true, false), Show::Heaps),
        Some(DiffGroup::Stack) => ((false, true), Show::Groups),
        Some(DiffGroup::SizeStack) => ((true, true), Show::Groups),
    };
    let by = Grouping {
        size: by.0,
        stack: by.1,
    };
    let paths = patterns::expand(&args.dumps)?;
    if paths.iter().any(|path| fingerprints::is_one(path)) {
        let diff = DiffOfFingerprints {
            sites: match args.group_by {
                Some(DiffGroup::Stack) => Sites::Stack,
                _ => Sites::StackAndSize,
            },
            owners: !args.judging.no_owners,
            top,
            min_growth,
        };
        let (growth, seconds, status) = diff.run(&paths, common, output)?;
        return Ok(match limit {
            Some(limit) if limit.is_passed(growth, seconds) => Status::Grown,
            _ => status,
        });
    }
    let (status, grown) = compared(&paths, by, &args.judging, common, |found| {
        match format {
            Format::Text => {
                let names = found.inputs.iter().map(|input| input.shown_path());
                let options = Options {
                    names: names.collect(),
                    show,
                    top,
                    min_growth,
                };
                output.verdict(|out| found.write(&options, out))?;
            }
            Format::Csv => {
                output.text(|out| csv::write_comparison(found.comparison, found.names, out))?;
            }
            Format::Json | Format::Jsonl => {
                let top = if show == Show::Heaps { 0 } else { top };
                output.json(&document("diff", found.report(top, show != Show::Groups)))?;
            }
        }
        Ok(limit.is_some_and(|limit| limit.is_exceeded(found.comparison, found.judgement)))
    })?;
    Ok(if grown { Status::Grown } else { status })
}

/// The growth from which on the exit status is another.
struct Limit {
    bytes: u64,
    hourly: bool,
}

impl Limit {
    fn parse(text: &str) -> Result<Self, Failure> {
        let (number, hourly) = match text.strip_suffix("/h") {
            Some(number) => (number, true),
            None => (text, false),
        };
        Ok(Limit {
            bytes: numbers::parse_bytes(number)?,
            hourly,
        })
    }

    /// Whether the heaps grew by more, or what grew outside them did.
    fn is_exceeded(&self, comparison: &Comparison, judgement: &Judgement) -> bool {
        let outside = judgement
            .outside
            .as_ref()
            .map_or(0, |outside| outside.bytes);
        self.is_passed(comparison.total.bytes().max(outside), comparison.seconds)
    }

    /// Whether this is more growth.
    fn is_passed(&self, grown: i64, seconds: i64) -> bool {
        if grown <= 0 {
            return false;
        }
        let grown = u128::from(grown.unsigned_abs());
        match (self.hourly, u128::try_from(seconds)) {
            (false, _) => grown > u128::from(self.bytes),
            // Without time between the dumps every growth is too fast.
            (true, Ok(0) | Err(_)) => true,
            (true, Ok(seconds)) => grown * 3600 > u128::from(self.bytes) * seconds,
        }
    }
}
