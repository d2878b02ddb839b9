//! Light blocks: ordinary blocks of the normal heap with page heap's information in front of the
//! program's data.

use super::{BlockInformation, PageHeap, information::information_size};
use crate::blocks::{
    Block, CONTINUE, Finding, FindingKind, Flow, Kind, Span, State, Trace, Visitor,
};

/// What page heap fills the bytes behind a busy light block with.
const LIGHT_SUFFIX: u8 = 0xa0;

/// Receives the blocks of the normal heap, and passes them on as blocks of the page heap.
pub(super) struct LightVisitor<'v, 'h, 'p, 'a> {
    pub(super) heap: &'h PageHeap<'p, 'a>,
    pub(super) visitor: &'v mut dyn Visitor,
}

impl Visitor for LightVisitor<'_, '_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        let mut block = *block;
        block.heap = self.heap.handle();
        // A busy block that page heap did not make stays what it is: the program could only have it
        // from the normal heap's handle. None was seen.
        if block.is_user_block() {
            self.light(&mut block)?;
        }
        self.visitor.block(&block)
    }

    fn span(&mut self, span: &Span) -> Flow {
        let heap = self.heap.handle();
        self.visitor.span(&Span { heap, ..*span })
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        let heap = self.heap.handle();
        self.visitor.finding(Finding { heap, ..finding })
    }
}

impl LightVisitor<'_, '_, '_, '_> {
    /// Makes the light block of a busy block of the normal heap, if it is one.
    fn light(&mut self, block: &mut Block) -> Flow {
        let heap = self.heap;
        let own = heap.root.address;
        let prefix = information_size(heap.layouts);
        let address = block.address.saturating_add(prefix);
        // What lies behind the block is not its own, whatever it looks like.
        if address > block.extent().1 {
            return CONTINUE;
        }
        let Some(information) = BlockInformation::read(heap.memory, heap.layouts, block.address)
            .filter(|information| !information.stamp.full && information.root == own)
        else {
            return CONTINUE;
        };
        let room = block.size.saturating_sub(prefix);
        let damage = if !information.intact {
            Some("a stamp in front of its data")
        } else if information.requested > room {
            Some("its requested size")
        } else if information.stamp.state == State::Busy
            && !heap.holds_fill(
                address.saturating_add(information.requested),
                LIGHT_SUFFIX,
                room - information.requested,
            )
        {
            Some("the fill behind its data")
        } else {
            None
        };
        if let Some(part) = damage {
            self.visitor
                .finding(heap.finding(address, 0, FindingKind::PageHeapDamage { part }))?;
        }
        block.address = address;
        block.size = information.requested.min(room);
        block.kind = Kind::PageLight;
        block.state = information.stamp.state;
        if information.trace != Trace::None {
            block.trace = information.trace;
        }
        CONTINUE
    }
}
