//! Tables as comma-separated values (RFC 4180, a header row, numbers without separators).
//!
//! ```
//! use ntheap_report::csv::Row;
//!
//! let mut text = String::new();
//! Row::new(&mut text).text("a, b").number(3).end()?;
//! assert_eq!(text, "\"a, b\",3\r\n");
//! # Ok::<(), std::fmt::Error>(())
//! ```

use std::fmt::{self, Display, Write};

use ntheap::{
    diff::{Comparison, Course},
    names::NameSource,
};

use crate::text::stacks::frame_texts;

/// One row of a table.
pub struct Row<'o> {
    out: &'o mut dyn Write,
    fields: usize,
    failed: bool,
}

impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row")
            .field("fields", &self.fields)
            .finish_non_exhaustive()
    }
}

impl<'o> Row<'o> {
    /// An empty row.
    pub fn new(out: &'o mut dyn Write) -> Self {
        Row {
            out,
            fields: 0,
            failed: false,
        }
    }

    fn put(mut self, write: impl FnOnce(&mut dyn Write) -> fmt::Result) -> Self {
        let comma = match self.fields {
            0 => Ok(()),
            _ => self.out.write_char(','),
        };
        self.fields += 1;
        self.failed |= comma.and_then(|()| write(self.out)).is_err();
        self
    }

    /// A field of text, in quotes where it needs them. What spreadsheets would take for a formula is
    /// made text by a quotation mark in front: names come from the dump.
    #[must_use]
    pub fn text(self, text: &str) -> Self {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let quoted = formula || text.contains(['"', ',', '\n', '\r']);
        self.put(|out| match quoted {
            false => out.write_str(text),
            true => {
                let mark = if formula { "'" } else { "" };
                write!(out, "\"{mark}{}\"", text.replace('"', "\"\""))
            }
        })
    }

    /// A number.
    #[must_use]
    pub fn number(self, number: impl Display) -> Self {
        self.put(|out| write!(out, "{number}"))
    }

    /// An address in hexadecimal.
    #[must_use]
    pub fn address(self, address: u64) -> Self {
        self.put(|out| write!(out, "{address:#x}"))
    }

    /// A field that is empty without a value.
    #[must_use]
    pub fn maybe(self, value: Option<impl Display>) -> Self {
        self.put(|out| value.map_or(Ok(()), |value| write!(out, "{value}")))
    }

    /// Ends the row.
    ///
    /// # Errors
    /// Those of the output.
    pub fn end(self) -> fmt::Result {
        if self.failed {
            return Err(fmt::Error);
        }
        self.out.write_str("\r\n")
    }
}

/// Writes every group that changed: heap, size, bytes and blocks in each dump, how it grew, its stack.
///
/// # Errors
/// Those of `out`.
pub fn write_comparison(
    comparison: &Comparison,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let times: Vec<u32> = comparison.moments.iter().map(|m| m.timestamp).collect();
    let mut row = Row::new(out).text("heap").text("size");
    for dump in 1..=times.len() {
        row = row
            .text(&format!("bytes_{dump}"))
            .text(&format!("blocks_{dump}"));
    }
    for title in [
        "delta_bytes",
        "delta_blocks",
        "trend",
        "steadiness",
        "stack",
    ] {
        row = row.text(title);
    }
    row.end()?;
    let bitness = ntheap::layout::Bitness::X64;
    for heap in &comparison.heaps {
        for group in heap
            .groups
            .iter()
            .filter(|group| group.counts.windows(2).any(|pair| pair[0] != pair[1]))
        {
            let mut row = Row::new(out).address(heap.handle).maybe(group.key.size);
            for count in &group.counts {
                row = row.number(count.bytes).number(count.blocks);
            }
            let course = Course::of(&times, &group.counts);
            let stack = group.key.stack.as_deref().unwrap_or(&[]);
            row.number(group.change.bytes())
                .number(group.change.blocks())
                .text(course.trend.name())
                .maybe(course.steadiness.map(|score| format!("{score:.3}")))
                .text(&frame_texts(stack, bitness, names).join(" < "))
                .end()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_that_need_quotes_have_them() {
        let mut text = String::new();
        Row::new(&mut text)
            .text("a\"b")
            .text("=cmd()")
            .text("plain")
            .maybe(None::<u64>)
            .address(0x10)
            .end()
            .unwrap();
        assert_eq!(text, "\"a\"\"b\",\"'=cmd()\",plain,,0x10\r\n");
    }
}
