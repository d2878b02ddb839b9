//! Heaps of which a list, a segment or a page heap knows the handle, but whose header is lost.

use super::page_heap_root;
use crate::{
    heap::{nt::NtHeap, segment::SegmentHeap},
    process::{HeapKind, HeapRef, HeapSource, Problem, Process},
};

/// Handles that are tried: each takes a search through memory.
const MAX_TRIED: usize = 64;

impl Process<'_, '_> {
    /// Takes in the heaps that are proved by what is left of them.
    pub(super) fn recover_lost_heaps(&mut self) {
        let lost: Vec<u64> = self
            .problems
            .iter()
            .filter_map(|problem| match problem {
                Problem::NotAHeap { handle } => Some(*handle),
                _ => None,
            })
            .take(MAX_TRIED)
            .collect();
        for handle in lost {
            let Some(kind) = self.lost_kind(handle) else {
                continue;
            };
            let behind = self.is_behind_page_heap(handle);
            let list = if behind {
                &mut self.normal_heaps
            } else {
                &mut self.heaps
            };
            if !list.iter().any(|heap| heap.handle == handle) {
                list.push(HeapRef {
                    handle,
                    index: list.len(),
                    kind,
                    source: HeapSource::Scan,
                });
            }
            for problem in &mut self.problems {
                if *problem == (Problem::NotAHeap { handle }) {
                    *problem = Problem::HeaderLost { handle };
                }
            }
        }
    }

    /// Whether there are so few heaps that memory may be searched for the parts of each.
    pub(in crate::heap) fn may_search(&self) -> bool {
        const MANY: usize = 512;
        self.heaps.len() + self.normal_heaps.len() <= MANY
    }

    /// What a heap is by its segments and entries.
    fn lost_kind(&self, handle: u64) -> Option<HeapKind> {
        const ALLOCATION_GRANULARITY: u64 = 0x10000;
        let begins_allocation = self
            .dump
            .region_at(handle)
            .is_none_or(|region| region.allocation_base == handle);
        if handle == 0 || !handle.is_multiple_of(ALLOCATION_GRANULARITY) || !begins_allocation {
            return None;
        }
        let kind = if self.layouts.heap.segments.is_some() {
            HeapKind::NtXp
        } else {
            HeapKind::Nt
        };
        let reference = |kind| HeapRef {
            handle,
            index: 0,
            kind,
            source: HeapSource::Scan,
        };
        if SegmentHeap::is_lost_heap(self, handle) {
            return Some(HeapKind::Segment);
        }
        NtHeap::open(self, &reference(kind))
            .is_proved()
            .then_some(kind)
    }

    fn is_behind_page_heap(&self, handle: u64) -> bool {
        let field = self.layouts.dph_root.normal_heap;
        self.heaps
            .iter()
            .filter(|heap| heap.kind == HeapKind::PageHeap)
            .filter_map(|heap| page_heap_root(heap.handle))
            .any(|root| self.memory().at(root, self.bitness).pointer(field) == Some(handle))
    }
}
