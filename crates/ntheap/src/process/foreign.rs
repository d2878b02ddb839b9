//! Heaps that are not those of Windows.
//!
//! Programs look for the mark at the beginning of a heap's header, so Wine writes it too; what is
//! behind it is Wine's own.

use super::{HeapKind, Process, probe::NT_HEAP};
use crate::dump::Exports;

/// Where a `_HEAP` of any build has its signature: within these bytes.
const HEADER: u64 = 0x400;
/// What Wine's ntdll exports and that of Windows does not.
const WINE_EXPORTS: [&str; 2] = ["wine_get_version", "__wine_unix_call"];

impl Process<'_, '_> {
    /// Whether the process's heaps are none of Windows': then, whether ntdll says that it is Wine's.
    pub(crate) fn has_other_heaps(&self) -> Option<bool> {
        let handle = self.process_heap?;
        if self.heap_kind(handle) != Some(HeapKind::Nt)
            || !self.found.heaps.is_empty()
            || self.has_parts_of_windows(handle)
        {
            return None;
        }
        let ntdll = self.ntdll();
        let exports = ntdll.map(|ntdll| Exports::read(self.memory(), ntdll));
        Some(exports.is_some_and(|exports| WINE_EXPORTS.iter().any(|name| exports.has(name))))
    }

    /// Whether the header behind the mark has anything of a `_HEAP`: its signature, or a segment that
    /// names the heap.
    fn has_parts_of_windows(&self, handle: u64) -> bool {
        let memory = self.memory();
        let signature = (0..HEADER)
            .step_by(4)
            .any(|at| memory.u32(handle + at) == Some(NT_HEAP));
        let segment = memory.at(handle, self.bitness);
        let layout = &self.layouts.segment;
        signature
            || segment.pointer(layout.heap) == Some(handle)
            || segment.pointer(layout.base_address) == Some(handle)
    }
}
