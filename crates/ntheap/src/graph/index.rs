//! Which block an address lies in.
//!
//! Blocks are numbered by ascending address. A block takes eight bytes: its distance from the
//! beginning of its stretch of address space, and its size. A bitmap marks where blocks begin, with
//! the number of blocks before each word of it, so that an address is resolved with one look at
//! memory: three bytes a block where blocks lie as densely as in real heaps.
//!
//! ```
//! use ntheap::graph::Index;
//!
//! let index = Index::new(vec![(0x1000, 0x20), (0x1040, 0)], 16);
//! assert_eq!(index.find(0x1000), Some(0));
//! assert_eq!(index.find(0x101f), Some(0));
//! assert_eq!(index.find(0x1020), None);
//! assert_eq!(index.find(0x1040), Some(1)); // An empty block counts as one byte.
//! assert_eq!(index.block(1), (0x1040, 0));
//! ```

use std::hint::black_box;

use rustc_hash::FxHashMap;

/// Blocks that begin farther apart belong to different extents: an extent takes less than the
/// bitmap over such a distance.
const GAP: u64 = 4 << 10;
/// Longest extent: distances in it have 32 bits.
const LONGEST: u64 = 1 << 32;
/// Granules of a word of the bitmap.
const BITS: u64 = 64;

/// A word of the bitmap.
#[derive(Debug, Clone, Copy, Default)]
struct Line {
    /// Two halves, so that a line takes twelve bytes.
    bits: [u32; 2],
    /// Number of the first block that begins at or behind this word.
    rank: u32,
}

impl Line {
    #[inline]
    fn bits(self) -> u64 {
        u64::from(self.bits[0]) | u64::from(self.bits[1]) << 32
    }
}

/// A block.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// Distance from the beginning of its extent.
    offset: u32,
    size: u32,
}

/// A stretch of address space with blocks.
#[derive(Debug, Clone, Copy)]
struct Extent {
    /// Address of its first block, rounded down to a granule.
    base: u64,
    /// One past the last byte of its blocks.
    end: u64,
    /// Number of its first block.
    first: u32,
    /// Its first word of the bitmap, and their number.
    line: u32,
    lines: u32,
}

/// The blocks of a process by address.
#[derive(Debug, Default)]
pub struct Index {
    extents: Vec<Extent>,
    lines: Vec<Line>,
    entries: Vec<Entry>,
    /// Sizes that don't fit 32 bits.
    long: FxHashMap<u32, u64>,
    /// Number of the first extent that ends behind the beginning of each cell of address space.
    directory: Vec<u32>,
    cell_shift: u32,
    /// Log 2 of the bytes of a granule.
    granule_shift: u32,
    /// Whether every block begins with a granule.
    aligned: bool,
    low: u64,
    high: u64,
    /// Blocks that were left out, as they begin where another does.
    conflicts: u64,
}

/// Builds the extents of an index, block after block.
struct Builder {
    index: Index,
    granule: u64,
    /// Address of the block before.
    previous: u64,
}

impl Builder {
    fn push(&mut self, address: u64, size: u64) {
        let index = &mut self.index;
        let base = address & !(self.granule - 1);
        let number = index.entries.len() as u32;
        let end = address.saturating_add(size.max(1));
        let near = base.saturating_sub(self.previous) < GAP;
        self.previous = address;
        let fits = |extent: &Extent| near && address - extent.base < LONGEST;
        if !index.extents.last().is_some_and(fits) {
            if let Some(last) = index.extents.last_mut() {
                // Blocks of a damaged heap may overlap.
                last.end = last.end.min(base);
            }
            index.extents.push(Extent {
                base,
                end,
                first: number,
                line: index.lines.len() as u32,
                lines: 0,
            });
        }
        let Some(extent) = index.extents.last_mut() else {
            return;
        };
        extent.end = extent.end.max(end);
        let granule = (address - extent.base) >> index.granule_shift;
        let word = (granule / BITS) as u32;
        while extent.lines <= word {
            index.lines.push(Line {
                rank: number,
                ..Line::default()
            });
            extent.lines += 1;
        }
        let bit = granule % BITS;
        if let Some(line) = index.lines.last_mut() {
            line.bits[(bit / 32) as usize] |= 1 << (bit % 32);
        }
        index.entries.push(Entry {
            offset: (address - extent.base) as u32,
            size: u32::try_from(size).unwrap_or(u32::MAX),
        });
        if size >= u64::from(u32::MAX) {
            index.long.insert(number, size);
        }
        index.aligned &= base == address;
        index.high = index.high.max(end);
    }
}

