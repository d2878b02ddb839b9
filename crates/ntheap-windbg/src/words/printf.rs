//! `.printf`: text with values in it.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{names::NameSource, printable::printable, process::Process};

/// Strings of memory are shown up to this length.
const LONGEST: u64 = 0x4000;
/// Numbers are padded to no more than this.
const WIDEST: usize = 0x100;

/// Whether a format shows what lies in memory.
#[must_use]
pub(crate) fn printf_reads_memory(format: &str) -> bool {
    ["%m", "%s", "%S"].iter().any(|kind| format.contains(kind))
}

/// A conversion: flags, width, precision and letters.
#[derive(Debug, Default)]
struct Conversion {
    left: bool,
    zeros: bool,
    prefix: bool,
    plus: bool,
    width: usize,
    precision: Option<usize>,
    kind: String,
}

impl Conversion {
    /// Reads what stands behind a percent sign; and what stands behind that.
    fn read(text: &str) -> (Self, &str) {
        let mut found = Conversion::default();
        let mut rest = text;
        let take = |rest: &mut &str, wanted: &dyn Fn(char) -> bool| -> Option<char> {
            let c = rest.chars().next().filter(|c| wanted(*c))?;
            *rest = &rest[c.len_utf8()..];
            Some(c)
        };
        while let Some(flag) = take(&mut rest, &|c| "-0#+ ".contains(c)) {
            match flag {
                '-' => found.left = true,
                '0' => found.zeros = true,
                '#' => found.prefix = true,
                '+' => found.plus = true,
                _ => {}
            }
        }
        let digits = |rest: &mut &str| -> usize {
            let mut value = 0usize;
            while let Some(digit) = take(rest, &|c| c.is_ascii_digit()) {
                let digit = digit.to_digit(10).unwrap_or(0) as usize;
                value = (value * 10 + digit).min(WIDEST);
            }
            value
        };
        found.width = digits(&mut rest);
        if take(&mut rest, &|c| c == '.').is_some() {
            found.precision = Some(digits(&mut rest));
        }
        // Of those that begin alike the longest first.
        const KINDS: &[&str] = &[
            "msa", "msu", "ma", "mu", "mc", "I64d", "I64u", "I64x", "I64X", "I64", "lld", "llu",
            "llx", "ld", "lu", "lx", "ly", "d", "i", "u", "x", "X", "o", "c", "C", "p", "N", "y",
            "s", "S", "f", "e", "g",
        ];
        let kind = KINDS.iter().find(|kind| rest.starts_with(**kind));
        if let Some(kind) = kind {
            found.kind = (*kind).to_owned();
            rest = &rest[kind.len()..];
        }
        (found, rest)
    }

    fn pad(&self, text: &str, numeric: bool) -> String {
        let width = self.width;
        match (self.left, self.zeros && numeric) {
            (true, _) => format!("{text:<width$}"),
            (false, true) => format!("{text:0>width$}"),
            (false, false) => format!("{text:>width$}"),
        }
    }
}

/// Prints a format with its values; whether there were enough of them.
///
/// # Errors
/// Those of `out`.
pub(crate) fn printf(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    format: &str,
    values: &[u64],
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    let mut values = values.iter().copied();
    let mut rest = format;
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        match c {
            '\\' => {
                let escaped = rest.chars().next();
                rest = escaped.map_or("", |c| &rest[c.len_utf8()..]);
                match escaped {
                    Some('n') => out.write_char('\n')?,
                    Some('r') => {}
                    Some('t') => out.write_char('\t')?,
                    Some(c) => out.write_char(c)?,
                    None => out.write_char('\\')?,
                }
            }
            '%' if rest.starts_with('%') => {
                rest = &rest[1..];
                out.write_char('%')?;
            }
            '%' => {
                let (conversion, behind) = Conversion::read(rest);
                if conversion.kind.is_empty() {
                    out.write_char('%')?;
                    continue;
                }
                rest = behind;
                let Some(value) = values.next() else {
                    return Ok(false);
                };
                convert(process, names, &conversion, value, out)?;
            }
            c => out.write_char(c)?,
        }
    }
    Ok(true)
}

fn convert(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    conversion: &Conversion,
    value: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let low = u64::from(value as u32);
    let bitness = process.bitness;
    let number = |text: String| {
        // A precision is the least number of digits.
        let digits = conversion.precision.unwrap_or(0);
        conversion.pad(&format!("{text:0>digits$}"), true)
    };
    let prefix = if conversion.prefix { "0x" } else { "" };
    let plus = |value: i64| {
        if conversion.plus && value >= 0 {
            "+"
        } else {
            ""
        }
    };
    let text = match conversion.kind.as_str() {
        "d" | "i" | "ld" => {
            let value = i64::from(value as i32);
            number(format!("{}{value}", plus(value)))
        }
        "I64d" | "lld" | "I64" => number(format!("{}{}", plus(value as i64), value as i64)),
        "u" | "lu" => number(low.to_string()),
        "I64u" | "llu" => number(value.to_string()),
        "x" | "lx" => number(format!("{prefix}{low:x}")),
        "X" => number(format!("{prefix}{low:X}")),
        "I64x" | "llx" => number(format!("{prefix}{value:x}")),
        "I64X" => number(format!("{prefix}{value:X}")),
        "o" => number(format!("{low:o}")),
        "c" | "C" => {
            let character = char::from_u32(value as u32).filter(|c| !c.is_control());
            conversion.pad(&character.unwrap_or('.').to_string(), false)
        }
        "p" => conversion.pad(&pointer(value, bitness), true),
        "N" => conversion.pad(&format!("{value:X}"), true),
        "f" | "e" | "g" => conversion.pad(&super::formats::scientific(f64::from_bits(value)), true),
        "y" | "ly" => {
            let name = match names.name(value) {
                Some(name) => format!("{name} ({})", super::modules::back_quoted(value, bitness)),
                None => super::modules::back_quoted(value, bitness),
            };
            let line = names.source_line(value).filter(|_| conversion.kind == "ly");
            match line {
                Some(line) => format!("{name} [{} @ {}]", printable(&line.file), line.line),
                None => name,
            }
        }
        "mu" | "S" => conversion.pad(&string(process, value, 2, conversion.precision), false),
        "msa" | "msu" => {
            let size = if conversion.kind == "msu" { 2 } else { 1 };
            let memory = process.memory();
            let length = memory.u16(value).unwrap_or(0) as usize / size as usize;
            let buffer = value
                .checked_add(bitness.pointer_size())
                .and_then(|at| memory.pointer(at, bitness));
            let text = buffer.map(|buffer| string(process, buffer, size, Some(length)));
            conversion.pad(&text.unwrap_or_default(), false)
        }
        _ => conversion.pad(&string(process, value, 1, conversion.precision), false),
    };
    out.write_str(&text)
}

/// The string at an address, with so many characters at most.
fn string(process: &Process<'_, '_>, address: u64, size: u64, most: Option<usize>) -> String {
    let memory = process.memory();
    let most = most.map_or(LONGEST, |most| (most as u64).min(LONGEST));
    let unit = |index: u64| {
        let at = address.checked_add(index * size)?;
        match size {
            1 => memory.u8(at).map(u16::from),
            _ => memory.u16(at),
        }
    };
    let units = (0..most).map_while(unit).take_while(|&unit| unit != 0);
    let text: String = char::decode_utf16(units)
        .map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER))
        .collect();
    printable(&text).into_owned()
}
