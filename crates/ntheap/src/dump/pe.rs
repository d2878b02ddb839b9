//! The headers of an executable image as the process's memory has them. Offsets are those of the PE
//! format, which the published specification fixes.

use crate::{address_space::AddressSpace, layout::Bitness};

const E_LFANEW: u64 = 0x3c;
pub(super) const SECTION_COUNT: u64 = 0x6;
pub(super) const OPTIONAL_SIZE: u64 = 0x14;
pub(super) const OPTIONAL_HEADER: u64 = 0x18;
const ENTRY_POINT: u64 = 0x10;
const MAGIC_PE32: u16 = 0x10b;
const MAGIC_PE32_PLUS: u16 = 0x20b;
pub(super) const DIRECTORIES_PE32: u64 = 0x60;
pub(super) const DIRECTORIES_PE32_PLUS: u64 = 0x70;
const DIRECTORY_SIZE: u64 = 8;
pub(super) const SECTION_SIZE: u64 = 0x28;
pub(super) const SECTION_VIRTUAL_SIZE: u64 = 0x8;
pub(super) const SECTION_RVA: u64 = 0xc;
pub(super) const SECTION_FLAGS: u64 = 0x24;
const EXECUTABLE: u32 = 0x2000_0000;
/// The format allows no more.
pub(super) const MAX_SECTIONS: u16 = 96;

/// A table that an image's headers lead to, by its number.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Directory {
    /// Exported names.
    Exports = 0,
    /// Functions with their unwind data.
    Exceptions = 3,
}

/// The headers of an image that begins in memory with the signatures of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ImageHeaders<'m, 'a> {
    memory: &'m AddressSpace<'a>,
    base: u64,
    /// Offset of the signature from the base.
    pub(super) signature: u64,
    /// Width of the image.
    pub(crate) bitness: Bitness,
}

impl<'m, 'a> ImageHeaders<'m, 'a> {
    /// The headers at `base`; `None` where the dump has none there.
    pub(crate) fn at(memory: &'m AddressSpace<'a>, base: u64) -> Option<Self> {
        if memory.u16(base)? != u16::from_le_bytes(*b"MZ") {
            return None;
        }
        let at = |offset: u64| base.checked_add(offset);
        let signature = u64::from(memory.u32(at(E_LFANEW)?)?);
        if memory.u32(at(signature)?)? != u32::from_le_bytes(*b"PE\0\0") {
            return None;
        }
        let bitness = match memory.u16(at(signature + OPTIONAL_HEADER)?)? {
            MAGIC_PE32 => Bitness::X86,
            MAGIC_PE32_PLUS => Bitness::X64,
            _ => return None,
        };
        Some(ImageHeaders {
            memory,
            base,
            signature,
            bitness,
        })
    }

    pub(super) fn u32(&self, offset: u64) -> Option<u32> {
        self.memory.u32(self.base.checked_add(offset)?)
    }

    pub(super) fn u16(&self, offset: u64) -> Option<u16> {
        self.memory.u16(self.base.checked_add(offset)?)
    }

    /// Offset from the base and size in bytes of a table; `None` where the image has none.
    pub(crate) fn directory(&self, directory: Directory) -> Option<(u32, u32)> {
        let first = match self.bitness {
            Bitness::X86 => DIRECTORIES_PE32,
            Bitness::X64 => DIRECTORIES_PE32_PLUS,
        };
        let at = self.signature + OPTIONAL_HEADER + first + directory as u64 * DIRECTORY_SIZE;
        let (table, size) = (self.u32(at)?, self.u32(at + 4)?);
        (table != 0).then_some((table, size))
    }

    /// Address of the function that the image begins with.
    pub(crate) fn entry_point(&self) -> Option<u64> {
        let offset = self.u32(self.signature + OPTIONAL_HEADER + ENTRY_POINT)?;
        self.base.checked_add(offset.into())
    }

    /// Addresses of the sections with code, begin and end; `None` where their list is not whole.
    pub(crate) fn code(&self) -> Option<Vec<(u64, u64)>> {
        let count = self.u16(self.signature + SECTION_COUNT)?;
        let size = self.u16(self.signature + OPTIONAL_SIZE)?;
        let first = self.signature + OPTIONAL_HEADER + u64::from(size);
        let mut code = Vec::new();
        for index in 0..u64::from(count.min(MAX_SECTIONS)) {
            let section = first + index * SECTION_SIZE;
            if self.u32(section + SECTION_FLAGS)? & EXECUTABLE != 0 {
                let rva = self.u32(section + SECTION_RVA)?;
                let size = self.u32(section + SECTION_VIRTUAL_SIZE)?;
                let start = self.base.checked_add(rva.into())?;
                code.push((start, start.saturating_add(size.into())));
            }
        }
        Some(code)
    }
}
