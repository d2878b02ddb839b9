//! The shapes of container objects: what can be told from their own words and the first words of
//! what they point to.

use rayon::prelude::*;

use super::ContainerKind;
use crate::{
    address_space::Range,
    graph::{Hit, Resolved},
    types::ground::Ground,
};

/// A place that looks like a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Candidate {
    pub(super) kind: ContainerKind,
    /// Address of the container object.
    pub(super) owner: u64,
    /// Address of its pointer to its (first) block.
    pub(super) anchor: u64,
    /// Whether the object begins with a pointer to a proxy.
    pub(super) proxied: bool,
}

/// A stretch of memory that holds whole objects.
#[derive(Debug, Clone, Copy)]
struct Stretch {
    start: u64,
    end: u64,
}

/// All candidates.
pub(super) fn scan(ground: &Ground<'_, '_>) -> Vec<Candidate> {
    /// Blocks, and bytes of other memory, that one thread looks at in one go.
    const BLOCKS: usize = 1024;
    const BYTES: u64 = 1 << 20;
    let count = ground.blocks.len();
    let (low, high) = ground.blocks.span();
    let scanner = Scanner {
        ground,
        low,
        high,
        linked: linked(ground, BLOCKS),
    };
    let mut found: Vec<Candidate> = (0..count.div_ceil(BLOCKS))
        .into_par_iter()
        .flat_map_iter(|chunk| {
            let mut batch = Batch::default();
            for (start, size) in ground.blocks.chunk(chunk, BLOCKS) {
                let end = start.saturating_add(size);
                scanner.words(start, end, Stretch { start, end }, &mut batch);
            }
            scanner.judge(&mut batch);
            batch.found
        })
        .collect();
    let pieces: Vec<(u64, u64, Stretch)> = ground
        .areas
        .iter()
        .flat_map(|area| {
            let whole = Stretch {
                start: area.start,
                end: area.end,
            };
            let count = (area.end - area.start).div_ceil(BYTES);
            // Regions say their size themselves; what is not in the dump costs nothing.
            let readable = ground.memory.held(area.start, area.end - area.start);
            (0..count.min(readable.div_ceil(4096))).map(move |piece| {
                let start = area.start + piece * BYTES;
                (start, start.saturating_add(BYTES).min(area.end), whole)
            })
        })
        .collect();
    let outside: Vec<Candidate> = pieces
        .into_par_iter()
        .flat_map_iter(|(start, end, whole)| {
            let mut batch = Batch::default();
            scanner.words(start, end, whole, &mut batch);
            scanner.judge(&mut batch);
            batch.found
        })
        .collect();
    found.extend(outside);
    found
}

/// Bit by bit, which blocks begin with two words that may be addresses of blocks, as heads of trees
/// and rings do. What is asked of nearly every pointer stays in the cache so.
fn linked(ground: &Ground<'_, '_>, chunk: usize) -> Vec<u64> {
    let span = ground.blocks.span();
    let count = ground.blocks.len();
    let parts: Vec<Vec<u64>> = (0..count.div_ceil(chunk))
        .into_par_iter()
        .map(|number| {
            let mut bits = vec![0u64; chunk.min(count - number * chunk).div_ceil(64)];
            let mut window = ground.memory.window();
            for (index, (start, size)) in ground.blocks.chunk(number, chunk).enumerate() {
                window.approach(start);
                let is_linked = size >= 3 * ground.word
                    && (0..2).all(|link| {
                        let word = ground.near(&mut window, start + link * ground.word);
                        word.is_some_and(|word| is_pointer(word, span, ground.word))
                    });
                bits[index / 64] |= u64::from(is_linked) << (index % 64);
            }
            bits
        })
        .collect();
    // All but the last have whole words.
    parts.concat()
}

/// Whether a value may be the address of a block.
#[inline]
fn is_pointer(value: u64, (low, high): (u64, u64), word: u64) -> bool {
    value.wrapping_sub(low) < high - low && value & (word - 1) == 0
}

/// A pointer, where it lies.
#[derive(Clone, Copy)]
struct Place<'a> {
    at: u64,
    to: u64,
    /// From the pointer on.
    bytes: &'a [u8],
    whole: Stretch,
    /// What its own and the next words could belong to.
    vector: bool,
    string: bool,
    counted: bool,
    deque: bool,
}

impl Place<'_> {
    /// The word so many bytes behind the pointer.
    #[inline]
    fn behind(&self, bytes: usize, word: u64) -> Option<u64> {
        self.bytes.get(bytes..bytes + word as usize).map(number)
    }
}

