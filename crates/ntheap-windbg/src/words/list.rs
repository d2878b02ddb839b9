//! `!heap` without arguments: which heaps there are, and of which kind.

use std::fmt::{self, Write};

use ntheap::{
    heap::Heap,
    process::{HeapKind, HeapRef, Process},
};

/// Prints the list.
///
/// # Errors
/// Those of `out`.
pub(crate) fn list(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "        Heap Address      NT/Segment Heap\n")?;
    for heap in listed(process) {
        let kind = match heap.kind {
            HeapKind::Segment => "Segment Heap",
            HeapKind::Nt | HeapKind::NtXp | HeapKind::PageHeap => "NT Heap",
        };
        writeln!(out, "{:>20x} {kind:>20}", heap.handle)?;
    }
    Ok(())
}

/// The heaps that the environment block lists, opened: of page heaps the normal heaps behind them.
#[must_use]
pub fn listed_heaps<'p, 'a>(process: &'p Process<'_, 'a>) -> Vec<Heap<'p, 'a>> {
    let heaps = listed(process).iter();
    heaps.map(|heap| Heap::open(process, heap)).collect()
}

/// The heaps that the environment block lists: of page heaps the normal heaps behind them.
pub(super) fn listed<'p>(process: &'p Process<'_, '_>) -> &'p [HeapRef] {
    let page = |heap: &HeapRef| heap.kind == HeapKind::PageHeap;
    if process.heaps.iter().any(page) && !process.normal_heaps.is_empty() {
        &process.normal_heaps
    } else {
        &process.heaps
    }
}
