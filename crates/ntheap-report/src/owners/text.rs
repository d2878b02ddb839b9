//! Who holds chosen blocks, as text: where they accumulate first, then the way there, then what
//! keeps them.

use std::{
    collections::HashMap,
    fmt::{self, Write},
    sync::Arc,
};

use ntheap::{
    diff::human_bytes,
    graph::{Class, Selection},
    stats::Count,
};

use super::{Chosen, Found};
use crate::text::{grouped, holders::Holders};

/// Writes who holds the blocks.
///
/// # Errors
/// Those of `out`.
pub fn write(
    holders: &Holders<'_, '_, '_>,
    chosen: &Chosen,
    found: &Found,
    top: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    match chosen {
        Chosen::Block(block) => one(holders, *block, found, out),
        Chosen::Group(what) => {
            group(holders, what, found, out)?;
            keepers(holders, &found.selection, top, out)
        }
    }
}

fn one(
    holders: &Holders<'_, '_, '_>,
    block: u32,
    found: &Found,
    out: &mut dyn Write,
) -> fmt::Result {
    let Found {
        classes,
        dominators,
        to_first: way,
        ..
    } = found;
    let class = classes.of(block);
    write!(out, "{} is {}", holders.block(block), class.title())?;
    match (class, classes.leader(block), dominators.retained(block)) {
        (Class::Indirect, Some(leader), _) => {
            writeln!(out, ": it hangs on {}.", holders.block(leader))?;
        }
        (_, _, Some(retained)) => writeln!(out, " and retains {}.", human_bytes(retained))?,
        _ => writeln!(out, ".")?,
    }
    if !way.is_empty() {
        writeln!(out, "\nHeld by:")?;
        holders.way(way, 2, out)?;
    }
    let above: Vec<u32> = dominators.above(block).take(MOST_ABOVE).collect();
    if !above.is_empty() {
        writeln!(out, "\nDominated by, the nearest first:")?;
        for above in above {
            let retained = dominators.retained(above).unwrap_or(0);
            writeln!(
                out,
                "  {}, retains {}",
                holders.block(above),
                human_bytes(retained)
            )?;
        }
    }
    let chain = dominators.accumulation(holders.graph, block);
    if let [_, .., last] = chain[..] {
        let retained = dominators.retained(last).unwrap_or(0);
        writeln!(
            out,
            "\nWhat it retains is accumulated in {}: {}.",
            holders.block(last),
            human_bytes(retained)
        )?;
    }
    Ok(())
}

/// Dominators of one block that are shown.
const MOST_ABOVE: usize = 20;

fn group(
    holders: &Holders<'_, '_, '_>,
    what: &str,
    found: &Found,
    out: &mut dyn Write,
) -> fmt::Result {
    let Found {
        selection,
        dominators,
        accumulation,
        to_point,
        to_first,
        ..
    } = found;
    let total = format!(
        "{} blocks of {what} ({} retained)",
        grouped(selection.count.blocks),
        human_bytes(selection.retained)
    );
    match accumulation {
        Some(found) => {
            let root = to_point.first().map(|link| holders.place(link));
            let point = holders.short(found.point);
            write!(out, "{total} are accumulated in one {point}")?;
            // What a container holds is named after the container's own place.
            if let Some(last) = to_point.last().filter(|_| to_point.len() > 1) {
                match holders.field(last) {
                    Some(field) if point.contains(" of ") => write!(out, " ({field})")?,
                    None if point.contains(" of ") => {}
                    _ => write!(out, " of {}", holders.place(last))?,
                }
            }
            if let Some(root) = root {
                write!(out, ", held at {root}")?;
            }
            writeln!(
                out,
                ": {} of {} ways lead through it, and it retains {}.",
                grouped(found.through as u64),
                grouped(found.of as u64),
                human_bytes(dominators.retained(found.point).unwrap_or(0))
            )?;
        }
        None if selection.lost.blocks == selection.count.blocks => {
            writeln!(
                out,
                "{} blocks of {what}, all of them lost.",
                grouped(selection.count.blocks)
            )?;
        }
        None => writeln!(out, "{total}, in no single place.")?,
    }
    if selection.lost.blocks > 0 && selection.lost.blocks < selection.count.blocks {
        writeln!(
            out,
            "{} of them ({}) are lost.",
            grouped(selection.lost.blocks),
            human_bytes(selection.lost.bytes)
        )?;
    }
    let (title, way) = match accumulation {
        Some(_) => ("The way there", to_point),
        None => ("The way to the first of them", to_first),
    };
    if !way.is_empty() {
        writeln!(out, "\n{title}:")?;
        holders.way(way, 2, out)?;
    }
    Ok(())
}

fn keepers(
    holders: &Holders<'_, '_, '_>,
    selection: &Selection,
    top: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    if selection.keepers.is_empty() {
        return Ok(());
    }
    writeln!(
        out,
        "\n{:>9} {:>13} {:>13}  KEPT BY",
        "COUNT", "BYTES", "RETAINED"
    )?;
    let rows = rows(holders, selection);
    for row in rows.iter().take(top) {
        let name = match row.keepers {
            1 => row.name.clone(),
            many => format!("{} {}", grouped(many), row.name),
        };
        writeln!(
            out,
            "{:>9} {:>13} {:>13}  {name}",
            row.keeps.blocks, row.keeps.bytes, row.retained
        )?;
    }
    if rows.len() > top {
        writeln!(out, "... and {} more", rows.len() - top)?;
    }
    Ok(())
}

/// Dominators of one type, or one whose type is not known.
struct Row {
    name: String,
    keepers: u64,
    keeps: Count,
    retained: u64,
}

/// The rows of the table of dominators, those that keep most first.
fn rows(holders: &Holders<'_, '_, '_>, selection: &Selection) -> Vec<Row> {
    let mut rows: Vec<Row> = Vec::new();
    let mut by_type: HashMap<Arc<str>, usize> = HashMap::new();
    for keeper in &selection.keepers {
        let type_name = keeper.block.and_then(|block| holders.type_name(block));
        let known = type_name.as_ref().and_then(|name| by_type.get(name));
        if let Some(&row) = known {
            let row = &mut rows[row];
            row.name = type_name.map_or_else(String::new, |name| name.to_string());
            row.keepers += 1;
            row.keeps.merge(keeper.keeps);
            row.retained = row.retained.saturating_add(keeper.retained);
            continue;
        }
        by_type.extend(type_name.map(|name| (name, rows.len())));
        rows.push(Row {
            name: match keeper.block {
                Some(block) => holders.block(block),
                None => "roots, or several holders".to_owned(),
            },
            keepers: 1,
            keeps: keeper.keeps,
            retained: keeper.retained,
        });
    }
    rows.sort_by_key(|row| std::cmp::Reverse(row.retained));
    rows
}
