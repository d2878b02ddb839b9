//! The low fragmentation heap in a heap's report.

use std::fmt::{self, Write};

use super::histogram::Histogram;
use crate::words::format::digits;
use ntheap::{
    heap::{
        LockState,
        nt::{FrontEndKind, NtHeap},
    },
    layout::Bitness,
    process::Process,
};

/// Bytes of a zone that the LFH keeps its subsegments in.
const ZONE_BYTES: usize = 1024;
/// More zones than a heap has.
const MAX_ZONES: usize = 1 << 20;
/// Lists of cached user blocks: of 128 bytes and its doublings.
const CACHE_LISTS: u64 = 12;
const CACHE_UNIT: u64 = 128;

/// Prints what a heap's front end is, if it has one.
pub(super) fn write(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    histogram: &Histogram<'_, '_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let front_end = &heap.header.front_end;
    let width = digits(heap.bitness());
    match front_end.kind {
        FrontEndKind::Lfh => lfh(process, heap, histogram, out),
        FrontEndKind::Lookaside => {
            writeln!(out, "\n   Lookaside heap   {:0width$x}", front_end.address)
        }
        _ => Ok(()),
    }
}

/// The low fragmentation heap: its statistics, its cache of user blocks, its buckets.
fn lfh(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    histogram: &Histogram<'_, '_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let bitness = process.bitness;
    let width = digits(bitness);
    let memory = process.memory();
    let address = heap.header.front_end.address;
    let layout = &process.layouts.lfh_heap;
    let lfh = memory.at(address, bitness);
    let zones = lfh
        .address(layout.sub_segment_zones)
        .map_or(0, |head| memory.list(head, bitness, MAX_ZONES).0.len());
    let word = |field| lfh.u32(field).unwrap_or(0);
    writeln!(out, "\n   Low fragmentation heap   {address:0width$x}")?;
    // A critical section up to Windows 7, then a lock as large as a pointer.
    let section = u64::from(process.layouts.critical_section.struct_size);
    let room = lfh
        .address(layout.lock)
        .zip(lfh.address(layout.sub_segment_zones));
    let lock = room
        .filter(|(lock, zones)| zones.saturating_sub(*lock) >= section)
        .and_then(|(lock, _)| LockState::read(memory, &process.layouts, lock));
    if let Some(contention) = lock.and_then(|lock| lock.contention) {
        writeln!(out, "       Lock contention {contention:8}")?;
    }
    writeln!(
        out,
        "       Metadata usage      {} bytes",
        zones * ZONE_BYTES
    )?;
    writeln!(out, "       Statistics:")?;
    for (name, field) in [
        ("created", layout.segment_create),
        ("deleted", layout.segment_delete),
        ("reused ", layout.segment_insert_in_free),
    ] {
        writeln!(out, "           Segments {name} {:10}", word(field))?;
    }
    writeln!(out, "       Block cache:")?;
    let entry = &process.layouts.user_memory_cache;
    for index in 0..CACHE_LISTS {
        let cache = lfh
            .address(layout.user_block_cache)
            .and_then(|first| first.checked_add(index * u64::from(entry.struct_size)));
        let Some(cache) = cache else {
            break;
        };
        let cache = memory.at(cache, bitness);
        let blocks = cache.u32(entry.available_blocks).unwrap_or(0);
        // The depth of an SLIST_HEADER follows its pointer on x86 and begins it on x64.
        let depth = cache
            .address(entry.user_blocks)
            .and_then(|list| match bitness {
                Bitness::X86 => memory.u16(list.checked_add(bitness.pointer_size())?),
                Bitness::X64 => memory.u16(list),
            });
        let depth = depth.unwrap_or(0);
        if blocks != 0 || depth != 0 {
            let bytes = CACHE_UNIT << index;
            writeln!(
                out,
                "\t\t{index:2}: {bytes:12} bytes ({blocks:6},{depth:6})"
            )?;
        }
    }
    writeln!(out, "\n       Buckets info:")?;
    writeln!(out, "  Size   Blocks  Seg  Empty  Aff    Distribution")?;
    writeln!(out, "------------------------------------------------")?;
    for (units, slots) in histogram.slots.iter().enumerate() {
        if slots.containers > 0 {
            let size = units as u64 * heap.unit();
            let (blocks, containers) = (slots.blocks, slots.containers);
            writeln!(
                out,
                "{size:6} {blocks:7} {containers:5} {:6} {:2} ({containers}-{blocks},0-0)",
                slots.empty, 0
            )?;
        }
    }
    writeln!(out, "------------------------------------------------")
}
