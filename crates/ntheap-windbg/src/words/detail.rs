//! `!heap -i`: the header of one entry in words.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{
    blocks::{Block, Kind, State},
    heap::nt::NtHeap,
    heap::nt::flags::{BUSY, INTERNAL},
    process::Process,
};

/// Names of `_HEAP_ENTRY.Flags`, as `!heap -x` has them; that of 1 is busy, else free.
const FLAGS: [(u8, &str); 5] = [
    (0x02, "extra "),
    (0x04, "fill "),
    (0x08, "internal "),
    (0x10, "last "),
    (0xe0, "user_flag "),
];

/// Says which heap `!heap -i` takes entries for parts of from now on.
///
/// # Errors
/// Those of `out`.
pub(crate) fn heap_context(
    process: &Process<'_, '_>,
    handle: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let handle = pointer(handle, process.bitness);
    writeln!(out, "Heap context set to the heap 0x{handle}")
}

/// Prints the header at `entry` as one of this heap, and what it says of its block. `block` is what
/// the walk found there: without it the header stands for itself.
///
/// # Errors
/// Those of `out`.
pub(crate) fn entry_detail(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    entry: u64,
    block: Option<&Block>,
    out: &mut dyn Write,
) -> fmt::Result {
    let digits = |address| pointer(address, process.bitness);
    let codec = &heap.header.codec;
    let raw = entry
        .checked_add(codec.header_offset())
        .and_then(|at| process.memory().u64(at));
    writeln!(
        out,
        "Detailed information for block entry {}",
        digits(entry)
    )?;
    let handle = digits(heap.handle());
    writeln!(
        out,
        "Assumed heap       : 0x{handle} (Use !heap -i NewHeapHandle to change)"
    )?;
    let (Some(raw), Some(decoded)) = (raw, heap.raw_entry_at(entry)) else {
        return writeln!(out, "Header content     : not in the dump");
    };
    let halves = |raw: u64| format!("0x{:08X} 0x{:08X}", raw as u32, raw >> 32);
    write!(out, "Header content     : {}", halves(raw))?;
    let unit = heap.unit();
    if let Some(slot) = block.filter(|block| block.kind == Kind::Lfh) {
        // A slot's header is not encoded with the heap's key, and has no sizes.
        let busy = slot.state == State::Busy;
        let state = if busy { "busy" } else { "free" };
        writeln!(out, "\nOwning subsegment  : 0x{}", digits(slot.container))?;
        writeln!(out, "Block flags        : LFH;{state} ")?;
        sizes(out, slot.block_size, unit, busy.then_some(slot.size))?;
        let next = entry.wrapping_add(slot.block_size);
        return writeln!(out, "Next block         : 0x{}", digits(next));
    }
    if codec.mask != 0 && raw as u32 & codec.mask != 0 {
        write!(out, " (decoded : {})", halves(raw ^ codec.key))?;
    }
    writeln!(out)?;
    let header = decoded.entry;
    let is_virtual = block.is_some_and(|block| block.kind == Kind::Virtual);
    let segment = block.map_or(heap.handle(), |block| block.container);
    writeln!(
        out,
        "Owning segment     : 0x{} (offset {:x})",
        digits(segment),
        header.segment_offset
    )?;
    let busy = header.flags & BUSY != 0;
    write!(out, "Block flags        : {:#x} (", header.flags)?;
    out.write_str(if busy { "busy " } else { "free " })?;
    for (flag, name) in FLAGS {
        if header.flags & flag != 0 {
            let name = if is_virtual && flag == INTERNAL {
                "virtual "
            } else {
                name
            };
            out.write_str(name)?;
        }
    }
    writeln!(out, ")")?;
    let size = block.map_or(decoded.size, |block| block.block_size);
    let requested = block.map_or_else(
        || decoded.size.saturating_sub(decoded.unused),
        |block| block.size,
    );
    sizes(out, size, unit, busy.then_some(requested))?;
    writeln!(
        out,
        "Previous block size: {:#x} units ({:#x} bytes)",
        header.previous_size,
        u64::from(header.previous_size) * unit
    )?;
    if codec.mask != 0 {
        let [low, high] = header.size.to_le_bytes();
        let right = low ^ high ^ header.flags;
        match codec.checksum_holds(&header) {
            true => writeln!(out, "Block CRC          : OK - {right:#x}  ")?,
            false => writeln!(
                out,
                "Block CRC          : ERROR - current {:x}, expected {right:x}  ",
                header.small_tag
            )?,
        }
    }
    if is_virtual {
        return Ok(());
    }
    let previous = u64::from(header.previous_size) * unit;
    if previous != 0 {
        let previous = entry.wrapping_sub(previous);
        writeln!(out, "Previous block     : 0x{}", digits(previous))?;
    }
    writeln!(
        out,
        "Next block         : 0x{}",
        digits(entry.wrapping_add(size))
    )
}

fn sizes(out: &mut dyn Write, size: u64, unit: u64, requested: Option<u64>) -> fmt::Result {
    writeln!(
        out,
        "Total block size   : {:#x} units ({size:#x} bytes)",
        size / unit
    )?;
    if let Some(requested) = requested {
        writeln!(
            out,
            "Requested size     : {requested:#x} bytes (unused {:#x} bytes)",
            size.saturating_sub(requested)
        )?;
    }
    Ok(())
}
