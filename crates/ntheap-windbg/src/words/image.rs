//! `!lmi`, `!dh`, `.imgscan`: headers of images, as the process's memory has them.

use std::fmt::{self, Write};

use super::{
    address::protection,
    format::{digits, pointer},
    time,
};
use ntheap::{
    dump::{ImageInfo, Module},
    layout::Bitness,
    names::{NameSource, SymbolState},
    printable::printable,
    process::Process,
};

const DIRECTORIES: [&str; 16] = [
    "Export Directory",
    "Import Directory",
    "Resource Directory",
    "Exception Directory",
    "Security Directory",
    "Base Relocation Directory",
    "Debug Directory",
    "Description Directory",
    "Special Directory",
    "Thread Storage Directory",
    "Load Configuration Directory",
    "Bound Import Directory",
    "Import Address Table Directory",
    "Delay Import Directory",
    "COR20 Header Directory",
    "Reserved Directory",
];

/// What bits of `Characteristics` say.
const CHARACTERISTICS: [(u16, &str); 9] = [
    (0x1, "Relocations stripped"),
    (0x2, "Executable"),
    (0x4, "Line numbers stripped"),
    (0x8, "Symbols stripped"),
    (0x20, "App can handle >2gb addresses"),
    (0x100, "32 bit word machine"),
    (0x200, "Debug information stripped"),
    (0x1000, "System"),
    (0x2000, "DLL"),
];

/// What bits of `DllCharacteristics` say.
const DLL_CHARACTERISTICS: [(u16, &str); 10] = [
    (0x20, "High entropy VA supported"),
    (0x40, "Dynamic base"),
    (0x80, "Force integrity"),
    (0x100, "NX compatible"),
    (0x200, "No isolation"),
    (0x400, "No structured exception handler"),
    (0x800, "No bind"),
    (0x1000, "AppContainer"),
    (0x4000, "Guard"),
    (0x8000, "Terminal server aware"),
];

/// What bits of a section's flags say.
const SECTION_FLAGS: [(u32, &str); 8] = [
    (0x20, "Code"),
    (0x40, "Initialized Data"),
    (0x80, "Uninitialized Data"),
    (0x200_0000, "Discardable"),
    (0x1000_0000, "Shared"),
    (0x2000_0000, "Execute"),
    (0x4000_0000, "Read"),
    (0x8000_0000, "Write"),
];

fn machine(machine: u16) -> (&'static str, &'static str) {
    match machine {
        0x14c => ("i386", "I386"),
        0x8664 => ("X64", "X64"),
        0xaa64 => ("ARM64", "ARM64"),
        _ => ("unknown", "unknown"),
    }
}

fn subsystem(subsystem: u16) -> &'static str {
    match subsystem {
        1 => "Native",
        2 => "Windows GUI",
        3 => "Windows CUI",
        _ => "unknown",
    }
}

/// `!lmi`: what is known of a module.
///
/// # Errors
/// Those of `out`.
pub(crate) fn module_info(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    module: &Module,
    out: &mut dyn Write,
) -> fmt::Result {
    let file = printable(module.file_name());
    writeln!(out, "Loaded Module Info: [{}] ", printable(module.name()))?;
    let mut row = |label: &str, text: &str| writeln!(out, "{label:>15}: {text}");
    row("Module", &printable(module.name()))?;
    let base = pointer(module.base, process.bitness);
    row("Base Address", base.trim_start_matches('0'))?;
    row("Image Name", &file)?;
    let image = process.dump.image_at(module.base);
    if let Some(image) = &image {
        let (_, name) = machine(image.machine);
        row("Machine Type", &format!("{} ({name})", image.machine))?;
    }
    let date = time::date(module.timestamp.into());
    row("Time Stamp", &format!("{:x} {date}", module.timestamp))?;
    row("Size", &format!("{:x}", module.size))?;
    row("CheckSum", &format!("{:x}", module.checksum))?;
    if let Some(image) = &image {
        row("Characteristics", &format!("{:x} ", image.characteristics))?;
    }
    if let Some(pdb) = &module.pdb {
        row("Debug Data", &format!("CODEVIEW: {}", pdb.id))?;
        row("Pdb", &printable(&pdb.file))?;
    }
    let source = match image {
        Some(_) => "MEMORY   - Image read successfully from loaded memory.",
        None => "unknown  - The headers are not in the dump; this is of its module list.",
    };
    row("Image Type", source)?;
    let (kind, report) = match names.symbol_state(module) {
        SymbolState::Deferred => (
            "DEFERRED - No error - symbol load deferred".to_owned(),
            "no symbols loaded",
        ),
        SymbolState::Missing => ("NONE".to_owned(), "no symbols loaded"),
        SymbolState::Exports => ("EXPORT   - PDB not found".to_owned(), "export symbols"),
        SymbolState::Pdb { path, private, .. } => (
            format!(
                "PDB      - Symbols loaded successfully.\n{:17}{}",
                "",
                printable(&path)
            ),
            if private {
                "private symbols"
            } else {
                "public symbols"
            },
        ),
    };
    row("Symbol Type", &kind)?;
    row("Load Report", report)
}

/// What `!dh` shows: with none of these everything.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct HeaderParts {
    /// The file's header.
    pub(crate) file: bool,
    /// The sections' headers.
    pub(crate) sections: bool,
}

