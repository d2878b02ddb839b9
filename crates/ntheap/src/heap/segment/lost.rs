//! Segment heaps and segments whose headers are lost.
//!
//! Where the contexts of a heap are and what their constants are follows from the build. A segment
//! belongs to a context if its links lead to the head of the context's list, or if its signature
//! encodes what the heap's other segments encode; one whose own header is lost if a neighbour's link
//! names it.

use rustc_hash::FxHashSet;

use super::{
    Context, PageSegment, SegmentHeap,
    context::{LARGE_UNIT_SHIFT, SMALL_UNIT_SHIFT, UNITS},
};
use crate::{
    address_space::AddressSpace,
    blocks::{Certainty, FindingKind},
    layout::{Bitness, Layouts},
    process::Process,
};

/// `_SEGMENT_HEAP.Signature`.
const HEAP_SIGNATURE: u32 = 0xddee_ddee;
/// Links that are followed from a segment to the head of its list.
const MAX_LINKS: usize = 1 << 16;
/// More segments than a search is for.
const MAX_FOUND: usize = 1 << 16;

/// The contexts that a heap of this build has at `handle`, whatever is there.
fn contexts(layouts: &Layouts, handle: u64) -> Option<Vec<Context>> {
    let descriptors = u64::from(layouts.page_range_descriptor.struct_size) * UNITS;
    let first_descriptor = |shift: u8| (descriptors >> shift).max(1) as u8;
    let Some(first) = layouts.segment_heap.seg_contexts else {
        let list = layouts.segment_heap.segment_list_head?;
        return Some(vec![Context {
            address: handle,
            list_head: handle.checked_add(list.into())?,
            unit_shift: SMALL_UNIT_SHIFT,
            first_descriptor: first_descriptor(SMALL_UNIT_SHIFT),
        }]);
    };
    let layout = &layouts.seg_context;
    let second_shift = match layouts.bitness {
        Bitness::X86 => SMALL_UNIT_SHIFT,
        Bitness::X64 => LARGE_UNIT_SHIFT,
    };
    [SMALL_UNIT_SHIFT, second_shift]
        .into_iter()
        .zip(0u64..)
        .map(|(unit_shift, index)| {
            let offset = u64::from(first) + index * u64::from(layout.struct_size);
            let address = handle.checked_add(offset)?;
            Some(Context {
                address,
                list_head: address.checked_add(layout.segment_list_head?.into())?,
                unit_shift,
                first_descriptor: first_descriptor(unit_shift),
            })
        })
        .collect()
}

/// Where a segment of a context can begin, as far as the dump holds memory there.
fn places<'m>(memory: &'m AddressSpace<'_>, size: u64) -> impl Iterator<Item = u64> + use<'m> {
    memory.ranges().iter().flat_map(move |range| {
        let first = range.start.checked_next_multiple_of(size);
        (first.unwrap_or(u64::MAX)..range.end()).step_by(size as usize)
    })
}

/// Whether the links of the list entry at `link` lead to `head`, in one direction at least.
fn leads_to(memory: &AddressSpace<'_>, bitness: Bitness, link: u64, head: u64) -> bool {
    let size = bitness.pointer_size();
    let field = |at: u64, field: u64| {
        at.checked_add(field)
            .and_then(|at| memory.pointer(at, bitness))
    };
    let follow = |there: u64, back: u64| {
        let mut at = link;
        for _ in 0..MAX_LINKS {
            match field(at, there) {
                Some(next) if next == head => return true,
                Some(next) if next != link && field(next, back) == Some(at) => at = next,
                _ => return false,
            }
        }
        false
    };
    follow(0, size) || follow(size, 0)
}

impl SegmentHeap<'_, '_> {
    /// Whether segments in memory belong to a segment heap with this handle, whose header is lost.
    pub(crate) fn is_lost_heap(process: &Process<'_, '_>, handle: u64) -> bool {
        let (memory, layouts) = (process.memory(), &process.layouts);
        let own = u64::from(layouts.page_segment.list_entry.unwrap_or(0));
        contexts(layouts, handle)
            .into_iter()
            .flatten()
            .any(|context| {
                places(memory, context.segment_size())
                    .any(|base| leads_to(memory, layouts.bitness, base + own, context.list_head))
            })
    }

