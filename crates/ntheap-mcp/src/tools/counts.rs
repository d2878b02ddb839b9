//! `sizes` and `stacks`: blocks counted by what they have in common, in one dump or between two.

use std::{collections::HashMap, hash::Hash};

use ntheap::{
    blocks::Trace,
    diff::Change,
    losses::Losses,
    stats::{self, Count},
    traces::Traces,
};
use ntheap_session::{Session, View};
use serde_json::{Value, json};

use super::{bytes, frames, joined, list, signed, tell_losses};
use crate::{
    answer::Answer,
    arguments::Arguments,
    desk::Desk,
    fault::{Fault, FaultKind},
};

/// What was counted of a dump: blocks by key, and what could not be read.
type Counted<K> = (HashMap<K, Count>, Losses);

/// How one dump is counted.
type Counter<'c, K> = &'c dyn Fn(&View<'_, '_, '_>) -> Counted<K>;

/// Rows by key, of one dump or of two.
struct Table<K> {
    rows: Vec<(K, Change)>,
    losses: Losses,
    is_change: bool,
}

impl<K: Eq + Hash + Ord + Clone> Table<K> {
    fn of(desk: &Desk, arguments: &Arguments, count: Counter<'_, K>) -> Result<Self, Fault> {
        let heap = arguments.heap()?;
        let counted = |session: &Session| -> Result<Counted<K>, Fault> {
            let outcome = session.with(|view| {
                let known = view.heaps.iter().any(|known| Some(known.handle()) == heap);
                (known || heap.is_none()).then(|| count(view))
            })?;
            outcome.ok_or_else(|| Fault {
                hint: Some("heaps lists them"),
                ..Fault::new(
                    FaultKind::NoSuchHeap,
                    "the process has no heap at this address",
                )
            })
        };
        let (first, mut losses) = counted(&*desk.session(&arguments.dump)?)?;
        let mut rows: HashMap<K, Change> = HashMap::new();
        let is_change = arguments.after.is_some();
        for (key, count) in first {
            let change = rows.entry(key).or_default();
            match is_change {
                true => change.before.merge(count),
                false => change.after.merge(count),
            }
        }
        if let Some(after) = &arguments.after {
            let (second, lost) = counted(&*desk.session(after)?)?;
            losses.merge(lost);
            for (key, count) in second {
                rows.entry(key).or_default().after.merge(count);
            }
        }
        let mut rows: Vec<(K, Change)> = rows.into_iter().collect();
        if is_change {
            rows.retain(|(_, change)| !change.is_zero());
        }
        Ok(Table {
            rows,
            losses,
            is_change,
        })
    }

    /// Sorts by what the agent asked for, the most first.
    fn sort(&mut self, by_blocks: bool) {
        let key = |change: &Change| match by_blocks {
            true => (change.blocks(), change.bytes()),
            false => (change.bytes(), change.blocks()),
        };
        self.rows
            .sort_by(|a, b| key(&b.1).cmp(&key(&a.1)).then_with(|| a.0.cmp(&b.0)));
    }

    fn total(&self) -> Change {
        let mut total = Change::default();
        self.rows
            .iter()
            .for_each(|(_, change)| total.merge(*change));
        total
    }
}

fn put(row: &mut Value, change: &Change, is_change: bool) {
    row["blocks"] = change.after.blocks.into();
    row["bytes"] = change.after.bytes.into();
    if is_change {
        row["delta_blocks"] = change.blocks().into();
        row["delta_bytes"] = change.bytes().into();
    }
}

fn words(change: &Change, is_change: bool) -> String {
    match is_change {
        true => format!(
            "{:+} blocks, {:+} bytes (now {} blocks, {} bytes)",
            change.blocks(),
            change.bytes(),
            change.after.blocks,
            change.after.bytes
        ),
        false => format!(
            "{} blocks, {} bytes",
            change.after.blocks, change.after.bytes
        ),
    }
}

fn answer_of<K: Eq + Hash + Ord + Clone>(table: &Table<K>, what: &str) -> Answer {
    let total = table.total();
    let mut answer = Answer::of(match table.is_change {
        true => format!(
            "{} in {:+} blocks; {} {what} changed.",
            signed(total.bytes()),
            total.blocks(),
            table.rows.len()
        ),
        false => format!(
            "{} in {} blocks of {} {what}.",
            bytes(total.after.bytes),
            total.after.blocks,
            table.rows.len()
        ),
    });
    tell_losses(&mut answer, &table.losses);
    answer
}

pub(super) fn sizes(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let heap = arguments.heap()?;
    let count = |view: &View<'_, '_, '_>| -> Counted<u64> {
        let mut statistics = stats::collect(view.heaps);
        statistics.retain(|one| heap.is_none_or(|heap| one.handle == heap));
        let mut sizes: HashMap<u64, Count> = HashMap::new();
        for (size, count) in statistics.iter().flat_map(|one| one.sizes.iter()) {
            sizes.entry(size).or_default().merge(count);
        }
        (
            sizes,
            stats::losses(&statistics).merged(Losses::of(view.process)),
        )
    };
    let mut table = Table::of(desk, arguments, &count)?;
    match arguments.by.as_deref() {
        None | Some("bytes") => table.sort(false),
        Some("blocks") => table.sort(true),
        Some("size") => table.rows.sort_by_key(|row| row.0),
        Some(_) => return Err(Fault::argument("by: bytes, blocks or size")),
    }
    let mut answer = answer_of(&table, "sizes");
    for (size, change) in &table.rows {
        let mut row = json!({ "size": size });
        put(&mut row, change, table.is_change);
        answer.row(
            format!("{size:#x}: {}", words(change, table.is_change)),
            row,
        );
    }
    Ok(answer)
}

pub(super) fn stacks(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let (heap, size) = (arguments.heap()?, arguments.size()?);
    let count = |view: &View<'_, '_, '_>| -> Counted<Vec<u64>> {
        let traces = Traces::of(view.process);
        let groups = stats::collect_by::<(Trace, bool)>(view.heaps, |block| {
            let here = heap.is_none_or(|heap| block.heap == heap);
            (
                block.trace,
                here && size.is_none_or(|size| block.size == size),
            )
        });
        let mut stacks: HashMap<Vec<u64>, Count> = HashMap::new();
        let all = groups.into_iter().flat_map(|groups| groups.into_counts());
        for ((trace, _), count) in all.filter(|((_, wanted), _)| *wanted) {
            let stack = traces.frames(trace).unwrap_or_default();
            stacks.entry(stack).or_default().merge(count);
        }
        (stacks, view.heaps.losses().clone())
    };
    let mut table = Table::of(desk, arguments, &count)?;
    table.sort(false);
    let mut answer = answer_of(&table, "stacks");
    if table.rows.iter().all(|(stack, _)| stack.is_empty()) {
        answer
            .words
            .push_str(" No block has a stack: gflags +ust records them.");
    }
    // Frames are named by the dump that the stacks are counted in last.
    let last = arguments.after.as_ref().unwrap_or(&arguments.dump);
    desk.session(last)?.with(|view| {
        for (stack, change) in &table.rows {
            let named = frames(stack, view.process.bitness, view.names);
            let text = words(change, table.is_change);
            let line = match named.is_empty() {
                true => format!("{text}: no stack"),
                false => format!("{text}: {}", joined(&named)),
            };
            let mut row = json!({ "frames": list(named) });
            put(&mut row, change, table.is_change);
            answer.row(line, row);
        }
    })?;
    Ok(answer)
}
