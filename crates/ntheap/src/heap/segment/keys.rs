//! The keys that encode headers, proved on the heap itself.
//!
//! Nothing is taken on trust: a candidate is used when it turns the headers of subsegments into
//! chains of chunks that close, or into slots that fill their range. Candidates are what the
//! segments' signatures encode, the words of ntdll's image (where the variables are), and what the
//! subsegments themselves imply, for dumps without ntdll's data.

use std::iter::once_with;

use rustc_hash::FxHashMap;

use super::{
    Common, SegmentHeap,
    context::SEGMENT_SIGNATURE,
    lfh::Subsegment,
    ranges::RangeKind,
    vs::{Chunk, Chunks},
};
use crate::{
    layout::{Bitness, Layouts, PAGE, SegmentLfhSubsegmentLayout},
    process::{HeapKind, Process},
};

/// The keys of a heap, as far as they are needed and could be proved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keys {
    /// What the segments' signatures encode.
    pub signature: Option<u64>,
    /// Key of the chunk headers of VS subsegments.
    pub vs: Option<u64>,
    /// Key of the offsets of LFH subsegments.
    pub lfh: Option<u32>,
}

/// Subsegments that candidates are tried on.
const SAMPLE: usize = 16;
/// Heaps whose subsegments are tried for the keys that a process has in common.
const MAX_HEAPS: usize = 64;

/// The value that occurs most; of equals, the smallest.
pub(super) fn majority(values: impl Iterator<Item = u64>) -> Option<u64> {
    let mut votes: FxHashMap<u64, usize> = FxHashMap::default();
    for value in values {
        *votes.entry(value).or_default() += 1;
    }
    votes
        .into_iter()
        .max_by_key(|&(value, count)| (count, std::cmp::Reverse(value)))
        .map(|(value, _)| value)
}

/// Picks the best of candidates by score; stops at the first with `perfect`.
fn best(
    candidates: impl Iterator<Item = u64>,
    score: impl Fn(u64) -> usize,
    perfect: usize,
) -> Option<(u64, usize)> {
    let mut best: Option<(u64, usize)> = None;
    for candidate in candidates {
        let reached = score(candidate);
        if reached >= perfect {
            return Some((candidate, reached));
        }
        if reached > best.map_or(0, |(_, reached)| reached) {
            best = Some((candidate, reached));
        }
    }
    best
}

impl Common {
    /// What the segment heaps of a process have in common, from subsegments of several.
    ///
    /// The layout of LFH subsegments is the one under which a word of ntdll decodes all of them.
    pub(super) fn of(process: &Process<'_, '_>) -> Common {
        let own = &process.layouts.segment_lfh_subsegment;
        let other =
            |&build: &u32| Layouts::for_build(build, process.bitness).segment_lfh_subsegment;
        let others = LFH_LAYOUT_BUILDS.iter().map(other).filter(|l| l != own);
        let mut first = None;
        for lfh in std::iter::once(own.clone()).chain(others) {
            let (keys, sure) = common_keys(process, &lfh);
            let common = Common { keys, lfh };
            if sure {
                return common;
            }
            first.get_or_insert(common);
        }
        first.unwrap_or_else(|| Common {
            keys: Keys::default(),
            lfh: own.clone(),
        })
    }
}

/// Builds with a layout of LFH subsegments that an unknown build may have, newest first.
const LFH_LAYOUT_BUILDS: &[u32] = &[26100, 22000];

/// The keys that decode subsegments of several heaps under a layout of LFH subsegments, and whether
/// the one of the LFH is beyond doubt (or not needed).
fn common_keys(process: &Process<'_, '_>, lfh: &SegmentLfhSubsegmentLayout) -> (Keys, bool) {
    let mut sample = Sample::default();
    let mut signatures = Vec::new();
    let mut last = None;
    for heap in process
        .all_heaps()
        .filter(|heap| heap.kind == HeapKind::Segment)
        .take(MAX_HEAPS)
    {
        let mut heap = SegmentHeap::open_lists(process, heap);
        if heap.layouts.segment_lfh_subsegment != *lfh {
            heap.layouts.to_mut().segment_lfh_subsegment = lfh.clone();
        }
        heap.sample(&mut sample);
        signatures.extend(heap.majority_key());
        last = Some(heap);
        if sample.lfh.len() >= SAMPLE && sample.vs.len() >= SAMPLE {
            break;
        }
    }
    let Some(mut heap) = last else {
        return (Keys::default(), true);
    };
    heap.keys.signature = majority(signatures.into_iter());
    let keys = heap.proved_keys(process, &sample, heap.keys);
    let sure = sample.lfh.is_empty()
        || keys.lfh.is_some_and(|key| {
            let fits = |subsegment: &Subsegment| subsegment.slots(key, heap.unit()).is_some();
            let held = |word: u64| word as u32 == key;
            sample.lfh.iter().all(fits)
                && (heap.encode_key().is_some_and(held)
                    || process.ntdll_words().map(|(_, word)| word).any(held))
        });
    (keys, sure)
}

