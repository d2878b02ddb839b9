//! `ntheap leaks`: blocks that nothing leads to any more.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use ntheap::{
    dump::Dump,
    graph::{Class, Classes, Graph, Leaks as Records, Rules, newly_lost},
    heap::Heaps,
    names::NameSource,
    process::Process,
    traces::Traces,
    types::Types,
};
use ntheap_report::{
    json::document,
    leaks::{self as report, LeakBlock, LeaksReport},
    text::holders::Holders,
};

use super::read_graph;
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
    progress::Working,
    symbols,
};

/// `ntheap leaks`.
#[derive(Debug, Args)]
pub(crate) struct Leaks {
    /// The dump
    dump: PathBuf,
    /// A newer dump of the same program: only what is lost there and was not lost before
    after: Option<PathBuf>,
    /// Which pointers into the middle of blocks count: none, default, all, or names of rules
    /// parted by commas (docs/leaks.md)
    #[arg(long, value_name = "RULES", default_value = DEFAULT_RULES)]
    heuristics: String,
    /// Also records of these classes
    #[arg(long, value_enum, value_delimiter = ',')]
    show: Vec<Set>,
    /// Only records (jsonl: blocks) of these classes [default in text: definite,possible]
    #[arg(long, value_enum, value_delimiter = ',', value_name = "CLASSES")]
    set: Vec<Set>,
    /// Leave out blocks of fewer bytes
    #[arg(long, value_name = "BYTES", default_value = "0")]
    min_size: String,
    /// Records to show
    #[arg(long, value_name = "N", default_value = "0n20")]
    top: String,
}

/// What users get who name no rules.
pub(super) const DEFAULT_RULES: &str = "all";

/// A class, on the command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Set {
    /// Lost, and nothing else that is lost leads to it
    Definite,
    /// Lost, and something else that is lost leads to it
    Indirect,
    /// Held by pointers into the middle of blocks alone
    Possible,
    /// Held
    Reachable,
}

impl Set {
    fn class(self) -> Class {
        match self {
            Set::Definite => Class::Definite,
            Set::Indirect => Class::Indirect,
            Set::Possible => Class::Possible,
            Set::Reachable => Class::Reachable,
        }
    }
}

/// What the options say.
struct Wanted {
    rules: Rules,
    /// Classes of blocks; all if empty.
    set: Vec<Class>,
    /// Classes of records in text.
    shown: Vec<Class>,
    min_size: u64,
    top: usize,
    heap: Option<u64>,
}

impl Wanted {
    fn of(args: &Leaks, common: &Common) -> Result<Self, Failure> {
        let rules = rules(&args.heuristics)?;
        let classes = |sets: &[Set]| sets.iter().map(|set| set.class()).collect::<Vec<_>>();
        let mut shown = match args.set.is_empty() {
            true => vec![Class::Definite, Class::Possible],
            false => classes(&args.set),
        };
        shown.extend(classes(&args.show));
        Ok(Wanted {
            rules,
            set: classes(&args.set),
            shown,
            min_size: numbers::parse(&args.min_size, common.hex)?,
            top: usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX),
            heap: common
                .heap
                .as_deref()
                .map(numbers::parse_address)
                .transpose()?,
        })
    }

    /// Whether blocks of the class are told of one by one, or in records.
    fn takes(&self, class: Class) -> bool {
        self.set.is_empty() || self.set.contains(&class)
    }

    /// Which blocks are counted.
    fn blocks(&self, graph: &Graph<'_, '_>, classes: &Classes, heaps: &Heaps<'_, '_>) -> Vec<bool> {
        let mut wanted: Vec<bool> = classes
            .iter()
            .map(|(block, _)| graph.index().size(block) >= self.min_size)
            .collect();
        if let Some(heap) = self.heap {
            let mut here = vec![false; wanted.len()];
            for block in graph.blocks_where(heaps, &|block| block.heap == heap) {
                here[block as usize] = true;
            }
            let both = wanted.iter_mut().zip(here);
            both.for_each(|(wanted, here)| *wanted &= here);
        }
        wanted
    }
}

