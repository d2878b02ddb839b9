//! Ranges of slots of one size: the low fragmentation heap of segment heaps.

use std::ops::ControlFlow;

use super::{
    SegmentHeap,
    fast::{Hands, Known},
    ranges::Range,
    sink::{RawBlock, Sink, Unused},
};
use crate::{
    address_space::Numbers,
    blocks::{CONTINUE, Certainty, FindingKind, Flow, Kind, SpanKind, State},
};

/// Bits of a slot in the bitmap of a subsegment.
const BITS: u64 = 2;
/// Slots that 64 bits of the bitmap describe.
const SLOTS_PER_WORD: u64 = 64 / BITS;

/// The count in a slot's record of unused bytes ([`Unused::recorded`]).
pub(super) const UNUSED_MASK: u16 = 0x3fff;

/// The subsegment's page number takes part in its encoded offsets.
const PAGE_SHIFT: u32 = 12;

/// The encoded fields of a subsegment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Subsegment {
    pub(super) start: u64,
    pub(super) range_size: u64,
    /// `BlockOffsets` without the subsegment's address, still with the key.
    pub(super) encoded: u32,
    pub(super) count: u64,
    /// Address of the bitmap.
    pub(super) bitmap: u64,
    /// Offset of the first byte behind the bitmap.
    pub(super) header_end: u64,
}

/// Where the slots of a subsegment lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Slots {
    /// Offset of the first.
    pub(super) first: u64,
    /// Size of each.
    pub(super) size: u64,
}

impl Subsegment {
    /// The geometry that a key gives; `None` if the slots are not ones that this range can hold.
    pub(super) fn slots(&self, key: u32, unit: u64) -> Option<Slots> {
        let plain = self.encoded ^ key;
        let slots = Slots {
            first: u64::from(plain >> 16),
            size: u64::from(plain & 0xffff),
        };
        let sound = slots.size > 0
            && slots.size.is_multiple_of(unit)
            && slots.first.is_multiple_of(unit)
            && slots.first >= self.header_end
            && slots.first + self.count * slots.size <= self.range_size;
        sound.then_some(slots)
    }
}

impl SegmentHeap<'_, '_> {
    /// Reads the header of the LFH subsegment that fills a range.
    pub(super) fn subsegment(&self, range: &Range) -> Option<Subsegment> {
        let layout = &self.layouts.segment_lfh_subsegment;
        let subsegment = self.memory.at(range.start, self.bitness());
        let count = u64::from(subsegment.u16(layout.block_count)?);
        let offsets = subsegment.u32(layout.block_offsets)?;
        // From 26100 on, where subsegments have a state, the page number is cut to 32 bits after the
        // shift; before it was the address that was cut.
        let page = if layout.state.is_some() {
            (range.start >> PAGE_SHIFT) as u32
        } else {
            range.start as u32 >> PAGE_SHIFT
        };
        (count > 0).then_some(Subsegment {
            start: range.start,
            range_size: range.size,
            encoded: offsets ^ page,
            count,
            bitmap: subsegment.address(layout.block_bitmap)?,
            header_end: u64::from(layout.block_bitmap?) + (count * BITS).div_ceil(8),
        })
    }

    /// Which affinity slot of its bucket owns the LFH subsegment at `start`, and how many slots the
    /// bucket has; `None` in the first place for one that the bucket itself owns.
    pub(crate) fn affinity(&self, start: u64) -> Option<(Option<usize>, usize)> {
        const IS_BUCKET: u8 = 1;
        let bitness = self.bitness();
        let layout = &self.layouts.lfh_subsegment_owner;
        let subsegment = self.memory.at(start, bitness);
        let owner = subsegment.pointer(self.layouts.segment_lfh_subsegment.owner)?;
        let owner = self.memory.at(owner, bitness);
        let index = u64::from(owner.u8(layout.bucket_index)?);
        let bucket = self
            .memory
            .at(self.handle(), bitness)
            .address(self.layouts.segment_heap.lfh_context)
            .and_then(|context| {
                let buckets = self.memory.at(context, bitness);
                let buckets = buckets.address(self.layouts.lfh_context.buckets)?;
                let at = buckets.checked_add(index * bitness.pointer_size())?;
                self.memory.pointer(at, bitness)
            })?;
        let bucket = self.memory.at(bucket, bitness);
        let count = usize::from(bucket.u8(layout.slot_count)?);
        let of_bucket = owner.u8(layout.is_bucket)? & IS_BUCKET != 0;
        let slot = usize::from(owner.u8(layout.slot_index)?);
        Some(((!of_bucket && slot < count).then_some(slot), count))
    }

