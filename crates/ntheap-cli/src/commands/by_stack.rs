//! `ntheap stat --group-by stack`: which call stacks hold the memory.

use ntheap::{stats, traces::Traces};
use ntheap_report::{
    json::document,
    stat::{HeapStacks, StatReport},
};

use super::stat::Stat;
use crate::{
    failure::{Failure, Status},
    input::Input,
    options::{Common, Format},
    output::Output,
    progress::Working,
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
    let mut report = StatReport { heaps: Vec::new() };
    let status = input.each_side(&dump, common, |heaps| {
        let process = heaps.process();
        let traces = Traces::of(process);
        let working = Working::walking("walking heaps", heaps.bytes());
        let (statistics, groups) = stats::collect_with_stacks(heaps);
        drop(working);
        for (heap, groups) in statistics.iter().zip(groups) {
            let stacks = HeapStacks::new(heap, groups, &traces, top);
            match format {
                Format::Text => {
                    output.text(|out| stacks.write_text(process.bitness, &names, out))?
                }
                Format::Json | Format::Jsonl | Format::Csv if input.has_symbols() => {
                    report.heaps.push(stacks.named(process.bitness, &names));
                }
                Format::Json | Format::Jsonl | Format::Csv => report.heaps.push(stacks),
            }
        }
        Ok(stats::losses(&statistics))
    })?;
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("stat", report))?;
    }
    Ok(status)
}
