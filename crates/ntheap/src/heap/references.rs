//! Who points to a block: every pointer-sized, aligned word of the process whose value lies in it.

use rayon::prelude::*;

use super::Heaps;
use crate::{
    address_space::{Range, words},
    blocks::{Block, CONTINUE, Flow, Visitor},
};

/// A pointer to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reference {
    /// Where the pointer is.
    pub at: u64,
    /// Its value.
    pub value: u64,
    /// The block that holds the pointer, if a heap does.
    pub holder: Option<Block>,
}

/// The pointers to some memory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct References {
    /// The first [`MAX_REFERENCES`] of them, by ascending address.
    pub found: Vec<Reference>,
    /// How many there are.
    pub count: u64,
}

/// Pointers that are kept: a value that looks like an address everywhere is no answer.
pub const MAX_REFERENCES: usize = 100_000;
/// Bytes of memory that are looked through in one go.
const PORTION: usize = 16 << 20;

/// The pointers into `start..end`.
///
/// ```no_run
/// # fn example(heaps: &ntheap::heap::Heaps<'_, '_>, block: &ntheap::blocks::Block) {
/// use ntheap::heap::references::references;
///
/// let (start, end) = block.extent();
/// for reference in references(heaps, start, end).found {
///     println!("{:x} points to {:x}", reference.at, reference.value);
/// }
/// # }
/// ```
#[must_use]
pub fn references(heaps: &Heaps<'_, '_>, start: u64, end: u64) -> References {
    let process = heaps.process();
    let mut references = process
        .memory()
        .ranges()
        .par_iter()
        .flat_map_iter(portions)
        .map(|portion| {
            let mut references = References::default();
            for (at, value) in words(&portion, process.bitness) {
                if (start..end).contains(&value) {
                    references.add(at, value);
                }
            }
            references
        })
        .reduce(References::default, References::joined);
    references.find_holders(heaps);
    references
}

/// A range in pieces, so that one large range is not one thread's work; each begins at a multiple
/// of a pointer's size from the range's start.
pub(crate) fn portions<'r>(range: &Range<'r>) -> impl Iterator<Item = Range<'r>> + use<'r> {
    // What precedes the first aligned word is no part of any.
    let skip = (range.start.wrapping_neg() % size_of::<u64>() as u64) as usize;
    let start = range.start;
    let (head, rest) = range.bytes.split_at(skip.min(range.bytes.len()));
    let head = Range { start, bytes: head };
    let behind = start + head.bytes.len() as u64;
    let portions = rest.chunks(PORTION).enumerate();
    std::iter::once(head).chain(portions.map(move |(index, bytes)| Range {
        start: behind + (index * PORTION) as u64,
        bytes,
    }))
}

impl References {
    fn add(&mut self, at: u64, value: u64) {
        self.count += 1;
        if self.found.len() < MAX_REFERENCES {
            self.found.push(Reference {
                at,
                value,
                holder: None,
            });
        }
    }

    /// Both together; those of `other` have higher addresses.
    fn joined(mut self, other: Self) -> Self {
        let room = MAX_REFERENCES - self.found.len();
        self.found.extend(other.found.into_iter().take(room));
        self.count += other.count;
        self
    }

    /// Finds the blocks that hold the pointers, by one walk: an index of all blocks would take more
    /// memory than the answer is worth.
    fn find_holders(&mut self, heaps: &Heaps<'_, '_>) {
        if self.found.is_empty() {
            return;
        }
        let places: Vec<u64> = self.found.iter().map(|reference| reference.at).collect();
        let new = |_: &super::Heap<'_, '_>| Holders {
            places: &places,
            held: Vec::new(),
        };
        fn join<'h>(mut mine: Holders<'h>, theirs: Holders<'h>) -> Holders<'h> {
            mine.held.extend(theirs.held);
            mine
        }
        let holders = heaps.walk_parallel(new, join).into_iter();
        for (index, block) in holders.flat_map(|holders| holders.held) {
            // An LFH container is met before its slots: the innermost block stays.
            let holder = &mut self.found[index].holder;
            if holder.is_none_or(|known| known.block_size >= block.block_size) {
                *holder = Some(block);
            }
        }
    }
}

/// Finds the blocks that hold given places.
struct Holders<'h> {
    /// Ascending.
    places: &'h [u64],
    /// Index of a place, and the block around it.
    held: Vec<(usize, Block)>,
}

impl Visitor for Holders<'_> {
    fn block(&mut self, block: &Block) -> Flow {
        let (start, end) = block.extent();
        let first = self.places.partition_point(|&place| place < start);
        let inside = self.places[first..]
            .iter()
            .take_while(|&&place| place < end);
        let held = inside.enumerate().map(|(index, _)| (first + index, *block));
        self.held.extend(held);
        CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_pointers_than_can_be_kept_are_counted() {
        let mut all = References::default();
        for part in 0..3 {
            let mut some = References::default();
            for index in 0..MAX_REFERENCES as u64 {
                some.add((part << 32) | (index * 8), 0x1000);
            }
            all = all.joined(some);
        }
        assert_eq!(all.count, 3 * MAX_REFERENCES as u64);
        assert_eq!(all.found.len(), MAX_REFERENCES);
        assert!(all.found.iter().all(|reference| reference.at < 1 << 32));
    }

    #[test]
    fn portions_are_the_range() {
        let bytes = vec![7; PORTION * 2 + 13];
        let range = Range {
            start: 0x1003,
            bytes: &bytes,
        };
        let mut next = range.start;
        for portion in portions(&range) {
            assert_eq!(portion.start, next);
            next = portion.end();
        }
        assert_eq!(next, range.end());
    }
}
