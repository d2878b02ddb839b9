//! `~`, `|`, `||`: threads, the process, the system.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{
    dump::flag_names, layout::Bitness, names::NameSource, printable::printable, process::Process,
};

/// Prints a thread; `current` is the one that commands speak of. With `verbose` its priority too.
///
/// # Errors
/// Those of `out`.
pub(crate) fn thread(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    index: usize,
    current: usize,
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let dump = process.dump;
    let Some(thread) = dump.threads.get(index) else {
        return Ok(());
    };
    let exception = dump.exception.as_ref();
    let mark = match index == current {
        true => '.',
        false if exception.is_some_and(|e| e.thread == thread.id) => '#',
        false => ' ',
    };
    let teb = process.thread_block(thread).unwrap_or(thread.teb);
    let bitness = match process.wow64 {
        // Threads of a WOW64 process are shown with their 64-bit blocks' width.
        true if teb > u64::from(u32::MAX) => Bitness::X64,
        _ => process.bitness,
    };
    writeln!(
        out,
        "{mark} {index:2}  Id: {:x}.{:x} Suspend: {} Teb: {} Unfrozen",
        dump.process_id.unwrap_or(0),
        thread.id,
        thread.suspend_count,
        match bitness {
            Bitness::X64 => super::modules::back_quoted(teb, bitness),
            Bitness::X86 => pointer(teb, bitness),
        },
    )?;
    if verbose {
        let info = dump.thread_infos().into_iter().find(|i| i.id == thread.id);
        if let Some(start) = info.map(|info| info.start_address).filter(|&at| at != 0) {
            let shown = super::modules::back_quoted(start, bitness);
            match names.name(start) {
                Some(name) => writeln!(out, "      Start: {name} ({shown})")?,
                None => writeln!(out, "      Start: {shown}")?,
            }
        }
        let (priority, class) = (thread.priority, thread.priority_class);
        write!(out, "      Priority: {priority}  Priority class: {class}")?;
        match info {
            Some(info) => writeln!(out, "  Affinity: {:x}", info.affinity)?,
            None => writeln!(out)?,
        }
    }
    Ok(())
}

/// `|`: the process.
///
/// # Errors
/// Those of `out`.
pub(crate) fn process(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let path = process
        .program()
        .map_or("", |program| program.path.as_str());
    writeln!(
        out,
        ".  0\tid: {:x}\texamine\tname: {}",
        process.dump.process_id.unwrap_or(0),
        printable(path)
    )
}

/// `||`: the system, which is the dump.
///
/// # Errors
/// Those of `out`.
pub(crate) fn system(process: &Process<'_, '_>, name: &str, out: &mut dyn Write) -> fmt::Result {
    let kind = match process.dump.is_full_memory() {
        true => "Full memory user mini dump",
        false => "User mini dump",
    };
    writeln!(out, ".  0 {kind}: {}", printable(name))?;
    if !process.dump.is_full_memory() {
        let names: Vec<_> = flag_names(process.dump.flags).collect();
        let names = names.join(" ");
        writeln!(out, "     flags {:x} ({names})", process.dump.flags)?;
    }
    Ok(())
}

/// `.dumpdebug`: the header of the dump and its streams.
///
/// # Errors
/// Those of `out`.
pub(crate) fn streams(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let dump = process.dump;
    writeln!(out, "----- User Mini Dump Analysis\n\nMINIDUMP_HEADER:")?;
    writeln!(out, "NumberOfStreams {}", dump.streams().len())?;
    writeln!(out, "Flags           {:x}", dump.flags)?;
    for name in flag_names(dump.flags) {
        writeln!(out, "                {name}")?;
    }
    writeln!(out, "\nStreams:")?;
    for (index, stream) in dump.streams().iter().enumerate() {
        let name = stream.name().unwrap_or("of another writer");
        writeln!(
            out,
            "Stream {index}: type {name} ({}), size {:08X}, RVA {:08X}",
            stream.kind, stream.size, stream.offset
        )?;
    }
    Ok(())
}
