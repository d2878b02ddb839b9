//! `ntheap diff`: what grew between two dumps.

use clap::{Args, ValueEnum};
use ntheap::{
    diff::{self, Grouping, Snapshot},
    heap::Heaps,
    names::NameSource,
};
use ntheap_report::{
    json::{DiffReport, Naming},
    text::comparison::{self, Options, Show},
};
use std::path::PathBuf;

use super::document_format;
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    numbers,
    options::{Common, Format},
    output::{Output, Working},
    symbols,
};
use ntheap_report::json::document;

/// `ntheap diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// The older dump
    before: PathBuf,
    /// The newer dump
    after: PathBuf,
    /// What to count blocks by [default: size, and stacks under each size where there are any]
    #[arg(long, value_enum)]
    group_by: Option<DiffGroup>,
    /// Groups to show of each heap
    #[arg(long, value_name = "N", default_value = "10")]
    top: String,
    /// Leave out groups that grew by fewer bytes
    #[arg(long, value_name = "BYTES", default_value = "1")]
    min_growth: String,
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
    let format = document_format(common)?;
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let min_growth = numbers::parse(&args.min_growth, common.hex)?;
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

    let inputs = [
        Input::open(&args.before, common)?,
        Input::open(&args.after, common)?,
    ];
    let dumps = [inputs[0].parse()?, inputs[1].parse()?];
    let processes = [
        inputs[0].process(&dumps[0], common)?,
        inputs[1].process(&dumps[1], common)?,
    ];
    let mut status = Status::Complete;
    let snapshot = |index: usize| -> Result<Snapshot<'_, '_>, Failure> {
        let (input, process) = (&inputs[index], &processes[index]);
        let heaps = match heaps(input, process, common) {
            Ok(heaps) => heaps,
            // A heap that was asked for may be new or gone.
            Err(_) if is_in_either(&inputs, &processes, common) => Heaps::only(process, |_| false),
            Err(failure) => return Err(failure),
        };
        Ok(Snapshot::of_heaps(heaps))
    };
    let working = Working::on("comparing heaps");
    let comparison = diff::compare(&snapshot(0)?, &snapshot(1)?, by);
    drop(working);
    for warning in &comparison.warnings {
        say!("warning: {warning}");
    }
    for (input, losses) in inputs.iter().zip(&comparison.losses) {
        status = status.and(input.report(losses));
    }
    let names = inputs[1].names(&dumps[1]);
    match format {
        Format::Text => {
            let options = Options {
                names: [inputs[0].shown_path(), inputs[1].shown_path()],
                show,
                top,
                min_growth,
            };
            output.text(|out| {
                comparison::write(&comparison, &processes.each_ref(), &options, &names, out)
            })?;
        }
        Format::Json | Format::Jsonl => {
            let top = if show == Show::Heaps { 0 } else { top };
            let naming = Naming {
                names: inputs[1].has_symbols().then_some(&names as &dyn NameSource),
                bitness: processes[1].bitness,
                nested: show != Show::Groups,
            };
            output.json(&document(
                "diff",
                DiffReport::new(&comparison, top, &naming),
            ))?;
        }
    }
    Ok(status.and(symbols::report(&dumps[1], inputs[1].symbols())))
}

fn is_in_either(
    inputs: &[Input; 2],
    processes: &[ntheap::process::Process<'_, '_>; 2],
    common: &Common,
) -> bool {
    (0..2).any(|index| heaps(&inputs[index], &processes[index], common).is_ok())
}
