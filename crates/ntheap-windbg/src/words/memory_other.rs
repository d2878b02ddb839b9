//! Forms of memory that are asked for less: `dpp`, `dpa`, `df`, `dyb`, `ds`, `dl`.

use std::fmt::{self, Write};

use super::{
    formats::scientific,
    memory::{Target, missing, symbol, width},
    modules::back_quoted,
};
use ntheap::{layout::Bitness, names::NameSource, process::Process};

/// Strings behind pointers are shown up to this length.
const LONGEST: u64 = 0x100;
/// A list is followed for so many elements.
const MOST_ELEMENTS: u64 = 1 << 16;

/// `dpp`, `dpa`, `dpu`: pointers and what they lead to.
pub(super) fn targets(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    (address, size): (u64, u64),
    target: Target,
    count: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = width(size);
    let memory = process.memory();
    for index in 0..count {
        let at = address.wrapping_add(index.wrapping_mul(size));
        write!(out, "{}  ", back_quoted(at, process.bitness))?;
        let Some(pointer) = memory.pointer(at, width) else {
            writeln!(out, "{}", missing(width))?;
            continue;
        };
        write!(out, "{}", back_quoted(pointer, width))?;
        match target {
            Target::Pointer => {
                if let Some(value) = memory.pointer(pointer, width) {
                    write!(out, " {}", back_quoted(value, width))?;
                    symbol(names, value, out)?;
                }
            }
            Target::Ascii => text(process, pointer, 1, LONGEST, out)?,
            Target::Unicode => text(process, pointer, 2, LONGEST, out)?,
        }
        writeln!(out)?;
    }
    Ok(())
}

/// A string in quotes behind a space, if there is one at the address.
fn text(
    process: &Process<'_, '_>,
    address: u64,
    size: u64,
    most: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let memory = process.memory();
    let unit = |index: u64| {
        let at = address.checked_add(index * size)?;
        match size {
            1 => memory.u8(at).map(u16::from),
            _ => memory.u16(at),
        }
    };
    if unit(0).is_none() {
        return Ok(());
    }
    write!(out, " \"")?;
    let units = (0..most).map_while(unit).take_while(|&unit| unit != 0);
    for character in char::decode_utf16(units) {
        let visible = |c: &char| !c.is_control() && (size > 1 || c.is_ascii());
        out.write_char(character.ok().filter(visible).unwrap_or('.'))?;
    }
    write!(out, "\"")
}

/// `df`, `dD`: floating point numbers.
pub(super) fn floats(
    process: &Process<'_, '_>,
    (address, size): (u64, u8),
    count: u64,
    columns: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let memory = process.memory();
    let size = u64::from(size);
    for index in 0..count {
        let at = address.wrapping_add(index * size);
        if index % columns == 0 {
            write!(out, "{} ", back_quoted(at, process.bitness))?;
        }
        let value = match size {
            4 => memory.u32(at).map(|bits| f32::from_bits(bits).into()),
            _ => memory.u64(at).map(f64::from_bits),
        };
        let text = value.map_or("??".to_owned(), scientific);
        write!(out, " {text:>16}")?;
        if index % columns == columns - 1 || index + 1 == count {
            writeln!(out)?;
        }
    }
    Ok(())
}

/// `dyb`, `dyd`: bits.
pub(super) fn bits(
    process: &Process<'_, '_>,
    (address, size): (u64, u8),
    count: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    const BYTES: u64 = 4;
    let memory = process.memory();
    let size = u64::from(size);
    let columns = BYTES / size.clamp(1, BYTES);
    // Numbers of bits above the columns, then a rule of them.
    let indent = back_quoted(0, process.bitness).len() + 1;
    for digits in [
        "3         2          1          0",
        "1 0 9 8 7 6 5 4 3 2 1 0 9 8 7 6 5 4 3 2 1 0",
    ] {
        if size == BYTES {
            writeln!(out, "{:indent$} {digits}", "")?;
        }
    }
    if size == 1 {
        let bits = ["76543210"; 4].join(" ");
        writeln!(out, "{:indent$} {bits}", "")?;
        let rule = ["--------"; 4].join(" ");
        writeln!(out, "{:indent$} {rule}", "")?;
    }
    let mut index = 0;
    while index < count {
        let at = address.wrapping_add(index * size);
        write!(out, "{} ", back_quoted(at, process.bitness))?;
        let row = columns.min(count - index);
        let mut values = Vec::new();
        for column in 0..row {
            let at = at.wrapping_add(column * size);
            let value = match size {
                1 => memory.u8(at).map(u32::from),
                _ => memory.u32(at),
            };
            let wide = 8 * size as usize;
            match value {
                Some(value) => {
                    write!(out, " {value:0wide$b}")?;
                    values.push(format!("{value:0digits$x}", digits = wide / 4));
                }
                None => {
                    write!(out, " {:?<wide$}", "")?;
                    values.push("?".repeat(wide / 4));
                }
            }
        }
        let blank = ((columns - row) * (8 * size + 1)) as usize;
        writeln!(out, "{:blank$}  {}", "", values.join(" "))?;
        index += row;
    }
    Ok(())
}

/// `ds`, `dS`: a string that says its length.
pub(super) fn counted(
    process: &Process<'_, '_>,
    address: u64,
    size: u8,
    out: &mut dyn Write,
) -> Result<u64, fmt::Error> {
    let (memory, bitness) = (process.memory(), process.bitness);
    let pointer_size = bitness.pointer_size();
    let length = memory.u16(address);
    let buffer = address
        .checked_add(pointer_size)
        .and_then(|at| memory.pointer(at, bitness));
    let (Some(length), Some(buffer)) = (length, buffer) else {
        writeln!(
            out,
            "{}  {}",
            back_quoted(address, bitness),
            missing(bitness)
        )?;
        return Ok(2 * pointer_size);
    };
    write!(out, "{} ", back_quoted(buffer, bitness))?;
    let size = u64::from(size);
    text(process, buffer, size, u64::from(length) / size, out)?;
    writeln!(out)?;
    Ok(2 * pointer_size)
}

/// `dl`: the elements of a list, each by its first words.
pub(super) fn list(
    process: &Process<'_, '_>,
    address: u64,
    count: u64,
    backwards: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let (memory, bitness) = (process.memory(), process.bitness);
    let size = bitness.pointer_size();
    let words = match bitness {
        Bitness::X86 => 4,
        Bitness::X64 => 2,
    };
    let mut at = address;
    for _ in 0..count.min(MOST_ELEMENTS) {
        write!(out, "{} ", back_quoted(at, bitness))?;
        for word in 0..words {
            match memory.pointer(at.wrapping_add(word * size), bitness) {
                Some(value) => write!(out, " {}", back_quoted(value, bitness))?,
                None => write!(out, " {}", missing(bitness))?,
            }
        }
        writeln!(out)?;
        let link = at.wrapping_add(if backwards { size } else { 0 });
        // The list ends where it began, at nothing, and outside the dump.
        match memory.pointer(link, bitness) {
            Some(next) if next != 0 && next != address && next != at => at = next,
            _ => break,
        }
    }
    Ok(())
}
