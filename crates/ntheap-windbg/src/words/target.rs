//! `vertarget`, `version`, `.time`: which Windows, and when.

use std::fmt::{self, Write};

use super::time;
use ntheap::{
    dump::{Architecture, Product},
    printable::printable,
    process::Process,
};

/// Prints which Windows the process ran on.
///
/// # Errors
/// Those of `out`.
pub(crate) fn target(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let dump = process.dump;
    let build = process.build;
    let family = match build {
        22000.. => "Windows 11",
        10240.. => "Windows 10",
        9600.. => "Windows 8.1",
        9200.. => "Windows 8",
        7600.. => "Windows 7",
        6000.. => "Windows Vista",
        3790.. => "Windows Server 2003",
        _ => "Windows XP",
    };
    // The debugger calls servers by the workstations' names; which they are stands behind.
    let machine = match dump.architecture {
        Architecture::X86 => "x86 compatible",
        Architecture::X64 => "x64",
        Architecture::Arm64 => "ARM 64-bit (AArch64)",
    };
    let processors = match dump.processors {
        0 | 1 => "UP".to_owned(),
        count => format!("MP ({count} procs)"),
    };
    writeln!(out, "{family} Version {build} {processors} Free {machine}")?;
    let product = match dump.product {
        Product::DomainController => "LanManNt",
        Product::Server => "Server",
        _ => "WinNt",
    };
    write!(out, "Product: {product}")?;
    match dump.windows_name() {
        Some(name) => writeln!(out, ", edition: {name}")?,
        None => writeln!(out)?,
    }
    if let Some([major, minor, build]) = dump.os_version {
        writeln!(out, "{major}.{minor}.{build}")?;
    }
    let ntdll = process.ntdll().and_then(|module| module.version);
    if let Some([major, minor, build, revision]) = ntdll {
        writeln!(out, "ntdll.dll version: {major}.{minor}.{build}.{revision}")?;
    }
    Ok(())
}

/// Prints when the dump was taken, and how long the process had run.
///
/// # Errors
/// Those of `out`.
pub(crate) fn times(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let dump = process.dump;
    let taken = u64::from(dump.timestamp);
    writeln!(out, "Debug session time: {}", time::date_of_session(taken))?;
    writeln!(out, "System Uptime: not available")?;
    match dump.process_create_time {
        Some(start) => {
            let ran = taken.saturating_sub(start.into());
            writeln!(out, "Process Uptime: {}", time::duration(ran))?;
        }
        None => writeln!(out, "Process Uptime: not available")?,
    }
    if let Some((user, kernel)) = dump.process_times {
        writeln!(out, "  Kernel time: {}", time::duration(kernel.into()))?;
        writeln!(out, "  User time: {}", time::duration(user.into()))?;
    }
    Ok(())
}

/// Prints how the process was started.
///
/// # Errors
/// Those of `out`.
pub(crate) fn command_line(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let Some(text) = super::environment::command_line(process) else {
        return Ok(());
    };
    writeln!(
        out,
        "command line: '{}'  Process 0x{:x}",
        printable(&text),
        process.dump.process_id.unwrap_or(0)
    )
}
