//! `!heap -g` and `-T`: heap tags.

use std::fmt::{self, Write};

use super::header::{Detail, headers};
use ntheap::{heap::Heaps, process::HeapKind};

/// `FLG_HEAP_ENABLE_TAGGING`.
const TAGGING: u32 = 0x800;
/// Pseudo tags: one each for large blocks, for each size in units and for virtual blocks.
const PSEUDO_TAGS: u64 = 0x81;

/// `!heap -g`: tags for whole DLLs.
///
/// # Errors
/// Those of `out`.
pub(crate) fn global_tags(heaps: &Heaps<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let process = heaps.process();
    writeln!(
        out,
        "Global Tags defined for each DLL that makes an untagged allocation."
    )?;
    // Without tagging there is no heap to hold global tags.
    if process.nt_global_flag.unwrap_or(0) & TAGGING != 0 {
        writeln!(out, "    no global tags currently defined.")?;
        headers(heaps, None, Detail::default(), out)?;
    }
    Ok(())
}

/// `!heap -T H`: what was allocated by size.
///
/// # Errors
/// Those of `out`.
pub(crate) fn pseudo_tags(heaps: &Heaps<'_, '_>, handle: u64, out: &mut dyn Write) -> fmt::Result {
    let process = heaps.process();
    headers(heaps, Some(handle), Detail::default(), out)?;
    let reference = process.heap(handle);
    if reference.is_ok_and(|heap| heap.kind == HeapKind::Segment) {
        return Ok(());
    }
    let layouts = &process.layouts;
    let memory = process.memory();
    let table = memory
        .at(handle, process.bitness)
        .pointer(layouts.heap.pseudo_tag_entries)
        .filter(|&table| table != 0);
    let Some(table) = table else {
        return writeln!(out, "    no pseudo tags currently defined for this heap.");
    };
    writeln!(
        out,
        " Tag Name            Allocs    Frees   Diff  Allocated"
    )?;
    let layout = &layouts.pseudo_tag_entry;
    // The last one is for blocks with a mapping of their own.
    let name = |index| match index + 1 {
        PSEUDO_TAGS => format!("{:17}", "VirtualAlloc"),
        _ => format!("Objects of {:4}  ", index * process.bitness.unit()),
    };
    for index in 1..PSEUDO_TAGS {
        let Some(at) = table.checked_add(index * u64::from(layout.struct_size)) else {
            break;
        };
        let entry = memory.at(at, process.bitness);
        let allocations = entry.u32(layout.allocs).unwrap_or(0);
        let frees = entry.u32(layout.frees).unwrap_or(0);
        let size = entry.pointer(layout.size).unwrap_or(0);
        if allocations != 0 {
            writeln!(
                out,
                "{index:04x}: {} {allocations:8} {frees:8} {:6} {:10}",
                name(index),
                allocations.wrapping_sub(frees),
                size.saturating_mul(process.bitness.unit()),
            )?;
        }
    }
    Ok(())
}
