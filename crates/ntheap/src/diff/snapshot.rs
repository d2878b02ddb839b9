//! One side of a comparison.

use crate::{
    heap::{Heap, Heaps},
    process::Process,
    traces::Traces,
};

/// The heaps of one dump and the stacks of their blocks.
#[derive(Debug)]
pub struct Snapshot<'p, 'a> {
    /// The heaps.
    pub heaps: Heaps<'p, 'a>,
    /// The traces of the process.
    pub traces: Traces<'p, 'a>,
}

impl<'p, 'a> Snapshot<'p, 'a> {
    /// Opens all heaps of a process.
    #[must_use]
    pub fn of(process: &'p Process<'p, 'a>) -> Self {
        Self::of_heaps(Heaps::of(process))
    }

    /// A snapshot of these heaps.
    #[must_use]
    pub fn of_heaps(heaps: Heaps<'p, 'a>) -> Self {
        Snapshot {
            traces: Traces::of(heaps.process()),
            heaps,
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &'p Process<'p, 'a> {
        self.heaps.process()
    }
}

/// The random key that the entries of a heap are encoded with, 0 where they are not: it tells the
/// heap from another one at the same address.
pub(super) fn key(heap: &Heap<'_, '_>) -> u64 {
    match heap {
        Heap::Nt(heap) if heap.header.codec.mask != 0 => heap.header.codec.key,
        _ => 0,
    }
}
