//! The log of stack traces that blocks point into.

use super::{
    picture::Picture,
    plan::{Area, PROGRAM_SIZE, Place, TRACE_RECORDS, TRACE_SLOT, field},
    random::Stream,
};
use ntheap::layout::Bitness;

const BUCKETS: u64 = 401;

/// Where the program's image is.
pub(super) fn program(place: &Place) -> u64 {
    match place.plan.bitness {
        Bitness::X86 => 0x40_0000,
        Bitness::X64 => 0x7ff6_2280_0000,
    }
}

/// Address of the record of a stack.
pub(super) fn record(place: &Place, number: u64) -> u64 {
    place.traces + TRACE_RECORDS + number * TRACE_SLOT
}

pub(super) fn write(place: &Place, area: &Area, picture: &mut Picture) {
    let size = place.pointer();
    let table = &place.layouts.trace_log;
    let layout = &place.layouts.trace_record;
    picture.pointer(area.base + field(table.arena), area.base + TRACE_RECORDS);
    picture.u32(area.base + field(table.count), place.plan.stacks as u32);
    let mut heads = vec![0u64; BUCKETS as usize];
    let mut stream = Stream::of(place.plan.seed, usize::MAX, 1);
    for number in 0..place.plan.stacks {
        let at = record(place, number);
        let depth = 6 + stream.below(18);
        let mut hash = 0u32;
        for frame in 0..depth {
            let address = program(place) + 0x1000 + stream.below(PROGRAM_SIZE - 0x1000);
            hash = hash.wrapping_add(address as u32);
            picture.pointer(at + field(layout.frames) + frame * size, address);
        }
        let head = &mut heads[(u64::from(hash) % BUCKETS) as usize];
        picture.pointer(at + field(layout.next), *head);
        picture.u32(at + field(layout.hash), hash);
        picture.u32(at + field(layout.depth), depth as u32);
        *head = at;
    }
    for (bucket, head) in (0..).zip(heads) {
        // The head of the chain, and the record that was hit last.
        picture.links(
            area.base + field(table.buckets) + bucket * 2 * size,
            head,
            head,
        );
    }
}