/// `!dh`: the headers of an image.
///
/// # Errors
/// Those of `out`.
pub(crate) fn image_headers(
    image: &ImageInfo,
    parts: HeaderParts,
    out: &mut dyn Write,
) -> fmt::Result {
    let all = !parts.file && !parts.sections;
    if all || parts.file {
        file_header(image, out)?;
        optional_header(image, out)?;
    }
    if all || parts.sections {
        for (index, section) in image.sections.iter().enumerate() {
            writeln!(out, "\n\nSECTION HEADER #{:X}", index + 1)?;
            writeln!(out, "{:>8} name", printable(&section.name))?;
            let mut row = |value: u32, label: &str| writeln!(out, "{value:8X} {label}");
            row(section.virtual_size, "virtual size")?;
            row(section.offset, "virtual address")?;
            row(section.raw_size, "size of raw data")?;
            row(section.raw_place, "file pointer to raw data")?;
            row(section.flags, "flags")?;
            for (bit, text) in SECTION_FLAGS {
                if section.flags & bit != 0 {
                    writeln!(out, "         {text}")?;
                }
            }
        }
    }
    Ok(())
}

fn file_header(image: &ImageInfo, out: &mut dyn Write) -> fmt::Result {
    let kind = match image.characteristics & 0x2000 {
        0 => "EXECUTABLE IMAGE",
        _ => "DLL",
    };
    writeln!(out, "\nFile Type: {kind}\nFILE HEADER VALUES")?;
    let (name, _) = machine(image.machine);
    writeln!(out, "{:8X} machine ({name})", image.machine)?;
    writeln!(out, "{:8X} number of sections", image.sections.len())?;
    let date = time::date(image.timestamp.into());
    writeln!(out, "{:8X} time date stamp {date}\n", image.timestamp)?;
    writeln!(out, "{:8X} size of optional header", image.optional_size)?;
    writeln!(out, "{:8X} characteristics", image.characteristics)?;
    for (bit, text) in CHARACTERISTICS {
        if image.characteristics & bit != 0 {
            writeln!(out, "            {text}")?;
        }
    }
    Ok(())
}

fn optional_header(image: &ImageInfo, out: &mut dyn Write) -> fmt::Result {
    writeln!(out, "\nOPTIONAL HEADER VALUES")?;
    let magic = match image.bitness {
        Bitness::X86 => 0x10b,
        Bitness::X64 => 0x20b,
    };
    let (major, minor) = image.linker;
    let [code, initialized, uninitialized] = image.code_and_data;
    let [system, own, of_subsystem] = image.versions;
    let version = |(major, minor): (u16, u16)| format!("{major}.{minor:02}");
    let wide = |value: u64| format!("{value:0width$X}", width = digits(image.bitness));
    let mut row = |value: &str, label: &str| writeln!(out, "{value:>8} {label}");
    let hex = |value: u32| format!("{value:X}");
    row(&hex(magic), "magic #")?;
    row(&format!("{major}.{minor:02}"), "linker version")?;
    row(&hex(code), "size of code")?;
    row(&hex(initialized), "size of initialized data")?;
    row(&hex(uninitialized), "size of uninitialized data")?;
    row(&hex(image.entry_point), "address of entry point")?;
    row(&hex(image.base_of_code), "base of code")?;
    row("", "----- new -----")?;
    row(&wide(image.image_base), "image base")?;
    row(&hex(image.alignment.0), "section alignment")?;
    row(&hex(image.alignment.1), "file alignment")?;
    let name = subsystem(image.subsystem);
    row(&image.subsystem.to_string(), &format!("subsystem ({name})"))?;
    row(&version(system), "operating system version")?;
    row(&version(own), "image version")?;
    row(&version(of_subsystem), "subsystem version")?;
    row(&hex(image.size), "size of image")?;
    row(&hex(image.headers_size), "size of headers")?;
    row(&hex(image.checksum), "checksum")?;
    let [stack, stack_committed, heap, heap_committed] = image.stack_and_heap;
    row(&wide(stack), "size of stack reserve")?;
    row(&wide(stack_committed), "size of stack commit")?;
    row(&wide(heap), "size of heap reserve")?;
    row(&wide(heap_committed), "size of heap commit")?;
    row(
        &hex(image.dll_characteristics.into()),
        "DLL characteristics",
    )?;
    for (bit, text) in DLL_CHARACTERISTICS {
        if image.dll_characteristics & bit != 0 {
            writeln!(out, "            {text}")?;
        }
    }
    for (&(place, size), name) in image.directories.iter().zip(DIRECTORIES) {
        writeln!(out, "{place:8X} [{size:8X}] address [size] of {name}")?;
    }
    Ok(())
}

/// `.imgscan`: the images that begin in memory, whether or not the loader knows them.
///
/// # Errors
/// Those of `out`.
pub(crate) fn images(process: &Process<'_, '_>, out: &mut dyn Write) -> fmt::Result {
    let dump = process.dump;
    for region in &dump.regions {
        let Some(image) = dump.image_at(region.base) else {
            continue;
        };
        let (kind, _) = super::address::kind(region.kind);
        writeln!(
            out,
            "MZ at {}, prot {:08x} ({}), type {kind:08x} - size {:x}",
            pointer(region.base, process.bitness),
            region.protection,
            protection(region.protection),
            image.size,
        )?;
        let module = dump.modules.iter().find(|m| m.base == region.base);
        let name = module.map_or("not in the module list".into(), |m| {
            printable(m.file_name())
        });
        writeln!(out, "  Name: {name}")?;
    }
    Ok(())
}
