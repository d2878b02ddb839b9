//! `!heap` without arguments: which heaps there are, and of which kind.

use std::fmt::{self, Write};

use ntheap::{
    heap::{Heap, Heaps},
    process::HeapKind,
};

/// Prints the list.
///
/// # Errors
/// Those of `out`.
pub(crate) fn list(heaps: &Heaps<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "        Heap Address      NT/Segment Heap\n")?;
    for heap in listed_heaps(heaps) {
        let heap = heap.reference();
        let kind = match heap.kind {
            HeapKind::Segment => "Segment Heap",
            HeapKind::Nt | HeapKind::NtXp | HeapKind::PageHeap => "NT Heap",
        };
        writeln!(out, "{:>20x} {kind:>20}", heap.handle)?;
    }
    Ok(())
}

/// The heaps that the environment block lists: of page heaps the normal heaps behind them.
#[must_use]
pub(super) fn listed_heaps<'h, 'p, 'a>(heaps: &'h Heaps<'p, 'a>) -> &'h [Heap<'p, 'a>] {
    let page = |heap: &Heap<'_, '_>| matches!(heap, Heap::Page(_));
    if heaps.iter().any(page) && !heaps.normal().is_empty() {
        heaps.normal()
    } else {
        heaps.as_slice()
    }
}
