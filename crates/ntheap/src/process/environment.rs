//! Finding the process environment block.

use crate::{
    dump::Dump,
    layout::{Bitness, Layouts},
};

/// The environment block that the threads of the dump point to.
pub(crate) fn native_peb(dump: &Dump<'_>, bitness: Bitness) -> Option<u64> {
    let layouts = Layouts::for_build(u32::MAX, bitness);
    dump.threads
        .iter()
        .filter_map(|thread| {
            let teb = dump.memory.at(thread.teb, bitness);
            teb.pointer(layouts.teb.process_environment_block)
        })
        .find(|&peb| is_peb(dump, peb, &layouts))
}

/// The 32-bit environment block of a WOW64 process.
pub(crate) fn wow64_peb(dump: &Dump<'_>) -> Option<u64> {
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
    heap != 0 && heap % 0x1000 == 0 && count <= maximum
}
