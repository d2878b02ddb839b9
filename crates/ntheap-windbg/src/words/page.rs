//! What `!heap -p` prints of page heaps.

use std::{
    fmt::{self, Write},
    ops::RangeInclusive,
};

use super::format::digits;
use ntheap::{
    blocks::{State, Trace},
    heap::page::PageHeap,
    layout::Bitness,
    names::NameSource,
};

/// Names of the flags in the root.
const FLAGS: &[(u32, &str)] = &[
    (0x0001, "ENABLE_PAGE_HEAP"),
    (0x0002, "COLLECT_STACK_TRACES"),
    (0x0010, "CATCH_BACKWARD_OVERRUNS"),
    (0x0020, "UNALIGNED_ALLOCATIONS"),
    (0x0040, "SMART_MEMORY_USAGE"),
    (0x0080, "USE_SIZE_RANGE"),
    (0x0100, "USE_DLL_RANGE"),
    (0x0200, "USE_RANDOM_DECISION"),
    (0x0400, "USE_DLL_NAMES"),
    (0x0800, "USE_FAULT_INJECTION"),
    (0x1000, "PROTECT_META_DATA"),
    (0x2000, "CHECK_NO_SERIALIZE_ACCESS"),
    (0x4000, "NO_LOCK_CHECKS"),
];

/// The heap in the list of heaps, up to the flags of the normal heap.
pub(super) fn overview(heap: &PageHeap<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    write!(out, "    + {:x}\n        ", heap.handle())?;
    for (bit, name) in FLAGS {
        if heap.root.page_heap_flags & bit != 0 {
            write!(out, "{name} ")?;
        }
    }
    writeln!(out, "\n      NormalHeap - {:x}", heap.normal_heap())
}

/// The full blocks of these requested sizes.
pub(super) fn blocks(
    heap: &PageHeap<'_, '_>,
    bitness: Bitness,
    sizes: &RangeInclusive<u64>,
    names: &mut dyn FnMut(u64, u64, &mut dyn Write) -> fmt::Result,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(bitness);
    writeln!(out, "    _DPH_HEAP_ROOT @ {:x}", heap.root.address)?;
    writeln!(out, "    Freed and decommitted blocks")?;
    writeln!(out, "      DPH_HEAP_BLOCK : VirtAddr VirtSize")?;
    for block in (heap.freed.iter()).filter(|block| sizes.contains(&block.requested)) {
        writeln!(
            out,
            "        {:0width$x} : {:0width$x} {:0width$x}",
            block.node, block.virtual_block, block.virtual_size
        )?;
    }
    writeln!(out, "    Busy allocations")?;
    writeln!(
        out,
        "      DPH_HEAP_BLOCK : UserAddr  UserSize - VirtAddr VirtSize"
    )?;
    for block in (heap.busy.iter()).filter(|block| sizes.contains(&block.requested)) {
        writeln!(
            out,
            "        {:0width$x} : {:0width$x} {:0width$x} - {:0width$x} {:0width$x}",
            block.node, block.address, block.requested, block.virtual_block, block.virtual_size
        )?;
        names(block.address, block.requested, out)?;
    }
    Ok(())
}

/// The full block that holds an address, if one does. Returns its trace.
pub(super) fn block_at(
    heap: &PageHeap<'_, '_>,
    address: u64,
    width: usize,
    out: &mut dyn Write,
) -> Result<Option<Trace>, fmt::Error> {
    let Some(block) = heap.block_at(address) else {
        return Ok(None);
    };
    writeln!(out, "    address {address:0width$x} found in")?;
    writeln!(out, "    _DPH_HEAP_ROOT @ {:x}", heap.root.address)?;
    if block.state == State::Busy {
        writeln!(
            out,
            "    in busy allocation (  DPH_HEAP_BLOCK:         UserAddr         UserSize -         \
             VirtAddr         VirtSize)"
        )?;
        writeln!(
            out,
            "{:24}{:16x}: {:16x} {:16x} - {:16x} {:16x}",
            "", block.node, block.address, block.requested, block.virtual_block, block.virtual_size
        )?;
    } else {
        writeln!(
            out,
            "    in free-ed allocation (  DPH_HEAP_BLOCK:         VirtAddr         VirtSize)"
        )?;
        writeln!(
            out,
            "{:27}{:16x}: {:16x} {:16x}",
            "", block.node, block.virtual_block, block.virtual_size
        )?;
    }
    Ok(Some(block.trace))
}

/// Frames as they stand behind a block of page heap: with all digits, four columns in.
pub(super) fn frames(
    frames: &[u64],
    names: &dyn NameSource,
    bitness: Bitness,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(bitness);
    for &frame in frames {
        write!(out, "    {frame:0width$x} ")?;
        super::p::frame_name(names, frame, bitness, out)?;
        writeln!(out)?;
    }
    Ok(())
}
