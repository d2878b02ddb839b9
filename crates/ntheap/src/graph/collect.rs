//! The blocks of all heaps, as the program has them.

use super::scan::joined;
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
    /// Address and size as the program has them, a list for each part of a heap.
    lists: Vec<Vec<(u64, u64)>>,
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
            lists: vec![Vec::new()],
            debug_blocks: 0,
            damaged: Vec::new(),
            unreadable: 0,
            losses: Losses::default(),
        }
    }

    fn merge(mut self, other: Self) -> Self {
        let lists = other.lists.into_iter();
        self.lists.extend(lists.filter(|list| !list.is_empty()));
        self.debug_blocks += other.debug_blocks;
        self.damaged.extend(other.damaged);
        self.unreadable = self.unreadable.saturating_add(other.unreadable);
        self.losses.merge(other.losses);
        self
    }

    /// The blocks, in the order in which the walks met them.
    pub(super) fn blocks(&mut self) -> Vec<(u64, u64)> {
        let lists = std::mem::take(&mut self.lists);
        joined(lists.iter().map(Vec::as_slice))
    }

    fn add(&mut self, address: u64, size: u64) {
        if let Some(list) = self.lists.last_mut() {
            list.push((address, size));
        }
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
                    self.add(found.address, found.size);
                }
                return CONTINUE;
            }
        }
        self.add(block.address, block.size);
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
