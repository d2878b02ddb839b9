//! `ntheap stat --group-by stack`: which call stacks hold the memory.

use std::{cmp::Reverse, collections::HashMap};

use ntheap::{
    blocks::Trace,
    losses::Losses,
    stats::{self, Count},
    traces::Traces,
};
use ntheap_report::{
    json::{Address, FindingReport},
    text::stacks::{frame_texts, write_stack},
};
use serde::Serialize;

use super::document;
use crate::{
    args::{Common, Format, Stat},
    failure::{Failure, Status},
    input::{Input, heaps},
    output::Output,
    symbols,
};

#[derive(Serialize)]
struct Report {
    heaps: Vec<HeapStacks>,
}

#[derive(Serialize)]
struct HeapStacks {
    heap: Address,
    busy_blocks: u64,
    busy_bytes: u64,
    stacks: Vec<StackRow>,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct StackRow {
    blocks: u64,
    bytes: u64,
    stack: Vec<Address>,
    #[serde(skip_serializing_if = "Option::is_none")]
    frames: Option<Vec<String>>,
}

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
    let mut report = Report { heaps: Vec::new() };
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        let traces = Traces::of(&process);
        let statistics = stats::collect(&heaps);
        let losses = Losses::of(&process).with(statistics.iter().map(|heap| &heap.losses));
        status = status.and(input.report(&losses));
        let groups = stats::collect_by(&heaps, |block| block.trace);
        for (heap, groups) in statistics.iter().zip(groups) {
            let rows = rows(groups, &traces);
            match format {
                Format::Text => output.text(|out| {
                    writeln!(
                        out,
                        "heap {:x}: {} bytes in {} blocks, {} stacks",
                        heap.handle,
                        heap.busy_bytes,
                        heap.busy_blocks,
                        rows.len()
                    )?;
                    for (stack, count) in rows.iter().take(top) {
                        let percent = count.bytes as f64 * 100.0 / heap.busy_bytes.max(1) as f64;
                        let Count { bytes, blocks } = count;
                        writeln!(
                            out,
                            "{bytes:>12} bytes {blocks:>8} blocks  ({percent:.2} %)"
                        )?;
                        write_stack(stack, process.bitness, &names, 8, out)?;
                    }
                    writeln!(out)
                })?,
                Format::Json | Format::Jsonl => report.heaps.push(HeapStacks {
                    heap: Address(heap.handle),
                    busy_blocks: heap.busy_blocks,
                    busy_bytes: heap.busy_bytes,
                    stacks: rows
                        .into_iter()
                        .take(top)
                        .map(|(stack, count)| StackRow {
                            blocks: count.blocks,
                            bytes: count.bytes,
                            frames: input
                                .has_symbols()
                                .then(|| frame_texts(&stack, process.bitness, &names)),
                            stack: stack.into_iter().map(Address).collect(),
                        })
                        .collect(),
                    findings: heap
                        .losses
                        .findings()
                        .iter()
                        .map(FindingReport::from)
                        .collect(),
                }),
            }
        }
    }
    let status = status.and(symbols::report(&dump, input.symbols()));
    if format != Format::Text {
        output.json(&document("stat", report))?;
    }
    Ok(status)
}

/// Stacks by total bytes; different records of the same frames are one stack.
fn rows(groups: stats::Groups<Trace>, traces: &Traces<'_, '_>) -> Vec<(Vec<u64>, Count)> {
    let mut stacks: HashMap<Vec<u64>, Count> = HashMap::new();
    for (trace, count) in groups.into_counts() {
        let stack = traces.frames(trace).unwrap_or_default();
        stacks.entry(stack).or_default().merge(count);
    }
    let mut rows: Vec<(Vec<u64>, Count)> = stacks.into_iter().collect();
    rows.sort_by(|a, b| {
        let key = |row: &(Vec<u64>, Count)| Reverse((row.1.bytes, row.1.blocks));
        key(a).cmp(&key(b)).then_with(|| a.0.cmp(&b.0))
    });
    rows
}
