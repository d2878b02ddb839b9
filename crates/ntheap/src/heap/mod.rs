//! Heaps: opening them and walking them.
//!
//! Two floors: [`Heaps`] and [`Heap`] are the same for every kind of heap; [`nt`], [`segment`] and
//! [`page`] show what only that kind has.
//!
//! ```no_run
//! use ntheap::{blocks::{Block, CONTINUE, Flow, Visitor}, dump::{Dump, DumpFile}, heap::Heaps, process::Process};
//!
//! struct Print;
//! impl Visitor for Print {
//!     fn block(&mut self, block: &Block) -> Flow {
//!         println!("{:x} {:x}", block.address, block.size);
//!         CONTINUE
//!     }
//! }
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for heap in &Heaps::of(&process) {
//!     let _ = heap.walk(&mut Print);
//! }
//! # Ok(())
//! # }
//! ```

pub mod crt;
mod fill;
mod find;
mod flags;
mod heaps;
mod index;
mod list;
mod lock;
pub mod nt;
mod operations;
pub mod page;
pub mod references;
pub mod segment;
mod until;

pub use find::Found;
pub use flags::{class_name, debug_options, flag_words};
pub use heaps::Heaps;
pub use index::BlockIndex;
pub use lock::LockState;
pub use operations::Operation;

use std::sync::atomic::Ordering;

use rayon::prelude::*;

use crate::{
    address_space::AddressSpace,
    blocks::{Flow, TryVisitor, Visitor, try_visit},
    process::{HeapKind, HeapRef, Process},
};
use nt::NtHeap;
use page::PageHeap;
use segment::{SegmentFacts, SegmentHeap};
use until::Until;

/// A heap that was opened: its header is read, its segments are listed.
///
/// A fourth kind would be news to everyone who matches on it, so the list is closed on purpose.
#[derive(Debug)]
pub enum Heap<'p, 'a> {
    /// NT heap, of any Windows.
    Nt(Box<NtHeap<'p, 'a>>),
    /// Page heap, with the normal heap behind it.
    Page(Box<PageHeap<'p, 'a>>),
    /// Segment heap (Windows 10 and later).
    Segment(Box<SegmentHeap<'p, 'a>>),
}

/// A part of a heap that can be walked by itself, in any order and in parallel with the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part(pub(crate) usize);

impl<'p, 'a> Heap<'p, 'a> {
    /// Opens one heap of the process; [`Heaps`] opens all, with less work each.
    #[must_use]
    pub fn open(process: &'p Process<'_, 'a>, heap: &HeapRef) -> Self {
        match heap.kind {
            HeapKind::Nt | HeapKind::NtXp => Heap::Nt(Box::new(NtHeap::open(process, heap))),
            HeapKind::Segment => Heap::Segment(Box::new(SegmentHeap::open(process, heap))),
            HeapKind::PageHeap => Heap::Page(Box::new(PageHeap::open(process, heap))),
        }
    }

    /// Opens a segment heap with what those of the process have in common.
    fn open_segment_heap(
        process: &'p Process<'_, 'a>,
        reference: &HeapRef,
        facts: &SegmentFacts,
    ) -> Self {
        Heap::Segment(Box::new(SegmentHeap::open_with(process, reference, facts)))
    }

    /// The entry of the process's heap list.
    #[must_use]
    pub fn reference(&self) -> &HeapRef {
        match self {
            Heap::Nt(heap) => &heap.reference,
            Heap::Page(heap) => &heap.reference,
            Heap::Segment(heap) => &heap.reference,
        }
    }

    /// Handle of the heap.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.reference().handle
    }

    /// The NT heap itself, or the normal one behind a page heap, where blocks with a light prefix lie.
    #[must_use]
    pub fn nt(&self) -> Option<&NtHeap<'p, 'a>> {
        match self {
            Heap::Nt(heap) => Some(heap),
            Heap::Page(page) => match page.normal()? {
                Heap::Nt(heap) => Some(heap),
                _ => None,
            },
            Heap::Segment(_) => None,
        }
    }

    /// `_HEAP.Flags`, of a page heap those of its root; 0 where the kind has none.
    #[must_use]
    pub fn flags(&self) -> u32 {
        match self {
            Heap::Nt(heap) => heap.header.flags,
            Heap::Page(heap) => heap.root.heap_flags,
            Heap::Segment(_) => 0,
        }
    }

    /// Who holds the heap's critical section; `None` for a heap without one.
    #[must_use]
    pub fn lock_state(&self) -> Option<LockState> {
        match self {
            Heap::Nt(heap) => heap.lock_state(),
            Heap::Page(heap) => heap.lock_state(),
            Heap::Segment(_) => None,
        }
    }

    /// The parts of the heap, in the order in which [`Heap::walk`] visits them.
    pub fn parts(&self) -> impl Iterator<Item = Part> + use<> {
        let count = match self {
            Heap::Nt(heap) => heap.parts(),
            Heap::Page(heap) => heap.parts(),
            Heap::Segment(heap) => heap.parts(),
        };
        (0..count).map(Part)
    }

    /// The addresses that all blocks of a part lie at, where they are known: those of its segment.
    pub(crate) fn extent(&self, part: Part) -> Option<std::ops::Range<u64>> {
        match self {
            Heap::Nt(heap) => {
                let segment = heap.segments.get(part.0)?;
                Some(segment.base..segment.base.saturating_add(segment.reserved))
            }
            Heap::Segment(heap) => {
                let segment = heap.segments.get(part.0)?;
                Some(segment.base..segment.base.saturating_add(segment.size))
            }
            Heap::Page(_) => None,
        }
    }

    /// Walks one part; answers whether the visitor let it go to the end.
    pub fn walk_part<V: Visitor + ?Sized>(&self, part: Part, visitor: &mut V) -> Flow {
        let flow = match self.memory().deadline {
            Some(deadline) => {
                let mut visitor = Until::new(visitor, deadline, self.handle());
                self.walk_part_to_end(part, &mut visitor)
            }
            None => self.walk_part_to_end(part, visitor),
        };
        if let Some(walked) = &self.memory().walked {
            walked.fetch_add(self.bytes(part), Ordering::Relaxed);
        }
        flow
    }

    /// Bytes of a part that a walk has to go through, about.
    pub(crate) fn bytes(&self, part: Part) -> u64 {
        match self {
            Heap::Nt(heap) => heap.segments.get(part.0).map_or(0, nt::Segment::committed),
            Heap::Segment(heap) => heap.segments.get(part.0).map_or(0, |segment| segment.size),
            Heap::Page(_) => 0,
        }
    }

    fn memory(&self) -> &'p AddressSpace<'a> {
        match self {
            Heap::Nt(heap) => heap.memory(),
            Heap::Page(heap) => heap.memory(),
            Heap::Segment(heap) => heap.memory(),
        }
    }

    fn walk_part_to_end<V: Visitor + ?Sized>(&self, part: Part, mut visitor: &mut V) -> Flow {
        match self {
            Heap::Nt(heap) => heap.walk_part(part.0, visitor),
            Heap::Page(heap) => heap.walk_part(part.0, &mut visitor),
            Heap::Segment(heap) => heap.walk_part(part.0, visitor),
        }
    }

    /// Walks the parts of the heap on all cores and joins their visitors, in order.
    pub fn walk_parallel<V: Visitor + Send>(
        &self,
        new: impl Fn() -> V + Sync,
        merge: impl Fn(V, V) -> V + Sync,
    ) -> V {
        let parts: Vec<_> = self.parts().collect();
        parts
            .into_par_iter()
            .map(|part| {
                let mut visitor = new();
                let _ = self.walk_part(part, &mut visitor);
                visitor
            })
            .reduce_with(&merge)
            .unwrap_or_else(new)
    }

    /// Walks the whole heap for a visitor whose work can fail.
    ///
    /// # Errors
    /// The visitor's first; the walk ended there.
    pub fn try_walk<V: TryVisitor>(&self, visitor: &mut V) -> Result<(), V::Error> {
        try_visit(visitor, |visitor| self.walk(visitor))
    }

    /// Walks the whole heap; answers whether the visitor let it go to the end.
    pub fn walk<V: Visitor + ?Sized>(&self, visitor: &mut V) -> Flow {
        self.parts()
            .try_for_each(|part| self.walk_part(part, visitor))
    }
}
