//! Finding the process environment block.

use crate::{
    dump::Dump,
    layout::{Bitness, Layouts},
};

/// The environment block that the threads of the dump point to.
pub(super) fn native_peb(dump: &Dump<'_>, bitness: Bitness) -> Option<u64> {
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
///
/// The first pointer of each 64-bit TEB (`NT_TIB.ExceptionList`) is the address of the thread's
/// 32-bit TEB; where that is not so, the 32-bit TEB lies two pages behind (Windows 10).
pub(super) fn wow64_peb(dump: &Dump<'_>) -> Option<u64> {
    /// `NT_TIB32.Self`, which proves a 32-bit TEB.
    const TIB32_SELF: u64 = 0x18;
    const TEB32_DISTANCE: u64 = 0x2000;

    let layouts = Layouts::for_build(u32::MAX, Bitness::X86);
    dump.threads
        .iter()
        .flat_map(|thread| {
            [
                dump.memory.u64(thread.teb),
                thread.teb.checked_add(TEB32_DISTANCE),
            ]
        })
        .flatten()
        .filter(|&teb| {
            u32::try_from(teb).is_ok() && dump.memory.u32(teb + TIB32_SELF) == Some(teb as u32)
        })
        .filter_map(|teb| {
            let teb = dump.memory.at(teb, Bitness::X86);
            teb.pointer(layouts.teb.process_environment_block)
        })
        .find(|&peb| is_peb(dump, peb, &layouts))
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
