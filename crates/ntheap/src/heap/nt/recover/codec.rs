//! The key that entries are encoded with, inferred from the entries themselves.
//!
//! Encoding is an XOR with eight bytes. Two things stay what they are under it: the XOR of the first
//! four bytes of every entry (their checksum makes it 0 in plain), and, from an entry to the next,
//! the XOR of the one's size and the other's previous size (they are equal in plain). So every pair
//! of places that could be an entry and its successor votes for a key of sizes and these two
//! constants; true neighbours all vote for the same. The key of the flags follows from what free and
//! busy entries must have.

use rustc_hash::{FxHashMap, FxHashSet};

use super::super::entry::{
    EntryCodec,
    flags::{BUSY, FILL, INTERNAL},
};
use crate::{
    address_space::AddressSpace,
    layout::{Bitness, Layouts},
};

/// `EncodeFlagMask` of every encoded heap.
const MASK: u32 = 0x0010_0000;
/// Places in a row that are looked at together.
const WINDOW: u64 = 1 << 12;
/// Windows of a heap that are looked at, evenly spread.
const MAX_WINDOWS: usize = 24;
/// Largest entry, in units, whose successor is voted for.
const MAX_VOTED: usize = 64;
/// Candidates whose chains are followed, and as many where these prove nothing.
const TRIED: [usize; 2] = [48, 1 << 11];
/// Different entries in chains that prove a key.
const PROOF: usize = 8;
/// As many prove it where a chain also ends where the memory does.
const CLOSING_PROOF: usize = 2;
/// `_HEAP_USERDATA_HEADER.Signature`, for telling containers.
const CONTAINER: u32 = 0xf0e0_d0c0;

/// What a place would be as an entry, still encoded.
#[derive(Debug, Clone, Copy, Default)]
struct Place {
    size: u16,
    previous: u16,
    flags: u8,
    /// XOR of the four bytes that the checksum covers.
    sum: u8,
    unused: u8,
    /// Whether it can be an entry: encoded, and no slot of the LFH.
    possible: bool,
}

/// A key of sizes with the two constants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct Candidate {
    size: u16,
    /// Key of the size combined with that of the previous size.
    link: u16,
    sum: u8,
}

/// Places in a row.
#[derive(Debug)]
struct Run {
    start: u64,
    places: Vec<Place>,
    /// Whether memory that belongs to the heap ends behind it.
    ends: bool,
    /// Which places can be an entry, those of each sum one behind the other.
    possible: Vec<usize>,
}

/// How well a candidate does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct Score {
    distinct: usize,
    closes: bool,
}

impl Score {
    fn proves(self) -> bool {
        self.distinct >= PROOF || self.closes && self.distinct >= CLOSING_PROOF
    }
}

/// The codec of a heap whose entries lie in these stretches (first address, one past the last), some
/// of which are known to begin with an entry.
pub(super) fn infer(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    stretches: &[(u64, u64)],
    starts: &[u64],
) -> Option<EntryCodec> {
    let bitness = layouts.bitness;
    let runs = windows(memory, bitness, stretches);
    let plain = plain_score(&runs);
    let candidate = best(&runs, bitness.unit(), starts);
    let codec = |mask, key| EntryCodec {
        xp: false,
        bitness,
        mask,
        key,
    };
    match candidate {
        Some((candidate, score)) if score >= plain => {
            let key = whole_key(memory, layouts, &runs, candidate);
            Some(codec(MASK, key))
        }
        _ if plain.proves() => Some(codec(0, 0)),
        _ => None,
    }
}

