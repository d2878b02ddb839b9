//! `ntheap types`: what the blocks are.

use std::path::PathBuf;

use clap::Args;
use ntheap::{
    dump::Dump,
    heap::Heaps,
    process::Process,
    types::{self, Retained},
};
use ntheap_report::types::{
    self as report, ContainerReport, ContainersReport, TypesOptions, TypesReport,
};

use super::read_graph;
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    numbers,
    options::{Common, Format},
    output::Output,
    privacy,
    progress::Working,
};
use ntheap_report::json::document;

/// `ntheap types`.
#[derive(Debug, Args)]
pub(crate) struct Types {
    /// The dump
    dump: PathBuf,
    /// A newer dump of the same program, to see what grew
    after: Option<PathBuf>,
    /// Only objects of this class and of those that derive from it
    #[arg(long, value_name = "CLASS", conflicts_with = "containers")]
    base: Option<String>,
    /// The containers of the C++ library in place of the types, largest first
    #[arg(long, conflicts_with = "after")]
    containers: bool,
    /// Show what texts say
    #[arg(long)]
    contents: bool,
    /// Rows to show of each table
    #[arg(long, value_name = "N", default_value = "0n30")]
    top: String,
}

/// Texts that data tells of, however many rows are shown.
const TEXTS: usize = 100;

pub(crate) fn run(args: &Types, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    super::no_table(common)?;
    let format = common.format.unwrap_or(Format::Text);
    let show = Show { args, format, top };
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let Some(after) = &args.after else {
        return look(&input, &dump, &process, common, |types| {
            show.one(types, output)
        });
    };
    let newer = Input::open(after, common)?;
    let newer_dump = newer.parse()?;
    let newer_process = newer.process(&newer_dump, common)?;
    let mut status = Status::Complete;
    let first = look(&input, &dump, &process, common, |before| {
        status = look(&newer, &newer_dump, &newer_process, common, |after| {
            show.two(before, after, output)
        })?;
        Ok(())
    })?;
    Ok(first.and(status))
}

/// The types of a dump, and what they retain.
type Known<'k, 'g, 'a> = (&'k types::Types<'g, 'a>, &'k Retained);

/// Finds the types of a dump, hands them on, and says what could not be read.
fn look<'a>(
    input: &Input,
    dump: &Dump<'a>,
    process: &Process<'_, 'a>,
    common: &Common,
    use_them: impl FnOnce(Known<'_, '_, 'a>) -> Result<(), Failure>,
) -> Result<Status, Failure> {
    let chosen = heaps(input, process, common)?;
    let names = input.names(dump);
    // The heap that was asked for is held by the others.
    let all = common.heap.is_some().then(|| Heaps::of(process));
    let graph = read_graph(all.as_ref().unwrap_or(&chosen));
    let working = Working::on("looking at blocks");
    let mut types = types::Types::of(&graph, Some(&names));
    if all.is_some() {
        types.keep(&chosen);
    }
    let retained = types.retained(&graph.dominators());
    drop(working);
    use_them((&types, &retained))?;
    Ok(input.report(chosen.losses()))
}

struct Show<'s> {
    args: &'s Types,
    format: Format,
    top: usize,
}

impl Show<'_> {
    fn options(&self) -> TypesOptions<'_> {
        TypesOptions {
            base: self.args.base.as_deref(),
            contents: self.args.contents && !privacy::is_on(),
            texts: if self.format == Format::Text {
                self.top
            } else {
                TEXTS
            },
        }
    }

    fn one(
        &self,
        (types, retained): Known<'_, '_, '_>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self.args.containers {
            true => self.containers(&ContainerReport::all(types), output),
            false => self.report(&TypesReport::new(types, retained, &self.options()), output),
        }
    }

    fn two(
        &self,
        before: Known<'_, '_, '_>,
        after: Known<'_, '_, '_>,
        output: &mut Output,
    ) -> Result<(), Failure> {
        self.report(
            &TypesReport::compare(before, after, &self.options()),
            output,
        )
    }

    fn text_options(&self) -> report::Options {
        report::Options {
            top: self.top,
            base: self.args.base.clone(),
        }
    }

    fn report(&self, report: &TypesReport, output: &mut Output) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                let options = self.text_options();
                output.text(|out| report::write(report, &options, out))
            }
            Format::Json => output.json(&document("types", report)),
            Format::Jsonl | Format::Csv => report
                .types
                .iter()
                .try_for_each(|row| output.json_line(row)),
        }
    }

    fn containers(
        &self,
        containers: &[ContainerReport],
        output: &mut Output,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Text => {
                let options = self.text_options();
                output.text(|out| report::containers(containers, &options, out))
            }
            Format::Json => {
                let containers = containers.to_vec();
                output.json(&document("types", ContainersReport { containers }))
            }
            Format::Jsonl | Format::Csv => {
                containers.iter().try_for_each(|row| output.json_line(row))
            }
        }
    }
}