/// Subsegments to try keys on.
#[derive(Debug, Default)]
pub(super) struct Sample {
    lfh: Vec<Subsegment>,
    vs: Vec<Chunks>,
    /// Whether there are VS subsegments, but none with its own header intact.
    unsigned: bool,
}

impl<'p, 'a> SegmentHeap<'p, 'a> {
    /// Proves the keys on the heap's own subsegments, those of the whole process first.
    pub(super) fn prove_keys(&mut self, process: &Process<'_, 'a>, common: Keys) {
        let mut sample = Sample::default();
        self.sample(&mut sample);
        self.keys = self.proved_keys(process, &sample, common);
        self.keys.signature = self.majority_key();
    }

    /// A sample of the heap's subsegments. Of VS subsegments those that are intact by their own
    /// headers, unless none is, as on a build that moved the fields.
    fn sample(&self, sample: &mut Sample) {
        let mut unsigned = Vec::new();
        for segment in &self.segments {
            if sample.lfh.len() >= SAMPLE && sample.vs.len() >= SAMPLE {
                break;
            }
            for range in self.ranges(segment) {
                match range.kind {
                    RangeKind::Lfh if sample.lfh.len() < SAMPLE => {
                        sample.lfh.extend(self.subsegment(&range));
                    }
                    RangeKind::Vs if sample.vs.len() < SAMPLE => match self.chunks(&range) {
                        Some(chunks) if chunks.signed => sample.vs.push(chunks),
                        chunks => unsigned.extend(chunks),
                    },
                    _ => {}
                }
            }
        }
        if sample.vs.is_empty() {
            sample.unsigned = !unsigned.is_empty();
            sample.vs.extend(unsigned.into_iter().take(SAMPLE));
        }
    }

    fn proved_keys(&self, process: &Process<'_, '_>, sample: &Sample, known: Keys) -> Keys {
        let signature = self.majority_key().or(known.signature);
        let vs = self.prove_vs_key(process, &sample.vs, Keys { signature, ..known });
        let keys = Keys {
            // A lost header is no proof against the key of the process's other heaps.
            vs: vs.or(known.vs.filter(|_| sample.unsigned)),
            signature,
            lfh: None,
        };
        // With no VS subsegment of its own the heap needs no key, but the key helps to find others.
        let known = Keys {
            vs: keys.vs.or(known.vs),
            lfh: known.lfh,
            signature,
        };
        Keys {
            lfh: self.prove_lfh_key(process, &sample.lfh, known),
            ..keys
        }
    }

    /// What the signatures may have encoded: before 26100 a constant is combined with the key.
    fn signature_keys(&self, signature: Option<u64>) -> impl Iterator<Item = u64> + use<> {
        let mask = match self.bitness() {
            Bitness::X86 => u64::from(u32::MAX),
            Bitness::X64 => u64::MAX,
        };
        signature
            .into_iter()
            .flat_map(move |key| [key, (key ^ SEGMENT_SIGNATURE) & mask])
    }

    fn prove_vs_key(
        &self,
        process: &Process<'_, '_>,
        sample: &[Chunks],
        known: Keys,
    ) -> Option<u64> {
        /// A subsegment that closes counts more than one that begins well.
        const CLOSES: usize = 2;
        /// Subsegments on one of which a word has to begin well before it is tried on all.
        const FILTERS: usize = 4;
        /// Words that are tried on all.
        const MAX_WORDS: usize = 64;
        /// Subsegments, and chunks of each, that are looked at for a key that was proved before.
        const FEW: usize = 2;
        const LINKS: usize = 32;
        if sample.is_empty() {
            return None;
        }
        // What the process's other heaps proved needs no more than a look: no wrong key makes chains of
        // so many chunks.
        if let Some(key) = known.vs
            && sample.len() >= FEW
            && sample
                .iter()
                .take(FEW)
                .all(|chunks| chunks.signed && self.chain_goes_on(chunks, key, LINKS))
        {
            return Some(key);
        }
        let score = |key: u64| {
            let of = |chunks: &Chunks| match self.chain_holds(chunks, key) {
                true => CLOSES,
                false => usize::from(self.chain_begins(chunks, key)),
            };
            sample.iter().map(of).sum::<usize>()
        };
        let perfect = CLOSES * sample.len();
        let filters = || sample.iter().take(FILTERS);
        // 16299 and later: the key of the signatures. Before that another variable of ntdll.
        let words = process
            .ntdll_words()
            .map(|(_, word)| word)
            .filter(|&key| filters().any(|chunks| self.chain_begins(chunks, key)))
            .take(MAX_WORDS);
        let candidates = known
            .vs
            .into_iter()
            .chain(self.signature_keys(known.signature))
            .chain(words);
        let found = best(candidates, score, perfect);
        let found = match found {
            Some((_, reached)) if reached >= perfect => found,
            _ => {
                let derived: Vec<u64> = filters()
                    .filter_map(|chunks| self.derive_vs_key(chunks))
                    .collect();
                best(derived.into_iter(), score, perfect)
                    .filter(|(_, reached)| found.is_none_or(|(_, other)| *reached > other))
                    .or(found)
            }
        };
        found.map(|(key, _)| key)
    }

