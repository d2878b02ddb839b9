//! What Windows itself noted: the exception that the dump was written for, and ntdll's record of a
//! damaged heap.

use std::fmt::{self, Write};

use ntheap::{
    dump::Exception,
    names::{NameSource, unnamed},
    process::Process,
};

/// Writes both, where there are any; returns whether there was something to say.
///
/// # Errors
/// Those of `out`.
pub fn write(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    let place = |address: u64| match names.name(address) {
        Some(name) => name.to_string(),
        None => unnamed(address, process.bitness),
    };
    let exception = process.dump.exception.as_ref();
    if let Some(exception) = exception {
        writeln!(
            out,
            "The dump was written for an exception: {} at {}",
            describe(exception),
            place(exception.address)
        )?;
    }
    let failure = process.heap_failure();
    if let Some(failure) = &failure {
        let name = failure.name.unwrap_or("a failure without a name");
        writeln!(
            out,
            "Windows found heap {:x} damaged at {:x}: {} ({name})",
            failure.heap,
            failure.address,
            failure.meaning(),
        )?;
        if !failure.stack.is_empty() {
            writeln!(out, "    found by")?;
        }
        for &frame in &failure.stack {
            writeln!(out, "        {}", place(frame))?;
        }
    }
    Ok(exception.is_some() || failure.is_some())
}

/// An exception in one line: code, name, what it wanted, thread.
#[must_use]
pub fn describe(exception: &Exception) -> String {
    let mut text = format!("{:08x}", exception.code);
    if let Some(name) = exception.name() {
        text += &format!(" ({name})");
    }
    if let Some((kind, address)) = exception.access() {
        text += &format!(", {kind} of {address:x}");
    }
    text + &format!(", in thread {} (0x{0:x})", exception.thread)
}
