//! Several dumps opened together, from old to new, and compared: what `diff`, `report` and `export`
//! begin with.

use std::{fmt, path::PathBuf};

use clap::Args;
use ntheap::{
    diff::{self, Comparison, Grouping, Judgement, Snapshot},
    dump::Dump,
    graph::Graph,
    heap::Heaps,
    names::NameSource,
    process::Process,
};
use ntheap_report::diff::{self as comparison, DiffReport, JudgementReport, Naming, Options};

use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::Common,
    progress::Working,
    symbols,
};

/// How suspects are found.
#[derive(Debug, Args)]
pub(crate) struct Judging {
    /// Show the runtimes' functions and the program's allocation wrappers in suspects, too
    #[arg(long)]
    pub(super) keep_frames: bool,
    /// Take stacks whose first N functions are the same for one [default: found by itself]
    #[arg(long, value_name = "N")]
    pub(super) depth: Option<usize>,
    /// Don't look up which new blocks are lost, who holds them and what they are
    #[arg(long)]
    pub(super) no_owners: bool,
}

impl Judging {
    /// What the comparison has to keep for what is looked up.
    fn keep(&self) -> diff::Keep {
        match self.no_owners {
            true => diff::Keep::Nothing,
            false => diff::Keep::NewBlocks,
        }
    }

    pub(super) fn options(&self) -> diff::Options {
        diff::Options {
            keep_frames: self.keep_frames,
            depth: self.depth,
            look_up: !self.no_owners,
            ..diff::Options::default()
        }
    }
}

/// Opens dumps and does something with their processes, which are in the order of their times; two
/// stay as they were named.
pub(super) fn opened<T>(
    paths: &[PathBuf],
    common: &Common,
    act: impl FnOnce(&[&Input], &[Process<'_, '_>]) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let open = |path: &PathBuf| Input::open(path, common);
    let inputs: Vec<Input> = paths.iter().map(open).collect::<Result<_, _>>()?;
    let dumps: Vec<Dump<'_>> = inputs.iter().map(Input::parse).collect::<Result<_, _>>()?;
    let mut order: Vec<usize> = (0..dumps.len()).collect();
    if dumps.len() > 2 {
        order.sort_by_key(|&place| dumps[place].timestamp);
    }
    let inputs: Vec<&Input> = order.iter().map(|&place| &inputs[place]).collect();
    let processes = order
        .iter()
        .zip(&inputs)
        .map(|(&place, input)| input.process(&dumps[place], common))
        .collect::<Result<Vec<_>, _>>()?;
    act(&inputs, &processes)
}

/// A comparison, with what it was made of.
pub(super) struct Compared<'c, 'p, 'a> {
    /// The dumps, the oldest first.
    pub(super) inputs: &'c [&'c Input],
    /// The oldest and the newest.
    pub(super) ends: [&'c Snapshot<'p, 'a>; 2],
    pub(super) comparison: &'c Comparison,
    pub(super) judgement: &'c Judgement,
    /// Names in the newest dump.
    pub(super) names: &'c dyn NameSource,
}

impl Compared<'_, '_, '_> {
    /// Its text.
    pub(super) fn write(&self, options: &Options, out: &mut dyn fmt::Write) -> fmt::Result {
        let ends = self.ends.map(Snapshot::process);
        let (comparison, judgement) = (self.comparison, self.judgement);
        comparison::write(comparison, judgement, &ends, options, self.names, out)
    }

    /// Its report, with as many groups of each heap.
    pub(super) fn report(&self, top: usize, nested: bool) -> DiffReport {
        let last = self.ends[1].process();
        let has_symbols = self.inputs.last().is_some_and(|input| input.has_symbols());
        let moments = self.comparison.moments.iter();
        let naming = Naming {
            names: has_symbols.then_some(self.names),
            bitness: last.bitness,
            times: &moments.map(|moment| moment.timestamp).collect::<Vec<_>>(),
            nested,
        };
        let words = JudgementReport::new(self.judgement, last.dump, self.names);
        DiffReport::new(self.comparison, words, top, &naming)
    }
}

/// Compares dumps and does something with the comparison; says what makes it doubtful and what could
/// not be read.
pub(super) fn compared<T>(
    paths: &[PathBuf],
    by: Grouping,
    judging: &Judging,
    common: &Common,
    act: impl FnOnce(&Compared<'_, '_, '_>) -> Result<T, Failure>,
) -> Result<(Status, T), Failure> {
    let too_few = || Failure::Usage("a comparison needs two dumps at least".to_owned());
    if paths.len() < 2 {
        return Err(too_few());
    }
    opened(paths, common, |inputs, processes| {
        let snapshots = snapshots(inputs, processes, common)?;
        let all: Vec<&Snapshot<'_, '_>> = snapshots.iter().collect();
        let bytes = all.iter().map(|snapshot| snapshot.heaps.bytes()).sum();
        let working = Working::walking("comparing heaps", bytes);
        let comparison = diff::compare_keeping(&all, by, judging.keep()).ok_or_else(too_few)?;
        let ([.., input], [first, .., last]) = (inputs, &all[..]) else {
            return Err(too_few());
        };
        drop(working);
        let dump = last.process().dump;
        let names = input.names(dump);
        let bytes = Graph::bytes_to_read(&last.heaps);
        let working = Working::walking("looking up who holds what", bytes);
        let judgement = comparison.judge(last, &names, &judging.options());
        drop(working);
        let status = report(inputs, &comparison);
        let done = act(&Compared {
            inputs,
            ends: [first, last],
            comparison: &comparison,
            judgement: &judgement,
            names: &names,
        })?;
        Ok((status.and(symbols::report(dump, input.symbols())), done))
    })
}

/// The heaps of each, opened.
fn snapshots<'p, 'a>(
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
fn report(inputs: &[&Input], comparison: &Comparison) -> Status {
    for warning in &comparison.warnings {
        say!("warning: {warning}");
    }
    let ends = inputs.first().into_iter().chain(inputs.last());
    ends.zip(&comparison.losses)
        .fold(Status::Complete, |status, (input, losses)| {
            status.and(input.report(losses))
        })
}