/// A word of either width.
#[inline]
fn number(word: &[u8]) -> u64 {
    match *word {
        [a, b, c, d] => u32::from_le_bytes([a, b, c, d]).into(),
        [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
        _ => 0,
    }
}

/// Pointers that are judged together, as where they lead lies anywhere in memory: looks there that
/// don't depend on each other go on at the same time.
#[derive(Default)]
struct Batch<'a> {
    places: Vec<Place<'a>>,
    hits: Resolved,
    found: Vec<Candidate>,
    /// The range of memory that was read last.
    range: Option<Range<'a>>,
}

/// Pointers of a batch.
const BATCH: usize = 256;

struct Scanner<'g, 'p, 'a> {
    ground: &'g Ground<'p, 'a>,
    low: u64,
    high: u64,
    /// By block: whether it may be the head of a tree or ring.
    linked: Vec<u64>,
}

impl<'a> Scanner<'_, '_, 'a> {
    fn words(&self, start: u64, end: u64, whole: Stretch, batch: &mut Batch<'a>) {
        let size = self.ground.word;
        let span = (self.low, self.high);
        let mut at = start.next_multiple_of(size);
        while at < end {
            let near = batch
                .range
                .filter(|range| (range.start..range.end()).contains(&at));
            let Some(range) = near.or_else(|| self.ground.memory.range_of(at)) else {
                match self.ground.memory.next_readable(at) {
                    Some(next) if next > at => at = next.next_multiple_of(size),
                    _ => return,
                }
                continue;
            };
            batch.range = Some(range);
            let until = range.end().min(end);
            let bytes = &range.bytes[(at - range.start) as usize..];
            let mine = &bytes[..(until - at) as usize];
            for (index, word) in mine.chunks_exact(size as usize).enumerate() {
                let to = number(word);
                if is_pointer(to, span, size) {
                    let from = index * size as usize;
                    self.put(at + from as u64, to, &bytes[from..], whole, batch);
                }
            }
            at = until.next_multiple_of(size).max(at + size);
        }
    }

    /// Keeps a pointer into the heaps for judgement. What can be told from the words behind it alone
    /// comes first, as nearly every pointer is none of a container's.
    #[inline]
    fn put(&self, at: u64, to: u64, bytes: &'a [u8], whole: Stretch, batch: &mut Batch<'a>) {
        let word = self.ground.word;
        let room = whole.end - at;
        if room < 2 * word {
            return;
        }
        let mut place = Place {
            at,
            to,
            bytes,
            whole,
            vector: false,
            string: false,
            counted: false,
            deque: false,
        };
        let Some(second) = place.behind(word as usize, word) else {
            return;
        };
        let third = place.behind(2 * word as usize, word);
        place.vector = room >= 3 * word
            && third.is_some_and(|third| (to..=third).contains(&second) && to < third);
        place.string = room >= 16 + 2 * word && self.is_string(&place);
        place.counted = second < self.ground.blocks.len() as u64;
        place.deque = room >= 5 * word && third.is_some_and(u64::is_power_of_two);
        if place.vector || place.string || place.counted || place.deque {
            batch.places.push(place);
            if batch.places.len() == BATCH {
                self.judge(batch);
            }
        }
    }

    /// Judges the pointers that were kept.
    fn judge(&self, batch: &mut Batch<'a>) {
        let blocks = self.ground.blocks;
        let Batch {
            places,
            hits,
            found,
            ..
        } = batch;
        blocks.resolve_all(places.iter().map(|place| place.to), hits);
        let starts = hits.iter().flatten().filter(|hit| hit.offset == 0);
        let sizes = starts.map(|hit| blocks.size(hit.block));
        std::hint::black_box(sizes.fold(0, |looks, size| looks ^ size));
        for (place, hit) in places.iter().zip(hits.iter()) {
            self.place(place, hit, found);
        }
        places.clear();
    }

    fn place(&self, place: &Place<'_>, hit: Option<Hit>, found: &mut Vec<Candidate>) {
        let ground = self.ground;
        let Place {
            at, to, ref whole, ..
        } = *place;
        let word = ground.word;
        let room = whole.end - at;
        let before = at - whole.start;
        let start = hit.filter(|hit| hit.offset == 0).map(|hit| hit.block);
        let is_proxied = || before >= word && ground.is_proxied(at - word);
        let mut add = |kind, front: u64| {
            found.push(Candidate {
                kind,
                owner: at - front,
                anchor: at,
                proxied: front > 0,
            });
        };
        let usual = || if is_proxied() { word } else { 0 };
        let end = place.behind(2 * word as usize, word).unwrap_or(0);
        if place.vector && ground.fits(start, to, end - to) {
            add(ContainerKind::Vector, usual());
        } else if place.string
            && let Some(kind) = self.string(place, start)
        {
            add(kind, usual());
        }
        // A count that the blocks there are could make true, and a head that leads on.
        if place.counted
            && let Some(head) = start
            && self.linked[head as usize / 64] >> (head % 64) & 1 != 0
        {
            let size = ground.blocks.size(head);
            if self.is_tree(at, to, size) {
                add(ContainerKind::MapOrSet, usual());
            } else if self.is_ring(to, size) {
                let proxied = is_proxied();
                match self.hash(at, proxied, before, room) {
                    Some(front) => add(ContainerKind::UnorderedMapOrSet, front),
                    None => add(ContainerKind::List, usual()),
                }
            }
        }
        if place.deque
            && start.is_some()
            && ground.word(to) == Some(at)
            && ground.proxy(at).is_some()
            && self.is_deque(at)
        {
            found.push(Candidate {
                kind: ContainerKind::Deque,
                owner: at,
                anchor: at,
                proxied: true,
            });
        }
    }

