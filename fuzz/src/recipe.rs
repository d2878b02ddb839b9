//! Changes to a small dump.

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

/// One of the seeds with the changes of the recipe, and what is left of it.
#[must_use]
pub fn changed<'s, 'i>(seeds: &'s [Seed], input: &'i [u8]) -> (&'s Seed, Vec<u8>, Recipe<'i>) {
    let mut recipe = Recipe(input);
    let seed = &seeds[usize::from(recipe.byte()) % seeds.len()];
    let changes = usize::from(recipe.byte()) % MOST;
    let mut bytes = seed.bytes.clone();
    for _ in 0..changes {
        if recipe.0.len() < LENGTH {
            break;
        }
        change(seed, &mut bytes, &mut recipe);
    }
    (seed, bytes, recipe)
}

fn change(seed: &Seed, bytes: &mut [u8], recipe: &mut Recipe<'_>) {
    let (kind, place) = (recipe.byte(), recipe.place());
    let (a, b) = (recipe.byte(), recipe.byte());
    let size = bytes.len();
    let in_memory = seed.memory + place % (size - seed.memory - 16);
    let aligned = in_memory & !7;
    match kind % 10 {
        0..=2 => entry(seed, bytes, place, a, b),
        3 => bytes[in_memory] ^= a.max(1),
        4 => {
            // A pointer to somewhere else, from near or from the heap's header.
            let from = (aligned + usize::from(b) * 8 + usize::from(a) * 0x800) % (size - 8) & !7;
            bytes.copy_within(from..from + 8, aligned);
        }
        5 => {
            let value = BORDERS[usize::from(a) % BORDERS.len()].to_le_bytes();
            let width = [1, 2, 4, 8][usize::from(b % 4)];
            bytes[aligned..aligned + width].copy_from_slice(&value[..width]);
        }
        6 => {
            // The encodings that are a XOR with a key keep their meaning this way.
            bytes[aligned + usize::from(b % 8)] ^= 1 << (a % 8);
        }
        7 => page(seed, bytes, place, a, b),
        8 => {
            let start = in_memory & !(PAGE - 1);
            let end = (start + PAGE).min(size);
            bytes[start..end].fill([0, 0xff, 0xcc, 0xee][usize::from(a % 4)]);
        }
        _ => bytes[place % seed.memory] ^= a.max(1),
    }
}

/// Changes a field of a heap entry and mends its checksum, whatever the key is: size, flags and checksum
/// are encoded with a XOR.
fn entry(seed: &Seed, bytes: &mut [u8], place: usize, a: u8, b: u8) {
    let Some(&at) = seed.entries.get(place % seed.entries.len().max(1)) else {
        return;
    };
    let field = usize::from(b % 8);
    bytes[at + field] ^= a;
    if field < 3 {
        bytes[at + 3] ^= a;
    }
}

/// Takes a page from the list of memory, moves it, or gives it another one's bytes.
fn page(seed: &Seed, bytes: &mut [u8], place: usize, a: u8, b: u8) {
    let at = seed.pages[place % seed.pages.len()];
    let other = seed.pages[(place + usize::from(b)) % seed.pages.len()];
    match a % 4 {
        0 => bytes[at + 8..at + 12].fill(0),
        1 => bytes[at + 1] ^= b | 0x10,
        2 => bytes.copy_within(other + 12..other + 16, at + 12),
        _ => bytes[at + 8..at + 12].copy_from_slice(&(u32::from(b) * 16).to_le_bytes()),
    }
}
