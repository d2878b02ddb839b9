//! Virtual blocks that the heap's list does not lead to.

use rustc_hash::FxHashSet;

use super::super::{NtHeap, VirtualBlock, entry::flags::BUSY};

/// `UnusedBytes` of a virtual block.
const UNUSED_VIRTUAL: u8 = 4;
const PAGE: u64 = 0x1000;
/// More blocks than a search is for.
const MAX_FOUND: usize = 1 << 20;

impl NtHeap<'_, '_> {
    /// Takes in the elements at the beginning of a page that decode under the heap's key
    /// and that belong to a list which goes on in both directions as it should.
    pub(in super::super) fn adopt_virtual_blocks(&mut self) {
        let Some(head) = self.layouts.heap.virtual_allocd_blocks else {
            return;
        };
        if !self.may_search {
            return;
        }
        let head = self.handle() + u64::from(head);
        let known: FxHashSet<u64> = self.virtual_blocks.iter().map(|b| b.element).collect();
        let found: Vec<VirtualBlock> = self
            .memory
            .ranges()
            .iter()
            .flat_map(|range| {
                let first = range.start.checked_next_multiple_of(PAGE);
                (first.unwrap_or(u64::MAX)..range.end()).step_by(PAGE as usize)
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
        let block = self.read_virtual_block(element)?;
        let codec = &self.header.codec;
        let header = block.entry.checked_add(codec.header_offset())?;
        let sound = block.committed > 0
            && block.committed.is_multiple_of(PAGE)
            && block.reserved >= block.committed
            && element.checked_add(block.reserved).is_some();
        let entry = codec.decode(self.memory.u64(header).filter(|_| sound)?);
        let sound = codec.checksum_holds(&entry)
            && entry.flags & BUSY != 0
            && (codec.xp || entry.unused == UNUSED_VIRTUAL)
            && u64::from(entry.size) <= block.committed;
        (sound && self.is_on_list(element, head)).then_some(block)
    }

    /// Whether the links of an element lead to this head. Where they break in both directions, the
    /// key has to do as a proof.
    fn is_on_list(&self, element: u64, head: u64) -> bool {
        let bitness = self.bitness();
        let size = bitness.pointer_size();
        let read = |at: u64| self.memory.pointer(at, bitness);
        let field = |at: u64, field: u64| at.checked_add(field).and_then(read);
        // `there` and `back` are the places of the two links.
        let follow = |there: u64, back: u64| {
            let mut at = element;
            for _ in 0..MAX_FOUND {
                let next = field(at, there)?;
                if next == head {
                    return Some(true);
                }
                if next == element {
                    return Some(false);
                }
                if field(next, back)? != at {
                    return None;
                }
                at = next;
            }
            Some(false)
        };
        match (follow(0, size), follow(size, 0)) {
            (Some(true), _) | (_, Some(true)) => true,
            (None, None) => self.header.codec.mask != 0,
            _ => false,
        }
    }
}
