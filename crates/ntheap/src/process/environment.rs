//! Finding the process environment block: by the threads, and where these are lost by a search.

use super::probe::heap_kind;
use crate::{
    dump::{Dump, RegionKind},
    layout::{Bitness, Layouts},
};

const PAGE: u64 = 0x1000;

/// The environment block that the threads of the dump point to, or that a search finds.
pub(crate) fn native_peb(dump: &Dump<'_>, bitness: Bitness) -> Option<u64> {
    peb_of_threads(dump, bitness).or_else(|| search(dump, bitness))
}

fn peb_of_threads(dump: &Dump<'_>, bitness: Bitness) -> Option<u64> {
    let layouts = Layouts::for_build(u32::MAX, bitness);
    dump.threads
        .iter()
        .filter_map(|thread| {
            let teb = dump.memory.at(thread.teb, bitness);
            teb.pointer(layouts.teb.process_environment_block)
        })
        .find(|&peb| is_peb(dump, peb, &layouts))
}

/// The 32-bit side of a process in the dump of a 64-bit one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Wow64 {
    /// Its environment block, where the dump has it.
    pub(crate) peb: Option<u64>,
}

/// The 32-bit side of a WOW64 process; `None` for a process that is none. Where nothing else tells,
/// `has_heap` does: whether memory holds a 32-bit heap.
pub(crate) fn wow64(dump: &Dump<'_>, has_heap: impl FnOnce() -> bool) -> Option<Wow64> {
    if let Some(peb) = wow64_peb_of_threads(dump) {
        return Some(Wow64 { peb: Some(peb) });
    }
    let named = |name: &str| {
        let modules = dump.modules.iter();
        modules
            .filter(|module| module.file_name().eq_ignore_ascii_case(name))
            .count()
    };
    // The layer between the sides, or an ntdll for each.
    let certain = named("wow64.dll") > 0 || named("ntdll.dll") > 1;
    if !certain && (!dump.modules.is_empty() || peb_of_threads(dump, Bitness::X64).is_some()) {
        return None;
    }
    match search(dump, Bitness::X86) {
        Some(peb) => Some(Wow64 { peb: Some(peb) }),
        None if certain || has_heap() => Some(Wow64 { peb: None }),
        None => None,
    }
}

/// The 32-bit environment block of a WOW64 process.
pub(crate) fn wow64_peb(dump: &Dump<'_>) -> Option<u64> {
    wow64(dump, || false)?.peb
}

fn wow64_peb_of_threads(dump: &Dump<'_>) -> Option<u64> {
    let layouts = Layouts::for_build(u32::MAX, Bitness::X86);
    dump.threads
        .iter()
        .flat_map(|thread| wow64_tebs(dump, thread.teb))
        .filter_map(|teb| {
            let teb = dump.memory.at(teb, Bitness::X86);
            teb.pointer(layouts.teb.process_environment_block)
        })
        .find(|&peb| is_peb(dump, peb, &layouts))
}

/// The addresses at which the thread with this 64-bit environment block has its 32-bit one.
///
/// The first pointer of each 64-bit TEB (`NT_TIB.ExceptionList`) is the address of the thread's
/// 32-bit TEB; where that is not so, the 32-bit TEB lies two pages behind (Windows 10).
pub(crate) fn wow64_tebs(dump: &Dump<'_>, teb: u64) -> impl Iterator<Item = u64> {
    const TEB32_DISTANCE: u64 = 0x2000;

    let list = Layouts::for_build(u32::MAX, Bitness::X64)
        .nt_tib
        .exception_list;
    let this = Layouts::for_build(u32::MAX, Bitness::X86).nt_tib.this;
    [
        dump.memory.at(teb, Bitness::X64).u64(list),
        teb.checked_add(TEB32_DISTANCE),
    ]
    .into_iter()
    .flatten()
    .filter(move |&teb| {
        // A 32-bit TEB is proved by its pointer to itself.
        u32::try_from(teb).is_ok()
            && dump.memory.at(teb, Bitness::X86).u32(this) == Some(teb as u32)
    })
}

/// Whether the fields that every build has at the same place are plausible.
fn is_peb(dump: &Dump<'_>, address: u64, layouts: &Layouts) -> bool {
    let peb = dump.memory.at(address, layouts.bitness);
    let layout = &layouts.peb;
    let (Some(heap), Some(count), Some(maximum)) = (
        peb.pointer(layout.process_heap),
        peb.u32(layout.number_of_heaps),
        peb.u32(layout.maximum_number_of_heaps),
    ) else {
        return false;
    };
    heap != 0 && heap % PAGE == 0 && count <= maximum
}

/// A page that no thread leads to and that is an environment block by what it says.
fn search(dump: &Dump<'_>, bitness: Bitness) -> Option<u64> {
    let layouts = Layouts::for_build(u32::MAX, bitness);
    let limit = match bitness {
        Bitness::X86 => 1 << 32,
        Bitness::X64 => u64::MAX,
    };
    let pages = dump.memory.ranges().iter().flat_map(|range| {
        let first = range.start.checked_next_multiple_of(PAGE);
        (first.unwrap_or(u64::MAX)..range.end().min(limit)).step_by(PAGE as usize)
    });
    let mut likely = pages.filter(|&page| may_hold_environment(dump, page));
    likely.find(|&page| is_peb(dump, page, &layouts) && says_peb(dump, page, &layouts))
}

/// Environment blocks lie in private memory, in small regions.
fn may_hold_environment(dump: &Dump<'_>, page: u64) -> bool {
    const LARGEST: u64 = 0x40_0000;
    const READ_WRITE: u32 = 4;
    dump.region_at(page).is_none_or(|region| {
        matches!(region.kind, RegionKind::Private | RegionKind::None)
            && region.size <= LARGEST
            && (region.protection & 0xff == READ_WRITE || region.protection == 0)
    })
}

/// Whether a plausible environment block also leads to what one leads to: a heap, an image, the
/// build that the dump names.
fn says_peb(dump: &Dump<'_>, address: u64, layouts: &Layouts) -> bool {
    const MAX_MAXIMUM: u32 = 0x1_0000;
    const MZ: u16 = u16::from_le_bytes(*b"MZ");
    let peb = dump.memory.at(address, layouts.bitness);
    let layout = &layouts.peb;
    let set = |field| peb.pointer(field).is_some_and(|pointer| pointer != 0);
    let maximum = peb.u32(layout.maximum_number_of_heaps).unwrap_or(0);
    if !set(layout.process_heaps) || !set(layout.process_parameters) || !set(layout.ldr) {
        return false;
    }
    let heap = peb.pointer(layout.process_heap);
    let is_heap = heap.is_some_and(|heap| heap_kind(&dump.memory, layouts.bitness, heap).is_some());
    let image = peb.pointer(layout.image_base_address).unwrap_or(0);
    let is_image =
        dump.modules.iter().any(|m| m.base == image) || dump.memory.u16(image) == Some(MZ);
    let build = peb.u16(layout.os_build_number).map(u32::from);
    let is_build = build.is_some_and(|build| dump.os_version.is_some_and(|v| v[2] == build));
    (1..=MAX_MAXIMUM).contains(&maximum)
        && u8::from(is_heap) + u8::from(is_image) + u8::from(is_build) >= 2
}
