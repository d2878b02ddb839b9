//! Slots of the low fragmentation heap: the code in their headers, and how many are free.

use super::{Check, Damage, nt::Checker};
use crate::blocks::{Block, State};

/// A container on its way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Depth {
    /// Address of its `_HEAP_SUBSEGMENT`.
    subsegment: u64,
    heap: u64,
    free: u64,
    /// Slots that were met.
    slots: u64,
}

impl Checker<'_, '_, '_> {
    pub(super) fn check_slot(&mut self, block: &Block) {
        if self
            .depth
            .is_none_or(|depth| depth.subsegment != block.container)
        {
            self.finish_depth();
            self.depth = Some(Depth {
                subsegment: block.container,
                heap: block.heap,
                free: 0,
                slots: 0,
            });
        }
        if let Some(depth) = &mut self.depth {
            depth.free += u64::from(block.state == State::Free);
            depth.slots += 1;
        }
        let Some((expected, found)) = self.heap.and_then(|heap| heap.slot_code(block)) else {
            return;
        };
        self.checked.slot_headers += 1;
        if expected != found {
            let at = block.entry + self.heap.map_or(0, |h| h.header.codec.header_offset());
            self.damage(Damage::new(
                block.heap,
                at,
                Check::SlotHeader,
                format!("code {expected:08x}"),
                format!("{found:08x}"),
            ));
        }
    }

    /// Compares the free slots of the container that was visited with what its subsegment records.
    pub(super) fn finish_depth(&mut self) {
        let Some(depth) = self.depth.take() else {
            return;
        };
        let layouts = &self.process.layouts;
        let record = self.process.memory().at(depth.subsegment, layouts.bitness);
        // `AggregateExchg` begins with the 16-bit `Depth`.
        let Some(recorded) = record.u16(layouts.subsegment.aggregate_exchg) else {
            return;
        };
        // A container that is not in the dump as a whole can't be counted.
        if record.u16(layouts.subsegment.block_count).map(u64::from) != Some(depth.slots) {
            return;
        }
        self.checked.depths += 1;
        if u64::from(recorded) != depth.free {
            let at = record.address(layouts.subsegment.aggregate_exchg);
            let damage = Damage::new(
                depth.heap,
                at.unwrap_or(depth.subsegment),
                Check::Depth,
                format!("{} free slots, as the headers say", depth.free),
                format!("{recorded}"),
            );
            self.damage(Damage {
                extent: u64::from(recorded).abs_diff(depth.free),
                ..damage
            });
        }
    }
}
