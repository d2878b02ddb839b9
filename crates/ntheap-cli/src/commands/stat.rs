//! `ntheap stat`: `!heap -stat -h`.

use ntheap::{
    losses::Losses,
    stats::{self, HeapStatistics, Order},
};
use ntheap_report::json::{Address, FindingReport};
use ntheap_windbg as windbg;
use serde::Serialize;

use super::{by_stack, document, document_format};
use crate::{
    args::{Common, Format, Stat, StatGroup},
    failure::{Failure, Status},
    input::{Input, heaps},
    numbers,
    output::{Output, Working},
};

#[derive(Serialize)]
struct Report {
    heaps: Vec<HeapSizes>,
}

#[derive(Serialize)]
struct HeapSizes {
    heap: Address,
    busy_blocks: u64,
    busy_bytes: u64,
    sizes: Vec<SizeRow>,
    findings: Vec<FindingReport>,
}

#[derive(Serialize)]
struct SizeRow {
    size: u64,
    blocks: u64,
    bytes: u64,
}

pub(crate) fn run(args: &Stat, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let order = match args.group_by {
        StatGroup::Total => Order::Total,
        StatGroup::Size => Order::Size,
        StatGroup::Count => Order::Blocks,
        StatGroup::Stack => return by_stack::run(args, common, format, top, output),
    };
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let mut status = Status::Complete;
    let mut report = Report { heaps: Vec::new() };
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        let working = Working::on("walking heaps");
        let statistics = stats::collect(&heaps);
        drop(working);
        let losses = Losses::of(&process).with(statistics.iter().map(|heap| &heap.losses));
        status = status.and(input.report(&losses));
        match format {
            Format::Text => output.text(|out| match (&common.heap, &statistics[..]) {
                (Some(_), [heap]) => {
                    let handle = heap.handle;
                    windbg::block_sizes(handle, Some(heap), process.bitness, order, top, out)
                }
                _ => windbg::all_block_sizes(&statistics, process.bitness, order, top, out),
            })?,
            Format::Json | Format::Jsonl => {
                report
                    .heaps
                    .extend(statistics.iter().map(|heap| sizes(heap, order, top)));
            }
        }
    }
    if format != Format::Text {
        output.json(&document("stat", report))?;
    }
    Ok(status)
}

fn sizes(heap: &HeapStatistics, order: Order, top: usize) -> HeapSizes {
    let rows = heap.sizes.rows(order).into_iter().take(top);
    HeapSizes {
        heap: Address(heap.handle),
        busy_blocks: heap.busy_blocks,
        busy_bytes: heap.busy_bytes,
        sizes: rows
            .map(|(size, count)| SizeRow {
                size,
                blocks: count.blocks,
                bytes: count.bytes,
            })
            .collect(),
        findings: heap
            .losses
            .findings()
            .iter()
            .map(FindingReport::from)
            .collect(),
    }
}
