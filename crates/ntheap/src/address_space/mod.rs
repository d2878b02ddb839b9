//! The memory of the process: sorted, non-overlapping ranges borrowed from the dump's bytes.
//!
//! ```
//! use ntheap::address_space::AddressSpace;
//!
//! let bytes = [1u8, 0, 0, 0, 2, 0, 0, 0];
//! // Two ranges that adjoin both in the process and in the file are read as one.
//! let space = AddressSpace::new(&bytes, [(0x1000, 0, 4), (0x1004, 4, 4)]);
//! assert_eq!(space.u64(0x1000), Some(0x2_0000_0001));
//! assert_eq!(space.slice(0x1002, 4), Some(&bytes[2..6]));
//! assert_eq!(space.u32(0x1006), None);
//! ```

mod fields;
mod lists;
mod pointers;
mod run;
mod window;

pub use fields::Structure;
pub use lists::ListEnd;
pub use pointers::{scan_pointers, words};
pub(crate) use run::{Numbers, Run};
pub use window::Window;

use std::{
    sync::{Arc, atomic::AtomicU64},
    time::Instant,
};

use crate::layout::Bitness;

/// One past the last address that a program can have: the upper half is the kernel's. So the end of
/// a structure that begins in the dump always has an address.
pub(crate) const END: u64 = 1 << 63;

/// A range of the process's memory.
#[derive(Debug, Clone, Copy)]
pub struct Range<'a> {
    /// Address of its first byte.
    pub start: u64,
    /// Its bytes, as the dump has them.
    pub bytes: &'a [u8],
}

impl Range<'_> {
    /// One past the address of the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

/// Two ranges of the dump that claimed the same addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Overlap {
    /// First address that both claimed.
    pub start: u64,
    /// Number of bytes.
    pub size: u64,
    /// Whether the two copies differ, or are so many that they were not compared. The range that
    /// begins first is the one that is read.
    pub differs: bool,
}

/// The memory of the process.
#[derive(Debug, Default)]
pub struct AddressSpace<'a> {
    ranges: Vec<Range<'a>>,
    overlaps: Vec<Overlap>,
    /// When walks over this memory end, done or not.
    pub(crate) deadline: Option<Instant>,
    /// Where walks add up the bytes that they have done.
    pub(crate) walked: Option<Arc<AtomicU64>>,
}

impl<'a> AddressSpace<'a> {
    /// Makes an address space of `(address, offset in file, size)` ranges of `file`.
    ///
    /// Parts past the end of `file` or of a program's half of the address space are left out. Where ranges overlap, the
    /// one that begins first (or, at the same address, comes first) wins.
    pub fn new(file: &'a [u8], ranges: impl IntoIterator<Item = (u64, u64, u64)>) -> Self {
        let length = file.len() as u64;
        let mut list: Vec<(u64, u64, u64)> = ranges
            .into_iter()
            .filter_map(|(address, offset, size)| {
                let size = size
                    .min(length.checked_sub(offset)?)
                    .min(END.saturating_sub(address));
                (size > 0).then_some((address, offset, size))
            })
            .collect();
        list.sort_by_key(|&(address, ..)| address);

        let part = |offset: u64, size: u64| &file[offset as usize..(offset + size) as usize];
        let mut merged: Vec<(u64, u64, u64)> = Vec::with_capacity(list.len());
        let mut overlaps = Vec::new();
        // Without a limit, many ranges over the same bytes of a small file would take forever.
        let mut budget = length.saturating_mul(2);
        for (mut address, mut offset, mut size) in list {
            if let Some(&last) = merged.last() {
                let end = last.0 + last.2;
                if address < end {
                    let shared = size.min(end - address);
                    budget = budget.saturating_sub(shared);
                    // The ones before `last` end where it begins, if what is shared reaches them.
                    let mut before = merged.iter().rev().take_while(|r| r.0 + r.2 > address);
                    let differs = budget == 0
                        || before.any(|&(start, at, size)| {
                            let from = start.max(address);
                            let count = (start + size).min(address + shared).saturating_sub(from);
                            // What lies behind the shared part has nothing in common.
                            count > 0
                                && part(at + (from - start), count)
                                    != part(offset + (from - address), count)
                        });
                    overlaps.push(Overlap {
                        start: address,
                        size: shared,
                        differs,
                    });
                    (address, offset, size) = (address + shared, offset + shared, size - shared);
                    if size == 0 {
                        continue;
                    }
                }
                // Adjoining in memory and in the file: one slice, so that a heap segment that was
                // dumped as several ranges (a change of protection splits them) is walked as one.
                if address == last.0 + last.2
                    && offset == last.1 + last.2
                    && let Some(last) = merged.last_mut()
                {
                    last.2 += size;
                    continue;
                }
            }
            merged.push((address, offset, size));
        }
        let ranges = merged
            .into_iter()
            .map(|(start, offset, size)| Range {
                start,
                bytes: part(offset, size),
            })
            .collect();
        AddressSpace {
            ranges,
            overlaps,
            deadline: None,
            walked: None,
        }
    }

