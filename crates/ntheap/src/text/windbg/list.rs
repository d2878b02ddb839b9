//! `!heap` without arguments: which heaps there are, and of which kind.

use std::fmt::{self, Write};

use crate::process::{HeapKind, Process};

/// Prints the list.
///
/// # Errors
/// Those of `out`.
pub fn list(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "        Heap Address      NT/Segment Heap\n")?;
    for heap in &process.heaps {
        let kind = match heap.kind {
            HeapKind::Segment => "Segment Heap",
            HeapKind::Nt | HeapKind::NtXp | HeapKind::PageHeap => "NT Heap",
        };
        writeln!(out, "{:>20x} {kind:>20}", heap.handle)?;
    }
    Ok(())
}
