//! Telling heap headers, and whether a layout fits them.

use super::HeapKind;
use crate::{
    address_space::{AddressSpace, ListEnd},
    layout::{Bitness, Layouts},
};

/// `_HEAP_SEGMENT.SegmentSignature` (Vista and later).
pub(crate) const NT_SEGMENT: u32 = 0xffee_ffee;
/// `_HEAP.Signature`.
pub(crate) const NT_HEAP: u32 = 0xeeff_eeff;
/// `_SEGMENT_HEAP.Signature`.
const SEGMENT_HEAP: u32 = 0xddee_ddee;
/// What page heap fills the page behind its handle with.
const PAGE_HEAP_FILL: u32 = 0xeeee_eeee;
/// More segments than a heap can have.
const MAX_SEGMENTS: usize = 1 << 20;

/// What the header at `handle` is, by the signature that every kind has at the same place.
pub(crate) fn heap_kind(
    memory: &AddressSpace<'_>,
    bitness: Bitness,
    handle: u64,
) -> Option<HeapKind> {
    if handle == 0 || !handle.is_multiple_of(0x1000) {
        return None;
    }
    match memory.u32(handle.checked_add(bitness.unit())?)? {
        NT_SEGMENT => Some(HeapKind::Nt),
        NT_HEAP => Some(HeapKind::NtXp),
        SEGMENT_HEAP => Some(HeapKind::Segment),
        PAGE_HEAP_FILL => Some(HeapKind::PageHeap),
        _ => None,
    }
}

/// Whether the NT heap at `handle` has these layouts: signature, list heads, segment count and
/// front end. `None` if it is no NT heap or not in the dump, so that nothing can be said.
pub(super) fn fits_layout(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    handle: u64,
) -> Option<bool> {
    let bitness = layouts.bitness;
    let layout = &layouts.heap;
    let heap = memory.at(handle, bitness);
    let signature_holds = heap.u32(layout.signature) == Some(NT_HEAP);
    match heap_kind(memory, bitness, handle)? {
        HeapKind::NtXp => return Some(signature_holds && layout.segments.is_some()),
        HeapKind::Nt => {}
        HeapKind::Segment | HeapKind::PageHeap => return None,
    }
    let (Some(segment_list), true) = (layout.segment_list, signature_holds) else {
        return Some(false);
    };
    let list_is_sound = |field: Option<u32>| {
        let Some(head) = heap.address(field) else {
            return false;
        };
        memory
            .pointer(head, bitness)
            .and_then(|first| first.checked_add(bitness.pointer_size()))
            .and_then(|link| memory.pointer(link, bitness))
            == Some(head)
    };
    if !list_is_sound(layout.segment_list) || !list_is_sound(layout.virtual_allocd_blocks) {
        return Some(false);
    }
    // What lies behind the lists moved in 14393 and 17763: the front end's fields and the counters.
    let head = handle + u64::from(segment_list);
    let (segments, end) = memory.list(head, bitness, MAX_SEGMENTS);
    let total = layout.counters.and_then(|counters| {
        memory
            .at(handle + u64::from(counters), bitness)
            .u32(layouts.counters.total_segments)
    });
    let counted = end != ListEnd::Complete || total == Some(segments.len() as u32);
    let front_end = match heap.u8(layout.front_end_heap_type) {
        Some(0) => true,
        Some(2) => {
            // The heap's address inside `_LFH_HEAP`; not checked where that is not in the dump.
            let lfh = heap.pointer(layout.front_end_heap);
            lfh.and_then(|lfh| memory.at(lfh, bitness).pointer(layouts.lfh_heap.heap))
                .is_none_or(|owner| owner == handle)
        }
        _ => false,
    };
    Some(counted && front_end)
}
