//! What a walk reports: blocks, spans of address space that hold none, and findings.
//!
//! A walk calls a [`Visitor`] for everything it meets, in address order within each segment, with
//! the slots of an LFH container right behind the container. Nothing is allocated per block.
//!
//! ```
//! use ntheap::blocks::{Block, CONTINUE, Flow, State, Visitor};
//!
//! #[derive(Default)]
//! struct BusyBytes(u64);
//!
//! impl Visitor for BusyBytes {
//!     fn block(&mut self, block: &Block) -> Flow {
//!         if block.is_user_block() {
//!             self.0 += block.size;
//!         }
//!         CONTINUE
//!     }
//! }
//! ```

mod certainty;
mod fallible;
mod finding;

use std::ops::ControlFlow;

pub use certainty::Certainty;
pub use fallible::{TryVisitor, try_visit};
pub use finding::{Finding, FindingKind};

/// Whether a block is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    /// Allocated.
    Busy,
    /// Free.
    Free,
    /// Freed by the program, kept in quarantine by page heap.
    Freed,
}

impl State {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            State::Busy => "busy",
            State::Free => "free",
            State::Freed => "freed",
        }
    }
}

/// Which part of the heap manager a block belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// NT heap: an entry of a segment.
    Backend,
    /// NT heap: an entry of a segment that lies on a lookaside list (XP and 2003).
    Lookaside,
    /// NT heap: a slot of the low fragmentation heap.
    Lfh,
    /// NT heap: allocated by itself with `VirtualAlloc`.
    Virtual,
    /// Segment heap: variable size.
    Vs,
    /// Segment heap: a slot of its low fragmentation heap.
    SegmentLfh,
    /// Segment heap: a range of pages.
    Segment,
    /// Segment heap: a large allocation.
    Large,
    /// Full page heap.
    Page,
    /// Light page heap.
    PageLight,
}

impl Kind {
    /// The name used in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Backend => "backend",
            Kind::Lookaside => "lookaside",
            Kind::Lfh => "lfh",
            Kind::Virtual => "virtual",
            Kind::Vs => "vs",
            Kind::SegmentLfh => "segment-lfh",
            Kind::Segment => "segment",
            Kind::Large => "large",
            Kind::Page => "page",
            Kind::PageLight => "page-light",
        }
    }
}

/// Where the stack trace of a block's allocation is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Trace {
    /// No trace was recorded.
    None,
    /// Address of a trace record (Vista and later).
    Record(u64),
    /// Index into the stack trace database (XP; later for blocks with a user value).
    Index(u32),
    /// Address of an entry of the stack trace database (page heap).
    Entry(u64),
    /// Address of an `_RTL_TRACE_BLOCK` (page heap of XP).
    TraceBlock(u64),
}

/// A block of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Handle of the heap.
    pub heap: u64,
    /// Address of what holds the block: the segment, the LFH subsegment, the range.
    pub container: u64,
    /// Address of the block's header (of the block itself where there is none).
    pub entry: u64,
    /// Address that the program has.
    pub address: u64,
    /// Size that the program asked for, in bytes. Of a free block: what it could hold.
    pub size: u64,
    /// Size of the whole block with its header, in bytes.
    pub block_size: u64,
    /// State.
    pub state: State,
    /// Kind.
    pub kind: Kind,
    /// Whether the heap took the block for itself (an LFH container, a table).
    pub internal: bool,
    /// `_HEAP_ENTRY.Flags`; of slots of the LFH and blocks of segment heaps, which have none, 1 for
    /// busy, and of the latter 2 for a record behind the block that holds tag, trace and user value.
    pub flags: u8,
    /// Heap tag (`_HEAP_ENTRY.SmallTagIndex` of heaps with tags, `HEAP_ENTRY_EXTRA` else); 0: none.
    pub tag: u16,
    /// Trace of the allocation; of a freed block of a page heap, that of the call that freed it.
    pub trace: Trace,
    /// What proves the block, where the structures that should lead to it are lost.
    pub certainty: Certainty,
}

impl Block {
    /// First address of the block's own memory, and one past the last: header and data, of a full
    /// page heap block its pages (its header is a record elsewhere).
    #[must_use]
    pub fn extent(&self) -> (u64, u64) {
        let start = match self.kind {
            Kind::Page => self.container,
            _ => self.entry.min(self.address),
        };
        (start, start.saturating_add(self.block_size))
    }

    /// Whether the program holds this block: busy and not the heap's own.
    #[must_use]
    #[inline]
    pub fn is_user_block(&self) -> bool {
        self.state == State::Busy && !self.internal
    }
}

/// What lies in a part of a segment that holds no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SpanKind {
    /// The header of the heap or segment.
    Header,
    /// The entry that closes a committed run in front of an uncommitted range.
    Marker,
    /// Reserved, not committed.
    Uncommitted,
    /// Committed, but not in the dump.
    Unreadable,
    /// Readable, but no chain of entries could be proved there.
    Corrupt,
    /// Between the last slot of an LFH container and its end, or before its first.
    ContainerHeader,
    /// Committed behind the last entry of a segment (segment heap: of a subsegment).
    Tail,
    /// Segment heap: committed pages of a free range.
    FreePages,
}

/// A part of a segment that holds no block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Handle of the heap.
    pub heap: u64,
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
    /// What it is.
    pub kind: SpanKind,
}

/// Whether a walk goes on: [`CONTINUE`], or `Flow::Break(())` to end it at once.
pub type Flow = ControlFlow<()>;

/// The walk goes on.
pub const CONTINUE: Flow = ControlFlow::Continue(());

/// Receives what a walk meets. Each answer says whether the walk goes on; why it was stopped is the
/// visitor's to keep.
pub trait Visitor {
    /// A block, busy or free.
    fn block(&mut self, block: &Block) -> Flow;

    /// Whether blocks are only counted, by size, state and kind: then [`Visitor::alike`] may be
    /// called for many slots at once.
    fn only_counts(&self) -> bool {
        false
    }

    /// Some blocks that differ in nothing but where they lie: `block` is one of them. Called only where
    /// [`Visitor::only_counts`], and for slots without a trace.
    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        for _ in 0..count {
            self.block(block)?;
        }
        CONTINUE
    }

    /// A part of a segment without blocks.
    fn span(&mut self, span: &Span) -> Flow {
        let _ = span;
        CONTINUE
    }

    /// Something that is missing, inconsistent or corrupt.
    fn finding(&mut self, finding: Finding) -> Flow {
        let _ = finding;
        CONTINUE
    }
}

impl<V: Visitor + ?Sized> Visitor for &mut V {
    fn block(&mut self, block: &Block) -> Flow {
        (**self).block(block)
    }

    fn only_counts(&self) -> bool {
        (**self).only_counts()
    }

    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        (**self).alike(block, count)
    }

    fn span(&mut self, span: &Span) -> Flow {
        (**self).span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        (**self).finding(finding)
    }
}
