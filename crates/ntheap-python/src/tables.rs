//! Which columns each report has.

use ntheap::{
    blocks::{Block, CONTINUE, Flow, State, Visitor},
    heap::Heaps,
};
use ntheap_report::{
    diff::DiffReport,
    diff::GroupReport,
    json::HeapReport,
    leaks::LeakRecordReport,
    stat::{HeapSizes, HeapStacks, StatReport},
    types::TypeReport,
};
use pyo3::prelude::*;

use crate::table::{Columns, Table};

/// The values of a column.
fn of<R, V>(rows: &[R], value: impl Fn(&R) -> V) -> Vec<V> {
    rows.iter().map(value).collect()
}

pub(crate) fn heaps(heaps: &[HeapReport]) -> PyResult<Table> {
    Columns::default()
        .numbers("heap", of(heaps, |heap| heap.heap.0))
        .texts("kind", of(heaps, |heap| Some(heap.kind)))
        .numbers("flags", of(heaps, |heap| heap.flags.into()))
        .numbers("busy_blocks", of(heaps, |heap| heap.busy.blocks))
        .numbers("busy_bytes", of(heaps, |heap| heap.busy.bytes))
        .numbers("free_blocks", of(heaps, |heap| heap.free.blocks))
        .numbers("free_bytes", of(heaps, |heap| heap.free.bytes))
        .numbers("largest_free", of(heaps, |heap| heap.largest_free))
        .optional("reserved", of(heaps, |heap| heap.reserved))
        .optional("committed", of(heaps, |heap| heap.committed))
        .numbers("traced_blocks", of(heaps, |heap| heap.traced_blocks))
        .numbers("unread_bytes", of(heaps, |heap| heap.unread_bytes))
        .table()
}

pub(crate) fn sizes(report: &StatReport<HeapSizes>, heap: Option<u64>) -> PyResult<Table> {
    let heaps = report.heaps.iter();
    let chosen = heaps.filter(|one| heap.is_none_or(|heap| one.heap.0 == heap));
    let rows: Vec<_> = chosen
        .flat_map(|one| one.sizes.iter().map(|row| (one.heap.0, *row)))
        .collect();
    Columns::default()
        .numbers("heap", of(&rows, |row| row.0))
        .numbers("size", of(&rows, |row| row.1.size))
        .numbers("blocks", of(&rows, |row| row.1.blocks))
        .numbers("bytes", of(&rows, |row| row.1.bytes))
        .table()
}

pub(crate) fn stacks(report: &StatReport<HeapStacks>, heap: Option<u64>) -> PyResult<Table> {
    let heaps = report.heaps.iter();
    let chosen = heaps.filter(|one| heap.is_none_or(|heap| one.heap.0 == heap));
    let rows: Vec<_> = chosen
        .flat_map(|one| one.stacks.iter().map(|row| (one.heap.0, row)))
        .collect();
    let frames = |row: &(u64, &ntheap_report::stat::StackRow)| match &row.1.frames {
        Some(frames) => frames.clone(),
        None => row.1.stack.iter().map(ToString::to_string).collect(),
    };
    Columns::default()
        .numbers("heap", of(&rows, |row| row.0))
        .numbers("blocks", of(&rows, |row| row.1.blocks))
        .numbers("bytes", of(&rows, |row| row.1.bytes))
        .lists("frames", of(&rows, frames))
        .table()
}

pub(crate) fn leaks(records: &[LeakRecordReport]) -> PyResult<Table> {
    let frames = |record: &LeakRecordReport| match &record.frames {
        Some(frames) => frames.clone(),
        None => record.stack.iter().map(ToString::to_string).collect(),
    };
    Columns::default()
        .texts("class", of(records, |record| Some(record.class)))
        .texts("type", of(records, |record| record.type_name.clone()))
        .numbers("size", of(records, |record| record.size))
        .numbers("blocks", of(records, |record| record.blocks))
        .numbers("bytes", of(records, |record| record.bytes))
        .numbers(
            "indirect_blocks",
            of(records, |record| record.indirect_blocks),
        )
        .numbers(
            "indirect_bytes",
            of(records, |record| record.indirect_bytes),
        )
        .numbers("example", of(records, |record| record.example.0))
        .lists("frames", of(records, frames))
        .table()
}

pub(crate) fn types(types: &[TypeReport]) -> PyResult<Table> {
    let columns = Columns::default()
        .texts("type", of(types, |one| Some(one.name.clone())))
        .texts("kind", of(types, |one| one.kind))
        .numbers("blocks", of(types, |one| one.blocks))
        .numbers("bytes", of(types, |one| one.bytes))
        .optional("retained", of(types, |one| one.retained));
    match types.iter().any(|one| one.blocks_before.is_some()) {
        true => columns
            .optional("blocks_before", of(types, |one| one.blocks_before))
            .optional("bytes_before", of(types, |one| one.bytes_before))
            .signed("delta_blocks", of(types, TypeReport::block_growth))
            .signed("delta_bytes", of(types, TypeReport::byte_growth)),
        false => columns,
    }
    .table()
}