impl Index {
    /// Makes an index of blocks as (address, size), in any order. A granule (a power of 2; the
    /// unit of the process's heaps) has one block at most: of several that begin in the same one
    /// the first stays, as none but the first lies where a heap puts it.
    #[must_use]
    pub fn new(mut blocks: Vec<(u64, u64)>, granule: u64) -> Self {
        use rayon::prelude::*;

        let granule = granule.next_power_of_two();
        // Walks bring most of them in order.
        if !blocks.is_sorted() {
            blocks.par_sort_unstable();
        }
        let total = blocks.len();
        blocks.dedup_by_key(|block| block.0 & !(granule - 1));
        blocks.truncate(u32::MAX as usize - 1);
        let mut builder = Builder {
            index: Index {
                granule_shift: granule.trailing_zeros(),
                aligned: true,
                low: blocks.first().map_or(0, |block| block.0),
                conflicts: (total - blocks.len()) as u64,
                entries: Vec::with_capacity(blocks.len()),
                ..Index::default()
            },
            granule,
            previous: 0,
        };
        for &(address, size) in &blocks {
            builder.push(address, size);
        }
        let mut index = builder.index;
        index.lines.shrink_to_fit();
        index.make_directory();
        index
    }

    /// Parts the span of all blocks into more cells than there are extents, so that few extents are to
    /// be told apart in each. Heaps lie far apart, and extents of one side by side: of few extents the
    /// cells are as many as stay in the cache.
    fn make_directory(&mut self) {
        let span = self.high - self.low;
        let cells = (self.extents.len() as u64 * 4).clamp(1 << 14, 1 << 22);
        self.cell_shift = (span / cells + 1).next_power_of_two().trailing_zeros();
        let mut extent = 0;
        for cell in 0..=span >> self.cell_shift {
            let start = self.low + (cell << self.cell_shift);
            while self.extents.get(extent).is_some_and(|e| e.end <= start) {
                extent += 1;
            }
            self.directory.push(extent as u32);
        }
        self.directory.push(self.extents.len() as u32);
    }

    /// Number of blocks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no block.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The lowest address of a block, and one past the highest.
    #[must_use]
    pub fn span(&self) -> (u64, u64) {
        (self.low, self.high)
    }

    /// Blocks that were left out because another begins in the same granule.
    #[must_use]
    pub fn conflicts(&self) -> u64 {
        self.conflicts
    }

    /// Bytes of address space from the first to the last block of each extent, together.
    #[must_use]
    pub fn covered(&self) -> u64 {
        let lengths = self.extents.iter().map(|extent| extent.end - extent.base);
        lengths.fold(0, u64::saturating_add)
    }

