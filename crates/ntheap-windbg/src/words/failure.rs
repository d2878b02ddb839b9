//! `!heap -s`: the box that says what ntdll noted of a damaged heap.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{
    names::{NameSource, unnamed},
    process::{HeapFailure, Process},
};

/// Lines of the debugger's about a type of failure, where a sample shows them.
const NOT_BUSY: &str = "\
Details:    The caller performed an operation (such as a free
            or a size check) that is illegal on a free block.
Follow-up:  Check the error's stack trace to find the culprit.
";

/// Writes the box, if ntdll noted anything.
pub(crate) fn write(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let Some(failure) = process.heap_failure() else {
        return Ok(());
    };
    let (stars, bitness) = ("*".repeat(62), process.bitness);
    let line = |text: &str| format!("*{text:60}*");
    writeln!(out, "{stars}\n{}", line(""))?;
    writeln!(out, "{}", line(&format!("{:18}HEAP ERROR DETECTED", "")))?;
    writeln!(out, "{}\n{stars}\n\nDetails:\n", line(""))?;
    writeln!(out, "Heap address:  {}", pointer(failure.heap, bitness))?;
    writeln!(out, "Error address: {}", pointer(failure.address, bitness))?;
    match failure.name {
        Some(name) => writeln!(out, "Error type: {name}")?,
        None => writeln!(out, "Error type: {}", failure.kind)?,
    }
    details(&failure, out)?;
    writeln!(out, "\n\nStack trace:")?;
    writeln!(
        out,
        "Stack trace at 0x{}",
        pointer(failure.stack_at, bitness)
    )?;
    for &frame in &failure.stack {
        write!(out, "    {}: ", pointer(frame, bitness))?;
        match names.name(frame) {
            Some(name) => writeln!(out, "{name}")?,
            None => writeln!(out, "{}", unnamed(frame, bitness))?,
        }
    }
    writeln!(out)
}

fn details(failure: &HeapFailure, out: &mut dyn Write) -> fmt::Result {
    match failure.name {
        Some("HEAP_FAILURE_BLOCK_NOT_BUSY") => out.write_str(NOT_BUSY),
        _ => writeln!(out, "Details:    {}.", failure.meaning()),
    }
}
