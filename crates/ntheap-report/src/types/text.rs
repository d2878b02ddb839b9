//! What the blocks are, as text: how much is explained first, then the types, then texts.

use std::fmt::{self, Write};

use ntheap::diff::human_bytes;

use super::{ContainerReport, TextReport, TypeReport, TypesReport};

/// How to print.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Rows of a table.
    pub top: usize,
    /// The class whose objects alone are shown.
    pub base: Option<String>,
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn write(report: &TypesReport, options: &Options, out: &mut dyn Write) -> fmt::Result {
    headline(report, options, out)?;
    let compared = report.types.iter().any(|row| row.blocks_before.is_some());
    writeln!(out)?;
    if compared {
        writeln!(
            out,
            "{:>9} {:>9} {:>13} {:>13} {:>13}  TYPE",
            "COUNT", "DELTA", "BYTES", "DELTA", "RETAINED"
        )?;
    } else {
        writeln!(
            out,
            "{:>9} {:>13} {:>13}  TYPE",
            "COUNT", "BYTES", "RETAINED"
        )?;
    }
    let (shown, others) = report.types.split_at(options.top.min(report.types.len()));
    for row in shown {
        write_row(row, &row.name, compared, out)?;
    }
    if let Some(rest) = sum(others) {
        let name = format!("{} other types", others.len());
        write_row(&rest, &name, compared, out)?;
    }
    texts(&report.texts, options, out)
}

fn headline(report: &TypesReport, options: &Options, out: &mut dyn Write) -> fmt::Result {
    let explained = &report.explained;
    if let Some(base) = &options.base {
        let (blocks, bytes) = report.types.iter().fold((0u64, 0u64), |sum, row| {
            (
                sum.0.saturating_add(row.blocks),
                sum.1.saturating_add(row.bytes),
            )
        });
        return writeln!(
            out,
            "{blocks} objects of {base} and what derives from it, {} together.",
            human_bytes(bytes)
        );
    }
    writeln!(
        out,
        "{:.1} % of the bytes explained: {} of {}, in {} of {} blocks.",
        explained.percent,
        human_bytes(explained.typed_bytes),
        human_bytes(explained.bytes),
        explained.typed_blocks,
        explained.blocks
    )?;
    let grown = report.types.first().filter(|row| row.byte_growth() > 0);
    if let Some(row) = grown {
        writeln!(
            out,
            "Most growth: {:+} bytes in {:+} blocks of {}.",
            row.byte_growth(),
            row.block_growth(),
            row.name
        )?;
    }
    Ok(())
}

fn write_row(row: &TypeReport, name: &str, compared: bool, out: &mut dyn Write) -> fmt::Result {
    let retained = row
        .retained
        .map_or_else(String::new, |bytes| bytes.to_string());
    if compared {
        writeln!(
            out,
            "{:>9} {:>+9} {:>13} {:>+13} {retained:>13}  {name}",
            row.blocks,
            row.block_growth(),
            row.bytes,
            row.byte_growth()
        )
    } else {
        writeln!(
            out,
            "{:>9} {:>13} {retained:>13}  {name}",
            row.blocks, row.bytes
        )
    }
}

/// Rows that are not shown, together.
fn sum(rows: &[TypeReport]) -> Option<TypeReport> {
    let mut sum = rows.first()?.clone();
    // What one keeps another may keep as well.
    sum.retained = None;
    for row in &rows[1..] {
        let add = |a: Option<u64>, b: Option<u64>| Some(a?.saturating_add(b?));
        sum.blocks = sum.blocks.saturating_add(row.blocks);
        sum.bytes = sum.bytes.saturating_add(row.bytes);
        sum.blocks_before = add(sum.blocks_before, row.blocks_before);
        sum.bytes_before = add(sum.bytes_before, row.bytes_before);
    }
    Some(sum)
}

fn texts(texts: &[TextReport], options: &Options, out: &mut dyn Write) -> fmt::Result {
    if texts.is_empty() {
        return Ok(());
    }
    writeln!(out)?;
    let hidden = texts.iter().all(|text| text.text.is_none());
    let hint = if hidden {
        " (--contents shows them)"
    } else {
        ""
    };
    writeln!(out, "texts that are stored again and again{hint}")?;
    writeln!(out, "{:>9} {:>13}  TEXT", "COUNT", "BYTES")?;
    for text in texts.iter().take(options.top) {
        let kind = format!("{} of {}", text.characters, text.encoding);
        match &text.text {
            Some(contents) => {
                writeln!(
                    out,
                    "{:>9} {:>13}  {kind}: {contents:?}",
                    text.blocks, text.bytes
                )?;
            }
            None => {
                writeln!(
                    out,
                    "{:>9} {:>13}  {kind} at {}",
                    text.blocks, text.bytes, text.first
                )?;
            }
        }
    }
    Ok(())
}

/// Writes the containers.
///
/// # Errors
/// Those of `out`.
pub fn containers(
    containers: &[ContainerReport],
    options: &Options,
    out: &mut dyn Write,
) -> fmt::Result {
    let bytes = containers
        .iter()
        .map(|container| container.bytes)
        .fold(0, u64::saturating_add);
    let spare = containers
        .iter()
        .map(|container| container.spare)
        .fold(0, u64::saturating_add);
    writeln!(
        out,
        "{} containers hold {}, of which {} are room to grow.",
        containers.len(),
        human_bytes(bytes),
        human_bytes(spare)
    )?;
    writeln!(out)?;
    writeln!(
        out,
        "{:>9} {:>13} {:>13}  {:<13} {:<16} HOLDER",
        "ELEMENTS", "BYTES", "SPARE", "KIND", "OWNER"
    )?;
    for container in containers.iter().take(options.top) {
        writeln!(
            out,
            "{:>9} {:>13} {:>13}  {:<13} {:<16x} {}",
            container.elements,
            container.bytes,
            container.spare,
            container.kind,
            container.owner.0,
            container.holder
        )?;
    }
    if containers.len() > options.top {
        writeln!(out, "... and {} more", containers.len() - options.top)?;
    }
    Ok(())
}
