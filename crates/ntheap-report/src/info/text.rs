//! The report for people.

use std::fmt::{self, Write};

use ntheap::diff::human_bytes;

use super::{DumpInfo, HeapInfo, InfoReport, SideInfo};

pub(super) fn write(info: &InfoReport, out: &mut dyn Write) -> fmt::Result {
    let mut sides = info.sides.iter();
    if let Some(side) = sides.next() {
        missing(info.dump.problems.iter().chain(&side.problems), out)?;
        process(side, info.dump.windows, out)?;
        dump(&info.dump, out)?;
        details(side, out)?;
    }
    for side in sides {
        writeln!(out)?;
        missing(side.problems.iter(), out)?;
        process(side, info.dump.windows, out)?;
        details(side, out)?;
    }
    Ok(())
}

/// What is missing comes first: everything below may be less than the process had.
fn missing<'p>(problems: impl Iterator<Item = &'p String>, out: &mut dyn Write) -> fmt::Result {
    for (index, problem) in problems.enumerate() {
        let heading = if index == 0 { "MISSING" } else { "" };
        row(out, heading, problem)?;
    }
    Ok(())
}

/// A line with its heading.
fn row(out: &mut dyn Write, heading: &str, text: impl fmt::Display) -> fmt::Result {
    writeln!(out, "{heading:<14}{text}")
}

fn process(side: &SideInfo, windows: Option<&str>, out: &mut dyn Write) -> fmt::Result {
    let process = &side.process;
    row(
        out,
        "program",
        process.program.as_deref().unwrap_or("unknown"),
    )?;
    match process.pid {
        Some(pid) => row(out, "process", format_args!("{pid} (0x{pid:x})"))?,
        None => row(out, "process", "unknown")?,
    }
    let kind = match (process.bits, process.wow64) {
        (32, true) => "32-bit side of a WOW64 process",
        (64, true) => "64-bit side of a WOW64 process",
        (32, false) => "32-bit",
        _ => "64-bit",
    };
    row(out, "kind", kind)?;
    match windows {
        Some(name) => row(
            out,
            "Windows build",
            format_args!("{} ({name})", process.build),
        ),
        None => row(out, "Windows build", process.build),
    }
}

fn dump(dump: &DumpInfo, out: &mut dyn Write) -> fmt::Result {
    row(out, "dump taken", &dump.time)?;
    if let (Some(start), Some(seconds)) = (&dump.process_start, dump.process_seconds) {
        row(
            out,
            "started",
            format_args!("{start}, {} before", duration(seconds)),
        )?;
    }
    if let Some(exception) = &dump.exception_text {
        row(out, "exception", exception)?;
    }
    let mut names = dump.flag_names.join(" ");
    if names.is_empty() {
        names.push_str("MiniDumpNormal");
    }
    row(out, "dump flags", format_args!("{:#x} {names}", dump.flags))?;
    row(
        out,
        "memory",
        format_args!(
            "{} in {} ranges{}",
            human_bytes(dump.memory_bytes),
            dump.memory_ranges,
            if dump.full_memory {
                ""
            } else {
                " (not all of the process)"
            }
        ),
    )?;
    row(
        out,
        "counts",
        format_args!(
            "threads {}, modules {}, processors {} ({})",
            dump.threads, dump.modules, dump.processors, dump.architecture
        ),
    )
}

fn duration(seconds: u32) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, ..) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

fn details(side: &SideInfo, out: &mut dyn Write) -> fmt::Result {
    if let Some(failure) = &side.heap_failure {
        let name = failure.name.unwrap_or("a failure without a name");
        row(
            out,
            "ntdll noted",
            format_args!(
                "heap {:x} damaged at {:x}: {} ({name})",
                failure.heap.0, failure.address.0, failure.meaning
            ),
        )?;
        for frame in &failure.frames {
            writeln!(out, "    {frame}")?;
        }
    }
    match side.process.nt_global_flag {
        None => row(out, "NtGlobalFlag", "unknown")?,
        Some(flags) => row(out, "NtGlobalFlag", format_args!("{flags:#010x}"))?,
    }
    for flag in &side.global_flags {
        writeln!(out, "    {} - {}", flag.flag, flag.description)?;
    }
    stacks(side, out)?;
    writeln!(out)?;
    let width = side.process.bits as usize / 4;
    writeln!(
        out,
        "{:width$}  {:9}  flags      blocks     traced  options",
        "heap", "kind"
    )?;
    for heap in &side.heaps {
        let line = format!(
            "{:0width$x}  {:9}  {:08x} {:>8} {:>10}  {}",
            heap.heap.0,
            heap.kind,
            heap.flags,
            heap.busy_blocks,
            heap.traced_blocks,
            words(heap),
        );
        writeln!(out, "{}", line.trim_end())?;
    }
    locks(side, out)?;
    for advice in &side.advice {
        writeln!(
            out,
            "\nNot in this dump: {}. For the next one: {}",
            advice.missing, advice.command
        )?;
    }
    Ok(())
}

/// Class, options and debug options of a heap, the latter marked.
fn words(heap: &HeapInfo) -> String {
    let plain = heap.class.iter().chain(&heap.options);
    let found = match heap.source {
        "unlisted" => Some("ntdll's own, on no list"),
        "scan" => Some("found by searching memory"),
        _ => None,
    };
    let mut text = plain.copied().chain(found).collect::<Vec<_>>().join(", ");
    if !heap.debug_options.is_empty() {
        let separator = if text.is_empty() { "" } else { "; " };
        text += &format!("{separator}debug: {}", heap.debug_options.join(", "));
    }
    text
}

fn stacks(side: &SideInfo, out: &mut dyn Write) -> fmt::Result {
    let stacks = &side.stacks;
    let (traced, busy) = (stacks.traced_blocks, stacks.busy_blocks);
    match traced {
        0 => row(
            out,
            "call stacks",
            format_args!("none of {busy} blocks has one"),
        )?,
        _ => row(
            out,
            "call stacks",
            format_args!("{traced} of {busy} blocks have one"),
        )?,
    }
    for (name, database) in [
        ("trace log", &stacks.trace_log),
        ("trace database", &stacks.trace_database),
    ] {
        if let Some(database) = database {
            let (address, count) = (database.address.0, database.stacks);
            writeln!(out, "    {name} at {address:x}: {count} stacks")?;
        }
    }
    Ok(())
}

fn locks(side: &SideInfo, out: &mut dyn Write) -> fmt::Result {
    for heap in &side.heaps {
        let Some(lock) = &heap.lock else { continue };
        let Some(owner) = lock.owner_thread else {
            continue;
        };
        writeln!(
            out,
            "heap {:x} is locked by thread {owner} (0x{owner:x}), entered {} times, {} waiting: \
             its walk may show a change half made",
            heap.heap.0, lock.recursion, lock.waiting
        )?;
    }
    Ok(())
}
