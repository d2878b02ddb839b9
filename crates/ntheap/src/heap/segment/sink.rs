//! Between the walkers, which know where blocks start, and the visitor, who wants to know what the
//! program sees.

use super::{SegmentHeap, extra};
use crate::{
    address_space::Window,
    blocks::{Block, CONTINUE, Certainty, Finding, FindingKind, Flow, Kind, Span, State, Visitor},
};

/// A block as the heap's structures describe it.
#[derive(Debug, Clone, Copy)]
pub(super) struct RawBlock {
    pub(super) container: u64,
    /// Address of the header, or of the block where there is none.
    pub(super) entry: u64,
    /// First byte behind the header.
    pub(super) start: u64,
    /// Bytes behind the header.
    pub(super) usable: u64,
    pub(super) block_size: u64,
    pub(super) state: State,
    pub(super) kind: Kind,
    pub(super) internal: bool,
    pub(super) unused: Unused,
    pub(super) certainty: Certainty,
}

/// What is known of the bytes at a block's end that the program did not ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unused {
    /// Their number; `None` where the count is not in the dump.
    pub(super) bytes: Option<u64>,
    /// Whether they hold a `SEGMENT_HEAP_EXTRA`.
    pub(super) extra: bool,
}

impl Unused {
    pub(super) const NONE: Unused = Unused {
        bytes: Some(0),
        extra: false,
    };
    pub(super) const UNKNOWN: Unused = Unused {
        bytes: None,
        extra: false,
    };

    /// What the record in the last two bytes of a chunk or slot says, whose count takes these bits.
    #[inline(always)]
    pub(super) fn recorded(record: u16, count: u16) -> Self {
        const ONE_UNUSED: u16 = 0x8000;
        const EXTRA_PRESENT: u16 = 0x4000;
        let bytes = match record & ONE_UNUSED {
            0 => record & count,
            _ => 1,
        };
        Unused {
            bytes: Some(bytes.into()),
            extra: record & EXTRA_PRESENT != 0,
        }
    }

    /// Their number, where nothing but a count is behind the block.
    #[inline(always)]
    pub(super) fn plain(self) -> Option<u64> {
        self.bytes.filter(|_| !self.extra)
    }
}

/// Receives what a walk meets, before the prefix of blocks is taken off.
pub(super) trait Sink {
    fn raw(&mut self, raw: RawBlock) -> Flow;

    fn span(&mut self, span: Span) -> Flow {
        let _ = span;
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        let _ = finding;
        CONTINUE
    }

    /// Whether plain blocks may come as the program sees them, through [`Sink::block`].
    fn takes_blocks(&self) -> bool {
        false
    }

    fn block(&mut self, block: &Block) -> Flow {
        let _ = block;
        CONTINUE
    }

    /// Whether plain slots of a subsegment may come together, through [`Sink::alike`].
    fn only_counts(&self) -> bool {
        false
    }

    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        let _ = (block, count);
        CONTINUE
    }
}

/// Hands everything on to a visitor.
pub(super) struct Emit<'h, 'p, 'a, 'v, V: ?Sized> {
    heap: &'h SegmentHeap<'p, 'a>,
    /// Where prefixes are read.
    window: Window<'p, 'a>,
    visitor: &'v mut V,
}

impl<'h, 'p, 'a, 'v, V: Visitor + ?Sized> Emit<'h, 'p, 'a, 'v, V> {
    pub(super) fn new(heap: &'h SegmentHeap<'p, 'a>, visitor: &'v mut V) -> Self {
        Emit {
            heap,
            window: heap.memory.window(),
            visitor,
        }
    }
}

impl<V: Visitor + ?Sized> Sink for Emit<'_, '_, '_, '_, V> {
    #[inline(always)]
    fn raw(&mut self, raw: RawBlock) -> Flow {
        let heap = self.heap;
        let mut block = Block {
            heap: heap.handle(),
            container: raw.container,
            entry: raw.entry,
            address: raw.start,
            size: raw.usable,
            block_size: raw.block_size,
            state: raw.state,
            kind: raw.kind,
            internal: raw.internal,
            flags: u8::from(raw.state == State::Busy),
            tag: 0,
            trace: crate::blocks::Trace::None,
            certainty: raw.certainty,
        };
        if raw.unused.extra {
            block.flags |= extra::PRESENT;
        }
        if raw.state == State::Busy && !raw.internal {
            let (shift, taken) = heap.prefix.of(heap, &mut self.window, &raw);
            block.address = raw.start.saturating_add(shift);
            match raw.unused.bytes {
                Some(unused) => {
                    let lost = unused.saturating_add(taken);
                    match raw.usable.checked_sub(lost) {
                        Some(size) => {
                            block.size = size;
                            if raw.unused.extra {
                                // Not the end of what the program asked for: a large block of
                                // 10240 to 16299 counts a prefix that it does not have.
                                let used = raw.usable.saturating_sub(unused);
                                heap.read_extra(&mut block, raw.start.saturating_add(used));
                            }
                        }
                        None => {
                            block.size = 0;
                            let kind = FindingKind::UnusedBytes {
                                unused: lost,
                                block: raw.block_size,
                            };
                            self.visitor.finding(heap.finding(raw.entry, 0, kind))?;
                        }
                    }
                }
                None => {
                    block.size = raw.usable.saturating_sub(taken);
                    // As much as it can be: how much the program asked for is lost.
                    block.certainty = block.certainty.max(Certainty::Probable);
                    let structure = "the unused byte count of a block";
                    let kind = FindingKind::MissingStructure { structure };
                    self.visitor.finding(heap.finding(raw.entry, 0, kind))?;
                }
            }
        }
        self.visitor.block(&block)
    }

    fn span(&mut self, span: Span) -> Flow {
        self.visitor.span(&span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.visitor.finding(finding)
    }

    fn takes_blocks(&self) -> bool {
        true
    }

    #[inline(always)]
    fn block(&mut self, block: &Block) -> Flow {
        self.visitor.block(block)
    }

    fn only_counts(&self) -> bool {
        self.visitor.only_counts()
    }

    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        self.visitor.alike(block, count)
    }
}