/// The places of up to so many windows of the stretches.
fn windows(memory: &AddressSpace<'_>, bitness: Bitness, stretches: &[(u64, u64)]) -> Vec<Run> {
    let unit = bitness.unit();
    let mut windows: Vec<(u64, u64, bool)> = Vec::new();
    for &(start, end) in stretches {
        let mut at = start.next_multiple_of(unit);
        while at < end && windows.len() < 1 << 20 {
            let next = end.min(at.saturating_add(WINDOW * unit));
            windows.push((at, next, next == end));
            at = next;
        }
    }
    let step = windows.len().div_ceil(MAX_WINDOWS).max(1);
    let read = |&(start, end, ends): &(u64, u64, bool)| {
        let mut window = memory.window();
        let header = if bitness == Bitness::X64 { 8 } else { 0 };
        let places = (start..end)
            .step_by(unit as usize)
            .map(|at| window.u64(at + header).map(Place::of).unwrap_or_default())
            .collect();
        Run::new(start, places, ends)
    };
    windows.iter().step_by(step).map(read).collect()
}

impl Run {
    fn new(start: u64, places: Vec<Place>, ends: bool) -> Run {
        let mut possible: Vec<usize> = (0..places.len())
            .filter(|&index| places[index].possible)
            .collect();
        possible.sort_by_key(|&index| places[index].sum);
        Run {
            start,
            places,
            ends,
            possible,
        }
    }

    /// The places of each sum that can be an entry, in order.
    fn sums(&self) -> impl Iterator<Item = &[usize]> {
        let sum = |index: &usize| self.places[*index].sum;
        self.possible.chunk_by(move |a, b| sum(a) == sum(b))
    }

    /// The places of a sum that can be an entry, in order.
    fn with_sum(&self, sum: u8) -> &[usize] {
        let of = |&index: &usize| self.places[index].sum;
        let first = self.possible.partition_point(|index| of(index) < sum);
        let same = &self.possible[first..];
        &same[..same.partition_point(|index| of(index) == sum)]
    }
}

impl Place {
    fn of(raw: u64) -> Place {
        let byte = |index: u32| (raw >> (8 * index)) as u8;
        let unused = byte(7);
        Place {
            size: raw as u16,
            previous: (raw >> 32) as u16,
            flags: byte(2),
            sum: byte(0) ^ byte(1) ^ byte(2) ^ byte(3),
            unused,
            possible: raw as u32 & MASK != 0 && is_unused_count(unused),
        }
    }
}

/// Whether an entry of a segment can have this in `UnusedBytes`.
fn is_unused_count(unused: u8) -> bool {
    matches!(unused, 0 | 1 | 3 | 8..=0x7f)
}

/// The candidate with the best chains.
fn best(runs: &[Run], unit: u64, starts: &[u64]) -> Option<(Candidate, Score)> {
    let mut votes: FxHashMap<Candidate, usize> = FxHashMap::default();
    for (run, places) in runs
        .iter()
        .flat_map(|run| run.sums().map(move |places| (run, places)))
    {
        for (position, &index) in places.iter().enumerate() {
            let first = &run.places[index];
            // An entry is known to lie at some places, whatever its size.
            let at = run.start + index as u64 * unit;
            let known = starts.contains(&at);
            let reach = if known {
                usize::from(u16::MAX)
            } else {
                MAX_VOTED
            };
            let behind = places[position + 1..].iter();
            for &next in behind.take_while(|&&next| next - index <= reach) {
                let candidate = Candidate {
                    size: first.size ^ (next - index) as u16,
                    link: first.size ^ run.places[next].previous,
                    sum: first.sum,
                };
                *votes.entry(candidate).or_default() += 1;
            }
        }
    }
    let mut votes: Vec<(usize, Candidate)> = votes.into_iter().map(|(c, n)| (n, c)).collect();
    votes.sort_unstable_by(|a, b| b.cmp(a));
    let [few, many] = TRIED;
    let (first, rest) = votes.split_at(few.min(votes.len()));
    [first, &rest[..many.min(rest.len())]]
        .iter()
        .find_map(|candidates| {
            let score = |&(_, candidate): &(usize, Candidate)| (candidate.score(runs), candidate);
            let best = candidates.iter().map(score).max()?;
            best.0.proves().then_some((best.1, best.0))
        })
}