    /// Bytes of memory that the index takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.extents.len() * size_of::<Extent>()
            + self.lines.len() * size_of::<Line>()
            + self.entries.len() * size_of::<Entry>()
            + self.directory.len() * size_of::<u32>()
    }

    /// Address and size of a block.
    #[must_use]
    pub fn block(&self, number: u32) -> (u64, u64) {
        let extent = self.extents.partition_point(|e| e.first <= number);
        let base = extent
            .checked_sub(1)
            .map_or(0, |extent| self.extents[extent].base);
        (
            base + u64::from(self.entries[number as usize].offset),
            self.size(number),
        )
    }

    /// Size of a block.
    #[must_use]
    #[inline]
    pub fn size(&self, number: u32) -> u64 {
        match self.entries[number as usize].size {
            u32::MAX => self.long.get(&number).copied().unwrap_or(u32::MAX.into()),
            size => size.into(),
        }
    }

    /// All blocks as (address, size), by ascending address.
    pub fn blocks(&self) -> impl Iterator<Item = (u64, u64)> + '_ {
        self.blocks_from(0)
    }

    /// The blocks from this one on as (address, size), by ascending address.
    pub fn blocks_from(&self, number: u32) -> impl Iterator<Item = (u64, u64)> + '_ {
        let skipped = self.extents.partition_point(|e| e.first <= number);
        let extents = self.extents.iter().enumerate();
        extents
            .skip(skipped.saturating_sub(1))
            .flat_map(move |(position, extent)| {
                let next = self.extents.get(position + 1);
                let end = next.map_or(self.entries.len() as u32, |next| next.first);
                (extent.first.max(number)..end).map(move |number| {
                    let offset = u64::from(self.entries[number as usize].offset);
                    (extent.base + offset, self.size(number))
                })
            })
    }

    /// Number of the block that `address` lies in. An empty block counts as one byte.
    #[must_use]
    pub fn find(&self, address: u64) -> Option<u32> {
        self.resolve(address).map(|hit| hit.block)
    }

    /// Number of the first block that begins at or behind `address`.
    #[must_use]
    pub fn first_from(&self, address: u64) -> u32 {
        let extent = self.extents.partition_point(|e| e.base <= address);
        let Some(position) = extent.checked_sub(1) else {
            return 0;
        };
        let next = self.extents.get(position + 1);
        let end = next.map_or(self.entries.len(), |next| next.first as usize);
        let extent = self.extents[position];
        let mine = &self.entries[extent.first as usize..end];
        let before = mine.partition_point(|entry| extent.base + u64::from(entry.offset) < address);
        extent.first + before as u32
    }

    /// Number of the extent that `address` may lie in.
    #[inline]
    fn extent(&self, address: u64) -> Option<u32> {
        if address.wrapping_sub(self.low) >= self.high - self.low {
            return None;
        }
        let cell = ((address - self.low) >> self.cell_shift) as usize;
        let mut number = *self.directory.get(cell)? as usize;
        let last = *self.directory.get(cell + 1)? as usize;
        if last > number + 1 {
            let among = &self.extents[number..self.extents.len().min(last + 1)];
            number += among.partition_point(|extent| extent.end <= address);
        } else if self.extents.get(number)?.end <= address {
            number += 1;
        }
        (number < self.extents.len()).then_some(number as u32)
    }

    /// Number of the extents: stretches of address space with blocks.
    pub(super) fn extents(&self) -> usize {
        self.extents.len()
    }

    /// The first address of an extent, and one past its last.
    pub(super) fn bounds(&self, extent: u32) -> (u64, u64) {
        let extent = &self.extents[extent as usize];
        (extent.base, extent.end)
    }

    /// The word of the bitmap for a distance from the beginning of an extent.
    #[inline]
    fn word(&self, extent: &Extent, distance: u64) -> u32 {
        let word = (distance >> self.granule_shift) / BITS;
        word.min(u64::from(extent.lines.saturating_sub(1))) as u32
    }

    /// The same with the granule's bit in it: 64 or more behind the last word.
    #[inline]
    fn line(&self, extent: &Extent, distance: u64) -> (Line, u64) {
        let word = self.word(extent, distance);
        let line = self.lines[(extent.line + word) as usize];
        let granule = distance >> self.granule_shift;
        (line, granule - u64::from(word) * BITS)
    }

    /// How many blocks begin up to the granule of this bit, and whether one begins in it.
    #[inline]
    fn begun(line: Line, bit: u64) -> (u32, bool) {
        let bits = line.bits();
        // The bits up to and with the granule's own.
        let (mask, own) = match 1u64.checked_shl(bit as u32) {
            Some(own) if bit < BITS => (own | (own - 1), bits & own != 0),
            _ => (u64::MAX, false),
        };
        (line.rank + (bits & mask).count_ones(), own)
    }

    /// The block that `address` lies in, and where in it.
    #[inline]
    pub(crate) fn resolve(&self, address: u64) -> Option<Hit> {
        let number = self.extent(address)?;
        let extent = &self.extents[number as usize];
        let distance = address.checked_sub(extent.base)?;
        let (line, bit) = self.line(extent, distance);
        let (begun, own) = Self::begun(line, bit);
        let block = match own && self.begins(distance) {
            true => begun - 1,
            false => return self.inside(number, begun, distance),
        };
        Some(Hit {
            block,
            extent: number,
            offset: 0,
        })
    }

    /// Whether the block that begins in the granule of this place begins just there.
    #[inline]
    fn begins(&self, distance: u64) -> bool {
        self.aligned && distance & ((1 << self.granule_shift) - 1) == 0
    }

    /// Resolves many addresses together, one after the other into `found`. What the index says of
    /// them lies anywhere, and a look at it costs the whole latency of memory; looks that don't
    /// depend on each other go on at the same time, the more of them the less else lies between.
    pub(crate) fn resolve_all(
        &self,
        addresses: impl ExactSizeIterator<Item = u64>,
        found: &mut Resolved,
    ) {
        let Resolved { hits, inside } = found;
        hits.clear();
        // Until it is known, the word of the bitmap stands for the block, and the distance from the
        // beginning of the extent for the offset.
        hits.extend(addresses.map(|address| {
            let place = self.extent(address).and_then(|number| {
                let extent = &self.extents[number as usize];
                let offset = address.checked_sub(extent.base)?;
                Some(Hit {
                    block: extent.line + self.word(extent, offset),
                    extent: number,
                    offset,
                })
            });
            place.unwrap_or(Hit::NONE)
        }));
        // A word may lie in two lines of the cache.
        let touch = |hit: &Hit| {
            let line = self.lines.get(hit.block as usize);
            line.map_or(0, |line| line.bits[0] ^ line.rank)
        };
        black_box(hits.iter().map(touch).fold(0, |looks, look| looks ^ look));
        inside.clear();
        for (position, hit) in (0..).zip(&mut *hits) {
            if hit.extent == Hit::NONE.extent {
                continue;
            }
            let extent = &self.extents[hit.extent as usize];
            let word = u64::from(hit.block - extent.line);
            let bit = (hit.offset >> self.granule_shift) - word * BITS;
            let (begun, own) = Self::begun(self.lines[hit.block as usize], bit);
            if own && self.begins(hit.offset) {
                (hit.block, hit.offset) = (begun - 1, 0);
            } else {
                hit.block = begun;
                inside.push(position);
            }
        }
        let touch = |&position: &u32| {
            let begun = hits[position as usize].block;
            let entry = self.entries.get(begun.saturating_sub(1) as usize);
            entry.map_or(0, |entry| entry.size)
        };
        black_box(inside.iter().map(touch).fold(0, |looks, size| looks ^ size));
        inside.retain(|&position| {
            let hit = &mut hits[position as usize];
            let inside = self.inside(hit.extent, hit.block, hit.offset);
            *hit = inside.unwrap_or(Hit::NONE);
            inside.is_some_and(|hit| hit.offset > 0)
        });
    }

    /// The last of the first `begun` blocks, if the place lies in it.
    #[inline]
    fn inside(&self, number: u32, begun: u32, distance: u64) -> Option<Hit> {
        let extent = &self.extents[number as usize];
        let mut block = begun.checked_sub(1)?;
        let mut start = u64::from(self.entries.get(block as usize)?.offset);
        if start > distance && block > extent.first {
            // It begins in the same granule, but behind the address.
            block -= 1;
            start = u64::from(self.entries.get(block as usize)?.offset);
        }
        if block < extent.first {
            return None;
        }
        let offset = distance.checked_sub(start)?;
        (offset < self.size(block).max(1)).then_some(Hit {
            block,
            extent: number,
            offset,
        })
    }
}