    /// All ranges, by ascending address.
    #[must_use]
    pub fn ranges(&self) -> &[Range<'a>] {
        &self.ranges
    }

    /// The ranges of the dump that claimed the same addresses.
    #[must_use]
    pub fn overlaps(&self) -> &[Overlap] {
        &self.overlaps
    }

    /// Total number of bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.ranges
            .iter()
            .map(|range| range.bytes.len() as u64)
            .sum()
    }

    /// The range that holds `address`.
    #[must_use]
    pub fn range_of(&self, address: u64) -> Option<Range<'a>> {
        self.position_of(address).map(|(_, range)| range)
    }

    /// The range that holds `address`, and its position.
    fn position_of(&self, address: u64) -> Option<(usize, Range<'a>)> {
        // Most of what is taken for an address and is none is a small number.
        if address < self.ranges.first()?.start {
            return None;
        }
        let behind = self.ranges.partition_point(|range| range.start <= address);
        let index = behind.checked_sub(1)?;
        let range = *self.ranges.get(index)?;
        (address < range.end()).then_some((index, range))
    }

    /// Address of the first readable byte at or above `address`.
    #[must_use]
    pub fn next_readable(&self, address: u64) -> Option<u64> {
        if self.range_of(address).is_some() {
            return Some(address);
        }
        let index = self.ranges.partition_point(|range| range.start <= address);
        self.ranges.get(index).map(|range| range.start)
    }

    /// How many of the `size` bytes at `start` the dump holds: of a full dump, the committed ones.
    #[must_use]
    pub fn held(&self, start: u64, size: u64) -> u64 {
        let end = start.saturating_add(size);
        let (mut at, mut held) = (start, 0);
        while at < end {
            let bytes = self.readable(at, end - at);
            held += bytes;
            match self.next_readable(at.saturating_add(bytes.max(1))) {
                Some(next) if next > at => at = next,
                _ => break,
            }
        }
        held
    }

    /// How many of the `size` bytes at `start` the dump does not hold.
    #[must_use]
    pub fn missing(&self, start: u64, size: u64) -> u64 {
        size - self.held(start, size).min(size)
    }

    /// `size` bytes at `address` as a slice of the dump, if they lie in one range.
    #[must_use]
    pub fn slice(&self, address: u64, size: u64) -> Option<&'a [u8]> {
        let range = self.range_of(address)?;
        let from = address - range.start;
        let to = from.checked_add(size)?;
        range
            .bytes
            .get(usize::try_from(from).ok()?..usize::try_from(to).ok()?)
    }

    /// Copies the bytes at `address`, across the borders of adjoining ranges. Returns how many
    /// bytes could be read before the first hole.
    pub fn read(&self, address: u64, buffer: &mut [u8]) -> usize {
        let mut done = 0;
        while done < buffer.len() {
            let Some(at) = address.checked_add(done as u64) else {
                break;
            };
            let Some(range) = self.range_of(at) else {
                break;
            };
            let bytes = &range.bytes[(at - range.start) as usize..];
            let count = bytes.len().min(buffer.len() - done);
            buffer[done..done + count].copy_from_slice(&bytes[..count]);
            done += count;
        }
        done
    }

    /// Number of bytes, at most `size`, that can be read at `address` before the first hole.
    #[must_use]
    pub fn readable(&self, address: u64, size: u64) -> u64 {
        let mut done = 0;
        while done < size {
            let Some(range) = address.checked_add(done).and_then(|at| self.range_of(at)) else {
                break;
            };
            done = range.end() - address;
        }
        done.min(size)
    }

    fn array<const N: usize>(&self, address: u64) -> Option<[u8; N]> {
        if let Some(slice) = self.slice(address, N as u64) {
            return slice.try_into().ok();
        }
        let mut buffer = [0; N];
        (self.read(address, &mut buffer) == N).then_some(buffer)
    }

    /// The byte at `address`.
    #[must_use]
    pub fn u8(&self, address: u64) -> Option<u8> {
        self.array::<1>(address).map(|[byte]| byte)
    }

    /// The 16-bit number at `address`.
    #[must_use]
    pub fn u16(&self, address: u64) -> Option<u16> {
        self.array(address).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `address`.
    #[must_use]
    pub fn u32(&self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `address`.
    #[must_use]
    pub fn u64(&self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// The pointer-sized number at `address`.
    #[must_use]
    pub fn pointer(&self, address: u64, bitness: Bitness) -> Option<u64> {
        match bitness {
            Bitness::X86 => self.u32(address).map(u64::from),
            Bitness::X64 => self.u64(address),
        }
    }

    /// The string of bytes at `address`, up to its null; `None` for an empty one, one that is longer
    /// than a path, or one that does not end in the dump.
    #[must_use]
    pub fn string(&self, address: u64) -> Option<String> {
        const LONGEST: usize = 1024;
        let mut buffer = [0; LONGEST];
        let count = self.read(address, &mut buffer);
        let end = buffer[..count].iter().position(|&byte| byte == 0)?;
        (end > 0).then(|| String::from_utf8_lossy(&buffer[..end]).into_owned())
    }

    /// A cursor for many reads near each other.
    #[must_use]
    pub fn window(&self) -> Window<'_, 'a> {
        Window::new(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_sorted_and_read_across_borders() {
        let file: Vec<u8> = (0..32).collect();
        let space = AddressSpace::new(&file, [(0x1008, 0, 8), (0x1000, 16, 8)]);
        assert_eq!(space.ranges().len(), 2);
        assert_eq!(space.slice(0x1004, 8), None);
        assert_eq!(
            space.u64(0x1004),
            Some(u64::from_le_bytes([20, 21, 22, 23, 0, 1, 2, 3]))
        );
        assert_eq!(space.readable(0x1001, 100), 15);
        assert_eq!(space.next_readable(0x10), Some(0x1000));
        assert_eq!(space.next_readable(0x1010), None);
    }

    /// Found by fuzzing: the third range begins in front of what was kept of the second.
    #[test]
    fn three_ranges_over_the_same_addresses() {
        let file: Vec<u8> = (0..64).collect();
        let space = AddressSpace::new(&file, [(0x1000, 0, 16), (0x1005, 32, 20), (0x1006, 6, 24)]);
        assert_eq!(space.size(), 0x1e);
        let differ: Vec<_> = space.overlaps().iter().map(|o| (o.start, o.size)).collect();
        assert_eq!(differ, [(0x1005, 11), (0x1006, 19)]);
        assert!(space.overlaps().iter().all(|overlap| overlap.differs));
        assert_eq!(space.u8(0x1010), Some(43), "of the second");
        assert_eq!(space.u8(0x1019), Some(25), "of the third");
        // A short one, in front of what was kept of the second.
        let short = [(0x1000, 0, 16), (0x1005, 32, 20), (0x1006, 63, 1)];
        let space = AddressSpace::new(&file, short);
        assert_eq!(space.overlaps()[1].size, 1);
    }

    #[test]
    fn overlaps_are_cut_and_reported() {
        let file: Vec<u8> = (0..32).collect();
        let space = AddressSpace::new(&file, [(0x1000, 0, 8), (0x1004, 4, 8), (0x1006, 20, 2)]);
        assert_eq!(space.size(), 12);
        assert_eq!(
            space.ranges().len(),
            1,
            "the second continues the first in the file"
        );
        assert_eq!(
            space.overlaps(),
            [
                Overlap {
                    start: 0x1004,
                    size: 4,
                    differs: false
                },
                Overlap {
                    start: 0x1006,
                    size: 2,
                    differs: true
                },
            ]
        );
        assert_eq!(space.u8(0x1006), Some(6));
    }

    #[test]
    fn wild_ranges_are_clipped() {
        let file = [0u8; 16];
        let space = AddressSpace::new(
            &file,
            [
                (END - 3, 0, 16),
                (u64::MAX - 3, 0, 16),
                (0x10, 8, u64::MAX),
                (0x40, 99, 1),
            ],
        );
        assert_eq!(space.size(), 3 + 8);
        assert_eq!(space.u32(END - 3), None);
        assert_eq!(space.u16(END - 3), Some(0));
    }
}