pub(crate) fn run(args: &Leaks, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    super::no_table(common)?;
    let wanted = Wanted::of(args, common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let heaps = opened(&input, &process, &wanted)?;
    let graph = read_graph(&heaps);
    let working = Working::on("following references");
    let classes = graph.classes(wanted.rules);
    drop(working);
    warn_of_cookie(wanted.rules, &dump);
    let status = input.report(graph.losses());
    let Some(after) = &args.after else {
        let blocks = wanted.blocks(&graph, &classes, &heaps);
        let side = Side {
            input: &input,
            dump: &dump,
            heaps: &heaps,
            graph: &graph,
            classes: &classes,
        };
        side.write(&wanted, &blocks, None, common, output)?;
        return Ok(status);
    };
    let newer = Input::open(after, common)?;
    let newer_dump = newer.parse()?;
    let newer_process = newer.process(&newer_dump, common)?;
    let newer_heaps = opened(&newer, &newer_process, &wanted)?;
    let newer_graph = read_graph(&newer_heaps);
    let newer_classes = newer_graph.classes(wanted.rules);
    let status = status.and(newer.report(newer_graph.losses()));
    let mut blocks = wanted.blocks(&newer_graph, &newer_classes, &newer_heaps);
    let new = newly_lost((&graph, &classes), (&newer_graph, &newer_classes));
    let both = blocks.iter_mut().zip(new);
    both.for_each(|(block, new)| *block &= new);
    let side = Side {
        input: &newer,
        dump: &newer_dump,
        heaps: &newer_heaps,
        graph: &newer_graph,
        classes: &newer_classes,
    };
    let since = input.name().into_owned();
    side.write(&wanted, &blocks, Some(since), common, output)?;
    Ok(status)
}

/// The rules that `--heuristics` names.
pub(super) fn rules(names: &str) -> Result<Rules, Failure> {
    names
        .parse()
        .map_err(|error| Failure::Usage(format!("--heuristics: {error}")))
}

/// Says that encoded pointers can't be followed, if they should be.
pub(super) fn warn_of_cookie(rules: Rules, dump: &Dump<'_>) {
    if rules.contains(Rules::ENCODED) && dump.process_cookie.is_none() {
        say!(
            "warning: the dump does not name the process's cookie: encoded pointers are not followed"
        );
    }
}

/// All heaps: the one that was asked for is among them, or it is an error.
fn opened<'p, 'a>(
    input: &Input,
    process: &'p Process<'p, 'a>,
    wanted: &Wanted,
) -> Result<Heaps<'p, 'a>, Failure> {
    let heaps = Heaps::of(process);
    if let Some(handle) = wanted.heap {
        heaps.get(handle).map_err(|error| input.failure(error))?;
    }
    Ok(heaps)
}

/// The dump whose blocks are told of.
struct Side<'s, 'p, 'a> {
    input: &'s Input,
    dump: &'s Dump<'a>,
    heaps: &'s Heaps<'p, 'a>,
    graph: &'s Graph<'p, 'a>,
    classes: &'s Classes,
}

impl Side<'_, '_, '_> {
    fn write(
        &self,
        wanted: &Wanted,
        blocks: &[bool],
        since: Option<String>,
        common: &Common,
        output: &mut Output,
    ) -> Result<(), Failure> {
        let names = self.input.names(self.dump);
        let types = Types::of(self.graph, Some(&names));
        let type_of = |address: u64| types.name_of(address);
        let rules = wanted.rules;
        if common.format == Some(Format::Jsonl) {
            let dominators = self.graph.dominators();
            let all = LeakBlock::all(self.graph, self.classes, &dominators, rules, &type_of);
            for (block, line) in all {
                if blocks[block as usize] && wanted.takes(self.classes.of(block)) {
                    output.json_line(&line)?;
                }
            }
            return Ok(());
        }
        let traces = Traces::of(self.heaps.process());
        let leaks = Records::of(
            self.graph,
            self.classes,
            self.heaps,
            &traces,
            &type_of,
            &|block| blocks[block as usize],
        );
        let ways = self.graph.ways(rules);
        let holders = Holders {
            graph: self.graph,
            names: &names,
            type_of: &type_of,
        };
        match common.format {
            Some(Format::Json) => {
                let frames = self
                    .input
                    .has_symbols()
                    .then_some(&names as &dyn NameSource);
                let records = leaks.records.iter();
                let records = records.filter(|record| wanted.takes(record.class));
                let report = LeaksReport::new(&holders, (&leaks, records), rules, &ways, frames);
                output.json(&document("leaks", report))?;
            }
            _ => {
                let options = report::Options {
                    classes: wanted.shown.clone(),
                    top: wanted.top,
                    rules,
                    since,
                };
                let losses = self.graph.losses();
                output.text(|out| report::write(&holders, &leaks, losses, &ways, &options, out))?;
            }
        }
        symbols::report(self.dump, self.input.symbols());
        Ok(())
    }
}
