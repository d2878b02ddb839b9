//! The chunks and slots that nearly all are, with as little work as they take. Whatever is not plain (a
//! corrupt header, a block of the heap's own, a record behind a block) is left to `vs` and `lfh`, which
//! know everything.

use std::ops::ControlFlow;

use super::{
    Prefix, SegmentHeap,
    lfh::{self, Slots, Subsegment},
    prefix::stored,
    sink::{Sink, Unused},
    vs::{self, Chunk},
};
use crate::{
    address_space::{AddressSpace, Numbers, Run, Window},
    blocks::{Block, CONTINUE, Certainty, Flow, Kind, State, Trace},
    layout::Bitness,
};

/// What the walk of a segment takes along from range to range.
pub(super) struct Hands<'s, 'a> {
    pub(super) window: Window<'s, 'a>,
    tally: Tally,
}

impl<'s, 'a> Hands<'s, 'a> {
    pub(super) fn new(memory: &'s AddressSpace<'a>) -> Self {
        Hands {
            window: memory.window(),
            tally: Tally::default(),
        }
    }
}

/// Where a chain of chunks goes on.
pub(super) struct Chain {
    /// What the chunks are of.
    pub(super) container: u64,
    pub(super) end: u64,
    pub(super) key: u64,
    pub(super) certainty: Certainty,
}

/// What proves the slots of a subsegment, and which of them are busy by its bitmap only.
pub(super) struct Known<'f> {
    /// Ascending.
    pub(super) freed: &'f [u64],
    pub(super) busy: Certainty,
    pub(super) free: Certainty,
}

/// Slots that a word of the bitmap describes.
const LANES: usize = 32;

impl SegmentHeap<'_, '_> {
    /// Reports plain chunks from `at` on, up to one that is not plain, which `at` then is.
    pub(super) fn walk_plain_chunks<S: Sink>(
        &self,
        window: &mut Window<'_, '_>,
        chain: &Chain,
        at: &mut u64,
        previous: &mut Option<u16>,
        sink: &mut S,
    ) -> Flow {
        let (Some(before), true) = (previous, sink.takes_blocks()) else {
            return CONTINUE;
        };
        match self.bitness() {
            Bitness::X86 => self.plain_chunks::<false, S>(window, chain, at, before, sink),
            Bitness::X64 => self.plain_chunks::<true, S>(window, chain, at, before, sink),
        }
    }

    fn plain_chunks<const X64: bool, S: Sink>(
        &self,
        window: &mut Window<'_, '_>,
        chain: &Chain,
        at: &mut u64,
        previous: &mut u16,
        sink: &mut S,
    ) -> Flow {
        let bitness = if X64 { Bitness::X64 } else { Bitness::X86 };
        let unit = bitness.unit();
        let prefix = self.prefix;
        let mut run = window.run(*at, chain.end - *at);
        let mut block = self.block_of(chain.container, Kind::Vs);
        let (mut entry, mut before) = (*at, *previous);
        let flow = loop {
            if entry >= chain.end {
                break CONTINUE;
            }
            window.approach(entry);
            let Some(header) = ChunkHeader::read::<X64>(&mut run, entry) else {
                break CONTINUE;
            };
            let Some(chunk) = Chunk::decode(bitness, header.encoded, entry, chain.key) else {
                break CONTINUE;
            };
            let size = u64::from(chunk.size) * unit;
            if size > chain.end - entry || chunk.previous != before {
                break CONTINUE;
            }
            block.entry = entry;
            block.address = entry + unit;
            block.size = size - unit;
            block.block_size = size;
            block.certainty = chain.certainty;
            block.state = State::Free;
            block.flags = 0;
            if chunk.allocated {
                let mut lost = match prefix {
                    Prefix::Stored if header.first != unit => {
                        stored(self, window, entry + unit, block.size).unwrap_or(unit)
                    }
                    _ => prefix.least(unit),
                };
                block.address += lost;
                if header.bits & vs::SKIP_DURING_WALK != 0 {
                    break CONTINUE;
                }
                if header.bits & vs::UNUSED_PRESENT != 0 {
                    let record = Numbers::u16(&mut run, entry + size - 2);
                    let unused = record.map(|record| Unused::recorded(record, vs::UNUSED_MASK));
                    let Some(unused) = unused.and_then(Unused::plain) else {
                        break CONTINUE;
                    };
                    lost += unused;
                }
                if lost > block.size {
                    break CONTINUE;
                }
                block.size -= lost;
                block.state = State::Busy;
                block.flags = 1;
            }
            if sink.block(&block).is_break() {
                break Flow::Break(());
            }
            before = chunk.size;
            entry += size;
        };
        (*at, *previous) = (entry, before);
        flow
    }

