//! The entries and slots that nearly all are, with as little work as they take. Whatever is not
//! plain (a corrupt header, a block of the heap's own, a count that is elsewhere) is left to `walk`
//! and `lfh`, which know everything.

use std::ops::ControlFlow;

use super::{
    NtHeap, Segment,
    entry::{
        UNUSED_IN_HEADER, UNUSED_LFH, UNUSED_MARKER, UNUSED_OWN,
        flags::{BUSY, EXTRA, INTERNAL},
        user_area,
    },
    lfh::Container,
};
use crate::{
    address_space::{Numbers, Run, Window},
    blocks::{Block, CONTINUE, Certainty, Flow, Kind, State, Trace, Visitor},
};

/// Where a walk is: the segment, what proves its entries, and the end of the committed run.
#[derive(Clone, Copy)]
pub(super) struct Place<'s> {
    pub(super) segment: &'s Segment,
    pub(super) certainty: Certainty,
    pub(super) limit: u64,
}

/// The slots of a container.
pub(super) struct Slots<'m> {
    pub(super) first: u64,
    pub(super) count: u64,
    /// A bit for each, where there are such.
    pub(super) map: &'m [u8],
}

/// Slots whose headers are looked at together: those of a byte of the bitmap.
const LANES: u64 = 8;

impl NtHeap<'_, '_> {
    /// Reports plain entries from `at` on, up to one that is not plain, which `at` then is.
    pub(super) fn walk_plain<V: Visitor + ?Sized>(
        &self,
        window: &mut Window<'_, '_>,
        place: &Place<'_>,
        at: &mut u64,
        previous: &mut Option<u16>,
        visitor: &mut V,
    ) -> Flow {
        let codec = &self.header.codec;
        let (Some(mut before), false) = (*previous, codec.xp || codec.mask == 0) else {
            return CONTINUE;
        };
        let (unit, offset) = (self.unit(), codec.header_offset());
        // The count of unused bytes of the last block may lie behind the run's end.
        let mut run = window.run(*at, (place.limit - *at).saturating_add(unit));
        let mut block = Block {
            heap: self.handle(),
            container: place.segment.header,
            entry: 0,
            address: 0,
            size: 0,
            block_size: 0,
            state: State::Free,
            kind: Kind::Backend,
            internal: false,
            flags: 0,
            tag: 0,
            trace: Trace::None,
            certainty: place.certainty,
        };
        let mut entry_at = *at;
        let flow = loop {
            if entry_at >= place.limit {
                break CONTINUE;
            }
            window.approach(entry_at);
            let Some(raw) = run.u64(entry_at + offset) else {
                break CONTINUE;
            };
            let plain = raw ^ codec.key;
            let entry = plain as u32;
            let units = entry as u16;
            let size = u64::from(units) * unit;
            let flags = (entry >> 16) as u8;
            let sum = (entry ^ entry >> 8 ^ entry >> 16 ^ entry >> 24) as u8;
            let encoded = raw as u32 & codec.mask != 0;
            if !encoded
                || sum != 0
                || units == 0
                || size > place.limit - entry_at
                || (plain >> 32) as u16 != before
            {
                break CONTINUE;
            }
            block.entry = entry_at;
            block.block_size = size;
            block.flags = flags;
            if flags & BUSY == 0 {
                block.address = entry_at + unit;
                block.size = size - unit;
                block.state = State::Free;
                block.trace = Trace::None;
            } else {
                let unused = (raw >> 56) as u8;
                if flags & (INTERNAL | EXTRA) != 0
                    || matches!(unused, UNUSED_OWN | UNUSED_MARKER | UNUSED_IN_HEADER)
                {
                    break CONTINUE;
                }
                let area = user_area(&mut run, codec, entry_at, size, raw, false);
                let Some(area) = area.filter(|area| area.unused <= size) else {
                    break CONTINUE;
                };
                block.address = area.address;
                block.size = size - area.unused;
                block.state = State::Busy;
                block.trace = match area.trace {
                    0 => Trace::None,
                    record => Trace::Record(record),
                };
            }
            if visitor.block(&block).is_break() {
                break Flow::Break(());
            }
            before = units;
            entry_at += size;
        };
        (*at, *previous) = (entry_at, Some(before));
        flow
    }

