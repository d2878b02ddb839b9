//! A cursor that remembers the range it read last.

use super::{AddressSpace, Range, Run};
use crate::layout::Bitness;

/// Reads numbers near each other without looking up the range for each of them.
///
/// The walkers step through a segment with one window: a read inside the remembered range costs a
/// bounds check, and only a read that leaves it searches the address space.
#[derive(Debug, Clone)]
pub struct Window<'s, 'a> {
    space: &'s AddressSpace<'a>,
    range: Range<'a>,
    /// The position of the range among all.
    index: usize,
    /// Up to where [`Window::approach`] has touched memory.
    touched: u64,
}

/// How far ahead of the walk memory is touched, in bytes.
const AHEAD: u64 = 32 << 10;
/// Size of a cache line.
const LINE: usize = 64;

impl<'s, 'a> Window<'s, 'a> {
    pub(super) fn new(space: &'s AddressSpace<'a>) -> Self {
        Window {
            space,
            range: Range {
                start: 0,
                bytes: &[],
            },
            index: 0,
            touched: 0,
        }
    }

    /// Brings the next stretch of memory into the cache, for walks that go upwards through it.
    ///
    /// Where the next header lies is known only when this one has been read, so that each header
    /// costs the whole latency of memory. Touching the lines ahead, which depend on nothing, lets
    /// the processor fetch many at once (benchmark `walk`).
    #[inline]
    pub fn approach(&mut self, address: u64) {
        if address >= self.touched {
            self.touch(address);
        }
    }

    #[cold]
    fn touch(&mut self, address: u64) {
        let ahead = self.run(address, AHEAD).bytes;
        // Not farther than the range goes: behind it another one can begin.
        self.touched = address.saturating_add(ahead.len().max(1) as u64);
        let sum = ahead.iter().step_by(LINE).fold(0u8, |sum, byte| sum ^ byte);
        std::hint::black_box(sum);
    }

    /// The range that holds `address`: often the next one.
    fn search(&mut self, address: u64) -> Option<Range<'a>> {
        let ranges = self.space.ranges();
        if let Some(next) = ranges.get(self.index + 1)
            && address.wrapping_sub(next.start) < next.bytes.len() as u64
        {
            self.index += 1;
            return Some(*next);
        }
        let (index, range) = self.space.position_of(address)?;
        self.index = index;
        Some(range)
    }

    /// The bytes from `address` on, up to the end of the range that holds it; no more than `size`.
    pub(crate) fn run(&mut self, address: u64, size: u64) -> Run<'a> {
        if address.wrapping_sub(self.range.start) >= self.range.bytes.len() as u64
            && let Some(range) = self.search(address)
        {
            self.range = range;
        }
        let offset = usize::try_from(address.wrapping_sub(self.range.start)).ok();
        let bytes = offset.and_then(|offset| self.range.bytes.get(offset..));
        let bytes = bytes.unwrap_or_default();
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        Run {
            start: address,
            bytes: &bytes[..bytes.len().min(size)],
        }
    }

    /// The bytes at `address`.
    #[inline]
    pub(crate) fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let offset = address.wrapping_sub(self.range.start);
        if let Some(bytes) = self.range.bytes.get(offset as usize..)
            && let Some(bytes) = bytes.first_chunk::<N>()
            && offset <= usize::MAX as u64
        {
            return Some(*bytes);
        }
        self.cold(address)
    }

    #[cold]
    fn cold<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        self.range = self.search(address)?;
        let bytes = self
            .range
            .bytes
            .get((address - self.range.start) as usize..)?;
        if let Some(bytes) = bytes.first_chunk() {
            return Some(*bytes);
        }
        // Across the border of two ranges.
        let mut buffer = [0; N];
        (self.space.read(address, &mut buffer) == N).then_some(buffer)
    }

    /// The byte at `address`.
    #[inline]
    pub fn u8(&mut self, address: u64) -> Option<u8> {
        self.array::<1>(address).map(|[byte]| byte)
    }

    /// The 16-bit number at `address`.
    #[inline]
    pub fn u16(&mut self, address: u64) -> Option<u16> {
        self.array(address).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `address`.
    #[inline]
    pub fn u32(&mut self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `address`.
    #[inline]
    pub fn u64(&mut self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }

    /// The pointer at `address`, as wide as `bitness` says.
    #[inline]
    pub fn pointer(&mut self, address: u64, bitness: Bitness) -> Option<u64> {
        match bitness {
            Bitness::X86 => self.u32(address).map(u64::from),
            Bitness::X64 => self.u64(address),
        }
    }
}