    pub(super) fn walk_lfh<S: Sink>(
        &self,
        hands: &mut Hands<'_, '_>,
        range: &Range,
        sink: &mut S,
    ) -> Flow {
        let subsegment = self.subsegment(range);
        let slots = subsegment
            .zip(self.keys.lfh)
            .and_then(|(subsegment, key)| subsegment.slots(key, self.unit()));
        let (Some(subsegment), Some(slots)) = (subsegment, slots) else {
            let kind = match (subsegment, self.keys.lfh) {
                (None, _) => FindingKind::LfhContainer {
                    reason: "its header is not in the dump or counts no slots",
                },
                (Some(_), None) => FindingKind::MissingStructure {
                    structure: "the key of the offsets of the LFH subsegment",
                },
                (Some(_), Some(_)) => FindingKind::LfhContainer {
                    reason: "its offsets are not those of slots in this range",
                },
            };
            self.idle(range.start, range.end(), SpanKind::Corrupt, sink)?;
            let structure = "_HEAP_LFH_SUBSEGMENT";
            let header = self.layouts.segment_lfh_subsegment.struct_size.into();
            let kind = self.missing_or(range.start, header, structure, kind);
            return sink.finding(self.finding(range.start, range.size, kind));
        };
        let first = range.start + slots.first;
        self.span(range.start, first, SpanKind::ContainerHeader, sink)?;
        self.walk_slots(hands, &subsegment, slots, range.certainty, sink)?;
        let end = first + subsegment.count * slots.size;
        self.idle(end, range.end(), SpanKind::Tail, sink)
    }

    fn walk_slots<S: Sink>(
        &self,
        hands: &mut Hands<'_, '_>,
        subsegment: &Subsegment,
        slots: Slots,
        certainty: Certainty,
        sink: &mut S,
    ) -> Flow {
        let first = subsegment.start + slots.first;
        let (freed, whole) = self.freed_slots(subsegment, slots, sink)?;
        // A slot behind the break may be freed as well.
        let in_use = if whole {
            certainty
        } else {
            Certainty::Probable
        };
        let known = Known {
            freed: &freed,
            busy: in_use,
            free: certainty,
        };
        if self.count_slots(hands, subsegment, slots, &known, sink)? {
            return CONTINUE;
        }
        let window = &mut hands.window;
        let mut map = self.memory.window();
        // Where all lies in one piece nothing has to be searched for each slot.
        let mut run = window.run(first, subsegment.count * slots.size);
        let mut bits_run = map.run(
            subsegment.bitmap,
            (subsegment.count * BITS).next_multiple_of(64) / 8,
        );
        let mut missing = 0;
        for index in 0..subsegment.count {
            let at = first + index * slots.size;
            let bits = self
                .slot_bits(&mut bits_run, subsegment, index)
                .or_else(|| self.slot_bits(&mut map, subsegment, index));
            let Some(bits) = bits else {
                missing += 1;
                continue;
            };
            let busy = bits.busy && (freed.is_empty() || freed.binary_search(&index).is_err());
            let mut unused = Unused::NONE;
            if busy && bits.unused_present {
                let end = at + slots.size - size_of::<u16>() as u64;
                let record = Numbers::u16(&mut run, end).or_else(|| window.u16(end));
                unused = record.map_or(Unused::UNKNOWN, |record| {
                    Unused::recorded(record, UNUSED_MASK)
                });
            }
            sink.raw(RawBlock {
                container: subsegment.start,
                entry: at,
                start: at,
                usable: slots.size,
                block_size: slots.size,
                state: if busy { State::Busy } else { State::Free },
                kind: Kind::SegmentLfh,
                internal: false,
                unused,
                certainty: if busy { in_use } else { certainty },
            })?;
        }
        if missing > 0 {
            let structure = "the bitmap of an LFH subsegment";
            let kind = FindingKind::MissingStructure { structure };
            let bytes = missing * slots.size;
            self.span(first, first + bytes, SpanKind::Unreadable, sink)?;
            sink.finding(self.finding(subsegment.start, bytes, kind))?;
        }
        CONTINUE
    }

