//! `ntheap stat --group-by stack`: which call stacks hold the memory.

use ntheap::{losses::Losses, stats, traces::Traces};
use ntheap_report::{
    json::document,
    stat::{HeapStacks, StatReport},
};

use super::stat::Stat;
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::{Common, Format},
    output::Output,
    symbols,
};

pub(super) fn run(
    args: &Stat,
    common: &Common,
    format: Format,
    top: usize,
    output: &mut Output,
) -> Result<Status, Failure> {
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let names = input.names(&dump);
    let mut status = Status::Complete;
    let mut report = StatReport { heaps: Vec::new() };
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        let traces = Traces::of(&process);
        let statistics = stats::collect(&heaps);
        let losses = Losses::of(&process).with(statistics.iter().map(|heap| &heap.losses));
        status = status.and(input.report(&losses));
        let groups = stats::collect_by(&heaps, |block| block.trace);
        for (heap, groups) in statistics.iter().zip(groups) {
            let stacks = HeapStacks::new(heap, groups, &traces, top);
            match format {
                Format::Text => {
                    output.text(|out| stacks.write_text(process.bitness, &names, out))?
                }
                Format::Json | Format::Jsonl if input.has_symbols() => {
                    report.heaps.push(stacks.named(process.bitness, &names));
                }
                Format::Json | Format::Jsonl => report.heaps.push(stacks),
            }
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("stat", report))?;
    }
    Ok(status)
}
