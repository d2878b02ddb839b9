//! `ntheap stat`: `!heap -stat -h`.

use clap::{Args, ValueEnum};
use ntheap::stats::{self, HeapStatistics, Order};
use ntheap_windbg as windbg;
use std::{fmt, path::PathBuf};

use super::{by_stack, document_format};
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
    progress::Working,
};
use ntheap_report::{
    csv::Row,
    json::document,
    stat::{HeapSizes, StatReport},
};

/// `ntheap stat`.
#[derive(Debug, Args)]
pub(crate) struct Stat {
    /// The dump
    pub(super) dump: PathBuf,
    /// What to sort by (-grp S, A, B)
    #[arg(short, long, value_enum, default_value = "total")]
    group_by: StatGroup,
    /// Rows to show of each heap
    #[arg(short = 'n', long, value_name = "N", default_value = "0n20")]
    top: String,
}

/// What `stat` sorts by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StatGroup {
    /// Total bytes of a size
    Total,
    /// Size
    Size,
    /// Number of blocks
    Count,
    /// Call stack of the allocation, by total bytes
    Stack,
}

pub(crate) fn run(args: &Stat, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = match common.format {
        Some(Format::Csv) => Format::Csv,
        _ => document_format(common)?,
    };
    let top = usize::try_from(numbers::parse(&args.top, common.hex)?).unwrap_or(usize::MAX);
    let order = match args.group_by {
        StatGroup::Total => Order::Total,
        StatGroup::Size => Order::Size,
        StatGroup::Count => Order::Blocks,
        StatGroup::Stack => {
            let format = document_format(common)?;
            return by_stack::run(args, common, format, top, output);
        }
    };
    if format == Format::Csv {
        output.text(|out| {
            let titles = ["heap", "size", "blocks", "bytes"];
            let row = titles
                .iter()
                .fold(Row::new(out), |row, title| row.text(title));
            row.end()
        })?;
    }
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let mut report = StatReport { heaps: Vec::new() };
    let status = input.each_side(&dump, common, |heaps| {
        let bitness = heaps.process().bitness;
        let working = Working::walking("walking heaps", heaps.bytes());
        let statistics = stats::collect(heaps);
        drop(working);
        match format {
            Format::Text => output.text(|out| match (&common.heap, &statistics[..]) {
                (Some(_), [heap]) => {
                    let handle = heap.handle;
                    windbg::block_sizes(handle, Some(heap), bitness, order, top, out)
                }
                _ => windbg::all_block_sizes(&statistics, bitness, order, top, out),
            })?,
            Format::Csv => output.text(|out| {
                statistics
                    .iter()
                    .try_for_each(|heap| csv_rows(heap, order, top, out))
            })?,
            Format::Json | Format::Jsonl => {
                report.heaps.extend(
                    statistics
                        .iter()
                        .map(|heap| HeapSizes::new(heap, order, top)),
                );
            }
        }
        Ok(stats::losses(&statistics))
    })?;
    if matches!(format, Format::Json | Format::Jsonl) {
        output.json(&document("stat", report))?;
    }
    Ok(status)
}

fn csv_rows(
    heap: &HeapStatistics,
    order: Order,
    top: usize,
    out: &mut dyn fmt::Write,
) -> fmt::Result {
    for (size, count) in heap.sizes.rows(order).into_iter().take(top) {
        Row::new(out)
            .address(heap.handle)
            .number(size)
            .number(count.blocks)
            .number(count.bytes)
            .end()?;
    }
    Ok(())
}