    /// Counts the slots of a subsegment; whether it could: not where a slot takes more than a look at
    /// its ends.
    pub(super) fn count_slots<S: Sink>(
        &self,
        hands: &mut Hands<'_, '_>,
        subsegment: &Subsegment,
        slots: Slots,
        known: &Known<'_>,
        sink: &mut S,
    ) -> ControlFlow<(), bool> {
        if !sink.only_counts() {
            return ControlFlow::Continue(false);
        }
        let first = subsegment.start + slots.first;
        let count = subsegment.count as usize;
        let run = hands.window.run(first, subsegment.count * slots.size);
        let words = count.div_ceil(LANES);
        let map = hands.window.run(subsegment.bitmap, 8 * words as u64);
        let tally = &mut hands.tally;
        let free = match self.tally_slots(&run, &map, (count, slots.size), known.freed, tally) {
            Some(free) => free,
            None => {
                tally.clear();
                return ControlFlow::Continue(false);
            }
        };
        let mut block = self.block_of(subsegment.start, Kind::SegmentLfh);
        block.entry = first;
        block.block_size = slots.size;
        block.address = first + self.prefix.least(self.unit());
        block.state = State::Busy;
        block.flags = 1;
        block.certainty = known.busy;
        let mut flow = CONTINUE;
        tally.drain(|lost, number| {
            block.size = slots.size - lost;
            if flow.is_continue() {
                flow = sink.alike(&block, number);
            }
        });
        flow?;
        if free > 0 {
            block.address = first;
            block.size = slots.size;
            block.state = State::Free;
            block.flags = 0;
            block.certainty = known.free;
            sink.alike(&block, free)?;
        }
        ControlFlow::Continue(true)
    }

    /// Tallies the busy slots of a run by what of them the program did not ask for: the number of free
    /// ones.
    fn tally_slots(
        &self,
        run: &Run<'_>,
        map: &Run<'_>,
        (count, size): (usize, u64),
        freed: &[u64],
        tally: &mut Tally,
    ) -> Option<u64> {
        let size = usize::try_from(size).ok()?;
        let split = self.layouts.segment_lfh_subsegment.state.is_some();
        let taken = self.prefix.least(self.unit());
        let is_whole = run.bytes.len() >= count.checked_mul(size)?
            && map.bytes.len() >= 8 * count.div_ceil(LANES);
        if !is_whole || taken > size as u64 {
            return None;
        }
        let mut freed = freed.iter().map(|&index| index as usize).peekable();
        let mut free = 0;
        let mut done = 0;
        for word in map.bytes.as_chunks::<8>().0 {
            let word = u64::from_le_bytes(*word);
            let slots = run.bytes.get(done * size..)?;
            let lanes = (count - done).min(LANES);
            let (mut busy, mut present) = match split {
                true => (word as u32, (word >> 32) as u32),
                false => (even_bits(word), even_bits(word >> 1)),
            };
            busy &= u32::MAX >> (LANES - lanes);
            while let Some(index) = freed.next_if(|&index| index < done + lanes) {
                busy &= !(1 << (index - done));
            }
            present &= busy;
            if self.prefix == Prefix::Stored && !self.stores_a_unit(slots, size, busy) {
                return None;
            }
            for lane in Lanes(present) {
                let record = slots.get(..(lane + 1) * size)?.last_chunk::<2>()?;
                let record = u16::from_le_bytes(*record);
                let lost = Unused::recorded(record, lfh::UNUSED_MASK).plain()? + taken;
                if lost > size as u64 {
                    return None;
                }
                tally.add(lost, 1)?;
            }
            tally.add(taken, (busy & !present).count_ones())?;
            free += u64::from(lanes as u32 - busy.count_ones());
            done += lanes;
        }
        Some(free)
    }

