//! `db`, `dw`, `dd`, `dc`, `dq`, `dp`, `dps`, `dds`, `dqs`, `da` and `du`: memory.

use std::fmt::{self, Write};

use super::modules::back_quoted;
use ntheap::{layout::Bitness, names::NameSource, process::Process};

/// How memory is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Display {
    /// Bytes and characters.
    Bytes,
    /// Numbers of so many bytes: 2, 4 or 8.
    Numbers(u8),
    /// Numbers of 4 bytes, and characters.
    Characters,
    /// Pointers of so many bytes, one a line, with the symbols that they point to.
    Symbols(u64),
    /// A string of single bytes.
    Ascii,
    /// A string of 16-bit characters.
    Unicode,
}

const ROW: u64 = 16;
/// Characters of a string in a line.
const STRING_ROW: u64 = 32;
/// Strings are shown up to this length.
const LONGEST_STRING: u64 = 0x1000;

/// Prints `count` elements (for strings: at most so many characters). Returns the number of bytes
/// that were shown.
///
/// # Errors
/// Those of `out`.
pub(crate) fn display(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    display: Display,
    address: u64,
    count: u64,
    out: &mut dyn Write,
) -> Result<u64, fmt::Error> {
    let size = match display {
        Display::Bytes => {
            bytes(process, address, count, out)?;
            1
        }
        Display::Numbers(size) => {
            numbers(process, address, size.into(), count, false, out)?;
            u64::from(size)
        }
        Display::Characters => {
            numbers(process, address, 4, count, true, out)?;
            4
        }
        Display::Symbols(size) => {
            symbols(process, names, (address, size), count, out)?;
            size
        }
        Display::Ascii => return string(process, address, count, 1, out),
        Display::Unicode => return string(process, address, count, 2, out),
    };
    Ok(count.saturating_mul(size))
}

fn bytes(process: &Process<'_, '_>, address: u64, count: u64, out: &mut dyn Write) -> fmt::Result {
    let mut at = 0;
    while at < count {
        let row = (count - at).min(ROW);
        write!(
            out,
            "{} ",
            back_quoted(address.wrapping_add(at), process.bitness)
        )?;
        let byte = |index| process.memory().u8(address.wrapping_add(at + index));
        for index in 0..ROW {
            // A row that ends before its second half has no mark in front of it.
            out.write_str(if index == 8 && row > 8 { "-" } else { " " })?;
            match byte(index) {
                _ if index >= row => out.write_str("  ")?,
                Some(byte) => write!(out, "{byte:02x}")?,
                None => out.write_str("??")?,
            }
        }
        characters(process, address.wrapping_add(at), row, out)?;
        writeln!(out)?;
        at += row;
    }
    Ok(())
}

/// The characters of a row, behind its numbers.
fn characters(
    process: &Process<'_, '_>,
    address: u64,
    count: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    out.write_str("  ")?;
    for index in 0..count {
        let byte = process.memory().u8(address.wrapping_add(index));
        out.write_char(byte.map_or('?', |byte| match byte {
            0x20..=0x7e => char::from(byte),
            _ => '.',
        }))?;
    }
    Ok(())
}

fn numbers(
    process: &Process<'_, '_>,
    address: u64,
    size: u64,
    count: u64,
    with_characters: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let memory = process.memory();
    let in_row = ROW / size;
    for index in 0..count {
        let at = address.wrapping_add(index.wrapping_mul(size));
        if index % in_row == 0 {
            write!(out, "{} ", back_quoted(at, process.bitness))?;
        }
        let text = match size {
            2 => memory.u16(at).map(|value| format!("{value:04x}")),
            4 => memory.u32(at).map(|value| format!("{value:08x}")),
            _ => memory.u64(at).map(|value| back_quoted(value, Bitness::X64)),
        };
        let unread = || match size {
            8 => missing(Bitness::X64).to_owned(),
            _ => "?".repeat(2 * size as usize),
        };
        write!(out, " {}", text.unwrap_or_else(unread))?;
        if index % in_row == in_row - 1 || index + 1 == count {
            if with_characters {
                // A row that is not full keeps its characters in their column.
                let shown = index % in_row + 1;
                let blank = (in_row - shown) * (1 + 2 * size);
                write!(out, "{:1$}", "", blank as usize)?;
                let row = at.wrapping_sub((shown - 1) * size);
                characters(process, row, shown * size, out)?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}

fn symbols(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    (address, size): (u64, u64),
    count: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = match size {
        4 => Bitness::X86,
        _ => Bitness::X64,
    };
    for index in 0..count {
        let at = address.wrapping_add(index.wrapping_mul(size));
        write!(out, "{}  ", back_quoted(at, process.bitness))?;
        let Some(value) = process.memory().pointer(at, width) else {
            writeln!(out, "{}", missing(width))?;
            continue;
        };
        write!(out, "{}", back_quoted(value, width))?;
        if let Some(name) = names.name(value) {
            write!(out, " {}", name.module)?;
            if let Some(symbol) = &name.symbol {
                write!(out, "!{symbol}")?;
            }
            if name.displacement != 0 {
                write!(out, "+0x{:x}", name.displacement)?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

/// What stands for a pointer that is not in the dump.
fn missing(bitness: Bitness) -> &'static str {
    match bitness {
        Bitness::X86 => "????????",
        Bitness::X64 => "????????`????????",
    }
}

/// A string up to its end, in lines; where not even its first character is in the dump, a line of
/// question marks.
fn string(
    process: &Process<'_, '_>,
    address: u64,
    count: u64,
    size: u64,
    out: &mut dyn Write,
) -> Result<u64, fmt::Error> {
    let memory = process.memory();
    let count = count.min(LONGEST_STRING);
    let unit = |index: u64| {
        let at = address.wrapping_add(index * size);
        match size {
            1 => memory.u8(at).map(u32::from),
            _ => memory.u16(at).map(u32::from),
        }
    };
    let shown = (0..count)
        .take_while(|&index| unit(index).is_some_and(|unit| unit != 0))
        .count() as u64;
    let (shown, readable) = match unit(0) {
        None => (count.min(STRING_ROW), false),
        Some(_) => (shown, true),
    };
    let mut index = 0;
    loop {
        let at = address.wrapping_add(index * size);
        write!(out, "{}  \"", back_quoted(at, process.bitness))?;
        let end = shown.min(index + STRING_ROW);
        while index < end {
            let character = unit(index).and_then(char::from_u32);
            let visible = |c: &char| !c.is_control() && (size > 1 || c.is_ascii());
            out.write_char(match character.filter(visible) {
                Some(character) => character,
                None if readable => '.',
                None => '?',
            })?;
            index += 1;
        }
        writeln!(out, "\"")?;
        if index >= shown {
            break;
        }
    }
    // The end of a string counts as shown.
    Ok((shown + u64::from(shown < count)) * size)
}