    /// Slots that are busy by the bitmap.
    pub(super) fn busy_slots(&self, subsegment: &Subsegment) -> u64 {
        let mut map = self.memory.window();
        let is_busy = |&index: &u64| {
            let bits = self.slot_bits(&mut map, subsegment, index);
            bits.is_some_and(|bits| bits.busy)
        };
        (0..subsegment.count).filter(is_busy).count() as u64
    }

    /// What the bitmap says of a slot.
    ///
    /// Before 26100 each slot has two bits next to each other. From 26100 on each 64 bits describe
    /// 32 slots: the busy bits of all of them, then the other bits.
    #[inline(always)]
    fn slot_bits(
        &self,
        window: &mut impl Numbers,
        subsegment: &Subsegment,
        index: u64,
    ) -> Option<SlotBits> {
        if self.layouts.segment_lfh_subsegment.state.is_none() {
            let bit = index * BITS;
            let bits = window.u8(subsegment.bitmap + bit / 8)? >> (bit % 8);
            return Some(SlotBits {
                busy: bits & 1 != 0,
                unused_present: bits & 2 != 0,
            });
        }
        let (group, bit) = (index / SLOTS_PER_WORD, index % SLOTS_PER_WORD);
        let word = window.u64(subsegment.bitmap + group * size_of::<u64>() as u64)?;
        Some(SlotBits {
            busy: word >> bit & 1 != 0,
            unused_present: word >> (SLOTS_PER_WORD + bit) & 1 != 0,
        })
    }

    /// The slots that the program freed but that are still marked busy, ascending (26100 and later);
    /// and whether these are all.
    ///
    /// The subsegment's state has the number of the first, from 1, and their count; each slot begins
    /// with the number of the next.
    fn freed_slots<S: Sink>(
        &self,
        subsegment: &Subsegment,
        slots: Slots,
        sink: &mut S,
    ) -> ControlFlow<(), (Vec<u64>, bool)> {
        let mut freed = Vec::new();
        let Some(state) = self.layouts.segment_lfh_subsegment.state else {
            return ControlFlow::Continue((freed, true));
        };
        let state = subsegment.start + u64::from(state);
        let read = |at: u64| self.memory.u16(at).map(u64::from);
        let count = read(state + size_of::<u16>() as u64).unwrap_or(0);
        let mut next = read(state).unwrap_or(0);
        while next != 0 && (freed.len() as u64) < count.min(subsegment.count) {
            let index = next - 1;
            if index >= subsegment.count {
                break;
            }
            freed.push(index);
            let slot = subsegment.start + slots.first + index * slots.size;
            let Some(following) = read(slot) else {
                break;
            };
            next = following;
        }
        let listed = freed.len() as u64;
        freed.sort_unstable();
        freed.dedup();
        let whole = next == 0 && listed == count && freed.len() as u64 == listed;
        if whole && !self.is_linked(subsegment.start) {
            // A state of zeros says that none is freed, and so does an overwritten one.
            return ControlFlow::Continue((freed, false));
        }
        if !whole {
            let list = "list of freed LFH slots";
            let slot = slots.first + next.saturating_sub(1) * slots.size;
            let kind = FindingKind::BrokenList { list };
            let kind = self.missing_or(subsegment.start + slot, slots.size, list, kind);
            sink.finding(self.finding(subsegment.start, 0, kind))?;
        }
        ControlFlow::Continue((freed, whole))
    }

    /// Whether the header of the subsegment at `start` has the links that each has at its beginning: to
    /// a neighbour that knows it, as far as memory tells.
    fn is_linked(&self, start: u64) -> bool {
        let (memory, bitness) = (self.memory, self.bitness());
        let width = bitness.pointer_size();
        let own = u64::from(self.layouts.segment_lfh_subsegment.list_entry.unwrap_or(0));
        let entry = start + own;
        let (next, back) = (
            memory.pointer(entry, bitness),
            memory.pointer(entry + width, bitness),
        );
        let knows = |link: Option<u64>, field: u64| match link {
            None | Some(0) => false,
            Some(link) => {
                let known = link
                    .checked_add(field)
                    .and_then(|at| memory.pointer(at, bitness));
                known.is_none_or(|known| known == entry)
            }
        };
        knows(next, width) || knows(back, 0)
    }
}

/// What the bitmap says of a slot.
#[derive(Debug, Clone, Copy)]
struct SlotBits {
    busy: bool,
    /// Whether the last two bytes of the slot count its unused bytes.
    unused_present: bool,
}
