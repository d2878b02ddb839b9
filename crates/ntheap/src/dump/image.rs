//! What the headers of an image say, for who wants to see them.

use super::pe::{ImageHeaders, Section, file_header as file, optional_header as optional};
use crate::{address_space::AddressSpace, layout::Bitness};

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

pub(super) fn read(memory: &AddressSpace<'_>, base: u64) -> Option<ImageInfo> {
    let headers = ImageHeaders::at(memory, base)?;
    let word = |field| headers.optional_u32(field);
    let short = |field| headers.optional_u16(field);
    let version = |field| Some((short(field)?, short(field + 2)?));
    let [linker_major, linker_minor] = short(optional::LINKER_VERSION)?.to_le_bytes();
    let size = |index: u64| {
        let width = headers.bitness.pointer_size();
        headers.optional_pointer(optional::SIZE_OF_STACK_RESERVE + index * width)
    };
    Some(ImageInfo {
        bitness: headers.bitness,
        machine: headers.file_u16(file::MACHINE)?,
        characteristics: headers.file_u16(file::CHARACTERISTICS)?,
        timestamp: headers.file_u32(file::TIME_DATE_STAMP)?,
        optional_size: headers.file_u16(file::SIZE_OF_OPTIONAL_HEADER)?,
        linker: (linker_major, linker_minor),
        code_and_data: [
            word(optional::SIZE_OF_CODE)?,
            word(optional::SIZE_OF_INITIALIZED_DATA)?,
            word(optional::SIZE_OF_UNINITIALIZED_DATA)?,
        ],
        entry_point: word(optional::ADDRESS_OF_ENTRY_POINT)?,
        base_of_code: word(optional::BASE_OF_CODE)?,
        image_base: headers.optional_pointer(headers.width_fields().image_base)?,
        alignment: (
            word(optional::SECTION_ALIGNMENT)?,
            word(optional::FILE_ALIGNMENT)?,
        ),
        versions: [
            version(optional::OPERATING_SYSTEM_VERSION)?,
            version(optional::IMAGE_VERSION)?,
            version(optional::SUBSYSTEM_VERSION)?,
        ],
        size: word(optional::SIZE_OF_IMAGE)?,
        headers_size: word(optional::SIZE_OF_HEADERS)?,
        checksum: word(optional::CHECKSUM)?,
        subsystem: short(optional::SUBSYSTEM)?,
        dll_characteristics: short(optional::DLL_CHARACTERISTICS)?,
        stack_and_heap: [size(0)?, size(1)?, size(2)?, size(3)?],
        directories: headers.directories()?.collect(),
        sections: headers.sections()?.map_while(|section| section).collect(),
    })
}
