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

/// In [`Block::flags`]: there is a record. That of entries of NT heaps.
pub(super) const PRESENT: u8 = 0x2;

/// A record behind a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extra {
    /// Its address.
    pub address: u64,
    /// Bytes of the interceptor's data that follow it.
    pub reserved: u64,
    /// What the program set with `RtlSetUserValueHeap`; 0 if nothing.
    pub value: u64,
}

impl SegmentHeap<'_, '_> {
    /// The record behind a block, if there is one and it is in the dump.
    #[must_use]
    pub fn extra(&self, block: &Block) -> Option<Extra> {
        if block.flags & PRESENT == 0 {
            return None;
        }
        let unit = self.unit();
        let end = block.address.checked_add(block.size)?;
        let address = end.checked_next_multiple_of(unit)?;
        let units = self.memory.u8(address.checked_add(offset::UNITS)?)?;
        // The second member of the size of a pointer.
        let value = address.checked_add(self.bitness().pointer_size())?;
        Some(Extra {
            address,
            reserved: u64::from(units) * unit,
            value: self.memory.pointer(value, self.bitness())?,
        })
    }

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
