//! The comparison of two dumps as text: the verdict first, then heaps, then their block sizes.

use std::fmt::{self, Write};

use super::verdict;
use crate::text::stacks::{essence_without, write_stack};
use ntheap::{
    diff::{
        BlockChanges, Change, Comparison, HeapChange, HeapStatus, Judgement, Verdict, human_bytes,
    },
    layout::Bitness,
    losses::Losses,
    names::NameSource,
    printable::printable,
    process::{Problem, Process},
    usage::{Class, Owner},
};

/// How to print.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to call the dumps, the oldest first.
    pub names: Vec<String>,
    /// What to print of each heap.
    pub show: Show,
    /// Groups per heap.
    pub top: usize,
    /// Groups that grew by fewer bytes are folded into the others.
    pub min_growth: u64,
}

/// What to print of each heap that grew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Show {
    /// Its row in the table of heaps.
    Heaps,
    /// Its block sizes, and under each the stacks that account for its growth, if there are any.
    Sizes,
    /// Every group as it was counted: stacks, or pairs of size and stack.
    Groups,
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(
    comparison: &Comparison,
    judgement: &Judgement,
    processes: &[&Process<'_, '_>; 2],
    options: &Options,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let verdict = comparison.verdict();
    verdict::write(judgement, processes[1].dump, names, out)?;
    writeln!(out, "{verdict}")?;
    culprit(&verdict, judgement, names, out)?;
    certainty(comparison, out)?;
    writeln!(out)?;
    header(comparison, processes, options, out)?;
    writeln!(out)?;
    address_space(comparison, out)?;
    writeln!(out)?;
    heaps(comparison, out)?;
    if comparison.moments.len() > 2 {
        writeln!(out)?;
        verdict::write_series(comparison, options.top, out)?;
    }
    if options.show != Show::Heaps {
        // Where nothing grew, the row above says enough.
        let grew = |heap: &&HeapChange| heap.groups.iter().any(|group| group.change.bytes() > 0);
        for heap in comparison.heaps.iter().filter(grew) {
            groups(heap, options, processes[1].bitness, names, out)?;
        }
    }
    Ok(())
}

/// Heaps that are named where some could not be read.
const HEAPS_NAMED: usize = 4;

fn certainty(comparison: &Comparison, out: &mut dyn Write) -> fmt::Result {
    let Change { before, after } = comparison.total;
    if comparison.is_complete() {
        return writeln!(
            out,
            "Sure: every byte of all {} heaps was read ({} blocks before, {} after).",
            comparison.heaps.len(),
            before.blocks,
            after.blocks
        );
    }
    writeln!(out, "Not sure:")?;
    for (side, losses) in ["before", "after"].into_iter().zip(&comparison.losses) {
        if !losses.complete() {
            missing(side, losses, comparison, out)?;
        }
    }
    Ok(())
}

/// What one dump lacks, in a few lines; all of it is said on stderr.
fn missing(
    side: &str,
    losses: &Losses,
    comparison: &Comparison,
    out: &mut dyn Write,
) -> fmt::Result {
    for problem in losses.dump_problems() {
        writeln!(out, "  {side}: {problem}")?;
    }
    let lost = |problem: &&Problem| problem.loses_heaps();
    for problem in losses.process_problems().iter().filter(lost) {
        writeln!(out, "  {side}: {problem}")?;
    }
    if losses.walks_complete() {
        return Ok(());
    }
    let index = usize::from(side == "after");
    let heaps = comparison.heaps.iter();
    let incomplete: Vec<String> = heaps
        .filter(|heap| !heap.losses[index].walks_complete())
        .map(|heap| format!("{:x}", heap.handle))
        .collect();
    let shown = incomplete.len().min(HEAPS_NAMED);
    write!(
        out,
        "  {side}: {} could not be read or proved, in heap{} {}",
        human_bytes(losses.unread_bytes()),
        if incomplete.len() == 1 { "" } else { "s" },
        incomplete[..shown].join(", ")
    )?;
    match incomplete.len() - shown {
        0 => writeln!(out),
        more => writeln!(out, " and {more} more"),
    }
}

