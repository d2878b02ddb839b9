//! The blocks of all heaps, as the program has them.

use crate::{
    address_space::Window,
    blocks::{Block, CONTINUE, Finding, Flow, Span, SpanKind, Visitor},
    heap::{
        Heaps,
        crt::{CrtBlock, CrtUse},
    },
    losses::Losses,
    process::Process,
};

/// What a walk brings.
pub(super) struct Collected<'p, 'a> {
    process: &'p Process<'p, 'a>,
    window: Window<'p, 'a>,
    /// Address and size as the program has them.
    pub(super) blocks: Vec<(u64, u64)>,
    /// Blocks of the debug C runtime among them.
    pub(super) debug_blocks: u64,
    /// Heap memory in which no blocks could be proved, as (heap, start, size).
    pub(super) damaged: Vec<(u64, u64, u64)>,
    /// Bytes of heaps that are not in the dump.
    pub(super) unreadable: u64,
    pub(super) losses: Losses,
}

impl<'p, 'a> Collected<'p, 'a> {
    pub(super) fn of(heaps: &Heaps<'p, 'a>) -> Self {
        let process = heaps.process();
        let all = heaps.walk_parallel(|_| Collected::new(process), Collected::merge);
        all.into_iter()
            .fold(Collected::new(process), Collected::merge)
    }

    fn new(process: &'p Process<'p, 'a>) -> Self {
        Collected {
            process,
            window: process.memory().window(),
            blocks: Vec::new(),
            debug_blocks: 0,
            damaged: Vec::new(),
            unreadable: 0,
            losses: Losses::default(),
        }
    }

    fn merge(mut self, other: Self) -> Self {
        if self.blocks.is_empty() {
            self.blocks = other.blocks;
        } else {
            self.blocks.extend(other.blocks);
        }
        self.debug_blocks += other.debug_blocks;
        self.damaged.extend(other.damaged);
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.losses.merge(other.losses);
        self
    }
}

impl Visitor for Collected<'_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        if !block.is_user_block() {
            return CONTINUE;
        }
        let bitness = self.process.bitness;
        if CrtBlock::may_be(&mut self.window, bitness, block.address) {
            let found = CrtBlock::read(self.process.memory(), bitness, block.address, block.size);
            if let Some(found) = found {
                self.debug_blocks += 1;
                // What the program freed and the runtime keeps is nobody's, and holds nothing.
                if found.block_use != CrtUse::Free {
                    self.blocks.push((found.address, found.size));
                }
                return CONTINUE;
            }
        }
        self.blocks.push((block.address, block.size));
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.losses.add_span(span);
        match span.kind {
            SpanKind::Corrupt => self.damaged.push((span.heap, span.start, span.size)),
            SpanKind::Unreadable => self.unreadable = self.unreadable.saturating_add(span.size),
            _ => {}
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.losses.add(finding);
        CONTINUE
    }
}
