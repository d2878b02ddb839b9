//! Which block an address lies in.

use super::{Heap, Part, nt::Segment};
use crate::blocks::{Block, CONTINUE, Flow, Span, SpanKind, Visitor};

/// What lies at an address of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A block: the innermost, so of an LFH container the slot.
    Block(Block),
    /// A part of a heap without blocks.
    Span(Span),
}

impl Heap<'_, '_> {
    /// What lies at an address of the heap: the innermost block or, failing that, the part.
    #[must_use]
    pub fn at(&self, address: u64) -> Option<Found> {
        let mut finder = Finder {
            address,
            found: None,
        };
        let _ = match self {
            Heap::Nt(nt) => {
                let holds =
                    |segment: &Segment| address.wrapping_sub(segment.base) < segment.reserved;
                let segment = nt.segments.iter().position(holds);
                // The part behind the segments is that of the virtual blocks.
                let part = Part(segment.unwrap_or(nt.segments.len()));
                self.walk_part(part, &mut finder)
            }
            _ => self.walk(&mut finder),
        };
        finder.found
    }
}

struct Finder {
    address: u64,
    found: Option<Found>,
}

impl Visitor for Finder {
    fn block(&mut self, block: &Block) -> Flow {
        // Slots follow their container.
        let (start, end) = block.extent();
        if (start..end).contains(&self.address) {
            self.found = Some(Found::Block(*block));
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        if self.address.wrapping_sub(span.start) < span.size
            && span.kind != SpanKind::ContainerHeader
        {
            self.found.get_or_insert(Found::Span(*span));
        }
        CONTINUE
    }
}
