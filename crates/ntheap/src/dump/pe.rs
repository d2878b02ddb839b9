//! The headers of an executable image as the process's memory has them. Offsets are those of the PE
//! format, which the published specification fixes.

use crate::{address_space::AddressSpace, layout::Bitness};

/// Offset of the signature's place, from the image's base.
const E_LFANEW: u64 = 0x3c;

/// Offsets in the file header, from the signature in front of it.
pub(super) mod file_header {
    pub(in crate::dump) const MACHINE: u64 = 0x4;
    pub(in crate::dump) const NUMBER_OF_SECTIONS: u64 = 0x6;
    pub(in crate::dump) const TIME_DATE_STAMP: u64 = 0x8;
    pub(in crate::dump) const SIZE_OF_OPTIONAL_HEADER: u64 = 0x14;
    pub(in crate::dump) const CHARACTERISTICS: u64 = 0x16;
    pub(in crate::dump) const SIZE: u64 = 0x18;
}

/// Offsets in the optional header, up to where the two widths part.
pub(super) mod optional_header {
    pub(in crate::dump) const MAGIC: u64 = 0x0;
    pub(in crate::dump) const LINKER_VERSION: u64 = 0x2;
    pub(in crate::dump) const SIZE_OF_CODE: u64 = 0x4;
    pub(in crate::dump) const SIZE_OF_INITIALIZED_DATA: u64 = 0x8;
    pub(in crate::dump) const SIZE_OF_UNINITIALIZED_DATA: u64 = 0xc;
    pub(in crate::dump) const ADDRESS_OF_ENTRY_POINT: u64 = 0x10;
    pub(in crate::dump) const BASE_OF_CODE: u64 = 0x14;
    pub(in crate::dump) const SECTION_ALIGNMENT: u64 = 0x20;
    pub(in crate::dump) const FILE_ALIGNMENT: u64 = 0x24;
    pub(in crate::dump) const OPERATING_SYSTEM_VERSION: u64 = 0x28;
    pub(in crate::dump) const IMAGE_VERSION: u64 = 0x2c;
    pub(in crate::dump) const SUBSYSTEM_VERSION: u64 = 0x30;
    pub(in crate::dump) const SIZE_OF_IMAGE: u64 = 0x38;
    pub(in crate::dump) const SIZE_OF_HEADERS: u64 = 0x3c;
    pub(in crate::dump) const CHECKSUM: u64 = 0x40;
    pub(in crate::dump) const SUBSYSTEM: u64 = 0x44;
    pub(in crate::dump) const DLL_CHARACTERISTICS: u64 = 0x46;
    /// The first of four sizes of a pointer's width: of stack and heap, reserved and committed.
    pub(in crate::dump) const SIZE_OF_STACK_RESERVE: u64 = 0x48;
}

/// Where the optional header of a width has the fields that the widths do not share.
#[derive(Debug)]
pub(super) struct WidthFields {
    pub(super) image_base: u64,
    pub(super) number_of_directories: u64,
    directories: u64,
}

const PE32: WidthFields = WidthFields {
    image_base: 0x1c,
    number_of_directories: 0x5c,
    directories: 0x60,
};
const PE32_PLUS: WidthFields = WidthFields {
    image_base: 0x18,
    number_of_directories: 0x6c,
    directories: 0x70,
};

/// Offsets in the header of a section.
mod section_header {
    pub(super) const NAME: u64 = 0x0;
    pub(super) const VIRTUAL_SIZE: u64 = 0x8;
    pub(super) const VIRTUAL_ADDRESS: u64 = 0xc;
    pub(super) const SIZE_OF_RAW_DATA: u64 = 0x10;
    pub(super) const POINTER_TO_RAW_DATA: u64 = 0x14;
    pub(super) const CHARACTERISTICS: u64 = 0x24;
    pub(super) const SIZE: u64 = 0x28;
}

const MAGIC_PE32: u16 = 0x10b;
const MAGIC_PE32_PLUS: u16 = 0x20b;
const DIRECTORY_SIZE: u64 = 8;
/// `IMAGE_SCN_MEM_EXECUTE`.
const EXECUTABLE: u32 = 0x2000_0000;
/// The format allows no more.
const MAX_SECTIONS: u16 = 96;
/// The format has no more tables.
const MAX_DIRECTORIES: u32 = 16;

