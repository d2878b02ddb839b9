//! The shapes of container objects: what can be told from their own words and the first words of
//! what they point to.

use rayon::prelude::*;

use super::ContainerKind;
use crate::{
    address_space::{Range, Window},
    layout::Bitness,
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
    let scanner = Scanner { ground, low, high };
    let mut found: Vec<Candidate> = (0..count.div_ceil(BLOCKS))
        .into_par_iter()
        .flat_map_iter(|chunk| {
            let mut found = Vec::new();
            let numbers = chunk * BLOCKS..((chunk + 1) * BLOCKS).min(count);
            for number in numbers {
                let (start, size) = ground.blocks.block(number as u32);
                let end = start.saturating_add(size);
                scanner.words(start, end, Stretch { start, end }, &mut found);
            }
            found
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
            let mut found = Vec::new();
            scanner.words(start, end, whole, &mut found);
            found
        })
        .collect();
    found.extend(outside);
    found
}

/// A pointer, where it lies.
struct Place<'r> {
    at: u64,
    to: u64,
    range: Range<'r>,
    word: u64,
}

impl Place<'_> {
    /// The word so many bytes behind the pointer.
    #[inline]
    fn behind(&self, bytes: u64) -> Option<u64> {
        let from = (self.at - self.range.start + bytes) as usize;
        self.range
            .bytes
            .get(from..from + self.word as usize)
            .map(number)
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

struct Scanner<'g, 'p, 'a> {
    ground: &'g Ground<'p, 'a>,
    low: u64,
    high: u64,
}

impl Scanner<'_, '_, '_> {
    fn words(&self, start: u64, end: u64, whole: Stretch, found: &mut Vec<Candidate>) {
        let size = self.ground.word;
        let mut heads = self.ground.memory.window();
        let mut at = start.next_multiple_of(size);
        while at < end {
            let Some(range) = self.ground.memory.range_of(at) else {
                match self.ground.memory.next_readable(at) {
                    Some(next) if next > at => at = next.next_multiple_of(size),
                    _ => return,
                }
                continue;
            };
            let until = range.end().min(end);
            let bytes = &range.bytes[(at - range.start) as usize..(until - range.start) as usize];
            let mut place = Place {
                at,
                to: 0,
                range,
                word: size,
            };
            for word in bytes.chunks_exact(size as usize) {
                place.to = number(word);
                if self.is_pointer(place.to) {
                    self.place(&place, whole, &mut heads, found);
                }
                place.at += size;
            }
            at = until.next_multiple_of(size).max(at + size);
        }
    }

    /// Whether a value may be the address of a block.
    #[inline]
    fn is_pointer(&self, value: u64) -> bool {
        let inside = value.wrapping_sub(self.low) < self.high - self.low;
        inside && value & (self.ground.word - 1) == 0
    }

    /// Looks at a pointer into the heaps. What can be told from the words behind it alone comes
    /// first, as nearly every pointer is none of a container's.
    fn place(
        &self,
        place: &Place<'_>,
        whole: Stretch,
        heads: &mut Window<'_, '_>,
        found: &mut Vec<Candidate>,
    ) {
        let ground = self.ground;
        let (word, at, to) = (ground.word, place.at, place.to);
        let room = whole.end - at;
        let before = at - whole.start;
        if room < 2 * word {
            return;
        }
        let (Some(second), third) = (place.behind(word), place.behind(2 * word)) else {
            return;
        };
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
        if room >= 3 * word
            && let Some(third) = third
            && (to..=third).contains(&second)
            && to < third
            && ground.holds(to, third - to).is_some()
        {
            add(ContainerKind::Vector, usual());
        } else if room >= 16 + 2 * word
            && let Some(kind) = self.string(place)
        {
            add(kind, usual());
        }
        // A count that the blocks there are could make true, and a head that leads on.
        let mut first = || match ground.bitness {
            Bitness::X86 => heads.u32(to).map(u64::from),
            Bitness::X64 => heads.u64(to),
        };
        if second < ground.blocks.len() as u64
            && first().is_some_and(|first| self.is_pointer(first))
            && let Some(head) = ground.blocks.at(to)
        {
            let size = ground.blocks.size(head);
            if self.is_tree(at, to, size) {
                add(ContainerKind::Map, usual());
            } else if self.is_ring(to, size) {
                let proxied = is_proxied();
                match self.hash(at, proxied, before, room) {
                    Some(front) => add(ContainerKind::UnorderedMap, front),
                    None => add(ContainerKind::List, usual()),
                }
            }
        }
        if room >= 5 * word
            && third.is_some_and(u64::is_power_of_two)
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

    fn string(&self, place: &Place<'_>) -> Option<ContainerKind> {
        let ground = self.ground;
        let text = place.to;
        let size = place.behind(16)?;
        let capacity = place.behind(16 + ground.word)?;
        if size > capacity || !(8..=u64::MAX / 4).contains(&capacity) {
            return None;
        }
        // The shorter ones lie in the object itself.
        if capacity >= 16
            && ground.holds(text, capacity + 1).is_some()
            && ground.memory.u8(text.checked_add(size)?) == Some(0)
        {
            return Some(ContainerKind::String);
        }
        let is_wide = ground.holds(text, (capacity + 1) * 2).is_some()
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