    /// Reports plain slots of a container from `index` on, up to one that is not plain, which `index` then
    /// is; and counts those that the bitmap disagrees about.
    pub(super) fn walk_plain_slots<V: Visitor + ?Sized>(
        &self,
        run: &mut Run<'_>,
        container: &Container,
        slots: &Slots<'_>,
        (index, disagreeing): (&mut u64, &mut u32),
        visitor: &mut V,
    ) -> Flow {
        let codec = &self.header.codec;
        if codec.xp {
            return CONTINUE;
        }
        let (unit, offset, stride) = (self.unit(), codec.header_offset(), container.stride);
        let mut block = self.slot_like(container, slots.first, 0, State::Free);
        while *index < slots.count {
            let at = slots.first + *index * stride;
            let Some(raw) = run.u64(at + offset) else {
                return CONTINUE;
            };
            let mark = (raw >> 56) as u8;
            let busy = mark & UNUSED_LFH != 0 && mark != UNUSED_LFH;
            block.entry = at;
            block.flags = busy.into();
            if busy {
                let area = user_area(run, codec, at, stride, raw, true);
                let Some(area) = area.filter(|area| area.unused <= stride) else {
                    return CONTINUE;
                };
                block.state = State::Busy;
                block.address = area.address;
                block.size = stride - area.unused;
                block.trace = match area.trace {
                    0 => Trace::None,
                    record => Trace::Record(record),
                };
            } else {
                block.state = State::Free;
                block.address = at + unit;
                block.size = stride - unit;
                block.trace = Trace::None;
            }
            if let Some(byte) = slots.map.get((*index / LANES) as usize) {
                let marked = byte & 1 << (*index % LANES) != 0;
                *disagreeing += u32::from(marked != busy);
            }
            *index += 1;
            visitor.block(&block)?;
        }
        CONTINUE
    }

    /// Counts the slots of a container from the first on, up to one that takes more than a look at its
    /// header: how many were counted, and how many the bitmap disagrees about.
    pub(super) fn count_slots<V: Visitor + ?Sized>(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        (first, count, bitmap): (u64, u64, Option<u64>),
        visitor: &mut V,
    ) -> ControlFlow<(), (u64, u32)> {
        let codec = &self.header.codec;
        let nothing = ControlFlow::Continue((0, 0));
        let stride = container.stride;
        // Of XP nothing is coded in one byte.
        if codec.xp || stride > u32::MAX.into() {
            return nothing;
        }
        let map = match bitmap {
            None => None,
            Some(at) => {
                let map = window.run(at, count.div_ceil(LANES)).bytes;
                if (map.len() as u64) < count.div_ceil(LANES) {
                    return nothing;
                }
                Some(map)
            }
        };
        // The last byte of each header.
        let marks = window.run(
            first + codec.header_offset() + 7,
            count.saturating_mul(stride),
        );
        let mut tally = Tally::default();
        let mut done = 0;
        let step = stride as usize;
        let mut place = 0;
        while done < count {
            let lanes = (count - done).min(LANES);
            let Some(bytes) = marks.bytes.get(place..place + lanes as usize * step) else {
                break;
            };
            // What is behind the last slot counts as free.
            let (mut word, mut shift) = (0, 0);
            for slot in bytes.chunks_exact(step) {
                word |= u64::from(slot[0]) << shift;
                shift += 8;
            }
            let marked = map.map(|map| map[(done / LANES) as usize] & (u8::MAX >> (LANES - lanes)));
            if !tally.add(word, lanes as u32, marked) {
                break;
            }
            done += lanes;
            place += lanes as usize * step;
        }
        tally.settle();
        let unit = self.unit();
        // More unused bytes than a slot has are for the other way to tell of.
        if tally
            .busy()
            .any(|(mark, _)| u64::from(mark & !UNUSED_LFH) > stride)
        {
            return nothing;
        }
        for (mark, slots) in tally.busy() {
            let size = stride - u64::from(mark & !UNUSED_LFH);
            let block = self.slot_like(container, first, size, State::Busy);
            visitor.alike(&block, slots.into())?;
        }
        if tally.free() > 0 {
            let block = self.slot_like(container, first, stride - unit, State::Free);
            visitor.alike(&block, tally.free().into())?;
        }
        ControlFlow::Continue((done, tally.disagreeing))
    }

    /// A slot of a container, wherever it lies.
    fn slot_like(&self, container: &Container, at: u64, size: u64, state: State) -> Block {
        Block {
            heap: self.handle(),
            container: container.subsegment,
            entry: at,
            address: at + self.unit(),
            size,
            block_size: container.stride,
            state,
            kind: Kind::Lfh,
            internal: false,
            flags: u8::from(state == State::Busy),
            tag: 0,
            trace: Trace::None,
            certainty: container.certainty,
        }
    }
}

/// Slots by what the last byte of their header says, eight at a time.
#[derive(Default)]
struct Tally {
    /// Marks of busy slots, each of which is the count of unused bytes.
    kinds: [Kinds; Tally::KINDS],
    /// How many of them there are.
    known: usize,
    /// Words since the numbers of each lane were added up.
    words: u32,
    slots: u32,
    disagreeing: u32,
}

/// Slots with one mark.
#[derive(Default, Clone, Copy)]
struct Kinds {
    mark: u8,
    number: u32,
    /// The number in each lane that is not added up yet: a byte a lane.
    lanes: u64,
}

impl Tally {
    /// A bucket takes few sizes.
    const KINDS: usize = 16;
    /// The lowest bit of each byte, and the highest.
    const LOW: u64 = u64::MAX / 0xff;
    const HIGH: u64 = Self::LOW << 7;
    /// Words after which a lane's number could no longer be a byte.
    const WORDS: u32 = 0xff;

