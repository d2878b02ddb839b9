//! `!heap -srch`: the blocks that hold a pattern.

use std::fmt::{self, Write};

use super::format::pointer;
use ntheap::{
    blocks::{Block, Kind, State, TryVisitor},
    heap::Heaps,
    names::NameSource,
    process::Process,
};

/// Prints each busy block that holds the pattern at a multiple of its size.
///
/// # Errors
/// Those of `out`.
pub(crate) fn blocks_with(
    heaps: &Heaps<'_, '_>,
    names: &dyn NameSource,
    pattern: &[u8],
    out: &mut dyn Write,
) -> fmt::Result {
    let mut search = Search {
        process: heaps.process(),
        names,
        pattern,
        out,
        heap: 0,
        previous: 0,
    };
    for heap in heaps {
        search.heap = heap.handle();
        search.previous = 0;
        heap.try_walk(&mut search)?;
    }
    Ok(())
}

struct Search<'s, 'p, 'a> {
    process: &'s Process<'p, 'a>,
    names: &'s dyn NameSource,
    pattern: &'s [u8],
    out: &'s mut dyn Write,
    heap: u64,
    /// Size of the block in front, in units.
    previous: u64,
}

impl Search<'_, '_, '_> {
    fn holds(&self, block: &Block) -> bool {
        let memory = self.process.memory();
        let size = self.pattern.len();
        if let Some(bytes) = memory.slice(block.address, block.size) {
            return bytes.chunks_exact(size).any(|word| word == self.pattern);
        }
        // A block that is not whole in the dump, or lies in several of its ranges.
        let mut word = vec![0; size];
        let end = block.address.saturating_add(block.size);
        let mut at = block.address;
        while let Some(next) = memory.next_readable(at).filter(|&next| next < end) {
            // Words stay at multiples of their size.
            let skip = (next - block.address).next_multiple_of(size as u64);
            at = block.address + skip;
            if at.saturating_add(size as u64) > end {
                break;
            }
            if memory.read(at, &mut word) == size && word == self.pattern {
                return true;
            }
            at += size as u64;
        }
        false
    }
}

impl TryVisitor for Search<'_, '_, '_> {
    type Error = fmt::Error;

    fn block(&mut self, block: &Block) -> fmt::Result {
        let bitness = self.process.bitness;
        let units = block.block_size / bitness.unit();
        let before = std::mem::replace(&mut self.previous, units);
        if block.internal || block.state != State::Busy || !self.holds(block) {
            return Ok(());
        }
        writeln!(self.out, "    _HEAP @ {}", pointer(self.heap, bitness))?;
        writeln!(
            self.out,
            "   in HEAP_ENTRY: Size : Prev Flags - UserPtr UserSize - state"
        )?;
        let state = match block.kind {
            Kind::Virtual => "busy VirtualAlloc",
            _ => "busy",
        };
        let digits = 2 * bitness.pointer_size() as usize;
        writeln!(
            self.out,
            "        {}: {units:04x} : {:04x} [{:02x}] - {} ({:0digits$x}) - ({state})",
            pointer(block.entry, bitness),
            before & 0xffff,
            block.flags,
            pointer(block.address, bitness),
            block.size,
        )?;
        let first = self.process.memory().pointer(block.address, bitness);
        let name = first.and_then(|first| self.names.name(first));
        if let Some(name) = name {
            writeln!(self.out, "          {name}")?;
        }
        Ok(())
    }
}
