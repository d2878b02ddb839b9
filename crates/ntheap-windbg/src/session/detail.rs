//! `!heap -i`: which heap, and which entry.

use std::fmt::Write;

use super::{CommandError, Session};
use crate::words;
use ntheap::heap::Heap;

const NOT_NT: CommandError = CommandError::Unavailable {
    reason: "only blocks of NT heaps have such headers; !heap -x ADDRESS finds the others",
};

impl Session<'_, '_> {
    /// `!heap -i HEAP` sets the heap that entries are taken for parts of, `!heap -i ADDRESS` shows
    /// the entry that holds an address.
    pub(super) fn detail(
        &mut self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let address = self.value(&operands.join(" "))?;
        let process = self.process;
        let mut heaps = process.heaps.iter().chain(&process.normal_heaps);
        if heaps.any(|heap| heap.handle == address) {
            self.assumed_heap = Some(address);
            return Ok(words::heap_context(process, address, out)?);
        }
        let block = self.heaps.block_at(address);
        // Whose block it is needs no assumption.
        let Some(handle) = block.map(|block| block.heap).or(self.assumed_heap) else {
            return Err(CommandError::Operand {
                text: format!("{address:x}"),
                reason: "in no block; !heap -i HEAP sets the heap to take it for a part of",
            });
        };
        let heap = self.heaps.get(handle).map_err(|_| NOT_NT)?;
        let entry = block.map_or(address, |block| block.entry);
        match (heap, &block) {
            (Heap::Segment(heap), Some(block)) => Ok(words::segment_block(heap, block, out)?),
            (heap, block) => {
                let heap = heap.nt().ok_or(NOT_NT)?;
                Ok(words::entry_detail(
                    process,
                    heap,
                    entry,
                    block.as_ref(),
                    out,
                )?)
            }
        }
    }
}
