//! Reading the fields of one structure.

use super::AddressSpace;
use crate::layout::Bitness;

/// A structure in the process's memory. Its fields are named by offsets of a layout table; a field
/// that the build does not have, or that is not in the dump, reads as `None`.
#[derive(Debug, Clone, Copy)]
pub struct Structure<'s, 'a> {
    space: &'s AddressSpace<'a>,
    /// Address of the structure.
    pub base: u64,
    bitness: Bitness,
}

impl<'a> AddressSpace<'a> {
    /// The structure at `base` in a process of this width.
    #[must_use]
    pub fn at(&self, base: u64, bitness: Bitness) -> Structure<'_, 'a> {
        Structure {
            space: self,
            base,
            bitness,
        }
    }
}

impl Structure<'_, '_> {
    /// Address of a field.
    #[must_use]
    pub fn address(&self, field: Option<u32>) -> Option<u64> {
        self.base.checked_add(u64::from(field?))
    }

    /// An 8-bit field.
    #[must_use]
    pub fn u8(&self, field: Option<u32>) -> Option<u8> {
        self.space.u8(self.address(field)?)
    }

    /// A 16-bit field.
    #[must_use]
    pub fn u16(&self, field: Option<u32>) -> Option<u16> {
        self.space.u16(self.address(field)?)
    }

    /// A 32-bit field.
    #[must_use]
    pub fn u32(&self, field: Option<u32>) -> Option<u32> {
        self.space.u32(self.address(field)?)
    }

    /// A 64-bit field.
    #[must_use]
    pub fn u64(&self, field: Option<u32>) -> Option<u64> {
        self.space.u64(self.address(field)?)
    }

    /// A pointer-sized field.
    #[must_use]
    pub fn pointer(&self, field: Option<u32>) -> Option<u64> {
        self.space.pointer(self.address(field)?, self.bitness)
    }
}
