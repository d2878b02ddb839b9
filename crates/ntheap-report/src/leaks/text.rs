//! Lost blocks as text: what is lost in a sentence, how sure that is, the sums in memcheck's words,
//! then the records.

use std::fmt::{self, Write};

use ntheap::{
    graph::{Class, Doubt, LeakRecord, Leaks, Rules, Ways},
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

/// A number of things, as [`grouped`] has it.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {thing}{plural}", grouped(number))
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
    headline(holders, (leaks, losses), options, out)?;
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
    (leaks, losses): (&Leaks, &Losses),
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut lost = leaks.total(Class::Definite);
    lost.merge(leaks.total(Class::Indirect));
    let since = match &options.since {
        Some(name) => format!(" and were not in {name}"),
        None => String::new(),
    };
    let unread = unread(holders.graph.doubt(), losses);
    if lost.blocks == 0 {
        return match unread {
            None => writeln!(out, "No blocks are lost{since}."),
            Some(what) => writeln!(out, "No lost blocks were found{since}, but {what}."),
        };
    }
    let (bytes, blocks) = (counted(lost.bytes, "byte"), counted(lost.blocks, "block"));
    match unread {
        None => {
            let (are, them) = match lost.blocks {
                1 => ("is", "it"),
                _ => ("are", "them"),
            };
            write!(
                out,
                "{bytes} in {blocks} {are} lost{since}: nothing leads to {them}."
            )?;
        }
        Some(what) => write!(
            out,
            "{bytes} in {blocks} may be lost{since}: nothing that was read leads there, but {what}."
        )?,
    }
    let worst = leaks
        .records
        .iter()
        .find(|record| record.class == Class::Definite);
    if let Some(record) = worst {
        write!(
            out,
            " Most by {} of {}, which {} {}",
            counted(record.own.blocks, "block"),
            what(record),
            if record.own.blocks == 1 {
                "keeps"
            } else {
                "keep"
            },
            counted(record.kept(), "byte")
        )?;
        if let Some(stack) = essence(&record.stack, holders.names) {
            write!(out, ", from {stack}")?;
        }
        write!(out, ".")?;
    }
    writeln!(out)
}

/// What was not seen that may lead to blocks; `None` if there is no such thing.
fn unread(doubt: &Doubt, losses: &Losses) -> Option<String> {
    let unseen = doubt.unseen();
    if unseen > 0 {
        let are = if unseen == 1 { "is" } else { "are" };
        let bytes = counted(unseen, "byte");
        return Some(format!(
            "{bytes} that may hold pointers {are} not in the dump"
        ));
    }
    let doubtful = doubt.may_accuse_falsely() || !losses.complete();
    doubtful.then(|| "not all that may hold pointers could be read".to_owned())
}

fn what(record: &LeakRecord) -> String {
    let each = if record.own.blocks == 1 { "" } else { " each" };
    match &record.type_name {
        Some(name) => format!("{name} ({:#x} bytes{each})", record.size),
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
            "Sure: all memory that may hold pointers was read ({}, {}, {}).",
            counted(graph.index().len() as u64, "block"),
            counted(graph.reference_count() as u64, "reference"),
            counted(doubt.threads as u64, "thread")
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
