//! Lost blocks as text: what is lost in a sentence, how sure that is, the sums in memcheck's words,
//! then the records.

use std::fmt::{self, Write};

use ntheap::{
    graph::{Class, LeakRecord, Leaks, Rules, Ways},
    losses::Losses,
    stats::Count,
};

use crate::text::{
    grouped,
    holders::Holders,
    stacks::{essence, write_stack},
};

/// How to print.
#[derive(Debug, Clone)]
pub struct Options {
    /// Classes whose records are shown.
    pub classes: Vec<Class>,
    /// Records to show.
    pub top: usize,
    /// The rules, to be named.
    pub rules: Rules,
    /// What the older dump is called, where only what was not lost there is told.
    pub since: Option<String>,
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(
    holders: &Holders<'_, '_, '_>,
    leaks: &Leaks,
    losses: &Losses,
    ways: &Ways,
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    headline(holders, leaks, options, out)?;
    certainty(holders, losses, out)?;
    writeln!(out, "\nLEAK SUMMARY (heuristics: {}):", options.rules)?;
    for class in Class::ALL {
        let Count { blocks, bytes } = leaks.total(class);
        writeln!(
            out,
            "{:>18}: {} bytes in {} blocks",
            class.title(),
            grouped(bytes),
            grouped(blocks)
        )?;
    }
    let chosen = |record: &&LeakRecord| options.classes.contains(&record.class);
    let count = leaks.records.iter().filter(chosen).count();
    for (index, record) in leaks
        .records
        .iter()
        .filter(chosen)
        .take(options.top)
        .enumerate()
    {
        writeln!(out)?;
        write_record(holders, record, (index + 1, count), ways, out)?;
    }
    if count > options.top {
        writeln!(out, "\n... and {} more loss records", count - options.top)?;
    }
    Ok(())
}

fn headline(
    holders: &Holders<'_, '_, '_>,
    leaks: &Leaks,
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut lost = leaks.total(Class::Definite);
    lost.merge(leaks.total(Class::Indirect));
    let since = match &options.since {
        Some(name) => format!(" and were not in {name}"),
        None => String::new(),
    };
    if lost.blocks == 0 {
        return writeln!(out, "No blocks are lost{since}.");
    }
    write!(
        out,
        "{} bytes in {} blocks are lost{since}: nothing leads to them.",
        grouped(lost.bytes),
        grouped(lost.blocks)
    )?;
    let worst = leaks
        .records
        .iter()
        .find(|record| record.class == Class::Definite);
    if let Some(record) = worst {
        write!(
            out,
            " Most by {} blocks of {}, which keep {} bytes",
            grouped(record.own.blocks),
            what(record),
            grouped(record.kept())
        )?;
        if let Some(stack) = essence(&record.stack, holders.names) {
            write!(out, ", from {stack}")?;
        }
        write!(out, ".")?;
    }
    writeln!(out)
}

fn what(record: &LeakRecord) -> String {
    match &record.type_name {
        Some(name) => format!("{name} ({:#x} bytes each)", record.size),
        None => format!("{:#x} bytes", record.size),
    }
}

fn certainty(holders: &Holders<'_, '_, '_>, losses: &Losses, out: &mut dyn Write) -> fmt::Result {
    let graph = holders.graph;
    let doubt = graph.doubt();
    let sure = !doubt.may_accuse_falsely() && losses.complete();
    if sure {
        writeln!(
            out,
            "Sure: all memory that may hold pointers was read ({} blocks, {} references, {} threads).",
            grouped(graph.index().len() as u64),
            grouped(graph.reference_count() as u64),
            doubt.threads
        )?;
    } else {
        writeln!(out, "Not sure:")?;
    }
    for line in doubt.to_string().lines() {
        writeln!(out, "  {line}")?;
    }
    Ok(())
}

fn write_record(
    holders: &Holders<'_, '_, '_>,
    record: &LeakRecord,
    (number, count): (usize, usize),
    ways: &Ways,
    out: &mut dyn Write,
) -> fmt::Result {
    write!(out, "{} ", grouped(record.kept()))?;
    if record.indirect.blocks > 0 {
        write!(
            out,
            "({} direct, {} indirect) ",
            grouped(record.own.bytes),
            grouped(record.indirect.bytes)
        )?;
    }
    writeln!(
        out,
        "bytes in {} blocks are {} in loss record {} of {}",
        grouped(record.own.blocks),
        record.class.title(),
        grouped(number as u64),
        grouped(count as u64)
    )?;
    let graph = holders.graph;
    let (address, _) = graph.index().block(record.example);
    writeln!(out, "    {}, the first at {address:x}", what(record))?;
    if record.class == Class::Possible
        && let Some(link) = ways.doubtful(graph, record.example)
    {
        write!(out, "    interior pointer at +{:#x} ", link.offset)?;
        if link.target != record.example {
            write!(
                out,
                "of {}, which leads to it, ",
                holders.block(link.target)
            )?;
        }
        writeln!(out, "from {}", holders.place(&link))?;
    }
    if !record.stack.is_empty() {
        write_stack(
            &record.stack,
            graph.process().bitness,
            holders.names,
            8,
            out,
        )?;
    }
    Ok(())
}
