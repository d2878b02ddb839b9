//! The NT heap, from XP to Windows 11 24H2, with its low fragmentation heap.
//!
//! * [`header`](NtHeap::header): what `_HEAP` says of the whole heap;
//! * `segments`: the segments with their uncommitted ranges;
//! * `entry`: decoding an entry's header and the size that the program asked for;
//! * `pieces`: the raw chain of a segment's entries;
//! * `walk`: stepping through a segment;
//! * `lfh`: the containers of the low fragmentation heap, and `key`: its key;
//! * `virtual_blocks`: blocks with a mapping of their own;
//! * `lookaside`: XP's lists of cached blocks;
//! * `stretch` and `resync`: what can't be proved, and the way back;
//! * `recover`, `shape` and `rescue`: heaps, containers and slots whose headers are lost.

mod entry;
mod fast;
mod half_done;
mod header;
mod key;
mod lfh;
mod lookaside;
mod pieces;
mod recover;
mod rescue;
mod resync;
mod segments;
mod shape;
mod stretch;
mod tags;
mod virtual_blocks;
mod walk;

pub use entry::flags;
pub use entry::{Entry, EntryCodec};
pub use header::{FrontEnd, FrontEndKind, Header};
pub use key::{LfhKey, infer_lfh_key};
pub use pieces::{Piece, RawEntry};
pub use segments::{Segment, UncommittedRange};
pub use tags::Tag;
pub use virtual_blocks::VirtualBlock;

use rustc_hash::FxHashSet;

use lookaside::Cached;

use super::{Heap, LockState};
use crate::{
    address_space::AddressSpace,
    blocks::{Certainty, Finding, Flow, Visitor},
    dump::Region,
    layout::{Bitness, Layouts},
    process::{HeapKind, HeapRef, Process},
};

/// An NT heap with its header read and its segments and virtual blocks listed.
#[derive(Debug)]
pub struct NtHeap<'p, 'a> {
    memory: &'p AddressSpace<'a>,
    layouts: &'p Layouts,
    /// The entry of the process's heap list.
    pub reference: HeapRef,
    /// The heap's header.
    pub header: Header,
    /// Its segments, in the order of the segment list (XP: of the segment array).
    pub segments: Vec<Segment>,
    /// Its virtual blocks, in the order of their list.
    pub virtual_blocks: Vec<VirtualBlock>,
    /// Blocks on lookaside lists (XP).
    cached: Cached,
    /// The LFH key that the heap's containers imply.
    lfh_key: Option<u32>,
    /// What `EncodedOffsets` of its containers is combined with, besides their addresses (8.1 and
    /// later): the key and the address of the `_LFH_HEAP`.
    offsets_key: Option<u32>,
    /// The regions of the process, empty where the dump does not describe them.
    regions: &'p [Region],
    /// What every entry is marked with (XP from its second service pack on).
    cookie: Option<u8>,
    /// What proves its blocks: its header, or the entries alone.
    certainty: Certainty,
    /// Segments that a search through memory found, with the heaps that they name as their owners.
    owned_segments: &'p [(u64, u64)],
    /// Whether the process has so few heaps that memory may be searched for each.
    may_search: bool,
    /// Virtual blocks that the heap's list does not lead to.
    unlisted_virtual: FxHashSet<u64>,
    findings: Vec<Finding>,
}

impl<'p, 'a> NtHeap<'p, 'a> {
    /// Reads the header and the lists of a heap. What is broken is reported by the walk.
    #[must_use]
    pub fn open(process: &'p Process<'_, 'a>, reference: &HeapRef) -> Self {
        let memory = process.memory();
        let layouts = &process.layouts;
        let mut heap = NtHeap {
            memory,
            layouts,
            reference: *reference,
            header: Header::read(memory, layouts, reference.handle),
            segments: Vec::new(),
            virtual_blocks: Vec::new(),
            cached: Cached::default(),
            lfh_key: None,
            offsets_key: None,
            regions: &process.dump.regions,
            cookie: None,
            certainty: Certainty::Certain,
            owned_segments: &process.found.segments,
            may_search: process.may_search(),
            unlisted_virtual: FxHashSet::default(),
            findings: Vec::new(),
        };
        if heap.has_header() {
            heap.read_segments();
            heap.cookie = heap.read_cookie();
            heap.check_codec();
            heap.read_virtual_blocks();
        } else {
            heap.recover_header();
            heap.adopt_virtual_blocks();
        }
        if heap.is_xp() {
            heap.cached = lookaside::cached_blocks(memory, layouts, &heap.header);
            if !heap.has_header() {
                heap.cached.lost_lists = u128::MAX;
            }
        }
        heap.infer_keys();
        heap
    }

    /// Handle of the heap.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.reference.handle
    }

    /// Whether it has the structures of XP and Server 2003.
    #[must_use]
    pub fn is_xp(&self) -> bool {
        self.reference.kind == HeapKind::NtXp
    }

    /// Width of the process.
    #[must_use]
    pub fn bitness(&self) -> Bitness {
        self.layouts.bitness
    }

    /// Size of an allocation unit (of a `_HEAP_ENTRY`) in bytes.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.layouts.bitness.unit()
    }

    /// Who holds the heap's critical section; `None` for a heap without serialization.
    #[must_use]
    pub fn lock_state(&self) -> Option<LockState> {
        LockState::read(self.memory, self.layouts, self.header.lock)
    }

    /// What was found broken while the heap was opened.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One part a segment, then one for the virtual blocks.
    pub(super) fn parts(&self) -> usize {
        self.segments.len() + 1
    }

    /// The memory that it lies in.
    pub(super) fn memory(&self) -> &'p AddressSpace<'a> {
        self.memory
    }

    pub(super) fn walk_part<V: Visitor + ?Sized>(&self, part: usize, mut visitor: &mut V) -> Flow {
        match self.segments.get(part) {
            Some(segment) => self.walk_segment(segment, visitor),
            None => {
                self.walk_virtual_blocks(&mut visitor)?;
                self.findings
                    .iter()
                    .cloned()
                    .try_for_each(|finding| visitor.finding(finding))
            }
        }
    }
}
