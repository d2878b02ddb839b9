//! `!locks`, `!cs`: critical sections.

use std::fmt::{self, Write};

use super::{format::pointer, modules::back_quoted};
use ntheap::{names::NameSource, process::Process};

/// More critical sections than a process has.
const MOST: usize = 1 << 18;

/// A critical section.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CriticalSection {
    address: u64,
    record: u64,
    lock_count: u32,
    recursion_count: u32,
    owner: u64,
    semaphore: u64,
    spin_count: u64,
}

impl CriticalSection {
    /// The one at an address; `None` where that is not in the dump.
    pub(crate) fn at(process: &Process<'_, '_>, address: u64) -> Option<Self> {
        let fields = &process.layouts.critical_section;
        let section = process.memory().at(address, process.bitness);
        Some(CriticalSection {
            address,
            record: section.pointer(fields.debug_info)?,
            lock_count: section.u32(fields.lock_count)?,
            recursion_count: section.u32(fields.recursion_count)?,
            owner: section.pointer(fields.owning_thread)?,
            semaphore: section.pointer(fields.lock_semaphore).unwrap_or(0),
            spin_count: section.pointer(fields.spin_count).unwrap_or(0),
        })
    }

    /// Its address.
    pub(crate) const fn address(&self) -> u64 {
        self.address
    }

    /// Whether a thread owns it.
    pub(crate) const fn is_locked(&self) -> bool {
        self.owner != 0
    }

    /// Whether a waiting thread was woken, and how many wait.
    fn waiters(&self, process: &Process<'_, '_>) -> (bool, i32) {
        // Since Vista the lowest bit says "free", the second "nobody was woken".
        match process.build {
            6000.. => (self.lock_count & 2 == 0, (!self.lock_count >> 2) as i32),
            _ => (false, self.lock_count as i32),
        }
    }
}

/// All critical sections, by their records: from ntdll's own list where its address is known, else from
/// that of the loader's lock, which is in the same ring. `None` where neither is in the dump.
pub(crate) fn critical_sections(
    process: &Process<'_, '_>,
    list: Option<u64>,
) -> Option<Vec<CriticalSection>> {
    let (bitness, layouts) = (process.bitness, &process.layouts);
    let memory = process.memory();
    let debug = &layouts.critical_section_debug;
    let links = debug.process_locks_list?;
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
    let head = own.or_else(of_loader)?;
    let (mut elements, _) = memory.list(head, bitness, MOST);
    if own.is_none() {
        // The head is a record, and the list's head is met among the records: it names no section.
        elements.insert(0, head);
    }
    let section_of = |element: u64| {
        let record = element.checked_sub(links.into())?;
        let address = memory.at(record, bitness).pointer(debug.critical_section)?;
        // The section names its record: so a head is told from records.
        CriticalSection::at(process, address).filter(|section| section.record == record)
    };
    Some(elements.into_iter().filter_map(section_of).collect())
}

/// `!locks`: the critical sections that a thread owns, with `verbose` all.
///
/// # Errors
/// Those of `out`.
pub(crate) fn locks(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    sections: &[CriticalSection],
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let debug = &process.layouts.critical_section_debug;
    for section in sections {
        if !section.is_locked() && !verbose {
            continue;
        }
        write!(out, "\nCritSec ")?;
        match names.name(section.address) {
            Some(name) => write!(out, "{name}")?,
            None => write!(out, "+{:x}", section.address)?,
        }
        writeln!(out, " at {}", back_quoted(section.address, process.bitness))?;
        let (woken, waiting) = section.waiters(process);
        let record = process.memory().at(section.record, process.bitness);
        let number = |field| record.u32(field).unwrap_or(0);
        writeln!(
            out,
            "WaiterWoken        {}\nLockCount          {waiting}\nRecursionCount     {}\n\
             OwningThread       {:x}\nEntryCount         {:x}\nContentionCount    {:x}",
            if woken { "Yes" } else { "No" },
            section.recursion_count,
            section.owner,
            number(debug.entry_count),
            number(debug.contention_count),
        )?;
        if section.is_locked() {
            writeln!(out, "*** Locked")?;
        }
    }
    writeln!(out, "\nScanned {} critical sections", sections.len())
}

/// `!cs`: critical sections in the form of that command.
///
/// # Errors
/// Those of `out`.
pub(crate) fn critical_section_details(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    sections: &[CriticalSection],
    out: &mut dyn Write,
) -> fmt::Result {
    let number = |value| pointer(value, process.bitness);
    for section in sections {
        writeln!(out, "-----------------------------------------")?;
        writeln!(out, "DebugInfo          = 0x{}", number(section.record))?;
        write!(out, "Critical section   = 0x{} (", number(section.address))?;
        match names.name(section.address) {
            Some(name) => write!(out, "{name}")?,
            None => write!(out, "+0x{:x}", section.address)?,
        }
        let (woken, waiting) = section.waiters(process);
        if section.is_locked() {
            writeln!(out, ")\nLOCKED\nLockCount          = 0x{waiting:x}")?;
            let woken = if woken { "Yes" } else { "No" };
            writeln!(out, "WaiterWoken        = {woken}")?;
            writeln!(out, "OwningThread       = 0x{}", number(section.owner))?;
            writeln!(out, "RecursionCount     = 0x{:x}", section.recursion_count)?;
        } else {
            writeln!(out, ")\nNOT LOCKED")?;
        }
        writeln!(out, "LockSemaphore      = 0x{:X}", section.semaphore)?;
        writeln!(out, "SpinCount          = 0x{}", number(section.spin_count))?;
    }
    Ok(())
}
