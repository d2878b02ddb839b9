//! Which block an address lies in.

use super::Heap;
use crate::{
    blocks::{Block, CONTINUE, Flow, Span, SpanKind, Visitor},
    process::Process,
};

/// What lies at an address of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A block: the innermost, so of an LFH container the slot.
    Block(Block),
    /// A part of a heap without blocks.
    Span(Span),
}

/// The innermost block or, failing that, the part of a heap that holds `address`.
#[must_use]
pub fn at(process: &Process<'_, '_>, address: u64) -> Option<Found> {
    process.heaps.iter().find_map(|reference| {
        let heap = Heap::open(process, reference);
        let mut finder = Finder {
            address,
            found: None,
        };
        match &heap {
            Heap::Nt(nt) => {
                let segment = nt
                    .segments
                    .iter()
                    .position(|s| (s.base..s.base + s.reserved).contains(&address));
                // The part behind the segments is that of the virtual blocks.
                let part = segment.unwrap_or(nt.segments.len());
                if let Some(part) = heap.parts().nth(part) {
                    let _ = heap.walk_part(part, &mut finder);
                }
            }
            _ => {
                let _ = heap.walk(&mut finder);
            }
        }
        finder.found
    })
}

/// The innermost block that holds `address`.
#[must_use]
pub fn block_at(process: &Process<'_, '_>, address: u64) -> Option<Block> {
    match at(process, address)? {
        Found::Block(block) => Some(block),
        Found::Span(_) => None,
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