impl Candidate {
    /// Follows the chains under this key and counts the different entries in them: a pattern that
    /// repeats makes a chain as well, but of equal entries.
    fn score(self, runs: &[Run]) -> Score {
        let mut seen = FxHashSet::default();
        let mut closes = false;
        for run in runs {
            self.follow(run, |place, next| {
                seen.insert((place.size, place.previous, place.flags));
                closes |= next == run.places.len() && run.ends;
            });
        }
        Score {
            distinct: seen.len(),
            closes,
        }
    }

    /// Calls `link` with each entry that has a successor (or the end of the memory) and its index.
    fn follow(self, run: &Run, mut link: impl FnMut(&Place, usize)) {
        // The entry that the last one leads to: none lies between them.
        let mut least = 0;
        for &index in run.with_sum(self.sum) {
            if index < least {
                continue;
            }
            let place = &run.places[index];
            let next = index + usize::from(place.size ^ self.size);
            let holds = next > index
                && match run.places.get(next) {
                    Some(behind) => {
                        behind.possible
                            && behind.sum == self.sum
                            && behind.previous ^ place.size == self.link
                    }
                    None => next == run.places.len() && run.ends,
                };
            if holds {
                link(place, next);
                least = next;
            }
        }
    }
}

/// How well the entries chain if nothing is encoded, as in heaps with tags.
fn plain_score(runs: &[Run]) -> Score {
    let mut seen = FxHashSet::default();
    for run in runs {
        let mut index = 0;
        while let Some(place) = run.places.get(index) {
            let next = index + usize::from(place.size);
            let holds = place.size > 1
                && is_unused_count(place.unused)
                && place.flags & !0xef == 0
                && run.places.get(next).is_some_and(|behind| {
                    behind.previous == place.size && behind.size > 0 && behind.flags & 0x10 == 0
                });
            if holds {
                seen.insert((place.size, place.previous, place.flags));
            }
            index = if holds { next } else { index + 1 };
        }
    }
    Score {
        distinct: seen.len(),
        closes: false,
    }
}

/// The whole key: that of the flags is the one under which most entries have the flags that their
/// unused count and contents imply.
fn whole_key(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    runs: &[Run],
    candidate: Candidate,
) -> u64 {
    let mut votes: FxHashMap<u8, usize> = FxHashMap::default();
    for run in runs {
        candidate.follow(run, |place, next| {
            let unit = layouts.bitness.unit();
            let size = u64::from(place.size ^ candidate.size) * unit;
            let end = run.start + next as u64 * unit;
            let flags = likely_flags(memory, layouts, end - size, size, place.unused);
            *votes.entry(place.flags ^ flags).or_default() += 1;
        });
    }
    let flags = votes
        .into_iter()
        .max_by_key(|&(key, count)| (count, key))
        .map_or(0, |(key, _)| key);
    let [low, high] = candidate.size.to_le_bytes();
    let tag = candidate.sum ^ low ^ high ^ flags;
    let [previous_low, previous_high] = (candidate.size ^ candidate.link).to_le_bytes();
    u64::from_le_bytes([low, high, flags, tag, previous_low, previous_high, 0, 0])
}

/// The flags that an entry most likely has.
fn likely_flags(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    entry: u64,
    size: u64,
    unused: u8,
) -> u8 {
    const TAIL_FILL: u64 = 0xabab_abab_abab_abab;
    /// Counts of blocks that can have a fill behind them and whose count is in the header.
    const FILLED: std::ops::Range<u8> = 0x10..0x3f;
    if unused == 0 {
        return 0;
    }
    let unit = layouts.bitness.unit();
    // Containers have their header behind the entry, or behind a trace prefix.
    let is_container = [unit, 3 * unit].iter().any(|start| {
        let header = memory.at(entry + start, layouts.bitness);
        header.u32(layouts.user_data_header.signature) == Some(CONTAINER)
    });
    let is_filled = || {
        let end = (entry + unit + size).checked_sub(unused.into());
        end.and_then(|end| memory.u64(end)) == Some(TAIL_FILL)
    };
    match () {
        () if is_container => BUSY | INTERNAL,
        () if FILLED.contains(&unused) && is_filled() => BUSY | FILL,
        () => BUSY,
    }
}
