//! What the headers of an image say, for who wants to see them.

use super::pe::{
    DIRECTORIES_PE32, DIRECTORIES_PE32_PLUS, ImageHeaders, MAX_SECTIONS, OPTIONAL_HEADER,
    OPTIONAL_SIZE, SECTION_COUNT, SECTION_FLAGS, SECTION_RVA, SECTION_SIZE, SECTION_VIRTUAL_SIZE,
};
use crate::{address_space::AddressSpace, layout::Bitness};

/// The format has no more tables.
const MAX_DIRECTORIES: u32 = 16;

/// The headers of an image, as the process's memory has them.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ImageInfo {
    /// Width of the image.
    pub bitness: Bitness,
    /// `Machine`: 14c for x86, 8664 for x64.
    pub machine: u16,
    /// `Characteristics`.
    pub characteristics: u16,
    /// `TimeDateStamp`.
    pub timestamp: u32,
    /// Size of the optional header in bytes.
    pub optional_size: u16,
    /// Version of the linker.
    pub linker: (u8, u8),
    /// Sizes in bytes of code, initialized and uninitialized data.
    pub code_and_data: [u32; 3],
    /// Offset of the first function from the base.
    pub entry_point: u32,
    /// Offset of the code from the base.
    pub base_of_code: u32,
    /// Address at which the headers want the image, or that at which it was loaded.
    pub image_base: u64,
    /// Alignment of sections in memory and in the file.
    pub alignment: (u32, u32),
    /// Versions of the system, of the image and of the subsystem.
    pub versions: [(u16, u16); 3],
    /// `SizeOfImage`.
    pub size: u32,
    /// `SizeOfHeaders`.
    pub headers_size: u32,
    /// `CheckSum`.
    pub checksum: u32,
    /// `Subsystem`.
    pub subsystem: u16,
    /// `DllCharacteristics`.
    pub dll_characteristics: u16,
    /// Reserved and committed sizes of stack and heap, in bytes.
    pub stack_and_heap: [u64; 4],
    /// Offset from the base and size in bytes of each table, in the order of their numbers.
    pub directories: Vec<(u32, u32)>,
    /// The sections.
    pub sections: Vec<Section>,
}

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

pub(super) fn read(memory: &AddressSpace<'_>, base: u64) -> Option<ImageInfo> {
    let headers = ImageHeaders::at(memory, base)?;
    let file = |offset: u64| headers.signature + offset;
    let optional = |offset: u64| headers.signature + OPTIONAL_HEADER + offset;
    let wide = headers.bitness == Bitness::X64;
    // Four fields of a pointer's width lie in front of what stands behind the fields of stack and heap.
    let pointer = |offset: u64| match wide {
        false => headers.u32(optional(offset)).map(u64::from),
        true => {
            let (low, high) = (
                headers.u32(optional(offset))?,
                headers.u32(optional(offset + 4))?,
            );
            Some(u64::from(high) << 32 | u64::from(low))
        }
    };
    let pair = |offset: u64| {
        Some((
            headers.u16(optional(offset))?,
            headers.u16(optional(offset + 2))?,
        ))
    };
    let linker = headers.u16(optional(2))?.to_le_bytes();
    let (base_at, width) = if wide { (0x18, 8) } else { (0x1c, 4) };
    let sizes = [0, 1, 2, 3].map(|index| pointer(0x48 + index * width));
    let [Some(a), Some(b), Some(c), Some(d)] = sizes else {
        return None;
    };
    let first = if wide {
        DIRECTORIES_PE32_PLUS
    } else {
        DIRECTORIES_PE32
    };
    let count = headers.u32(optional(first - 4))?.min(MAX_DIRECTORIES);
    let directories = (0..u64::from(count)).map_while(|index| {
        let at = optional(first + index * 8);
        Some((headers.u32(at)?, headers.u32(at + 4)?))
    });
    let optional_size = headers.u16(file(OPTIONAL_SIZE))?;
    let section_count = headers.u16(file(SECTION_COUNT))?.min(MAX_SECTIONS);
    let sections = (0..u64::from(section_count)).map_while(|index| {
        let at = optional(u64::from(optional_size) + index * SECTION_SIZE);
        let mut name = [0; 8];
        let read = memory.read(base.checked_add(at)?, &mut name);
        let name = &name[..read];
        let end = name.iter().position(|&byte| byte == 0).unwrap_or(read);
        Some(Section {
            name: String::from_utf8_lossy(&name[..end]).into_owned(),
            virtual_size: headers.u32(at + SECTION_VIRTUAL_SIZE)?,
            offset: headers.u32(at + SECTION_RVA)?,
            raw_size: headers.u32(at + 0x10)?,
            raw_place: headers.u32(at + 0x14)?,
            flags: headers.u32(at + SECTION_FLAGS)?,
        })
    });
    Some(ImageInfo {
        bitness: headers.bitness,
        machine: headers.u16(file(4))?,
        characteristics: headers.u16(file(0x16))?,
        timestamp: headers.u32(file(8))?,
        optional_size,
        linker: (linker[0], linker[1]),
        code_and_data: [
            headers.u32(optional(4))?,
            headers.u32(optional(8))?,
            headers.u32(optional(12))?,
        ],
        entry_point: headers.u32(optional(0x10))?,
        base_of_code: headers.u32(optional(0x14))?,
        image_base: pointer(base_at)?,
        alignment: (headers.u32(optional(0x20))?, headers.u32(optional(0x24))?),
        versions: [pair(0x28)?, pair(0x2c)?, pair(0x30)?],
        size: headers.u32(optional(0x38))?,
        headers_size: headers.u32(optional(0x3c))?,
        checksum: headers.u32(optional(0x40))?,
        subsystem: headers.u16(optional(0x44))?,
        dll_characteristics: headers.u16(optional(0x46))?,
        stack_and_heap: [a, b, c, d],
        directories: directories.collect(),
        sections: sections.collect(),
    })
}