fn header(
    comparison: &Comparison,
    processes: &[&Process<'_, '_>; 2],
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    for (index, label) in ["before", "after "].into_iter().enumerate() {
        let process = processes[index];
        let name = match index {
            0 => options.names.first(),
            _ => options.names.last(),
        };
        write!(out, "{label}  {}", name.map_or("", String::as_str))?;
        if let Some(pid) = process.dump.process_id {
            write!(out, "  pid {pid}")?;
        }
        if let Some(program) = process.program() {
            write!(out, "  {}", printable(program.file_name()))?;
        }
        write!(
            out,
            "  {}-bit, build {}",
            process.bitness.bits(),
            process.build
        )?;
        if index == 1 {
            write!(out, "  {} later", duration(comparison.seconds))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn duration(seconds: i64) -> String {
    let sign = if seconds < 0 { "-" } else { "" };
    let seconds = seconds.unsigned_abs();
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds} s"),
        (0, _) => format!("{sign}{minutes} min {} s", seconds % 60),
        _ => format!("{sign}{hours} h {minutes} min"),
    }
}

const COLUMNS: &str = "bytes before        after        delta   blocks before    after    delta";

fn numbers(change: &Change, out: &mut dyn Write) -> fmt::Result {
    write!(
        out,
        "{:>12} {:>12} {:>+12}   {:>13} {:>8} {:>+8}",
        change.before.bytes,
        change.after.bytes,
        change.bytes(),
        change.before.blocks,
        change.after.blocks,
        change.blocks(),
    )
}

/// New allocations that are listed.
const NEW_ALLOCATIONS: usize = 5;

/// Private bytes by use: whether it is the heaps that grew.
fn address_space(comparison: &Comparison, out: &mut dyn Write) -> fmt::Result {
    let usage = &comparison.usage;
    writeln!(
        out,
        "{:<18}{:>12} {:>12} {:>12}",
        "private memory", "bytes before", "after", "delta"
    )?;
    let mut total = [0u64; 2];
    for change in &usage.classes {
        let (before, after) = (change.before.private, change.after.private);
        if change.class == Class::Mapped || (before == 0 && after == 0) {
            continue;
        }
        total = [
            total[0].saturating_add(before),
            total[1].saturating_add(after),
        ];
        bytes_row(change.class.title(), before, after, out)?;
    }
    bytes_row("all private", total[0], total[1], out)?;
    if let Some(mapped) = usage.of(Class::Mapped).filter(|m| m.before != m.after) {
        bytes_row(
            "mapped (shared)",
            mapped.before.committed,
            mapped.after.committed,
            out,
        )?;
    }
    for new in usage.new.iter().take(NEW_ALLOCATIONS) {
        writeln!(
            out,
            "new: {:x}  {} committed of {}  {}",
            new.base,
            human_bytes(new.total.committed),
            human_bytes(new.total.size),
            match new.owner {
                Owner::Heap(handle) => format!("heap {handle:x}"),
                other => other.class().title().to_owned(),
            }
        )?;
    }
    let more = usage.new.len().saturating_sub(NEW_ALLOCATIONS);
    if more > 0 {
        writeln!(out, "new: {more} others")?;
    }
    if !usage.described {
        writeln!(
            out,
            "(a dump does not describe its regions: only the memory that it holds is counted)"
        )?;
    }
    Ok(())
}

fn bytes_row(name: &str, before: u64, after: u64, out: &mut dyn Write) -> fmt::Result {
    let delta = after.wrapping_sub(before) as i64;
    writeln!(out, "{name:<18}{before:>12} {after:>12} {delta:>+12}")
}

fn heaps(comparison: &Comparison, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "{:<18}{COLUMNS}", "heap")?;
    for heap in &comparison.heaps {
        write!(out, "{:<18}", format!("{:x}", heap.handle))?;
        numbers(&heap.busy, out)?;
        match heap.status {
            HeapStatus::Survived => {}
            HeapStatus::New => write!(out, "  new")?,
            HeapStatus::Gone => write!(out, "  gone")?,
            HeapStatus::Between => write!(out, "  came and went")?,
        }
        if !heap.losses.iter().all(Losses::walks_complete) {
            write!(out, "  not all read")?;
        }
        writeln!(out)?;
    }
    write!(out, "{:<18}", "all heaps")?;
    numbers(&comparison.total, out)?;
    writeln!(out)
}

