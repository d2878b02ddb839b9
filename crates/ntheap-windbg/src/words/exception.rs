//! `.exr`, `.lastevent`: the exception that the dump was written for.

use std::fmt::{self, Write};

use super::{format::pointer, modules::back_quoted, time};
use ntheap::{dump::Exception, layout::Bitness, names::NameSource, process::Process};

/// `EXCEPTION_MAXIMUM_PARAMETERS`.
const MAX_PARAMETERS: u32 = 15;

/// What the debugger calls an exception.
fn name(code: u32) -> Option<&'static str> {
    Some(match code {
        0x8000_0001 => "Guard page violation",
        0x8000_0002 => "Data misaligned",
        0x8000_0003 => "Break instruction exception",
        0x8000_0004 => "Single step exception",
        0x4000_001f => "WOW64 breakpoint",
        0xc000_0005 => "Access violation",
        0xc000_0006 => "In-page I/O error",
        0xc000_0008 => "Invalid handle",
        0xc000_001d => "Illegal instruction",
        0xc000_0094 => "Integer divide-by-zero",
        0xc000_0095 => "Integer overflow",
        0xc000_00fd => "Stack overflow",
        0xc000_0374 => "Heap corruption",
        0xc000_0409 => "Security check failure or stack buffer overrun",
        0xc000_0420 => "Assertion failure",
        0xe043_4352 => "CLR exception",
        0xe06d_7363 => "C++ EH exception",
        _ => return None,
    })
}

struct Record<'r> {
    code: u32,
    flags: u32,
    address: u64,
    parameters: &'r [u64],
}

fn record(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    record: &Record<'_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = process.bitness;
    write!(
        out,
        "ExceptionAddress: {}",
        pointer(record.address, bitness)
    )?;
    match names.name(record.address) {
        Some(name) => writeln!(out, " ({name})")?,
        None => writeln!(out)?,
    }
    let code = record.code;
    match name(code) {
        Some(name) => writeln!(out, "   ExceptionCode: {code:08x} ({name})")?,
        None => writeln!(out, "   ExceptionCode: {code:08x}")?,
    }
    writeln!(out, "  ExceptionFlags: {:08x}", record.flags)?;
    writeln!(out, "NumberParameters: {}", record.parameters.len())?;
    for (index, value) in record.parameters.iter().enumerate() {
        writeln!(out, "   Parameter[{index}]: {}", pointer(*value, bitness))?;
    }
    if let (Exception::ACCESS_VIOLATION, &[kind, address, ..]) = (code, record.parameters) {
        let address = pointer(address, bitness);
        match kind {
            0 => writeln!(out, "Attempt to read from address {address}")?,
            1 => writeln!(out, "Attempt to write to address {address}")?,
            8 => writeln!(out, "Attempt to execute non-executable address {address}")?,
            _ => {}
        }
    }
    Ok(())
}

/// `.exr -1`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn exception(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    exception: &Exception,
    out: &mut dyn Write,
) -> fmt::Result {
    let shown = Record {
        code: exception.code,
        flags: exception.flags,
        address: exception.address,
        parameters: &exception.parameters,
    };
    record(process, names, &shown, out)
}

/// `.exr ADDRESS`: the `EXCEPTION_RECORD` there; whether the dump has one.
///
/// # Errors
/// Those of `out`.
pub(crate) fn exception_at(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    address: u64,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    let size = process.bitness.pointer_size();
    let memory = process.memory();
    let number = |field: u64| memory.u32(address.checked_add(field)?);
    let word = |field: u64| memory.pointer(address.checked_add(field)?, process.bitness);
    // Code and flags, the next record, the address, the number of parameters.
    let parameters = 8 + 2 * size;
    let first = match process.bitness {
        Bitness::X86 => parameters + 4,
        Bitness::X64 => parameters + 8,
    };
    let read = || {
        let count = number(parameters)?.min(MAX_PARAMETERS);
        let values = (0..u64::from(count)).map_while(|index| word(first + index * size));
        Some((
            number(0)?,
            number(4)?,
            word(8 + size)?,
            values.collect::<Vec<_>>(),
        ))
    };
    let Some((code, flags, at, values)) = read() else {
        return Ok(false);
    };
    let shown = Record {
        code,
        flags,
        address: at,
        parameters: &values,
    };
    record(process, names, &shown, out)?;
    Ok(true)
}

/// `.lastevent`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn last_event(
    process: &Process<'_, '_>,
    current: usize,
    out: &mut dyn Write,
) -> fmt::Result {
    let dump = process.dump;
    let id = dump.process_id.unwrap_or(0);
    match &dump.exception {
        Some(exception) => {
            write!(out, "Last event: {id:x}.{:x}: ", exception.thread)?;
            match name(exception.code) {
                Some(name) => writeln!(out, "{name} - code {:08x}", exception.code)?,
                None => writeln!(out, "Unknown exception - code {:08x}", exception.code)?,
            }
            let address = back_quoted(exception.address, process.bitness);
            writeln!(out, "  at {address}")?;
        }
        None => {
            let thread = dump.threads.get(current).map_or(0, |thread| thread.id);
            writeln!(
                out,
                "Last event: {id:x}.{thread:x}: the dump was not written for an exception"
            )?;
        }
    }
    let time = time::date_of_session(dump.timestamp.into());
    writeln!(out, "  debugger time: {time}")
}
