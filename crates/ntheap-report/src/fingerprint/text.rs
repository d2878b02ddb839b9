//! Fingerprints and their comparison in words.

use std::fmt::{self, Write};

use ntheap::{diff::human_bytes, printable::printable};

use super::{
    Fingerprint,
    compare::{FingerprintChange, FingerprintDiff, NamedChange},
};

impl Fingerprint {
    /// Writes it for people: what there is most of first, then tables of at most `top` rows.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, top: usize, out: &mut dyn Write) -> fmt::Result {
        let place = |hash: &str| {
            let stack = self.stacks.iter().find(|row| row.stack == hash);
            stack.map_or_else(|| hash.to_owned(), |stack| self.place(stack))
        };
        write!(
            out,
            "{} in {} blocks",
            human_bytes(self.total.bytes),
            self.total.blocks
        )?;
        match self.dumps {
            1 => {}
            dumps => write!(out, " of {dumps} dumps")?,
        }
        match (self.sites.rows.first(), self.sizes.rows.first()) {
            (Some(site), _) => write!(
                out,
                "; most in {} blocks of {:#x} bytes from {} ({})",
                site.blocks,
                site.size,
                printable(&place(&site.stack)),
                human_bytes(site.bytes)
            )?,
            (None, Some(size)) => write!(
                out,
                "; most in {} blocks of {:#x} bytes ({})",
                size.blocks,
                size.size,
                human_bytes(size.bytes)
            )?,
            (None, None) => {}
        }
        writeln!(out, ".")?;
        if self.incomplete > 0 {
            writeln!(
                out,
                "Not read whole: {} of {} dumps.",
                self.incomplete, self.dumps
            )?;
        }
        for row in &self.processes {
            writeln!(
                out,
                "{:>9} dumps of {} {}, Windows build {}, {} bits",
                row.dumps,
                printable(row.program.as_deref().unwrap_or("other programs")),
                printable(row.version.as_deref().unwrap_or("(no version)")),
                row.build,
                row.bits
            )?;
        }
        for row in &self.labels {
            let value = row.value.as_deref().unwrap_or("(others)");
            writeln!(
                out,
                "{:>9} dumps with {} {}",
                row.dumps,
                printable(&row.label),
                printable(value)
            )?;
        }
        let mut table = Rows::new(out, "SIZE", top);
        for row in &self.sizes.rows {
            table.row(row.blocks, row.bytes, &format!("{:#x}", row.size))?;
        }
        table.others(self.sizes.others.count().into())?;
        if self.sites.total.blocks > 0 {
            let mut table = Rows::new(out, "SITE", top);
            for row in &self.sites.rows {
                table.row(
                    row.blocks,
                    row.bytes,
                    &format!("{:#x} {}", row.size, place(&row.stack)),
                )?;
            }
            table.others(self.sites.others.count().into())?;
        }
        if let Some(known) = &self.known {
            let mut table = Rows::new(out, "TYPE", top);
            for row in &known.types.rows {
                table.row(row.blocks, row.bytes, &row.name)?;
            }
            table.others(known.types.others.count().into())?;
            let mut table = Rows::new(out, "HELD BY", top);
            for row in &known.owners.rows {
                table.row(
                    row.blocks,
                    row.bytes,
                    &holder(row.owner.as_deref(), &row.kind),
                )?;
            }
            table.others(known.owners.others.count().into())?;
        }
        Ok(())
    }
}

/// Blocks and bytes.
struct Sum {
    blocks: u64,
    bytes: u64,
}

impl From<crate::json::CountReport> for Sum {
    fn from(count: crate::json::CountReport) -> Self {
        Sum {
            blocks: count.blocks,
            bytes: count.bytes,
        }
    }
}

/// A table of which the first rows are shown.
struct Rows<'o> {
    out: &'o mut dyn Write,
    head: &'static str,
    left: usize,
    begun: bool,
    more: Sum,
}

impl<'o> Rows<'o> {
    fn new(out: &'o mut dyn Write, head: &'static str, top: usize) -> Self {
        Rows {
            out,
            head,
            left: top,
            begun: false,
            more: Sum {
                blocks: 0,
                bytes: 0,
            },
        }
    }

    fn line(&mut self, blocks: u64, bytes: u64, name: &str) -> fmt::Result {
        if !self.begun {
            self.begun = true;
            writeln!(self.out, "\n{:>9} {:>13}  {}", "COUNT", "BYTES", self.head)?;
        }
        writeln!(self.out, "{blocks:>9} {bytes:>13}  {}", printable(name))
    }

    fn row(&mut self, blocks: u64, bytes: u64, name: &str) -> fmt::Result {
        if self.left == 0 {
            self.more.blocks = self.more.blocks.saturating_add(blocks);
            self.more.bytes = self.more.bytes.saturating_add(bytes);
            return Ok(());
        }
        self.left -= 1;
        self.line(blocks, bytes, name)
    }

    /// Ends the table with the sum of what was not shown and of what has no row.
    fn others(&mut self, without_row: Sum) -> fmt::Result {
        let blocks = self.more.blocks.saturating_add(without_row.blocks);
        let bytes = self.more.bytes.saturating_add(without_row.bytes);
        match blocks {
            0 => Ok(()),
            _ => self.line(blocks, bytes, "(others)"),
        }
    }
}

