//! A walk that ends when the time is up.

use std::time::Instant;

use crate::blocks::{Block, CONTINUE, Finding, FindingKind, Flow, Span, Visitor};

/// Blocks between two looks at the clock.
const EVERY: u32 = 4096;

/// Passes everything on until the time is up, and says then that it was.
pub(super) struct Until<'v, V: ?Sized> {
    visitor: &'v mut V,
    deadline: Instant,
    heap: u64,
    left: u32,
}

impl<'v, V: Visitor + ?Sized> Until<'v, V> {
    pub(super) fn new(visitor: &'v mut V, deadline: Instant, heap: u64) -> Self {
        Until {
            visitor,
            deadline,
            heap,
            // The first look is at the first block.
            left: 1,
        }
    }

    #[inline]
    fn tick(&mut self, address: u64) -> Flow {
        self.left -= 1;
        if self.left > 0 {
            return CONTINUE;
        }
        self.left = EVERY;
        if Instant::now() < self.deadline {
            return CONTINUE;
        }
        self.visitor.finding(Finding {
            heap: self.heap,
            address,
            bytes: 0,
            kind: FindingKind::OutOfTime,
        })?;
        Flow::Break(())
    }
}

impl<V: Visitor + ?Sized> Visitor for Until<'_, V> {
    fn only_counts(&self) -> bool {
        self.visitor.only_counts()
    }

    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        self.tick(block.address)?;
        self.visitor.alike(block, count)
    }

    #[inline]
    fn block(&mut self, block: &Block) -> Flow {
        self.tick(block.address)?;
        self.visitor.block(block)
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.visitor.span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.tick(finding.address)?;
        self.visitor.finding(finding)
    }
}
