//! Following references from many blocks, in the order in which they lie in memory and on all cores.

use std::sync::atomic::{AtomicU64, Ordering};

use rayon::prelude::*;

/// Words of a set that one thread goes through at a time.
const CHUNK: usize = 1 << 9;
/// Sweeps over all blocks before what is left is followed one by one. A sweep gets far where blocks
/// lead to others all over the place; of a list that runs downwards each follows but one.
const SWEEPS: usize = 6;

/// A set of blocks, to which all threads add: a bit for each, so that what is asked of every reference
/// stays in the cache.
#[derive(Debug)]
pub(super) struct Marks(Vec<AtomicU64>);

impl Marks {
    /// An empty set for so many blocks.
    pub(super) fn new(blocks: usize) -> Self {
        let words = 0..blocks.div_ceil(64);
        Marks(words.map(|_| AtomicU64::new(0)).collect())
    }

    #[inline]
    pub(super) fn has(&self, block: u32) -> bool {
        self.0[block as usize / 64].load(Ordering::Relaxed) >> (block % 64) & 1 != 0
    }

    /// Adds a block; whether it was not there before. Whoever takes the block out sees what was
    /// written before it was added.
    #[inline]
    pub(super) fn add(&self, block: u32) -> bool {
        let bit = 1 << (block % 64);
        self.0[block as usize / 64].fetch_or(bit, Ordering::Release) & bit == 0
    }

    pub(super) fn add_all(&mut self, other: &Marks) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine.get_mut() |= theirs.load(Ordering::Relaxed);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(|word| word.load(Ordering::Relaxed) == 0)
    }

    pub(super) fn len(&self) -> usize {
        let ones = |word: &AtomicU64| word.load(Ordering::Relaxed).count_ones() as usize;
        self.0.iter().map(ones).sum()
    }

    /// Its words: the lowest bit of the first is that of block 0.
    pub(super) fn words(&self) -> Vec<u64> {
        let words = self.0.iter();
        words.map(|word| word.load(Ordering::Relaxed)).collect()
    }

    /// Its blocks, ascending.
    pub(super) fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        let words = (0..).step_by(64).zip(&self.0);
        words.flat_map(|(first, word)| ones(first, word.load(Ordering::Relaxed)))
    }

    /// Calls `each` with its blocks, on all threads.
    pub(super) fn for_each(&self, each: impl Fn(u32) + Sync) {
        self.0
            .par_chunks(CHUNK)
            .enumerate()
            .for_each(|(chunk, words)| {
                for (first, word) in (chunk * CHUNK * 64..).step_by(64).zip(words) {
                    ones(first as u32, word.load(Ordering::Relaxed)).for_each(&each);
                }
            });
    }

    /// Takes the blocks out and calls `follow` with each, and with those that it finds, until there
    /// are none. `follow` adds what it finds to its second argument, each block once.
    pub(super) fn follow(&self, follow: impl Fn(u32, &mut dyn FnMut(u32)) + Sync) {
        let sweep = |(chunk, words): (usize, &[AtomicU64])| {
            let mut any = false;
            for (first, word) in (chunk * CHUNK * 64..).step_by(64).zip(words) {
                if word.load(Ordering::Relaxed) == 0 {
                    continue;
                }
                any = true;
                for block in ones(first as u32, word.swap(0, Ordering::Acquire)) {
                    follow(block, &mut |found| {
                        self.add(found);
                    });
                }
            }
            any
        };
        for _ in 0..SWEEPS {
            let chunks = self.0.par_chunks(CHUNK).enumerate();
            if !chunks.map(sweep).reduce(|| false, |any, more| any | more) {
                return;
            }
        }
        let mut pending: Vec<u32> = self.iter().collect();
        for word in &self.0 {
            word.store(0, Ordering::Relaxed);
        }
        while let Some(block) = pending.pop() {
            follow(block, &mut |found| pending.push(found));
        }
    }
}

/// The blocks of a word, of which the first has this number.
#[inline]
fn ones(first: u32, mut word: u64) -> impl Iterator<Item = u32> {
    std::iter::from_fn(move || {
        let bit = (word != 0).then(|| word.trailing_zeros())?;
        word &= word - 1;
        Some(first + bit)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_follows_is_found_once() {
        const BLOCKS: u32 = 300_000;
        for step in [1, 7, BLOCKS - 1] {
            let (waiting, found) = (Marks::new(BLOCKS as usize), Marks::new(BLOCKS as usize));
            found.add(5);
            waiting.add(5);
            waiting.follow(|block, more| {
                let next = (block + step) % BLOCKS;
                if found.add(next) {
                    more(next);
                }
            });
            assert!(waiting.is_empty());
            assert_eq!(found.len(), BLOCKS as usize);
            assert!(found.iter().eq(0..BLOCKS));
        }
    }
}