    /// Whether each of these slots begins with a prefix of one unit, which is the smallest.
    fn stores_a_unit(&self, slots: &[u8], size: usize, which: u32) -> bool {
        let unit = self.unit();
        let word = |lane: usize| {
            let slot = slots.get(lane * size..)?;
            match self.bitness() {
                Bitness::X86 => Some(u32::from_le_bytes(*slot.first_chunk()?).into()),
                Bitness::X64 => Some(u64::from_le_bytes(*slot.first_chunk()?)),
            }
        };
        Lanes(which).all(|lane| word(lane) == Some(unit))
    }

    /// A block of this heap, with nothing known of it yet.
    fn block_of(&self, container: u64, kind: Kind) -> Block {
        Block {
            heap: self.handle(),
            container,
            entry: 0,
            address: 0,
            size: 0,
            block_size: 0,
            state: State::Free,
            kind,
            internal: false,
            flags: 0,
            tag: 0,
            trace: Trace::None,
            certainty: Certainty::Certain,
        }
    }
}

/// The header of a chunk, with what follows it.
struct ChunkHeader {
    /// The encoded word.
    encoded: u64,
    /// The bits behind it.
    bits: u32,
    /// The first word of the block.
    first: u64,
}

impl ChunkHeader {
    #[inline(always)]
    fn read<const X64: bool>(run: &mut Run<'_>, at: u64) -> Option<Self> {
        let half = |bytes: &[u8], from: usize| {
            let bytes = bytes.get(from..)?.first_chunk()?;
            Some(u32::from_le_bytes(*bytes))
        };
        let word = |bytes: &[u8], from: usize| {
            let bytes = bytes.get(from..)?.first_chunk()?;
            Some(u64::from_le_bytes(*bytes))
        };
        if X64 {
            let bytes = run.array::<24>(at)?;
            return Some(ChunkHeader {
                encoded: word(&bytes, 0)?,
                bits: half(&bytes, 8)?,
                first: word(&bytes, 16)?,
            });
        }
        let bytes = run.array::<12>(at)?;
        Some(ChunkHeader {
            encoded: half(&bytes, 0)?.into(),
            bits: half(&bytes, 4)?,
            first: half(&bytes, 8)?.into(),
        })
    }
}

/// The numbers of the bits that are set, ascending.
struct Lanes(u32);

impl Iterator for Lanes {
    type Item = usize;

    #[inline(always)]
    fn next(&mut self) -> Option<usize> {
        let lane = self.0.trailing_zeros();
        (self.0 != 0).then(|| {
            self.0 &= self.0 - 1;
            lane as usize
        })
    }
}

/// Every second bit, from the lowest on.
fn even_bits(word: u64) -> u32 {
    let mut bits = word & 0x5555_5555_5555_5555;
    bits = (bits | bits >> 1) & 0x3333_3333_3333_3333;
    bits = (bits | bits >> 2) & 0x0f0f_0f0f_0f0f_0f0f;
    bits = (bits | bits >> 4) & 0x00ff_00ff_00ff_00ff;
    bits = (bits | bits >> 8) & 0x0000_ffff_0000_ffff;
    (bits | bits >> 16) as u32
}

/// Slots by what of them the program did not ask for.
struct Tally {
    numbers: Box<[u32; Tally::MOST]>,
    /// Where the numbers are that are not 0.
    used: Vec<u16>,
}

impl Default for Tally {
    fn default() -> Self {
        Tally {
            numbers: Box::new([0; Tally::MOST]),
            used: Vec::new(),
        }
    }
}

impl Tally {
    /// More than buckets of slots are apart.
    const MOST: usize = 0x800;

    /// Counts some slots; `None` where there is no room for what they lose.
    #[inline(always)]
    fn add(&mut self, lost: u64, slots: u32) -> Option<()> {
        let number = self.numbers.get_mut(lost as usize)?;
        if *number == 0 && slots > 0 {
            self.used.push(lost as u16);
        }
        *number += slots;
        Some(())
    }

    fn clear(&mut self) {
        self.drain(|_, _| ());
    }

