//! The heaps of a process, opened once for everything that looks into them.

use std::sync::OnceLock;

use rayon::prelude::*;

use super::{Found, Heap, index::BlockIndex, segment::SegmentFacts};
use crate::{
    Error, Result,
    blocks::{Block, Visitor},
    losses::Losses,
    process::{HeapKind, HeapRef, HeapSource, Process},
};

/// The heaps of a process, opened: their headers are read, their segments listed, their keys proved.
///
/// Opening is cheap; what walks everything (the index of blocks, the losses) is done when it is
/// first asked for, and kept.
///
/// ```no_run
/// use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process};
///
/// # fn main() -> Result<(), ntheap::Error> {
/// let file = DumpFile::open("app.dmp".as_ref())?;
/// let dump = Dump::parse(file.bytes())?;
/// let process = Process::of(&dump)?;
/// let heaps = Heaps::of(&process);
/// if let Some(block) = heaps.block_at(0x21a_b6d0_0740) {
///     println!("{:#x} bytes at {:x}", block.size, block.address);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Heaps<'p, 'a> {
    process: &'p Process<'p, 'a>,
    heaps: Vec<Heap<'p, 'a>>,
    /// The normal heaps behind page heaps.
    normal: Vec<Heap<'p, 'a>>,
    index: OnceLock<BlockIndex>,
    losses: OnceLock<Losses>,
}

impl<'p, 'a> Heaps<'p, 'a> {
    /// Opens all heaps of a process.
    #[must_use]
    pub fn of(process: &'p Process<'p, 'a>) -> Self {
        Self::only(process, |_| true)
    }

    /// Opens the heaps that the program and the debugger know of, without those that ntdll keeps for
    /// itself.
    #[must_use]
    pub fn listed(process: &'p Process<'p, 'a>) -> Self {
        Self::only(process, |heap| heap.source != HeapSource::Unlisted)
    }

    /// Opens the heaps of a process that are wanted; it is as if it had no others.
    #[must_use]
    pub fn only(process: &'p Process<'p, 'a>, wanted: impl Fn(&HeapRef) -> bool) -> Self {
        let facts = OnceLock::new();
        let open = |reference: &HeapRef| match reference.kind {
            HeapKind::Segment => {
                let facts = facts.get_or_init(|| SegmentFacts::of(process));
                Heap::open_segment_heap(process, reference, facts)
            }
            _ => Heap::open(process, reference),
        };
        Heaps {
            process,
            heaps: process
                .all_heaps()
                .filter(|heap| wanted(heap))
                .map(open)
                .collect(),
            normal: process
                .normal_heaps
                .iter()
                .filter(|heap| wanted(heap))
                .map(open)
                .collect(),
            index: OnceLock::new(),
            losses: OnceLock::new(),
        }
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &'p Process<'p, 'a> {
        self.process
    }

    /// The heaps, in the order of the process's list.
    pub fn iter(&self) -> std::slice::Iter<'_, Heap<'p, 'a>> {
        self.heaps.iter()
    }

    /// The heaps as a slice, in the order of the process's list.
    #[must_use]
    pub fn as_slice(&self) -> &[Heap<'p, 'a>] {
        &self.heaps
    }

    /// The normal heaps behind page heaps, whose blocks are blocks of the page heaps.
    #[must_use]
    pub fn normal(&self) -> &[Heap<'p, 'a>] {
        &self.normal
    }

    /// How many heaps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.heaps.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.heaps.is_empty()
    }

    /// The heap with this handle, among the normal heaps behind page heaps too.
    ///
    /// # Errors
    /// [`Error::NoSuchHeap`].
    pub fn get(&self, handle: u64) -> Result<&Heap<'p, 'a>> {
        self.heaps
            .iter()
            .chain(&self.normal)
            .find(|heap| heap.handle() == handle)
            .ok_or(Error::NoSuchHeap { handle })
    }

    /// Bytes of the heaps that a walk goes through, about: what their segments have committed.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let parts = self
            .heaps
            .iter()
            .map(|heap| heap.parts().map(|part| heap.bytes(part)));
        parts.flatten().sum()
    }

    /// Walks every part of every heap on all cores and joins the parts' visitors per heap, in order.
    pub fn walk_parallel<V: Visitor + Send>(
        &self,
        new: impl Fn(&Heap<'p, 'a>) -> V + Sync,
        merge: impl Fn(V, V) -> V + Sync,
    ) -> Vec<V> {
        self.heaps
            .par_iter()
            .map(|heap| heap.walk_parallel(|| new(heap), &merge))
            .collect()
    }

    /// What lies at an address: the innermost block or, failing that, the part of a heap.
    ///
    /// Without the [index](Self::index) the part of a heap that holds the address is walked.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<Found> {
        if let Some(index) = self.index.get()
            && let Some(block) = index.at(address)
        {
            return Some(Found::Block(*block));
        }
        self.heaps.iter().find_map(|heap| heap.at(address))
    }

    /// The innermost block that holds `address`.
    #[must_use]
    pub fn block_at(&self, address: u64) -> Option<Block> {
        match self.at(address)? {
            Found::Block(block) => Some(block),
            Found::Span(_) => None,
        }
    }

    /// All blocks in order of their addresses, for who looks up many; built when first asked for.
    pub fn index(&self) -> &BlockIndex {
        self.index.get_or_init(|| BlockIndex::of(self))
    }

    /// What of the dump, the process and these heaps could not be read or proved; the heaps are
    /// walked when it is first asked for.
    pub fn losses(&self) -> &Losses {
        self.losses.get_or_init(|| {
            let walked = self.walk_parallel(|_| Losses::default(), Losses::merged);
            walked
                .into_iter()
                .fold(Losses::of(self.process), Losses::merged)
        })
    }
}

impl<'h, 'p, 'a> IntoIterator for &'h Heaps<'p, 'a> {
    type Item = &'h Heap<'p, 'a>;
    type IntoIter = std::slice::Iter<'h, Heap<'p, 'a>>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