fn holder(owner: Option<&str>, kind: &str) -> String {
    match (owner, kind) {
        (Some(owner), "object") => owner.to_owned(),
        (Some(owner), _) => format!("{owner} ({kind})"),
        (None, "lost") => "nobody (lost)".to_owned(),
        (None, kind) => format!("({kind})"),
    }
}

impl FingerprintDiff {
    /// The result in words.
    pub(super) fn words(&self) -> String {
        let total = self.total;
        let average = match (self.before.dumps, self.after.dumps) {
            (1, 1) => "",
            _ => " in a dump on average",
        };
        if total.delta_bytes <= 0 {
            return format!(
                "No growth: {:+} bytes in {:+} blocks{average}.",
                total.delta_bytes, total.delta_blocks
            );
        }
        let head = format!(
            "Growth: {} more in {:+} blocks{average}",
            human_bytes(total.delta_bytes.unsigned_abs()),
            total.delta_blocks
        );
        let part = |change: &FingerprintChange| {
            let percent = change.delta_bytes as f64 * 100.0 / total.delta_bytes as f64;
            format!(
                "{:+} bytes in {:+} blocks ({percent:.0} %)",
                change.delta_bytes, change.delta_blocks
            )
        };
        let site = self
            .sites
            .first()
            .filter(|site| site.change.delta_bytes > 0);
        if let Some(site) = site {
            let size = site
                .size
                .map_or_else(String::new, |size| format!("{size:#x} bytes "));
            let many = self
                .sites
                .iter()
                .max_by_key(|site| site.change.delta_blocks);
            let many = many.filter(|many| many.change.delta_blocks > site.change.delta_blocks);
            let many = many.map_or_else(String::new, |many| {
                let size = many
                    .size
                    .map_or_else(String::new, |size| format!("{size:#x} bytes "));
                format!(
                    " Most new blocks of {size}from {}: {}.",
                    many.place,
                    part(&many.change)
                )
            });
            return format!(
                "{head}; most of {size}from {}: {}.{many}",
                site.place,
                part(&site.change)
            );
        }
        match self
            .sizes
            .first()
            .filter(|size| size.change.delta_bytes > 0)
        {
            Some(size) => format!(
                "{head}; most of {:#x} bytes: {}.",
                size.size,
                part(&size.change)
            ),
            None => format!("{head}."),
        }
    }

    /// Writes it for people: the result first, then tables of at most `top` rows that grew by
    /// `min_growth` bytes or more.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, top: usize, min_growth: u64, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "{}", printable(&self.verdict))?;
        for (side, which) in [(&self.before, "first"), (&self.after, "second")] {
            if side.incomplete > 0 {
                writeln!(
                    out,
                    "Not sure: of the {which}, {} of {} dumps were not read whole.",
                    side.incomplete, side.dumps
                )?;
            }
        }
        let enough =
            |change: &FingerprintChange| i128::from(change.delta_bytes) >= i128::from(min_growth);
        let sizes = self
            .sizes
            .iter()
            .map(|row| (format!("{:#x}", row.size), row.change));
        section("SIZE", sizes.filter(|row| enough(&row.1)).take(top), out)?;
        let sites = self.sites.iter().map(|row| {
            let size = row
                .size
                .map_or_else(String::new, |size| format!("{size:#x} "));
            (size + &row.place, row.change)
        });
        section("SITE", sites.filter(|row| enough(&row.1)).take(top), out)?;
        let named = |rows: &Option<Vec<NamedChange>>, name: &dyn Fn(&NamedChange) -> String| {
            let rows = rows.iter().flatten();
            rows.map(|row| (name(row), row.change)).collect::<Vec<_>>()
        };
        let types = named(&self.types, &|row| row.name.clone().unwrap_or_default());
        section(
            "TYPE",
            types.into_iter().filter(|row| enough(&row.1)).take(top),
            out,
        )?;
        let owners = named(&self.owners, &|row| holder(row.name.as_deref(), &row.kind));
        section(
            "HELD BY",
            owners.into_iter().filter(|row| enough(&row.1)).take(top),
            out,
        )?;
        if let Some(site) = self.sites.first().filter(|site| enough(&site.change)) {
            writeln!(out, "\n{} comes from", printable(&site.place))?;
            for frame in &site.frames {
                writeln!(out, "    {}", printable(frame))?;
            }
        }
        Ok(())
    }
}

fn section(
    head: &str,
    rows: impl Iterator<Item = (String, FingerprintChange)>,
    out: &mut dyn Write,
) -> fmt::Result {
    for (number, (name, change)) in rows.enumerate() {
        if number == 0 {
            writeln!(out, "\n{:>13} {:>9}  {head}", "BYTES", "BLOCKS")?;
        }
        write!(
            out,
            "{:>+13} {:>+9}  {}",
            change.delta_bytes,
            change.delta_blocks,
            printable(&name)
        )?;
        match (change.before_lacks, change.after_lacks) {
            (0, 0) => writeln!(out)?,
            (before, after) => writeln!(
                out,
                "  (uncertain: up to {before} bytes more before, {after} after)"
            )?,
        }
    }
    Ok(())
}
