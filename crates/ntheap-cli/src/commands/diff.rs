//! `ntheap diff`: what grew between two dumps, or through a series of them.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ntheap::{
    diff::{self, Comparison, Grouping, Judgement, Snapshot},
    dump::Dump,
    heap::Heaps,
    names::NameSource,
    process::Process,
};
use ntheap_report::{
    csv,
    diff::{self as comparison, DiffReport, JudgementReport, Naming, Options, Show},
    fingerprint::compare::Sites,
    json::document,
};

use super::diff_fingerprints::DiffOfFingerprints;
use crate::{
    failure::{Failure, Status},
    fingerprints,
    input::{Input, heaps},
    numbers,
    options::{Common, Format},
    output::Output,
    patterns,
    progress::Working,
    symbols,
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

/// How suspects are found.
#[derive(Debug, Args)]
pub(crate) struct Judging {
    /// Show the runtimes' functions and the program's allocation wrappers in suspects, too
    #[arg(long)]
    pub(crate) keep_frames: bool,
    /// Take stacks whose first N functions are the same for one [default: found by itself]
    #[arg(long, value_name = "N")]
    pub(crate) depth: Option<usize>,
    /// Don't look up which new blocks are lost, who holds them and what they are
    #[arg(long)]
    pub(crate) no_owners: bool,
}

impl Judging {
    /// What the comparison has to keep for what is looked up.
    fn keep(&self) -> diff::Keep {
        match self.no_owners {
            true => diff::Keep::Nothing,
            false => diff::Keep::NewBlocks,
        }
    }

    pub(crate) fn options(&self) -> diff::Options {
        diff::Options {
            keep_frames: self.keep_frames,
            depth: self.depth,
            look_up: !self.no_owners,
            ..diff::Options::default()
        }
    }
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
    let inputs = open(&args.dumps, common)?;
    let dumps: Vec<Dump<'_>> = inputs.iter().map(Input::parse).collect::<Result<_, _>>()?;
    let order = in_order(&dumps);
    let inputs: Vec<&Input> = order.iter().map(|&place| &inputs[place]).collect();
    let dumps: Vec<&Dump<'_>> = order.iter().map(|&place| &dumps[place]).collect();
    let processes = processes(&inputs, &dumps, common)?;
    let snapshots = snapshots(&inputs, &processes, common)?;
    let all: Vec<&Snapshot<'_, '_>> = snapshots.iter().collect();
    let bytes = all.iter().map(|snapshot| snapshot.heaps.bytes()).sum();
    let working = Working::walking("comparing heaps", bytes);
    let comparison = diff::compare_keeping(&all, by, args.judging.keep()).ok_or_else(too_few)?;
    let (input, dump, last) = match (&inputs[..], &dumps[..], &all[..]) {
        ([.., input], [.., dump], [.., last]) => (*input, *dump, *last),
        _ => return Err(too_few()),
    };
    drop(working);
    let names = input.names(dump);
    let working = Working::on("looking up who holds what");
    let judgement = comparison.judge(last, &names, &args.judging.options());
    drop(working);
    let status = report(&inputs, &comparison);
    match format {
        Format::Text => {
            let options = Options {
                names: inputs.iter().map(|input| input.shown_path()).collect(),
                show,
                top,
                min_growth,
            };
            let ends = [&processes[0], &processes[processes.len() - 1]];
            output.verdict(|out| {
                comparison::write(&comparison, &judgement, &ends, &options, &names, out)
            })?;
        }
        Format::Csv => output.text(|out| csv::write_comparison(&comparison, &names, out))?,
        Format::Json | Format::Jsonl => {
            let top = if show == Show::Heaps { 0 } else { top };
            let naming = Naming {
                names: input.has_symbols().then_some(&names as &dyn NameSource),
                bitness: last.process().bitness,
                times: &comparison
                    .moments
                    .iter()
                    .map(|m| m.timestamp)
                    .collect::<Vec<_>>(),
                nested: show != Show::Groups,
            };
            let words = JudgementReport::new(&judgement, dump, &names);
            output.json(&document(
                "diff",
                DiffReport::new(&comparison, words, top, &naming),
            ))?;
        }
    }
    let status = status.and(symbols::report(dump, input.symbols()));
    match limit {
        Some(limit) if limit.is_exceeded(&comparison, &judgement) => Ok(Status::Grown),
        _ => Ok(status),
    }
}

fn too_few() -> Failure {
    Failure::Usage("a comparison needs two dumps at least".to_owned())
}

/// Opens the dumps that the arguments name.
pub(crate) fn open(paths: &[PathBuf], common: &Common) -> Result<Vec<Input>, Failure> {
    let paths = patterns::expand(paths)?;
    if paths.len() < 2 {
        return Err(too_few());
    }
    paths.iter().map(|path| Input::open(path, common)).collect()
}

/// The order of the dumps by their times; two stay as they were named.
pub(crate) fn in_order(dumps: &[Dump<'_>]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..dumps.len()).collect();
    if dumps.len() > 2 {
        order.sort_by_key(|&place| dumps[place].timestamp);
    }
    order
}

pub(crate) fn processes<'d, 'a>(
    inputs: &[&Input],
    dumps: &[&'d Dump<'a>],
    common: &Common,
) -> Result<Vec<Process<'d, 'a>>, Failure> {
    let pairs = inputs.iter().zip(dumps);
    pairs
        .map(|(input, dump)| input.process(dump, common))
        .collect()
}

pub(crate) fn snapshots<'p, 'a>(
    inputs: &[&Input],
    processes: &'p [Process<'p, 'a>],
    common: &Common,
) -> Result<Vec<Snapshot<'p, 'a>>, Failure> {
    let opened: Vec<_> = inputs
        .iter()
        .zip(processes)
        .map(|(input, process)| heaps(input, process, common))
        .collect();
    // A heap that was asked for may be new or gone.
    let is_anywhere = opened.iter().any(Result::is_ok);
    opened
        .into_iter()
        .zip(processes)
        .map(|(heaps, process)| match heaps {
            Ok(heaps) => Ok(Snapshot::of_heaps(heaps)),
            Err(_) if is_anywhere => Ok(Snapshot::of_heaps(Heaps::only(process, |_| false))),
            Err(failure) => Err(failure),
        })
        .collect()
}

/// Says what makes the comparison doubtful and what could not be read.
pub(crate) fn report(inputs: &[&Input], comparison: &Comparison) -> Status {
    for warning in &comparison.warnings {
        say!("warning: {warning}");
    }
    let ends = inputs.first().into_iter().chain(inputs.last());
    ends.zip(&comparison.losses)
        .fold(Status::Complete, |status, (input, losses)| {
            status.and(input.report(losses))
        })
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
