//! `!locks`: the critical sections that are owned.

use std::fmt::{self, Write};

use super::modules::back_quoted;
use ntheap::{names::NameSource, process::Process};

/// More critical sections than a process has.
const MOST: usize = 1 << 18;

/// Prints the critical sections that a thread owns, with `verbose` all. They are listed by their
/// records: from ntdll's own list where its address is known, else from that of the loader's lock,
/// which is in the same ring. Whether there is a list.
///
/// # Errors
/// Those of `out`.
pub(crate) fn locks(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    list: Option<u64>,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<bool, fmt::Error> {
    let (bitness, layouts) = (process.bitness, &process.layouts);
    let memory = process.memory();
    let debug = &layouts.critical_section_debug;
    let Some(links) = debug.process_locks_list else {
        return Ok(false);
    };
    let of_loader = || {
        let peb = memory.at(process.peb?, bitness);
        let lock = peb.pointer(layouts.peb.loader_lock)?;
        let record = memory
            .at(lock, bitness)
            .pointer(layouts.critical_section.debug_info)?;
        let links = memory
            .at(record, bitness)
            .address(debug.process_locks_list)?;
        memory.u32(links)?;
        Some(links)
    };
    let own = list.filter(|&list| memory.u32(list).is_some());
    let Some(head) = own.or_else(of_loader) else {
        return Ok(false);
    };
    let (mut elements, _) = memory.list(head, bitness, MOST);
    if own.is_none() {
        // The head is a record, and the list's head is met among the records: it names no section.
        elements.insert(0, head);
    }
    let fields = &layouts.critical_section;
    let mut scanned = 0;
    for element in elements {
        let Some(record) = element.checked_sub(links.into()) else {
            continue;
        };
        let record = memory.at(record, bitness);
        let Some(address) = record.pointer(debug.critical_section) else {
            continue;
        };
        let section = memory.at(address, bitness);
        // The section names its record: so a head is told from records.
        let back = section.pointer(fields.debug_info);
        if back.is_none() || back != element.checked_sub(links.into()) {
            continue;
        }
        scanned += 1;
        let owner = section.pointer(fields.owning_thread).unwrap_or(0);
        let locked = owner != 0;
        if !locked && !verbose {
            continue;
        }
        write!(out, "\nCritSec ")?;
        match names.name(address) {
            Some(name) => write!(out, "{name}")?,
            None => write!(out, "+{address:x}")?,
        }
        writeln!(out, " at {}", back_quoted(address, bitness))?;
        let count = section.u32(fields.lock_count).unwrap_or(0);
        // Since Vista the lowest bit says "free", the second "nobody was woken".
        let (woken, waiting) = match process.build {
            6000.. => (count & 2 == 0, (!count >> 2) as i32),
            _ => (false, count as i32),
        };
        writeln!(
            out,
            "WaiterWoken        {}",
            if woken { "Yes" } else { "No" }
        )?;
        writeln!(out, "LockCount          {waiting}")?;
        writeln!(
            out,
            "RecursionCount     {}",
            section.u32(fields.recursion_count).unwrap_or(0)
        )?;
        writeln!(out, "OwningThread       {owner:x}")?;
        writeln!(
            out,
            "EntryCount         {:x}",
            record.u32(debug.entry_count).unwrap_or(0)
        )?;
        writeln!(
            out,
            "ContentionCount    {:x}",
            record.u32(debug.contention_count).unwrap_or(0)
        )?;
        if locked {
            writeln!(out, "*** Locked")?;
        }
    }
    writeln!(out, "\nScanned {scanned} critical sections")?;
    Ok(true)
}