    /// Counts the slots with these marks, a byte each; whether it could: not where one's count of
    /// unused bytes is elsewhere, nor with too many different marks.
    #[inline(always)]
    fn add(&mut self, word: u64, lanes: u32, marked: Option<u8>) -> bool {
        /// From this mark on the count is elsewhere.
        const ELSEWHERE: u64 = 0x3f;
        let counts = word & !Self::HIGH;
        // Busy: the slot's bit, and a count that is not 0.
        let busy = word & (counts + (Self::HIGH - Self::LOW)) & Self::HIGH;
        let elsewhere = (counts + Self::LOW * (0x80 - ELSEWHERE)) & busy;
        if elsewhere != 0 {
            return false;
        }
        let mut left = busy;
        for kind in &mut self.kinds[..self.known.min(Self::KINDS)] {
            let same = zeroes(word ^ (Self::LOW * u64::from(kind.mark)));
            kind.lanes += same >> 7;
            left &= !same;
            if left == 0 {
                break;
            }
        }
        if left != 0 && !self.add_new(word, left) {
            return false;
        }
        self.slots += lanes;
        self.words += 1;
        if self.words == Self::WORDS {
            self.settle();
        }
        if let Some(marked) = marked {
            // The highest bits of the bytes, to one byte.
            let bits = ((busy >> 7).wrapping_mul(0x0102_0408_1020_4080) >> 56) as u8;
            if bits != marked {
                self.disagreeing += (bits ^ marked).count_ones();
            }
        }
        true
    }

    /// Adds up what is counted in lanes.
    fn settle(&mut self) {
        for kind in &mut self.kinds[..self.known] {
            // Sums of two lanes each, then of those.
            const PAIRS: u64 = u64::MAX / 0xffff;
            let lanes = std::mem::take(&mut kind.lanes);
            let low = PAIRS * 0xff;
            let pairs = (lanes & low) + ((lanes >> 8) & low);
            kind.number += (pairs.wrapping_mul(PAIRS) >> 48) as u32;
        }
        self.words = 0;
    }

    /// Busy slots by their marks.
    fn busy(&self) -> impl Iterator<Item = (u8, u32)> {
        let kinds = self.kinds.iter().take(self.known);
        kinds.map(|kind| (kind.mark, kind.number))
    }

    fn free(&self) -> u32 {
        self.slots - self.busy().map(|(_, number)| number).sum::<u32>()
    }

    /// Counts the marks that were not seen before, in the lanes that are left. Without room for them
    /// nothing of the word counts.
    #[cold]
    fn add_new(&mut self, word: u64, mut left: u64) -> bool {
        let known = self.known;
        while left != 0 {
            let mark = (word >> (left.trailing_zeros() & !7)) as u8;
            let same = zeroes(word ^ (Self::LOW * u64::from(mark)));
            if self.known == Self::KINDS {
                // The others of this word are taken back.
                for kind in &mut self.kinds[..known] {
                    kind.lanes -= zeroes(word ^ (Self::LOW * u64::from(kind.mark))) >> 7;
                }
                self.known = known;
                return false;
            }
            self.kinds[self.known] = Kinds {
                mark,
                number: 0,
                lanes: same >> 7,
            };
            self.known += 1;
            left &= !same;
        }
        true
    }
}

/// The highest bit of each byte that is 0.
#[inline(always)]
fn zeroes(word: u64) -> u64 {
    let low = (word & !Tally::HIGH) + (Tally::HIGH - Tally::LOW);
    !(low | word) & Tally::HIGH
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn slots_are_tallied_as_one_by_one(marks in proptest::collection::vec(0..0xbfu8, 8), marked: u8) {
            let word = u64::from_le_bytes(marks.clone().try_into().unwrap());
            let is_busy = |mark: u8| mark & UNUSED_LFH != 0 && mark != UNUSED_LFH;
            let mut tally = Tally::default();
            prop_assert!(tally.add(word, 8, Some(marked)));
            prop_assert!(tally.add(word, 8, None));
            tally.settle();
            let busy = marks.iter().filter(|mark| is_busy(**mark)).count() as u32;
            prop_assert_eq!(tally.free(), 2 * (8 - busy));
            for (mark, number) in tally.busy() {
                let expected = marks.iter().filter(|other| **other == mark).count() as u32;
                prop_assert_eq!(number, 2 * expected);
            }
            let wrong = (0..8).filter(|&lane| is_busy(marks[lane]) != (marked >> lane & 1 != 0));
            prop_assert_eq!(tally.disagreeing, wrong.count() as u32);
        }

        #[test]
        fn a_count_that_is_elsewhere_ends_the_tally(lane in 0..8usize, mark in 0xbf..=0xffu8) {
            let mut marks = [0x88; 8];
            marks[lane] = mark;
            prop_assert!(!Tally::default().add(u64::from_le_bytes(marks), 8, None));
        }
    }
}