pub(crate) fn changes(report: &DiffReport) -> PyResult<Table> {
    let heaps = &report.heaps[..];
    Columns::default()
        .numbers("heap", of(heaps, |heap| heap.heap.0))
        .texts("kind", of(heaps, |heap| Some(heap.kind)))
        .texts("status", of(heaps, |heap| Some(heap.status)))
        .numbers("blocks_before", of(heaps, |heap| heap.change.before.blocks))
        .numbers("bytes_before", of(heaps, |heap| heap.change.before.bytes))
        .numbers("blocks", of(heaps, |heap| heap.change.after.blocks))
        .numbers("bytes", of(heaps, |heap| heap.change.after.bytes))
        .signed("delta_blocks", of(heaps, |heap| heap.change.delta_blocks))
        .signed("delta_bytes", of(heaps, |heap| heap.change.delta_bytes))
        .numbers("new_blocks", of(heaps, |heap| heap.new_blocks.blocks))
        .numbers("gone_blocks", of(heaps, |heap| heap.gone_blocks.blocks))
        .table()
}

/// Sizes that changed, and where blocks have stacks a row a stack.
pub(crate) fn groups(report: &DiffReport) -> PyResult<Table> {
    let mut rows: Vec<(u64, Option<u64>, &GroupReport)> = Vec::new();
    for heap in &report.heaps {
        for group in &heap.groups {
            match group.stacks.is_empty() {
                true => rows.push((heap.heap.0, group.size, group)),
                false => rows.extend(
                    group
                        .stacks
                        .iter()
                        .map(|stack| (heap.heap.0, group.size, stack)),
                ),
            }
        }
    }
    let frames = |row: &(u64, Option<u64>, &GroupReport)| {
        let stack = row.2.stack.iter().flatten();
        match &row.2.frames {
            Some(frames) => frames.clone(),
            None => stack.map(ToString::to_string).collect(),
        }
    };
    Columns::default()
        .numbers("heap", of(&rows, |row| row.0))
        .optional("size", of(&rows, |row| row.1))
        .numbers("blocks_before", of(&rows, |row| row.2.change.before.blocks))
        .numbers("bytes_before", of(&rows, |row| row.2.change.before.bytes))
        .numbers("blocks", of(&rows, |row| row.2.change.after.blocks))
        .numbers("bytes", of(&rows, |row| row.2.change.after.bytes))
        .signed("delta_blocks", of(&rows, |row| row.2.change.delta_blocks))
        .signed("delta_bytes", of(&rows, |row| row.2.change.delta_bytes))
        .shares("steadiness", of(&rows, |row| row.2.steadiness))
        .lists("frames", of(&rows, frames))
        .table()
}

/// Blocks as columns, gathered while heaps are walked.
#[derive(Default)]
pub(crate) struct Blocks {
    all: bool,
    heap: Vec<u64>,
    address: Vec<u64>,
    entry: Vec<u64>,
    size: Vec<u64>,
    block_size: Vec<u64>,
    state: Vec<&'static str>,
    kind: Vec<&'static str>,
    tag: Vec<u64>,
    internal: Vec<bool>,
}

impl Visitor for Blocks {
    fn block(&mut self, block: &Block) -> Flow {
        let is_held = block.state == State::Busy && block.is_user_block();
        if !(self.all || is_held) {
            return CONTINUE;
        }
        self.heap.push(block.heap);
        self.address.push(block.address);
        self.entry.push(block.entry);
        self.size.push(block.size);
        self.block_size.push(block.block_size);
        self.state.push(block.state.name());
        self.kind.push(block.kind.name());
        self.tag.push(block.tag.into());
        self.internal.push(block.internal);
        CONTINUE
    }
}

impl Blocks {
    /// The blocks that the program holds, or all.
    pub(crate) fn of(heaps: &Heaps<'_, '_>, heap: Option<u64>, all: bool) -> Self {
        let mut blocks = Blocks {
            all,
            ..Blocks::default()
        };
        for one in heaps
            .iter()
            .filter(|one| heap.is_none_or(|heap| one.handle() == heap))
        {
            let _ = one.walk(&mut blocks);
        }
        blocks
    }

    pub(crate) fn table(self) -> PyResult<Table> {
        Columns::default()
            .numbers("heap", self.heap)
            .numbers("address", self.address)
            .numbers("entry", self.entry)
            .numbers("size", self.size)
            .numbers("block_size", self.block_size)
            .texts("state", self.state.into_iter().map(Some).collect())
            .texts("kind", self.kind.into_iter().map(Some).collect())
            .numbers("tag", self.tag)
            .flags("internal", self.internal)
            .table()
    }
}