    /// Size and capacity of the string whose pointer to its characters this is.
    #[inline]
    fn string_sizes(&self, place: &Place<'_>) -> Option<(u64, u64)> {
        let word = self.ground.word;
        let size = place.behind(16, word)?;
        Some((size, place.behind(16 + word as usize, word)?))
    }

    #[inline]
    fn is_string(&self, place: &Place<'_>) -> bool {
        self.string_sizes(place).is_some_and(|(size, capacity)| {
            size <= capacity && (8..=u64::MAX / 4).contains(&capacity)
        })
    }

    fn string(&self, place: &Place<'_>, start: Option<u32>) -> Option<ContainerKind> {
        let ground = self.ground;
        let text = place.to;
        let (size, capacity) = self.string_sizes(place)?;
        // The shorter ones lie in the object itself.
        if capacity >= 16
            && ground.fits(start, text, capacity + 1)
            && ground.memory.u8(text.checked_add(size)?) == Some(0)
        {
            return Some(ContainerKind::String);
        }
        let is_wide = ground.fits(start, text, (capacity + 1) * 2)
            && ground.memory.u16(text.checked_add(size * 2)?) == Some(0);
        is_wide.then_some(ContainerKind::WString)
    }

    fn is_tree(&self, at: u64, head: u64, size: u64) -> bool {
        let ground = self.ground;
        let word = ground.word;
        size >= 4 * word
            && ground.memory.u8(head + 3 * word) == Some(1)
            && ground.memory.u8(head + 3 * word + 1) == Some(1)
            && match ground.nth(at, 1) {
                Some(0) => (0..3).all(|link| ground.nth(head, link) == Some(head)),
                // The root's parent is the head.
                _ => ground
                    .nth(head, 1)
                    .is_some_and(|root| root != head && ground.nth(root, 1) == Some(head)),
            }
    }

    fn is_ring(&self, head: u64, size: u64) -> bool {
        let ground = self.ground;
        let linked = || {
            let (next, previous) = (ground.word(head)?, ground.nth(head, 1)?);
            Some(ground.nth(next, 1)? == head && ground.word(previous)? == head)
        };
        size >= 3 * ground.word && linked() == Some(true)
    }

    /// How far in front of its list's head pointer at `at` an `unordered_map` begins, if it is one.
    fn hash(&self, at: u64, proxied: bool, before: u64, room: u64) -> Option<u64> {
        let ground = self.ground;
        let word = ground.word;
        let front = if proxied { 2 * word } else { word };
        let vector = at.checked_add(front + word)?;
        if before < front || room < front + 6 * word {
            return None;
        }
        if proxied && !ground.is_proxied(vector - word) {
            return None;
        }
        let load = f32::from_bits(ground.memory.u32(at - front)?);
        if !load.is_normal() || !(0.0..1e6).contains(&load) {
            return None;
        }
        let [first, last, end, mask, buckets] = [0, 1, 2, 3, 4].map(|i| ground.nth(vector, i));
        let (first, last, end) = (first?, last?, end?);
        let (mask, buckets) = (mask?, buckets?);
        let bytes = last.checked_sub(first)?;
        let fits = buckets.is_power_of_two()
            && mask == buckets - 1
            && bytes.checked_div(2 * word) == Some(buckets)
            && bytes % (2 * word) == 0
            && end >= last
            && ground.holds(first, end - first).is_some();
        fits.then_some(front)
    }

    /// A deque keeps a proxy in the release library as well; behind it lies a table of its blocks.
    fn is_deque(&self, at: u64) -> bool {
        let ground = self.ground;
        let fits = || {
            let (map, places) = (ground.nth(at, 1)?, ground.nth(at, 2)?);
            let (first, count) = (ground.nth(at, 3)?, ground.nth(at, 4)?);
            let bytes = places.checked_mul(ground.word)?;
            let most = places.checked_mul(16)?;
            Some(
                places.is_power_of_two()
                    && count <= most
                    && first <= most.saturating_mul(2)
                    && ground.holds(map, bytes).is_some(),
            )
        };
        fits() == Some(true)
    }
}