    /// The key that a subsegment implies: the first chunk has no chunk before it, and of all sizes
    /// that it may have, one makes the chunks behind it agree up to the subsegment's end.
    fn derive_vs_key(&self, chunks: &Chunks) -> Option<u64> {
        let fields = Fields::of(self.bitness());
        let unit = self.unit();
        let units = (chunks.end - chunks.start) / unit;
        let mut window = self.memory.window();
        let mut plain = |at: u64| self.chunk_word(&mut window, at).map(|raw| raw ^ at);
        let first = plain(chunks.start)?;
        let known = first & (fields.previous | fields.zero);
        for size in 1..units.min(fields.max_size() + 1) {
            let key = known | (first & fields.size) ^ (size << fields.size_shift());
            let (mut at, mut previous) = (chunks.start + size * unit, size);
            let closes = loop {
                if at == chunks.end {
                    break true;
                }
                let Some(word) = plain(at).filter(|_| at < chunks.end).map(|word| word ^ key)
                else {
                    break false;
                };
                let next = (word & fields.size) >> fields.size_shift();
                let before = (word & fields.previous) >> fields.previous.trailing_zeros();
                if word & fields.zero != 0 || before != previous || next == 0 {
                    break false;
                }
                (at, previous) = (at.saturating_add(next * unit), next);
            };
            if closes {
                // Which chunks are busy takes one bit more: free neighbours would have been joined.
                let key = key | first & fields.allocated;
                let flipped = key ^ fields.allocated;
                let worse = self.free_pairs(chunks, key) > self.free_pairs(chunks, flipped);
                return Some(if worse { flipped } else { key });
            }
        }
        None
    }

    /// Free chunks next to each other, then free chunks, under a key whose chain holds.
    fn free_pairs(&self, chunks: &Chunks, key: u64) -> (usize, usize) {
        let mut window = self.memory.window();
        let (mut at, mut last_free, mut pairs, mut free) = (chunks.start, false, 0, 0);
        while at < chunks.end {
            let Some(chunk) = self
                .chunk_word(&mut window, at)
                .and_then(|raw| Chunk::decode(self.bitness(), raw, at, key))
            else {
                break;
            };
            pairs += usize::from(last_free && !chunk.allocated);
            free += usize::from(!chunk.allocated);
            last_free = !chunk.allocated;
            at = at.saturating_add(u64::from(chunk.size) * self.unit());
        }
        (pairs, free)
    }

    /// The LFH key that newer builds keep in the heap's own context.
    fn encode_key(&self) -> Option<u64> {
        let context = self
            .memory
            .at(self.handle(), self.bitness())
            .address(self.layouts.segment_heap.lfh_context)?;
        self.memory
            .at(context, self.bitness())
            .pointer(self.layouts.lfh_context.encode_key)
    }

    /// The words next to the key of the signatures in ntdll's image: from 16299 on both keys are
    /// members of one structure, or neighbours.
    fn neighbours(&self, process: &Process<'_, '_>, signature: Option<u64>) -> Vec<u64> {
        const MAX_PLACES: usize = 8;
        let keys: Vec<u64> = self.signature_keys(signature).collect();
        if keys.is_empty() {
            return keys;
        }
        let mut found = Vec::new();
        let mut last = 0;
        let mut is_next = false;
        for (_, word) in process.ntdll_words() {
            if is_next {
                found.push(word);
            }
            is_next = keys.contains(&word);
            if is_next {
                found.push(last);
            }
            if found.len() > MAX_PLACES {
                break;
            }
            last = word;
        }
        found
    }

