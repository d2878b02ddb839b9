//! `SEGMENT_HEAP_EXTRA`: the record behind a block that holds its tag and its stack trace.

use super::SegmentHeap;
use crate::blocks::{Block, Trace};

/// Offsets of the record's members; they are the same on every build.
mod offset {
    /// `AllocationTag`.
    pub(super) const TAG: u64 = 0;
    /// `InterceptorIndex` in the low, `UserFlags` in the high half of the byte.
    pub(super) const INTERCEPTOR: u64 = 2;
    /// `ExtraSizeInUnits`: units of interceptor data that follow.
    pub(super) const UNITS: u64 = 3;
}

/// `InterceptorIndex` of the stack trace database.
const STACK_TRACE: u8 = 1;
const INTERCEPTOR_MASK: u8 = 0xf;

impl SegmentHeap<'_, '_> {
    /// Takes tag and trace of a block from the record behind it. The record begins at the first
    /// unit behind the part that the block has in use, `end`.
    pub(super) fn read_extra(&self, block: &mut Block, end: u64) {
        let unit = self.unit();
        let Some(record) = end.checked_next_multiple_of(unit) else {
            return;
        };
        // The interceptor's data, whose first member is the trace, follows the record.
        let Some(data) = record.checked_add(unit) else {
            return;
        };
        let memory = self.memory;
        block.tag = memory.u16(record + offset::TAG).unwrap_or(0);
        let interceptor = memory.u8(record + offset::INTERCEPTOR).unwrap_or(0);
        let units = memory.u8(record + offset::UNITS).unwrap_or(0);
        if interceptor & INTERCEPTOR_MASK == STACK_TRACE && units > 0 {
            block.trace = match memory.pointer(data, self.bitness()) {
                None | Some(0) => Trace::None,
                Some(trace) => Trace::Record(trace),
            };
        }
    }
}