/// A place in a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Hit {
    pub(crate) block: u32,
    /// The extent that the block lies in.
    pub(crate) extent: u32,
    pub(crate) offset: u64,
}

impl Hit {
    /// No place in a block.
    const NONE: Hit = Hit {
        block: 0,
        extent: u32::MAX,
        offset: 0,
    };
}

/// Addresses that were resolved together.
#[derive(Debug, Default)]
pub(crate) struct Resolved {
    hits: Vec<Hit>,
    /// Which of them lie in the middle of a block, by position.
    inside: Vec<u32>,
}

impl Resolved {
    /// The place of each address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Option<Hit>> + '_ {
        let found = |&hit: &Hit| (hit.extent != Hit::NONE.extent).then_some(hit);
        self.hits.iter().map(found)
    }

    /// Those in the middle of a block, each with the address's position.
    pub(crate) fn inside(&self) -> impl Iterator<Item = (usize, Hit)> + '_ {
        let position = |&position: &u32| position as usize;
        let positions = self.inside.iter().map(position);
        positions.map(|position| (position, self.hits[position]))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The block around an address, found by looking at each.
    fn search(blocks: &[(u64, u64)], address: u64) -> Option<(u32, u64)> {
        let behind = blocks.partition_point(|block| block.0 <= address);
        let block = behind.checked_sub(1)?;
        let offset = address - blocks[block].0;
        (offset < blocks[block].1.max(1)).then_some((block as u32, offset))
    }

    proptest! {
        #[test]
        fn finds_what_a_search_finds(
            steps in proptest::collection::vec((0u64..0x300, 0u64..0x200, 0u32..28), 1..80),
            probes in proptest::collection::vec((0usize..80, -0x40i64..0x240), 60),
            aligned: bool,
        ) {
            let (mut at, mut blocks) = (0x10_0000u64, Vec::new());
            for (gap, size, far) in steps {
                // Now and then a long way, which parts extents.
                at += gap + if far > 20 { 1 << (far + 10) } else { 0 };
                if aligned {
                    at = at.next_multiple_of(16);
                }
                blocks.push((at, size));
                at = (at + size).next_multiple_of(16) + 16;
            }
            let index = Index::new(blocks.clone(), 16);
            prop_assert_eq!(index.conflicts(), 0);
            prop_assert_eq!(index.blocks().collect::<Vec<_>>(), blocks.clone());
            let place = |hit: Option<Hit>| hit.map(|hit| (hit.block, hit.offset));
            let probes = probes.into_iter().map(|(block, delta)| {
                blocks[block % blocks.len()].0.wrapping_add_signed(delta)
            });
            let mut found = Resolved::default();
            index.resolve_all(probes.clone(), &mut found);
            let inside = found.iter().enumerate();
            let inside = inside.filter_map(|(at, hit)| Some((at, hit.filter(|hit| hit.offset > 0)?)));
            prop_assert!(found.inside().eq(inside));
            for (address, hit) in probes.zip(found.iter()) {
                prop_assert_eq!(place(hit), search(&blocks, address));
                prop_assert_eq!(index.resolve(address), hit);
                let behind = blocks.partition_point(|block| block.0 < address);
                prop_assert_eq!(index.first_from(address) as usize, behind);
            }
            for (number, block) in blocks.iter().enumerate() {
                prop_assert_eq!(index.block(number as u32), *block);
            }
        }

        #[test]
        fn any_blocks_do(blocks: Vec<(u64, u64)>, address: u64) {
            let blocks: Vec<_> = blocks.into_iter().map(|(a, s)| (a >> 1, s)).collect();
            let index = Index::new(blocks.clone(), 16);
            for (start, _) in blocks {
                prop_assert!(index.find(start).is_some() || index.conflicts() > 0);
            }
            let _ = index.find(address);
        }
    }

    #[test]
    fn blocks_in_one_granule_are_counted() {
        let index = Index::new(vec![(0x1000, 8), (0x1008, 8), (0x1010, 8)], 16);
        assert_eq!((index.len(), index.conflicts()), (2, 1));
        assert!(Index::new(Vec::new(), 16).find(0).is_none());
    }

    #[test]
    fn a_block_that_is_longer_than_4_gib() {
        let long = (0x1_0000u64, 6 << 30);
        let next = (0x1_0000 + (7 << 30), 32);
        let index = Index::new(vec![next, long], 16);
        assert_eq!(index.find(0x1_0000 + (6 << 30) - 1), Some(0));
        assert_eq!(index.find(0x1_0000 + (6 << 30)), None);
        assert_eq!(index.find(next.0), Some(1));
        assert_eq!(index.block(0), long);
    }
}
