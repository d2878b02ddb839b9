//! Stretches of a segment in which no chain of entries can be proved.

use super::NtHeap;
use crate::{
    address_space::Window,
    blocks::{CONTINUE, FindingKind, Flow, SpanKind, Visitor},
};

/// A stretch without provable entries.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stretch {
    pub(super) from: u64,
    pub(super) to: u64,
    /// Whether there are bytes where its first entry should be, so that they are wrong.
    pub(super) is_corrupt: bool,
}

impl NtHeap<'_, '_> {
    /// Reports a stretch: the slots of the low fragmentation heap that prove themselves, and what
    /// is between them.
    pub(super) fn visit_stretch(
        &self,
        window: &mut Window<'_, '_>,
        stretch: Stretch,
        visitor: &mut dyn Visitor,
    ) -> Flow {
        let slots = self.rescue_slots(window, stretch.from, stretch.to, visitor)?;
        let mut at = stretch.from;
        for slot in &slots {
            self.skip(&stretch, at, slot.entry, visitor)?;
            visitor.block(slot)?;
            at = slot.entry + slot.block_size;
        }
        self.skip(&stretch, at, stretch.to, visitor)
    }

    /// Reports the slots in use that prove themselves in a block of the heap's own which is no sound
    /// container.
    pub(super) fn visit_lost_slots(
        &self,
        window: &mut Window<'_, '_>,
        start: u64,
        end: u64,
        visitor: &mut dyn Visitor,
    ) -> Flow {
        let slots = self.rescue_slots(window, start, end, visitor)?;
        if slots.is_empty() {
            return CONTINUE;
        }
        let size = end.saturating_sub(start);
        let kind = if self.memory.readable(start, size) < size {
            let structure = "_HEAP_USERDATA_HEADER";
            FindingKind::MissingStructure { structure }
        } else {
            let reason = "its header is wrong; its slots were found by their own";
            FindingKind::LfhContainer { reason }
        };
        visitor.finding(self.finding(start, 0, kind))?;
        slots.iter().try_for_each(|slot| visitor.block(slot))
    }

    /// Reports a part of a stretch, what is not in the dump apart.
    fn skip(&self, stretch: &Stretch, from: u64, to: u64, visitor: &mut dyn Visitor) -> Flow {
        let size = stretch.to - stretch.from;
        let is_whole = self.memory.readable(stretch.from, size) == size;
        let mut at = from;
        while at < to {
            let held = self.memory.readable(at, to - at);
            if held > 0 {
                self.span(at, at + held, SpanKind::Corrupt, visitor)?;
                // Behind a page that is not in the dump nothing shows where an entry should be.
                if stretch.is_corrupt && (is_whole || at == stretch.from) {
                    let header = at + self.header.codec.header_offset();
                    let raw = self.memory.u64(header).unwrap_or(0);
                    visitor.finding(self.finding(at, held, FindingKind::CorruptEntry { raw }))?;
                }
                at += held;
            } else {
                let next = self.memory.next_readable(at);
                let next = next.map_or(to, |next| next.min(to));
                self.span(at, next, SpanKind::Unreadable, visitor)?;
                visitor.finding(self.finding(at, next - at, FindingKind::Unreadable))?;
                at = next;
            }
        }
        CONTINUE
    }
}