    /// Makes up for contexts that are lost, with the heap's header or alone.
    pub(super) fn recover_contexts(&mut self) {
        let header = self.memory.at(self.handle(), self.bitness());
        let signed = header.u32(self.layouts.segment_heap.signature) == Some(HEAP_SIGNATURE);
        let expected = contexts(&self.layouts, self.handle()).unwrap_or_default();
        let holds = |context: &Context| {
            let record = self.memory.at(context.address, self.bitness());
            let layout = &self.layouts.seg_context;
            record.u8(layout.unit_shift) == Some(context.unit_shift)
                && record.u8(layout.first_descriptor_index) == Some(context.first_descriptor)
        };
        let leads_nowhere = |context: &Context| {
            let first = self.memory.pointer(context.list_head, self.bitness());
            first.is_some_and(|first| self.is_absent(first))
        };
        // Only what the lists lead to is lost.
        let constants = self.layouts.segment_heap.seg_contexts.is_some();
        if signed
            && (constants && expected.iter().all(holds)
                || !constants && expected.iter().all(leads_nowhere))
        {
            self.contexts = expected;
            return;
        }
        let structure = "_SEGMENT_HEAP";
        let kind = if self.is_absent(self.handle()) {
            FindingKind::MissingStructure { structure }
        } else {
            let reason = match signed {
                true => "no segment contexts could be proved",
                false => "its signature is wrong",
            };
            FindingKind::BrokenStructure { structure, reason }
        };
        self.report(self.handle(), kind);
        self.certainty = Certainty::Chain;
        self.lost_header = !signed;
        self.contexts = expected;
    }

    /// Takes in the segments of a context that its list does not lead to.
    pub(super) fn adopt_segments(&mut self, index: usize, context: &Context) {
        if !self.may_search {
            return;
        }
        let own = u64::from(self.layouts.page_segment.list_entry.unwrap_or(0));
        let size = context.segment_size();
        let key = self.majority_key();
        let known: FxHashSet<u64> = self.segments.iter().map(|s| s.base).collect();
        let found: Vec<u64> = places(self.memory, size)
            .filter(|base| !known.contains(base))
            .filter(|&base| {
                key.is_some() && self.signature_key(context, base) == key
                    || leads_to(self.memory, self.bitness(), base + own, context.list_head)
            })
            .take(MAX_FOUND)
            .collect();
        for base in found {
            let key = self.signature_key(context, base);
            self.segments.push(PageSegment {
                base,
                size,
                context: index,
                key,
                lost_header: false,
            });
        }
        self.adopt_neighbours(index, context, own);
    }

    /// Takes in the segments whose header is lost but which the links of others name.
    fn adopt_neighbours(&mut self, index: usize, context: &Context, own: u64) {
        let size = context.segment_size();
        let pointer = self.bitness().pointer_size();
        let of_context = self.segments.iter().filter(|s| s.context == index);
        let mut links: Vec<u64> = of_context.map(|segment| segment.base + own).collect();
        links.push(context.list_head);
        let targets: FxHashSet<u64> = links
            .iter()
            .flat_map(|&link| [Some(link), link.checked_add(pointer)])
            .flatten()
            .filter_map(|at| self.memory.pointer(at, self.bitness()))
            .collect();
        let mut targets: Vec<u64> = targets.into_iter().collect();
        targets.sort_unstable();
        for target in targets {
            let base = target & !(size - 1);
            let is_new = target != context.list_head
                && base.checked_add(own) == Some(target)
                && base.checked_add(size).is_some()
                && !self.segments.iter().any(|segment| segment.base == base);
            if is_new && self.memory.held(base, size) > 0 {
                let structure = "_HEAP_PAGE_SEGMENT";
                let kind = if self.is_absent(base) {
                    FindingKind::MissingStructure { structure }
                } else {
                    let reason = "its links are wrong";
                    FindingKind::BrokenStructure { structure, reason }
                };
                self.report(base, kind);
                self.segments.push(PageSegment {
                    base,
                    size,
                    context: index,
                    key: None,
                    lost_header: true,
                });
            }
        }
    }
}
