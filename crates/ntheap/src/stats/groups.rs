//! Counting blocks by a key.

use std::hash::Hash;

use rustc_hash::FxHashMap;

/// The sum of sizes, any of which a corrupt heap may have made up.
#[must_use]
pub fn total(sizes: impl IntoIterator<Item = u64>) -> u64 {
    sizes.into_iter().fold(0, u64::saturating_add)
}

/// A number of blocks and their bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Count {
    /// Blocks.
    pub blocks: u64,
    /// Bytes.
    pub bytes: u64,
}

impl Count {
    /// Counts one block.
    #[inline]
    pub fn add(&mut self, bytes: u64) {
        self.blocks += 1;
        self.bytes = self.bytes.wrapping_add(bytes);
    }

    /// Adds another count.
    #[inline]
    pub fn merge(&mut self, other: Count) {
        self.blocks += other.blocks;
        self.bytes = self.bytes.wrapping_add(other.bytes);
    }
}

/// What to sort by, descending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// Total bytes (`-grp S`).
    #[default]
    Total,
    /// Size of one block (`-grp A`).
    Size,
    /// Number of blocks (`-grp B`).
    Blocks,
}

/// Counts by a key.
#[derive(Debug, Clone)]
pub struct Groups<K> {
    counts: FxHashMap<K, Count>,
}

impl<K> Default for Groups<K> {
    fn default() -> Self {
        Groups {
            counts: FxHashMap::default(),
        }
    }
}

impl<K: Hash + Eq> Groups<K> {
    /// Counts one block of `bytes` requested bytes.
    pub fn add(&mut self, key: K, bytes: u64) {
        self.counts.entry(key).or_default().add(bytes);
    }

    /// Adds a count.
    pub fn add_count(&mut self, key: K, count: Count) {
        self.counts.entry(key).or_default().merge(count);
    }

    /// Adds all of another map.
    pub fn merge(&mut self, other: Self) {
        for (key, count) in other.counts {
            self.add_count(key, count);
        }
    }

    /// The count of a key.
    #[must_use]
    pub fn get(&self, key: &K) -> Count {
        self.counts.get(key).copied().unwrap_or_default()
    }

    /// All keys and counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (&K, Count)> {
        self.counts.iter().map(|(key, &count)| (key, count))
    }

    /// All keys and counts, in no order.
    pub fn into_counts(self) -> impl Iterator<Item = (K, Count)> {
        self.counts.into_iter()
    }
}

/// Sizes below this are counted in an array.
const SMALL: usize = 0x1000;

/// Counts of blocks by requested size.
#[derive(Debug, Clone, Default)]
pub struct SizeCounts {
    /// Number of blocks by size. Most blocks of most heaps are small, and an array counts them
    /// without hashing; empty until the first one comes.
    small: Vec<u64>,
    large: FxHashMap<u64, u64>,
}

impl SizeCounts {
    /// Counts one block.
    #[inline(always)]
    pub fn add(&mut self, size: u64) {
        // One comparison tells the first block and the large ones from all others.
        match self.small.get_mut(size as usize) {
            Some(blocks) if size < SMALL as u64 => *blocks += 1,
            _ => self.add_many(size, 1),
        }
    }

    /// Counts some blocks of one size.
    #[inline(never)]
    pub fn add_many(&mut self, size: u64, blocks: u64) {
        if size < SMALL as u64 {
            if self.small.is_empty() {
                self.small = vec![0; SMALL];
            }
            self.small[size as usize] += blocks;
        } else {
            *self.large.entry(size).or_default() += blocks;
        }
    }

    /// Adds all of another.
    pub fn merge(&mut self, other: Self) {
        if self.small.is_empty() {
            self.small = other.small;
        } else {
            self.small
                .iter_mut()
                .zip(other.small)
                .for_each(|(mine, theirs)| *mine += theirs);
        }
        for (size, blocks) in other.large {
            *self.large.entry(size).or_default() += blocks;
        }
    }

    /// All sizes with their counts, in no order.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Count)> {
        let small = self
            .small
            .iter()
            .enumerate()
            .map(|(size, &blocks)| (size as u64, blocks));
        let large = self.large.iter().map(|(&size, &blocks)| (size, blocks));
        small
            .chain(large)
            .filter(|&(_, blocks)| blocks > 0)
            .map(|(size, blocks)| {
                (
                    size,
                    Count {
                        blocks,
                        bytes: size.wrapping_mul(blocks),
                    },
                )
            })
    }

    /// All sizes with their counts, largest first; equal ones by size, larger first, as the
    /// debugger does.
    #[must_use]
    pub fn rows(&self, order: Order) -> Vec<(u64, Count)> {
        let mut rows: Vec<(u64, Count)> = self.iter().collect();
        rows.sort_unstable_by_key(|&(size, count)| {
            let key = match order {
                Order::Total => count.bytes,
                Order::Size => size,
                Order::Blocks => count.blocks,
            };
            std::cmp::Reverse((key, size))
        });
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_ordered_as_the_debugger_orders_them() {
        let mut sizes = SizeCounts::default();
        for size in [0x400, 0x400, 0x800, 0x5000, 0, 0] {
            sizes.add(size);
        }
        let mut other = SizeCounts::default();
        other.add(0x5000);
        sizes.merge(other);
        let keys = |order| {
            sizes
                .rows(order)
                .iter()
                .map(|row| row.0)
                .collect::<Vec<_>>()
        };
        assert_eq!(keys(Order::Total), [0x5000, 0x800, 0x400, 0]);
        assert_eq!(keys(Order::Blocks), [0x5000, 0x400, 0, 0x800]);
        assert_eq!(
            sizes.rows(Order::Size)[0],
            (
                0x5000,
                Count {
                    blocks: 2,
                    bytes: 0xa000
                }
            )
        );
    }
}
