//! `!heap -s`: one row a heap.
//!
//! ```text
//!           Heap     Flags   Reserv  Commit  Virt   Free  List   UCR  Virt  Lock  Fast
//!                             (k)     (k)    (k)     (k) length      blocks cont. heap
//! ```

use std::fmt::{self, Write};

use super::{failure, format::pointer, list::listed_heaps};
use ntheap::{
    heap::{
        Heap, Heaps,
        nt::{FrontEndKind, infer_lfh_key},
    },
    layout::Bitness,
    names::NameSource,
    process::{Process, global_flags},
    stats::SummaryRow,
};

/// Committed bytes from which on a row can be followed by its external fragmentation.
const FRAGMENTATION_COMMIT: u64 = 0x10_0000;
/// Per cent from which on fragmentation is worth a line.
const FRAGMENTATION_PERCENT: u64 = 10;
/// Uncommitted ranges from which on address space counts as fragmented.
const FRAGMENTATION_RANGES: u64 = 100;
/// Contention from which on the lock is worth a line.
const CONTENTION: u32 = 0x10_0000;

/// What the table needs besides the heaps.
#[derive(Debug, Clone, Copy, Default)]
pub struct SummaryOptions {
    /// `-v`: uncommitted ranges that are large count as not reserved in the column `Virt`.
    pub verbose: bool,
    /// Whether corruption ends the process, where ntdll's variable for it is known; else what
    /// Windows does by default for the width.
    pub termination_on_corruption: Option<bool>,
    /// The LFH key, where ntdll's variable for it is known; else it is inferred from LFH blocks.
    pub lfh_key: Option<u64>,
}

impl SummaryOptions {
    /// The options with what ntdll's variables say, as far as `names` knows where they are.
    #[must_use]
    pub fn named(process: &Process<'_, '_>, names: &dyn NameSource) -> Self {
        let memory = process.memory();
        let cookie = names.address_of("ntdll!RtlpDisableBreakOnFailureCookie");
        let key = names.address_of("ntdll!RtlpLFHKey");
        SummaryOptions {
            verbose: false,
            termination_on_corruption: cookie
                .and_then(|address| memory.u32(address))
                .map(|cookie| cookie == 0),
            lfh_key: key.and_then(|address| memory.pointer(address, process.bitness)),
        }
    }
}

/// The key where ntdll's variable for it is not in the dump: LFH blocks show its low half, which is all
/// of it on x86.
fn half(value: u32, bitness: Bitness) -> String {
    match bitness {
        Bitness::X86 => format!("{value:08x}"),
        Bitness::X64 => format!("????????{value:08x}"),
    }
}

/// Writes the report.
///
/// # Errors
/// Those of `out`.
pub fn summary(
    heaps: &Heaps<'_, '_>,
    options: &SummaryOptions,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let (process, heaps) = (heaps.process(), listed_heaps(heaps));
    let bitness = process.bitness;
    let stars = "*".repeat(120);
    segment_heaps(heaps, out)?;
    writeln!(out, "\n{stars}\n{:46}NT HEAP STATS BELOW\n{stars}", "")?;
    failure::write(process, names, out)?;
    let mut aids = global_flags(process.nt_global_flag.unwrap_or(0))
        .filter_map(|flag| flag.heap_aid)
        .peekable();
    if aids.peek().is_some() {
        writeln!(
            out,
            "NtGlobalFlag enables following debugging aids for new heaps:"
        )?;
        aids.try_for_each(|aid| writeln!(out, "    {aid}"))?;
    }
    if process.layouts.heap.encoding.is_some() {
        let inferred = || {
            let key = infer_lfh_key(process, heaps)?;
            let full = key.full.map(|full| pointer(full, bitness));
            Some(full.unwrap_or_else(|| half(key.value, bitness)))
        };
        let known = options.lfh_key.map(|key| pointer(key, bitness));
        match known.or_else(inferred) {
            Some(key) => writeln!(out, "LFH Key                   : 0x{key}")?,
            // Without any LFH in use nothing in the dump says which of ntdll's numbers it is.
            None => writeln!(out, "LFH Key                   : unknown (no LFH in use)")?,
        }
    }
    if let Some(enabled) = options
        .termination_on_corruption
        .or_else(|| default_termination(process))
    {
        let state = if enabled { "ENABLED" } else { "DISABLED" };
        writeln!(out, "Termination on corruption : {state}")?;
    }
    let (indent, second, rule) = match bitness {
        Bitness::X86 => (2, 20, 77),
        Bitness::X64 => (10, 28, 85),
    };
    writeln!(
        out,
        "{:indent$}Heap     Flags   Reserv  Commit  Virt   Free  List   UCR  Virt  Lock  Fast ",
        ""
    )?;
    writeln!(
        out,
        "{:second$}(k)     (k)    (k)     (k) length      blocks cont. heap ",
        ""
    )?;
    let rule = "-".repeat(rule);
    writeln!(out, "{rule}")?;
    let mut any = false;
    for heap in heaps {
        if let Heap::Nt(heap) = heap {
            any = true;
            if options.verbose {
                write!(out, "{}", ".".repeat(heap.segments.len()))?;
            }
            write_row(&SummaryRow::of(heap, options.verbose), bitness, out)?;
        }
    }
    if !any {
        writeln!(out, "No heaps to display.")?;
    }
    writeln!(out, "{rule}")
}