/// The stack that most of the growth comes from, in a few words.
fn culprit(
    verdict: &Verdict<'_>,
    judgement: &Judgement,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let wrappers = &judgement.wrappers;
    let (Some(heap), Some(culprit)) = (verdict.heap, &verdict.culprit) else {
        return Ok(());
    };
    if let Some(frames) = essence_without(&culprit.stack, names, wrappers) {
        let (bytes, blocks) = (culprit.bytes, culprit.blocks);
        writeln!(
            out,
            "Most from one stack: {bytes:+} bytes, {blocks:+} blocks: {frames}"
        )?;
    }
    let numerous = verdict.most_blocks.as_ref().and_then(|size| {
        let stacks = heap.stacks_of(size.key.size);
        stacks.max_by_key(|group| group.change.blocks())
    });
    if let Some(group) = numerous
        && let Some(size) = group.key.size
        && let Some(frames) = group
            .key
            .stack
            .as_deref()
            .and_then(|stack| essence_without(stack, names, wrappers))
    {
        let blocks = group.change.blocks();
        writeln!(
            out,
            "Most new blocks of {size:#x} bytes: {blocks:+} from {frames}"
        )?;
    }
    Ok(())
}

/// Stacks that are printed under a size.
const STACKS_OF_A_SIZE: usize = 3;
/// Sizes of a heap that stacks are printed under.
const SIZES_WITH_STACKS: usize = 5;

fn groups(
    heap: &HeapChange,
    options: &Options,
    bitness: Bitness,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let BlockChanges {
        new,
        gone,
        survived,
    } = heap.blocks;
    writeln!(
        out,
        "\nheap {:x}: {} blocks new, {} gone, {} survived",
        heap.handle, new.blocks, gone.blocks, survived.blocks
    )?;
    let rows = match options.show {
        Show::Groups => heap.groups.clone(),
        Show::Heaps | Show::Sizes => heap.by_size(),
    };
    let with_size = rows.iter().any(|row| row.key.size.is_some());
    writeln!(
        out,
        "{:<18}{COLUMNS}",
        if with_size { "block size" } else { "stack" }
    )?;
    // The most numerous new blocks are shown even where a few large ones come before them.
    let numerous = rows
        .iter()
        .max_by_key(|group| group.change.blocks())
        .map(|group| &group.key);
    let mut others = (0, Change::default());
    let mut shown = 0;
    for group in rows.iter().filter(|group| !group.change.is_zero()) {
        let grew = group.change.bytes();
        let shrank_or_grew_enough = grew < 0 || grew.unsigned_abs() >= options.min_growth;
        let is_numerous = numerous == Some(&group.key) && grew > 0;
        if !is_numerous && (shown >= options.top || !shrank_or_grew_enough) {
            others.0 += 1;
            others.1.merge(group.change);
            continue;
        }
        shown += 1;
        let label = match group.key.size {
            Some(size) => format!("{size:#x} ({size})"),
            None => format!("#{shown}"),
        };
        write!(out, "{label:<18}")?;
        numbers(&group.change, out)?;
        writeln!(out)?;
        if let Some(stack) = &group.key.stack {
            write_stack(stack, bitness, names, 8, out)?;
        } else if grew > 0 && (shown <= SIZES_WITH_STACKS || is_numerous) && heap.has_stacks() {
            stacks_of_size(heap, group.key.size, bitness, names, out)?;
        }
    }
    if others.0 > 0 {
        write!(out, "{:<18}", format!("{} others", others.0))?;
        numbers(&others.1, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The stacks that account for the growth of a size.
fn stacks_of_size(
    heap: &HeapChange,
    size: Option<u64>,
    bitness: Bitness,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let growing = || {
        heap.stacks_of(size)
            .filter(|group| group.change.bytes() > 0)
    };
    for group in growing().take(STACKS_OF_A_SIZE) {
        write!(out, "{:<18}", "    from")?;
        numbers(&group.change, out)?;
        writeln!(out)?;
        write_stack(
            group.key.stack.as_deref().unwrap_or(&[]),
            bitness,
            names,
            8,
            out,
        )?;
    }
    let more = growing().count().saturating_sub(STACKS_OF_A_SIZE);
    if more > 0 {
        writeln!(out, "    and {more} more stacks")?;
    }
    Ok(())
}