/// A section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Section {
    /// Its name.
    pub name: String,
    /// Size in memory, in bytes.
    pub virtual_size: u32,
    /// Offset from the image's base.
    pub offset: u32,
    /// Size in the file, in bytes.
    pub raw_size: u32,
    /// Place in the file.
    pub raw_place: u32,
    /// `Characteristics`.
    pub flags: u32,
}

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
    signature: u64,
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
        let bitness =
            match memory.u16(at(signature + file_header::SIZE + optional_header::MAGIC)?)? {
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

    fn u32(&self, offset: u64) -> Option<u32> {
        self.memory.u32(self.base.checked_add(offset)?)
    }

    fn u16(&self, offset: u64) -> Option<u16> {
        self.memory.u16(self.base.checked_add(offset)?)
    }

    /// A field of the file header.
    pub(super) fn file_u16(&self, field: u64) -> Option<u16> {
        self.u16(self.signature + field)
    }

    /// A field of the file header.
    pub(super) fn file_u32(&self, field: u64) -> Option<u32> {
        self.u32(self.signature + field)
    }

    /// A field of the optional header.
    pub(super) fn optional_u16(&self, field: u64) -> Option<u16> {
        self.u16(self.signature + file_header::SIZE + field)
    }

    /// A field of the optional header.
    pub(super) fn optional_u32(&self, field: u64) -> Option<u32> {
        self.u32(self.signature + file_header::SIZE + field)
    }

    /// A field of the optional header that has the image's width.
    pub(super) fn optional_pointer(&self, field: u64) -> Option<u64> {
        let at = self.signature + file_header::SIZE + field;
        self.memory
            .pointer(self.base.checked_add(at)?, self.bitness)
    }

    /// Where the optional header has the fields that the widths do not share.
    pub(super) const fn width_fields(&self) -> &'static WidthFields {
        match self.bitness {
            Bitness::X86 => &PE32,
            Bitness::X64 => &PE32_PLUS,
        }
    }

    /// Offset from the base and size in bytes of a table, by its number.
    fn directory_at(&self, index: u64) -> Option<(u32, u32)> {
        let at = self.width_fields().directories + index * DIRECTORY_SIZE;
        Some((self.optional_u32(at)?, self.optional_u32(at + 4)?))
    }

    /// Offset from the base and size in bytes of a table; `None` where the image has none.
    pub(crate) fn directory(&self, directory: Directory) -> Option<(u32, u32)> {
        self.directory_at(directory as u64)
            .filter(|&(table, _)| table != 0)
    }

    /// All tables, in the order of their numbers, as far as they are in the dump.
    pub(super) fn directories(&self) -> Option<impl Iterator<Item = (u32, u32)>> {
        let count = self.optional_u32(self.width_fields().number_of_directories)?;
        let numbers = 0..u64::from(count.min(MAX_DIRECTORIES));
        Some(numbers.map_while(|index| self.directory_at(index)))
    }

    /// Address of the function that the image begins with.
    pub(crate) fn entry_point(&self) -> Option<u64> {
        let offset = self.optional_u32(optional_header::ADDRESS_OF_ENTRY_POINT)?;
        self.base.checked_add(offset.into())
    }

    /// The sections; `None` in place of one whose header is not in the dump.
    pub(super) fn sections(&self) -> Option<impl Iterator<Item = Option<Section>>> {
        let count = self.file_u16(file_header::NUMBER_OF_SECTIONS)?;
        let size = self.file_u16(file_header::SIZE_OF_OPTIONAL_HEADER)?;
        let first = self.signature + file_header::SIZE + u64::from(size);
        let headers = (0..u64::from(count.min(MAX_SECTIONS)))
            .map(move |index| first + index * section_header::SIZE);
        Some(headers.map(|header| self.section(header)))
    }

    fn section(&self, header: u64) -> Option<Section> {
        let mut name = [0; 8];
        let at = self.base.checked_add(header + section_header::NAME)?;
        let read = self.memory.read(at, &mut name);
        let end = name[..read].iter().position(|&byte| byte == 0);
        Some(Section {
            name: String::from_utf8_lossy(&name[..end.unwrap_or(read)]).into_owned(),
            virtual_size: self.u32(header + section_header::VIRTUAL_SIZE)?,
            offset: self.u32(header + section_header::VIRTUAL_ADDRESS)?,
            raw_size: self.u32(header + section_header::SIZE_OF_RAW_DATA)?,
            raw_place: self.u32(header + section_header::POINTER_TO_RAW_DATA)?,
            flags: self.u32(header + section_header::CHARACTERISTICS)?,
        })
    }

    /// Addresses of the sections with code, begin and end; `None` where their list is not whole.
    pub(crate) fn code(&self) -> Option<Vec<(u64, u64)>> {
        let mut code = Vec::new();
        for section in self.sections()? {
            let section = section?;
            if section.flags & EXECUTABLE != 0 {
                let start = self.base.checked_add(section.offset.into())?;
                code.push((start, start.saturating_add(section.virtual_size.into())));
            }
        }
        Some(code)
    }
}
