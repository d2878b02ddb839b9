//! Reading numbers where they lie: through a [`Window`], or out of one run of bytes.

use super::Window;

/// Reads little-endian numbers by address.
pub(crate) trait Numbers {
    /// The bytes at `address`.
    fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]>;

    /// The byte at `address`.
    #[inline]
    fn u8(&mut self, address: u64) -> Option<u8> {
        self.array::<1>(address).map(|[byte]| byte)
    }

    /// The 16-bit number at `address`.
    #[inline]
    fn u16(&mut self, address: u64) -> Option<u16> {
        self.array(address).map(u16::from_le_bytes)
    }

    /// The 32-bit number at `address`.
    #[inline]
    fn u32(&mut self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    /// The 64-bit number at `address`.
    #[inline]
    fn u64(&mut self, address: u64) -> Option<u64> {
        self.array(address).map(u64::from_le_bytes)
    }
}

impl Numbers for Window<'_, '_> {
    #[inline]
    fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        Window::array(self, address)
    }
}

/// Bytes of the dump that lie behind each other in the process. Reads beyond them read nothing: who
/// meets their end goes on with a [`Window`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// Address of the first.
    pub(crate) start: u64,
    pub(crate) bytes: &'a [u8],
}

impl Numbers for Run<'_> {
    #[inline(always)]
    fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let offset = usize::try_from(address.wrapping_sub(self.start)).ok()?;
        self.bytes.get(offset..)?.first_chunk::<N>().copied()
    }
}
