//! Virtual blocks that the heap's list does not lead to.

use rustc_hash::FxHashSet;

use super::{
    super::{NtHeap, VirtualBlock},
    extent::GRANULARITY,
};

/// `UnusedBytes` of a virtual block.
const UNUSED_VIRTUAL: u8 = 4;
const PAGE: u64 = 0x1000;
/// More blocks than a search is for.
const MAX_FOUND: usize = 1 << 20;

impl NtHeap<'_, '_> {
    /// Takes in the elements that lie where allocations can begin, that decode under the heap's key
    /// and that belong to a list which goes on in both directions as it should.
    pub(in super::super) fn adopt_virtual_blocks(&mut self) {
        let Some(head) = self.layouts.heap.virtual_allocd_blocks else {
            return;
        };
        let head = self.handle() + u64::from(head);
        let known: FxHashSet<u64> = self.virtual_blocks.iter().map(|b| b.element).collect();
        let found: Vec<VirtualBlock> = self
            .memory
            .ranges()
            .iter()
            .flat_map(|range| {
                let first = range.start.checked_next_multiple_of(GRANULARITY);
                (first.unwrap_or(u64::MAX)..range.end()).step_by(GRANULARITY as usize)
            })
            .filter(|at| !known.contains(at))
            .filter_map(|at| self.unlisted_virtual_block(at, head))
            .take(MAX_FOUND)
            .collect();
        self.unlisted_virtual
            .extend(found.iter().map(|block| block.element));
        self.virtual_blocks.extend(found);
    }

    fn unlisted_virtual_block(&self, element: u64, head: u64) -> Option<VirtualBlock> {
        let bitness = self.bitness();
        let pointer = bitness.pointer_size();
        let read = |at: u64| self.memory.pointer(at, bitness);
        let (next, previous) = (read(element)?, read(element.checked_add(pointer)?)?);
        // Where a neighbour is in the dump it has to point back; one at least must be, or be the head.
        let forth = next == head || read(next.checked_add(pointer)?).is_none_or(|at| at == element);
        let back = previous == head || read(previous).is_none_or(|at| at == element);
        let linked = next == head
            || previous == head
            || read(next.checked_add(pointer)?) == Some(element)
            || read(previous) == Some(element);
        if !forth || !back || !linked || next == element {
            return None;
        }
        let block = self.read_virtual_block(element)?;
        let codec = &self.header.codec;
        let raw = self
            .memory
            .u64(block.entry.checked_add(codec.header_offset())?)?;
        let entry = codec.decode(raw);
        let sound = codec.checksum_holds(&entry)
            && entry.flags & 1 != 0
            && (codec.xp || entry.unused == UNUSED_VIRTUAL)
            && block.committed > 0
            && block.committed.is_multiple_of(PAGE)
            && block.reserved >= block.committed
            && u64::from(entry.size) <= block.committed;
        sound.then_some(block)
    }
}
