//! The visitor that checks while a heap is walked.

use super::{Check, Checked, Damage, MAX_DAMAGES, lfh::Depth};
use crate::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, Span, SpanKind, State, Visitor},
    heap::nt::NtHeap,
    losses::Losses,
    process::Process,
};

/// Checks blocks as they come, and keeps what can only be judged at the end.
pub(super) struct Checker<'c, 'p, 'a> {
    pub(super) process: &'c Process<'p, 'a>,
    /// The heap, if it is an NT heap.
    pub(super) heap: Option<&'c NtHeap<'c, 'c>>,
    pub(super) damages: Vec<Damage>,
    pub(super) checked: Checked,
    pub(super) missing: Losses,
    /// Free blocks of the segments: entry and size.
    pub(super) free: Vec<(u64, u64)>,
    /// Parts of segments where nothing could be proved: first address and one past the last.
    pub(super) gaps: Vec<(u64, u64)>,
    /// The container whose slots are being visited.
    pub(super) depth: Option<Depth>,
}

impl<'c, 'p, 'a> Checker<'c, 'p, 'a> {
    pub(super) fn new(process: &'c Process<'p, 'a>, heap: Option<&'c NtHeap<'c, 'c>>) -> Self {
        Checker {
            process,
            heap,
            damages: Vec::new(),
            checked: Checked::default(),
            missing: Losses::default(),
            free: Vec::new(),
            gaps: Vec::new(),
            depth: None,
        }
    }

    pub(super) fn merge(mut self, mut other: Self) -> Self {
        self.finish_depth();
        other.finish_depth();
        self.damages.extend(other.damages);
        self.damages.truncate(MAX_DAMAGES);
        self.checked.merge(other.checked);
        self.missing.merge(other.missing);
        self.free.extend(other.free);
        self.gaps.extend(other.gaps);
        self
    }

    /// What takes the whole heap.
    pub(super) fn finish(&mut self) {
        self.finish_depth();
        self.free.sort_unstable();
        self.gaps.sort_unstable();
        if let Some(heap) = self.heap
            && heap.has_header()
        {
            self.check_free_lists(heap);
            self.check_total_free(heap);
        }
    }

    pub(super) fn damage(&mut self, damage: Damage) {
        if self.damages.len() < MAX_DAMAGES {
            self.damages.push(damage);
        }
    }

    /// Whether nothing is known of what lies at an address.
    pub(super) fn is_gap(&self, address: u64) -> bool {
        let index = self.gaps.partition_point(|gap| gap.0 <= address);
        let before = index.checked_sub(1).and_then(|index| self.gaps.get(index));
        before.is_some_and(|gap| address < gap.1)
    }

    /// The heap's count of free bytes against the walk's, where the walk saw everything.
    fn check_total_free(&mut self, heap: &NtHeap<'_, '_>) {
        if !self.gaps.is_empty() || !self.missing.is_empty() {
            return;
        }
        let found: u64 = self.free.iter().map(|block| block.1).sum();
        let recorded = heap.header.total_free;
        if found != recorded {
            let layout = &self.process.layouts.heap;
            let field = u64::from(layout.total_free_size.unwrap_or(0));
            self.damage(Damage::new(
                heap.handle(),
                heap.handle() + field,
                Check::Total,
                format!("TotalFreeSize of {found:#x} bytes, as the walk found"),
                format!("{recorded:#x} bytes"),
            ));
        }
    }
}

impl Visitor for Checker<'_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        self.checked.blocks += 1;
        if self.heap.is_none() {
            return CONTINUE;
        }
        if !block.certainty.is_certain() {
            // Found by itself, so that the heap's own records of it can't be judged.
            let (start, end) = block.extent();
            self.gaps.push((start, end));
            return CONTINUE;
        }
        if block.kind == Kind::Lfh {
            self.check_slot(block);
            return CONTINUE;
        }
        self.finish_depth();
        match (block.state, block.kind) {
            (State::Busy, Kind::Backend) => self.check_tail(block),
            (State::Free, Kind::Backend) => {
                self.free.push((block.entry, block.block_size));
                self.check_free_fill(block);
            }
            _ => {}
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        if matches!(span.kind, SpanKind::Corrupt | SpanKind::Unreadable) {
            self.gaps
                .push((span.start, span.start.saturating_add(span.size)));
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        match Damage::of_finding(&finding) {
            Some(damage) => self.damage(damage),
            None => self.missing.add(finding),
        }
        CONTINUE
    }
}
