//! `db`, `dd`, `dc`, `dps`, `dpp`, `da`, `dl` and their like: memory.

use std::fmt::{self, Write};

use super::{memory_other as other, modules::back_quoted};
use ntheap::{layout::Bitness, names::NameSource, process::Process};

/// How memory is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Display {
    /// Bytes and characters.
    Bytes,
    /// Numbers of so many bytes: 2, 4 or 8.
    Numbers(u8),
    /// Numbers of so many bytes, and characters.
    Characters(u8),
    /// Floating point numbers of so many bytes.
    Floats(u8),
    /// Bits of numbers of so many bytes.
    Bits(u8),
    /// Pointers of so many bytes, one a line, with the symbols that they point to.
    Symbols(u64),
    /// Pointers of so many bytes, one a line, with what lies where they point to.
    Targets(u64, Target),
    /// A string of single bytes.
    Ascii,
    /// A string of 16-bit characters.
    Unicode,
    /// A string that says its length: `STRING` or `UNICODE_STRING`.
    Counted(u8),
    /// The elements of a list, each by its first words.
    List,
}

/// What is shown of the memory that a pointer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// The pointer there, with its symbol.
    Pointer,
    /// The string there.
    Ascii,
    /// The string of 16-bit characters there.
    Unicode,
}

impl Display {
    /// Size of an element in bytes.
    pub(crate) fn size(self) -> u64 {
        match self {
            Display::Numbers(size)
            | Display::Characters(size)
            | Display::Floats(size)
            | Display::Bits(size) => size.into(),
            Display::Symbols(size) | Display::Targets(size, _) => size,
            Display::Unicode => 2,
            Display::Bytes | Display::Ascii | Display::Counted(_) | Display::List => 1,
        }
    }
}

/// What of memory is shown, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown {
    pub(crate) display: Display,
    pub(crate) address: u64,
    /// Number of elements (of strings: at most so many characters).
    pub(crate) count: u64,
    /// Elements in a row, where that is asked for.
    pub(crate) columns: Option<u64>,
    /// Along the list's links back.
    pub(crate) backwards: bool,
}

const ROW: u64 = 16;
/// Characters of a string in a line.
const STRING_ROW: u64 = 32;
/// Strings are shown up to this length.
const LONGEST_STRING: u64 = 0x1000;

/// Prints memory. Returns the number of bytes that were shown.
///
/// # Errors
/// Those of `out`.
pub(crate) fn display(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    shown: &Shown,
    out: &mut dyn Write,
) -> Result<u64, fmt::Error> {
    let &Shown { address, count, .. } = shown;
    let columns = |usual: u64| shown.columns.unwrap_or(usual);
    match shown.display {
        Display::Bytes => bytes(process, address, count, columns(ROW), out)?,
        Display::Numbers(size) => {
            let columns = columns(ROW / u64::from(size));
            numbers(process, (address, size.into()), count, columns, false, out)?;
        }
        Display::Characters(size) => {
            let columns = columns(ROW / u64::from(size));
            numbers(process, (address, size.into()), count, columns, true, out)?;
        }
        Display::Floats(size) => {
            let columns = columns(if size == 4 { 4 } else { 3 });
            other::floats(process, (address, size), count, columns, out)?;
        }
        Display::Bits(size) => other::bits(process, (address, size), count, out)?,
        Display::Symbols(size) => symbols(process, names, (address, size), count, out)?,
        Display::Targets(size, target) => {
            other::targets(process, names, (address, size), target, count, out)?;
        }
        Display::Ascii => return string(process, address, count, 1, out),
        Display::Unicode => return string(process, address, count, 2, out),
        Display::Counted(size) => return other::counted(process, address, size, out),
        Display::List => other::list(process, address, count, shown.backwards, out)?,
    }
    Ok(count.saturating_mul(shown.display.size()))
}

pub(super) fn bytes(
    process: &Process<'_, '_>,
    address: u64,
    count: u64,
    columns: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut at = 0;
    while at < count {
        let row = (count - at).min(columns);
        write!(
            out,
            "{} ",
            back_quoted(address.wrapping_add(at), process.bitness)
        )?;
        let byte = |index| process.memory().u8(address.wrapping_add(at + index));
        for index in 0..columns {
            // A row that ends before its second half has no mark in front of it.
            out.write_str(if index == 8 && row > 8 && columns == ROW {
                "-"
            } else {
                " "
            })?;
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

pub(super) fn numbers(
    process: &Process<'_, '_>,
    (address, size): (u64, u64),
    count: u64,
    in_row: u64,
    with_characters: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let memory = process.memory();
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
    let width = width(size);
    for index in 0..count {
        let at = address.wrapping_add(index.wrapping_mul(size));
        write!(out, "{}  ", back_quoted(at, process.bitness))?;
        let Some(value) = process.memory().pointer(at, width) else {
            writeln!(out, "{}", missing(width))?;
            continue;
        };
        write!(out, "{}", back_quoted(value, width))?;
        symbol(names, value, out)?;
        writeln!(out)?;
    }
    Ok(())
}

/// The width of pointers of so many bytes.
pub(super) fn width(size: u64) -> Bitness {
    match size {
        4 => Bitness::X86,
        _ => Bitness::X64,
    }
}

/// The symbol of an address, if it has one, behind a space.
pub(super) fn symbol(names: &dyn NameSource, address: u64, out: &mut dyn Write) -> fmt::Result {
    let Some(name) = names.name(address) else {
        return Ok(());
    };
    write!(out, " {}", name.module)?;
    if let Some(symbol) = &name.symbol {
        write!(out, "!{symbol}")?;
    }
    if name.displacement != 0 {
        write!(out, "+0x{:x}", name.displacement)?;
    }
    Ok(())
}

/// What stands for a pointer that is not in the dump.
pub(super) fn missing(bitness: Bitness) -> &'static str {
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
