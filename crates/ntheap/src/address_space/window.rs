//! A cursor that remembers the range it read last.

use super::{AddressSpace, Range};

/// Reads numbers near each other without looking up the range for each of them.
///
/// The walkers step through a segment with one window: a read inside the remembered range costs a
/// bounds check, and only a read that leaves it searches the address space.
#[derive(Debug, Clone)]
pub struct Window<'s, 'a> {
    space: &'s AddressSpace<'a>,
    range: Range<'a>,
}

impl<'s, 'a> Window<'s, 'a> {
    pub(super) fn new(space: &'s AddressSpace<'a>) -> Self {
        Window {
            space,
            range: Range {
                start: 0,
                bytes: &[],
            },
        }
    }

    #[inline]
    fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
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
        self.range = self.space.range_of(address)?;
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
}
