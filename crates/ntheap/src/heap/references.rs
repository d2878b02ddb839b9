//! Who points to a block: every pointer-sized, aligned word of the process whose value lies in it.

use rayon::prelude::*;

use super::Heap;
use crate::{
    address_space::Range,
    blocks::{Block, CONTINUE, Flow, Visitor},
    layout::Bitness,
    process::Process,
    stats::visit_parts,
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

/// Pointers that are found at most: a value that looks like an address everywhere is no answer.
pub const MAX_REFERENCES: usize = 100_000;

/// All pointers into `start..end`, by ascending address.///
/// ```no_run
/// # fn example(process: &ntheap::process::Process<'_, '_>, block: &ntheap::blocks::Block) {
/// use ntheap::heap::references::references;
///
/// let (start, end) = block.extent();
/// for reference in references(process, start, end) {
///     println!("{:x} points to {:x}", reference.at, reference.value);
/// }
/// # }
/// ```
#[must_use]
pub fn references(process: &Process<'_, '_>, start: u64, end: u64) -> Vec<Reference> {
    let bitness = process.bitness;
    let mut found: Vec<Reference> = process
        .memory()
        .ranges()
        .par_iter()
        .flat_map_iter(|range| pointers(range, bitness, start, end))
        .collect();
    found.sort_unstable_by_key(|reference| reference.at);
    found.truncate(MAX_REFERENCES);
    if found.is_empty() {
        return found;
    }
    let places: Vec<u64> = found.iter().map(|reference| reference.at).collect();
    let heaps = Heap::all(process);
    fn join<'h>(mut mine: Holders<'h>, theirs: Holders<'h>) -> Holders<'h> {
        mine.held.extend(theirs.held);
        mine
    }
    let holders = visit_parts(
        &heaps,
        |_| Holders {
            places: &places,
            held: Vec::new(),
        },
        join,
    );
    for (index, block) in holders.into_iter().flat_map(|holders| holders.held) {
        // An LFH container is met before its slots: the innermost block stays.
        let holder = &mut found[index].holder;
        if holder.is_none_or(|known| known.block_size >= block.block_size) {
            *holder = Some(block);
        }
    }
    found
}

fn pointers<'r>(
    range: &Range<'r>,
    bitness: Bitness,
    start: u64,
    end: u64,
) -> impl Iterator<Item = Reference> + use<'r> {
    let size = bitness.pointer_size() as usize;
    let base = range.start;
    let skip = (base.next_multiple_of(size as u64) - base) as usize;
    let bytes = range.bytes.get(skip..).unwrap_or(&[]);
    bytes
        .chunks_exact(size)
        .enumerate()
        .filter_map(move |(index, word)| {
            let value = match *word {
                [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
                _ => u64::from_le_bytes(word.try_into().ok()?),
            };
            let at = base + skip as u64 + (index * size) as u64;
            (start..end).contains(&value).then_some(Reference {
                at,
                value,
                holder: None,
            })
        })
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
        for index in first..self.places.len() {
            if self.places[index] >= end {
                break;
            }
            self.held.push((index, *block));
        }
        CONTINUE
    }
}
