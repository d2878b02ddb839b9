//! The comparison of two dumps as text: the verdict first, then heaps, then their block sizes.

use std::fmt::{self, Write};

use crate::{
    diff::{BlockChanges, Change, Comparison, HeapChange, HeapStatus, human_bytes},
    process::Process,
    usage::{Class, Owner},
};

/// How to print.
#[derive(Debug, Clone)]
pub struct Options {
    /// What to call the two dumps.
    pub names: [String; 2],
    /// Whether to print the groups of each heap.
    pub groups: bool,
    /// Groups per heap.
    pub top: usize,
    /// Groups that grew by fewer bytes are folded into the others.
    pub min_growth: u64,
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(
    comparison: &Comparison,
    processes: &[Process<'_, '_>; 2],
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    writeln!(out, "{}", comparison.verdict())?;
    certainty(comparison, out)?;
    writeln!(out)?;
    header(comparison, processes, options, out)?;
    writeln!(out)?;
    address_space(comparison, out)?;
    writeln!(out)?;
    heaps(comparison, out)?;
    if options.groups {
        // Where nothing grew, the row above says enough.
        let grew = |heap: &&HeapChange| heap.groups.iter().any(|group| group.change.bytes() > 0);
        for heap in comparison.heaps.iter().filter(grew) {
            groups(heap, options, out)?;
        }
    }
    Ok(())
}

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
    let bytes: u64 = comparison.heaps.iter().map(|heap| heap.unread_bytes).sum();
    let incomplete: Vec<&HeapChange> = comparison
        .heaps
        .iter()
        .filter(|h| h.unread_bytes > 0 || h.findings > 0)
        .collect();
    write!(
        out,
        "Not sure: {} could not be read or proved, in",
        human_bytes(bytes)
    )?;
    for (index, heap) in incomplete.iter().take(4).enumerate() {
        write!(
            out,
            "{} {:x}",
            if index == 0 { "" } else { "," },
            heap.handle
        )?;
    }
    let more = incomplete.len().saturating_sub(4);
    if more > 0 {
        write!(out, " and {more} more heaps")?;
    }
    writeln!(out, " (details on stderr).")
}

fn header(
    comparison: &Comparison,
    processes: &[Process<'_, '_>; 2],
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    for (index, label) in ["before", "after "].into_iter().enumerate() {
        let process = &processes[index];
        write!(out, "{label}  {}", options.names[index])?;
        if let Some(pid) = process.dump.process_id {
            write!(out, "  pid {pid}")?;
        }
        if let Some(program) = process.program() {
            write!(out, "  {}", program.file_name())?;
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
        }
        if heap.unread_bytes > 0 || heap.findings > 0 {
            write!(out, "  not all read")?;
        }
        writeln!(out)?;
    }
    write!(out, "{:<18}", "all heaps")?;
    numbers(&comparison.total, out)?;
    writeln!(out)
}

fn groups(heap: &HeapChange, options: &Options, out: &mut dyn Write) -> fmt::Result {
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
    writeln!(out, "{:<18}{COLUMNS}", "block size")?;
    let mut others = (0, Change::default());
    let mut shown = 0;
    for group in heap.groups.iter().filter(|group| !group.change.is_zero()) {
        let grew = group.change.bytes();
        let shrank_or_grew_enough = grew < 0 || grew.unsigned_abs() >= options.min_growth;
        if shown < options.top && shrank_or_grew_enough {
            shown += 1;
            let size = group.key.size.unwrap_or(0);
            write!(out, "{:<18}", format!("{size:#x} ({size})"))?;
            numbers(&group.change, out)?;
            writeln!(out)?;
        } else {
            others.0 += 1;
            others.1.merge(group.change);
        }
    }
    if others.0 > 0 {
        write!(out, "{:<18}", format!("{} others", others.0))?;
        numbers(&others.1, out)?;
        writeln!(out)?;
    }
    Ok(())
}