/// `_SEGMENT_HEAP.Signature`.
const SEGMENT_HEAP: u32 = 0xddee_ddee;

/// The table of segment heaps, in front of that of NT heaps.
fn segment_heaps(heaps: &[Heap<'_, '_>], out: &mut dyn Write) -> fmt::Result {
    let mut heaps = heaps
        .iter()
        .filter_map(|heap| match heap {
            Heap::Segment(heap) => Some(heap),
            _ => None,
        })
        .peekable();
    writeln!(out)?;
    if heaps.peek().is_none() {
        return Ok(());
    }
    writeln!(out, "{:38}Process    Total      Total ", "")?;
    writeln!(out, "{:30}Global     Heap Reserved  Committed ", "")?;
    writeln!(
        out,
        "    Heap Address  Signature    Flags     List    Bytes      Bytes "
    )?;
    writeln!(out, "{:40}Index      (K)        (K) \n", "")?;
    for heap in heaps {
        writeln!(
            out,
            "{:16x} {SEGMENT_HEAP:10x} {:8x} {:8} {:8} {:10} ",
            heap.handle(),
            heap.header.global_flags,
            heap.header.list_index,
            heap.reserved_bytes() >> 10,
            heap.committed_bytes() >> 10,
        )?;
    }
    Ok(())
}

/// 64-bit processes end on corruption; 32-bit ones only when they ask for it. The variable that the
/// debugger reads came with Windows 8.1 (x64) and some later x86 build: before, there is no line.
fn default_termination(process: &Process<'_, '_>) -> Option<bool> {
    match process.bitness {
        Bitness::X64 => (process.build >= 9600).then_some(true),
        Bitness::X86 => (process.build >= 17763).then_some(false),
    }
}

fn write_row(row: &SummaryRow, bitness: Bitness, out: &mut dyn Write) -> fmt::Result {
    write!(
        out,
        "{} {:08x} {:7} {:6} {:6} {:6} {:5} {:5} {:4} ",
        pointer(row.handle, bitness),
        row.flags,
        row.reserved >> 10,
        row.committed >> 10,
        row.virtual_size >> 10,
        row.free >> 10,
        row.free_list_length,
        row.uncommitted_ranges,
        row.virtual_blocks,
    )?;
    match row.lock_contention {
        Some(contention) => write!(out, "{contention:6x}   ")?,
        None => write!(out, "   N/A   ")?,
    }
    let front_end = match row.front_end {
        Some(FrontEndKind::Lookaside) => "L  ",
        Some(FrontEndKind::Lfh) => "LFH",
        _ => "   ",
    };
    // Behind `N/A` nothing pads an absent front end.
    match (row.lock_contention, row.front_end) {
        (None, None | Some(FrontEndKind::None)) => writeln!(out)?,
        _ => writeln!(out, "{front_end}")?,
    }
    let external = row.external_fragmentation();
    if row.segments_committed > FRAGMENTATION_COMMIT && external > FRAGMENTATION_PERCENT {
        let blocks = row.free_list_length;
        writeln!(
            out,
            "    External fragmentation  {external} % ({blocks} free blocks)"
        )?;
    }
    let address = row.address_fragmentation();
    if row.uncommitted_ranges > FRAGMENTATION_RANGES && address > FRAGMENTATION_PERCENT {
        let ranges = row.uncommitted_ranges;
        writeln!(
            out,
            "    Virtual address fragmentation  {address} % ({ranges} uncommited ranges)"
        )?;
    }
    if let Some(contention) = row
        .lock_contention
        .filter(|&contention| contention > CONTENTION)
    {
        writeln!(out, "    Lock contention  {contention} ")?;
    }
    Ok(())
}