    /// Hands over what was counted.
    fn drain(&mut self, mut each: impl FnMut(u64, u64)) {
        for lost in self.used.drain(..) {
            let number = std::mem::take(&mut self.numbers[usize::from(lost)]);
            each(lost.into(), number.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use ntheap_synth::{Random, oracle::testdata};
    use proptest::prelude::*;

    use super::*;
    use crate::{
        blocks::{Finding, Span, Visitor},
        dump::{Dump, DumpFile},
        heap::{
            Heap, Heaps,
            segment::sink::{Emit, RawBlock},
        },
        process::Process,
    };

    /// Everything that a walk reports.
    #[derive(Debug, Default, PartialEq)]
    struct Reported(Vec<Block>, Vec<Span>, Vec<Finding>);

    impl Visitor for Reported {
        fn block(&mut self, block: &Block) -> Flow {
            self.0.push(*block);
            CONTINUE
        }

        fn span(&mut self, span: &Span) -> Flow {
            self.1.push(*span);
            CONTINUE
        }

        fn finding(&mut self, finding: Finding) -> Flow {
            self.2.push(finding);
            CONTINUE
        }
    }

    /// Takes nothing but what the heap's structures say, so that nothing is done with little work.
    struct Slow<S>(S);

    impl<S: Sink> Sink for Slow<S> {
        fn raw(&mut self, raw: RawBlock) -> Flow {
            self.0.raw(raw)
        }

        fn span(&mut self, span: Span) -> Flow {
            self.0.span(span)
        }

        fn finding(&mut self, finding: Finding) -> Flow {
            self.0.finding(finding)
        }
    }

    /// Walks a dump in both ways; how many blocks there were.
    fn compare(bytes: &[u8]) -> usize {
        let Ok(dump) = Dump::parse(bytes) else {
            return 0;
        };
        let Ok(process) = Process::of(&dump) else {
            return 0;
        };
        let mut blocks = 0;
        for heap in &Heaps::of(&process) {
            let Heap::Segment(heap) = heap else { continue };
            for segment in &heap.segments {
                let (mut fast, mut slow) = (Reported::default(), Reported::default());
                let _ = heap.walk_segment(segment, &mut Emit::new(heap, &mut fast));
                let _ = heap.walk_segment(segment, &mut Slow(Emit::new(heap, &mut slow)));
                assert_eq!(fast, slow, "heap {:x}", heap.handle());
                blocks += fast.0.len();
            }
        }
        blocks
    }

    #[test]
    fn plain_chunks_are_what_a_closer_look_makes_of_them() {
        for name in [
            "10586.0-smallseg.snap1",
            "22000.778-smallsegust.snap1",
            "x86-19041.546-smallseg.snap1",
        ] {
            let file = DumpFile::open(&testdata().join(format!("{name}.dmp.zst")));
            let mut bytes = file.expect("the dump opens").bytes().to_vec();
            assert!(compare(&bytes) > 0, "{name}");
            let mut random = Random(0x9e37_79b9_7f4a_7c15);
            for _ in 0..if cfg!(debug_assertions) { 2 } else { 20 } {
                // Each round adds to the damage.
                for _ in 0..bytes.len() >> 13 {
                    let at = random.below(bytes.len());
                    bytes[at] ^= 1 << random.below(8);
                }
                compare(&bytes);
            }
        }
    }

    proptest! {
        #[test]
        fn every_second_bit_is_taken(word: u64) {
            let bits = even_bits(word);
            for bit in 0..32 {
                prop_assert_eq!(bits >> bit & 1, (word >> (2 * bit)) as u32 & 1);
            }
            let lanes: Vec<usize> = Lanes(bits).collect();
            let set: Vec<usize> = (0..32).filter(|bit| bits >> bit & 1 != 0).collect();
            prop_assert_eq!(lanes, set);
        }

        #[test]
        fn a_tally_hands_over_what_it_counted(losses in proptest::collection::vec(0..0x800u64, 0..100)) {
            let mut tally = Tally::default();
            prop_assert!(tally.add(0x800, 1).is_none());
            for _ in 0..2 {
                for &lost in &losses {
                    tally.add(lost, 2);
                }
                let mut each = std::collections::BTreeMap::new();
                tally.drain(|lost, number| {
                    each.insert(lost, number);
                });
                for (lost, number) in each {
                    let expected = losses.iter().filter(|&&other| other == lost).count() as u64;
                    prop_assert_eq!(number, 2 * expected);
                }
            }
        }
    }
}
