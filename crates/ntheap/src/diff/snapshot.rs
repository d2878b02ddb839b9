//! One side of a comparison.

use crate::{heap::Heap, process::Process, traces::Traces};

/// The heaps of one dump, opened for comparison.
#[derive(Debug)]
pub struct Snapshot<'p, 'a> {
    /// The process.
    pub process: &'p Process<'p, 'a>,
    /// Its traces.
    pub traces: Traces<'p, 'a>,
    /// Its heaps.
    pub heaps: Vec<HeapSnapshot<'p, 'a>>,
}

/// A heap with what tells it from another one at the same address.
#[derive(Debug)]
pub struct HeapSnapshot<'p, 'a> {
    /// The heap.
    pub heap: Heap<'p, 'a>,
    /// The random key that its entries are encoded with; 0 where they are not.
    pub key: u64,
}

impl<'p, 'a> Snapshot<'p, 'a> {
    /// Opens all heaps of a process.
    #[must_use]
    pub fn of(process: &'p Process<'p, 'a>) -> Self {
        Self::of_heaps(process, Heap::all(process))
    }

    /// A snapshot of some of the process's heaps.
    #[must_use]
    pub fn of_heaps(process: &'p Process<'p, 'a>, heaps: Vec<Heap<'p, 'a>>) -> Self {
        let heaps = heaps
            .into_iter()
            .map(|heap| {
                let key = match &heap {
                    Heap::Nt(heap) if heap.header.codec.mask != 0 => heap.header.codec.key,
                    _ => 0,
                };
                HeapSnapshot { heap, key }
            })
            .collect();
        Snapshot {
            process,
            traces: Traces::of(process),
            heaps,
        }
    }
}
