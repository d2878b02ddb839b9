//! Changes to a small dump.

use std::{
    ops::Range,
    time::{Duration, Instant},
};

use ntheap::{dump::Dump, process::Process};

use crate::Seed;

/// The bytes that the fuzzer made up, read as numbers.
#[derive(Debug)]
pub struct Recipe<'i>(pub &'i [u8]);

/// Numbers that are at a border of something.
const BORDERS: [u64; 24] = [
    0,
    1,
    2,
    7,
    8,
    0xf,
    0x10,
    0x7f,
    0x80,
    0xff,
    0x100,
    0xfff,
    0x1000,
    0x7fff,
    0xffff,
    0x1_0000,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x7fff_ffff_f000,
    1 << 63,
    u64::MAX,
    u64::MAX - 7,
    u64::MAX - 0xfff,
];

/// Bytes that a change takes.
const LENGTH: usize = 6;
/// A dump with more changes is found broken sooner, not later.
const MOST: usize = 24;
const PAGE: usize = 0x1000;

impl Recipe<'_> {
    /// The next byte, 0 behind the end.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// The next number of two bytes.
    pub fn short(&mut self) -> usize {
        usize::from(self.byte()) | usize::from(self.byte()) << 8
    }

    /// The next number of three bytes.
    pub fn place(&mut self) -> usize {
        self.short() | usize::from(self.byte()) << 16
    }

    /// One of the numbers at borders, near it, or any.
    pub fn number(&mut self) -> u64 {
        let (kind, which) = (self.byte(), usize::from(self.byte()));
        let border = BORDERS[which % BORDERS.len()];
        match kind % 4 {
            0 | 1 => border,
            2 => border.wrapping_add(u64::from(kind >> 2)),
            _ => (which as u64) << (kind >> 2),
        }
    }

    /// Whether there is anything left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The seed of a number: the fewer pages one has, the more numbers.
fn chosen(seeds: &[Seed], number: u8) -> &Seed {
    let share = |seed: &Seed| 1.0 / (seed.pages.len() * seed.pages.len()) as f64;
    let numbers = usize::from(u8::MAX) + 1 - seeds.len();
    let one = numbers as f64 / seeds.iter().map(share).sum::<f64>();
    let mut left = usize::from(number);
    let found = seeds.iter().find(|seed| {
        let numbers = 1 + (share(seed) * one) as usize;
        let is_found = left < numbers;
        left = left.saturating_sub(numbers);
        is_found
    });
    found.unwrap_or(&seeds[left % seeds.len()])
}

/// Calls `look` with one of the seeds, the process that its bytes are of with the changes of the recipe, if they are
/// of one, and what is left of the recipe.
///
/// # Panics
/// If `look` panicked before.
pub fn with_changed(
    seeds: &[Seed],
    input: &[u8],
    look: impl FnOnce(&Seed, &Process<'_, '_>, Recipe<'_>),
) {
    with_changed_for(None, seeds, input, look);
}

/// The same, for so long at most: for what may take long by intention.
///
/// # Panics
/// If `look` panicked before.
pub fn with_changed_for(
    longest: Option<Duration>,
    seeds: &[Seed],
    input: &[u8],
    look: impl FnOnce(&Seed, &Process<'_, '_>, Recipe<'_>),
) {
    let mut recipe = Recipe(input);
    let seed = chosen(seeds, recipe.byte());
    let count = usize::from(recipe.byte()) % MOST;
    let mut bytes = seed.changed.lock().expect("nothing panicked");
    let mut changes = Changes {
        bytes: &mut bytes,
        places: Vec::new(),
    };
    for _ in 0..count {
        if recipe.0.len() < LENGTH {
            break;
        }
        change(seed, &mut changes, &mut recipe);
    }
    let places = changes.places;
    if let Ok(mut dump) = Dump::parse(&bytes) {
        if let Some(longest) = longest {
            dump.stop_at(Instant::now() + longest);
        }
        if let Ok(process) = Process::of(&dump) {
            look(seed, &process, recipe);
        }
    }
    for place in places {
        bytes[place.clone()].copy_from_slice(&seed.bytes[place]);
    }
}

/// The bytes of a dump while they are changed: what was touched is noted, to be mended.
struct Changes<'b> {
    bytes: &'b mut [u8],
    places: Vec<Range<usize>>,
}

impl Changes<'_> {
    /// Some bytes, to be changed.
    fn at(&mut self, place: Range<usize>) -> &mut [u8] {
        self.places.push(place.clone());
        &mut self.bytes[place]
    }

    fn xor(&mut self, at: usize, value: u8) {
        self.at(at..at + 1)[0] ^= value;
    }

    fn put(&mut self, at: usize, value: &[u8]) {
        self.at(at..at + value.len()).copy_from_slice(value);
    }

    fn copy(&mut self, from: Range<usize>, to: usize) {
        self.places.push(to..to + from.len());
        self.bytes.copy_within(from, to);
    }
}

fn change(seed: &Seed, changes: &mut Changes<'_>, recipe: &mut Recipe<'_>) {
    let (kind, place) = (recipe.byte(), recipe.place());
    let (a, b) = (recipe.byte(), recipe.byte());
    let size = changes.bytes.len();
    let in_memory = seed.memory + place % (size - seed.memory - 16);
    let aligned = in_memory & !7;
    match kind % 10 {
        0..=2 => entry(seed, changes, place, a, b),
        3 => changes.xor(in_memory, a.max(1)),
        4 => {
            // A pointer to somewhere else, from near or from the heap's header.
            let from = (aligned + usize::from(b) * 8 + usize::from(a) * 0x800) % (size - 8);
            let from = from & !7;
            changes.copy(from..from + 8, aligned);
        }
        5 => {
            let value = BORDERS[usize::from(a) % BORDERS.len()].to_le_bytes();
            let width = [1, 2, 4, 8][usize::from(b % 4)];
            changes.put(aligned, &value[..width]);
        }
        // The encodings that are a XOR with a key keep their meaning this way.
        6 => changes.xor(aligned + usize::from(b % 8), 1 << (a % 8)),
        7 => page(seed, changes, place, a, b),
        8 => {
            let start = in_memory & !(PAGE - 1);
            let end = (start + PAGE).min(size);
            changes
                .at(start..end)
                .fill([0, 0xff, 0xcc, 0xee][usize::from(a % 4)]);
        }
        _ => changes.xor(place % seed.memory, a.max(1)),
    }
}

/// Changes a field of a heap entry and mends its checksum, whatever the key is: size, flags and checksum
/// are encoded with a XOR.
fn entry(seed: &Seed, changes: &mut Changes<'_>, place: usize, a: u8, b: u8) {
    let Some(&at) = seed.entries.get(place % seed.entries.len().max(1)) else {
        return;
    };
    let field = usize::from(b % 8);
    changes.xor(at + field, a);
    if field < 3 {
        changes.xor(at + 3, a);
    }
}

/// Takes a page from the list of memory, moves it, or gives it another one's bytes.
fn page(seed: &Seed, changes: &mut Changes<'_>, place: usize, a: u8, b: u8) {
    let at = seed.pages[place % seed.pages.len()];
    let other = seed.pages[(place + usize::from(b)) % seed.pages.len()];
    match a % 4 {
        0 => changes.at(at + 8..at + 12).fill(0),
        1 => changes.xor(at + 1, b | 0x10),
        2 => changes.copy(other + 12..other + 16, at + 12),
        _ => changes.put(at + 8, &(u32::from(b) * 16).to_le_bytes()),
    }
}