    fn prove_lfh_key(
        &self,
        process: &Process<'_, '_>,
        sample: &[Subsegment],
        known: Keys,
    ) -> Option<u32> {
        /// Slots that fit count, slots that fill their range count more.
        const FILLS: usize = 2;
        if sample.is_empty() {
            return None;
        }
        let unit = self.unit();
        let score = |key: u64| {
            let of = |subsegment: &Subsegment| match subsegment.slots(key as u32, unit) {
                None => 0,
                Some(slots) => {
                    let end = slots.first + subsegment.count * slots.size;
                    match subsegment.range_size - end < slots.size + PAGE {
                        true => FILLS,
                        false => 1,
                    }
                }
            };
            sample.iter().map(of).sum::<usize>()
        };
        let perfect = FILLS * sample.len();
        // Before 16299 one key serves both.
        let likely = [known.lfh.map(u64::from), self.encode_key(), known.vs];
        let likely = likely.into_iter().flatten();
        let neighbours = once_with(|| self.neighbours(process, known.signature));
        let implied = once_with(|| implied_lfh_keys(sample, unit));
        // One subsegment alone can fit a wrong word by chance, several can't.
        let candidates = likely
            .chain(neighbours.flatten())
            .chain(process.ntdll_words().map(|(_, word)| word))
            .map(|key| key & u64::from(u32::MAX))
            .chain(implied.flatten());
        best(candidates, score, perfect)
            .filter(|&(_, reached)| reached > perfect / 2)
            .map(|(key, _)| key as u32)
    }
}

/// The keys that the subsegments would imply if their slots had one of the bucket sizes and began
/// right behind the header, most implied first.
fn implied_lfh_keys(sample: &[Subsegment], unit: u64) -> Vec<u64> {
    const TAKEN: usize = 64;
    let mut votes: FxHashMap<u64, usize> = FxHashMap::default();
    for subsegment in sample {
        let first = subsegment.header_end.next_multiple_of(unit);
        for size in bucket_sizes(unit) {
            for first in [first, first + unit] {
                let end = first + subsegment.count * size;
                if end <= subsegment.range_size && subsegment.range_size - end < size + PAGE {
                    let key = subsegment.encoded ^ (first as u32) << 16 ^ size as u32;
                    *votes.entry(key.into()).or_default() += 1;
                }
            }
        }
    }
    let mut votes: Vec<(u64, usize)> = votes.into_iter().collect();
    votes.sort_by_key(|&(key, count)| (std::cmp::Reverse(count), key));
    votes.into_iter().take(TAKEN).map(|(key, _)| key).collect()
}

/// The sizes of the LFH's buckets: 64 steps of one unit, then four times 16 steps of growing width.
pub(super) fn bucket_sizes(unit: u64) -> impl Iterator<Item = u64> {
    const SMALL: u64 = 64;
    const STEPS: u64 = 16;
    const STEP_UNITS: [u64; 4] = [4, 8, 16, 32];
    let small = (1..=SMALL).map(move |index| index * unit);
    let wide = STEP_UNITS.into_iter().flat_map(move |step| {
        // Each group begins where the one before ended, which is `STEPS` of its own steps up.
        (1..=STEPS).map(move |index| (STEPS + index) * step * unit)
    });
    small.chain(wide)
}

/// The bits of a chunk header's first word.
#[derive(Debug, Clone, Copy)]
struct Fields {
    size: u64,
    previous: u64,
    allocated: u64,
    /// Never set.
    zero: u64,
}

impl Fields {
    const fn of(bitness: Bitness) -> Fields {
        match bitness {
            Bitness::X64 => Fields {
                size: 0xffff << 16,
                previous: 0xffff << 32,
                allocated: 1 << 48,
                zero: 0xfe << 48 | 0xff << 56,
            },
            Bitness::X86 => Fields {
                size: 0x7fff << 1,
                previous: 0x7fff << 16,
                allocated: 1 << 31,
                zero: 0,
            },
        }
    }

    const fn size_shift(self) -> u32 {
        self.size.trailing_zeros()
    }

    const fn max_size(self) -> u64 {
        self.size >> self.size_shift()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_sizes_grow_to_the_largest() {
        let sizes: Vec<u64> = bucket_sizes(16).collect();
        assert_eq!(sizes.len(), 128);
        assert!(sizes.is_sorted());
        assert_eq!(sizes[63], 0x400);
        assert_eq!(sizes[64], 0x440);
        assert_eq!(sizes[79], 0x800);
        assert_eq!(sizes[127], 0x4000);
    }

    #[test]
    fn the_majority_is_the_smallest_of_equals() {
        assert_eq!(majority([3, 1, 3, 1, 2].into_iter()), Some(1));
        assert_eq!(majority([7, 5, 7].into_iter()), Some(7));
        assert_eq!(majority([].into_iter()), None);
    }
}
