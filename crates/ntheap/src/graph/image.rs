//! What is needed of an image in memory: its sections.

use crate::address_space::AddressSpace;

/// More sections than an image can have.
const MAX_SECTIONS: u16 = 96;

/// First address of a section of the image at `base`, and one past its last.
pub(super) fn section(memory: &AddressSpace<'_>, base: u64, name: &[u8]) -> Option<(u64, u64)> {
    const NEW_HEADER: u64 = 0x3c;
    const SIGNATURE: u32 = 0x4550;
    const FILE_HEADER: u64 = 4;
    const OPTIONAL_HEADER: u64 = FILE_HEADER + 0x14;
    const ROW: u64 = 0x28;
    let header = base.checked_add(memory.u32(base.checked_add(NEW_HEADER)?)?.into())?;
    if memory.u32(header)? != SIGNATURE {
        return None;
    }
    let count = memory.u16(header.checked_add(FILE_HEADER + 2)?)?;
    let optional = memory.u16(header.checked_add(FILE_HEADER + 0x10)?)?;
    let table = header.checked_add(OPTIONAL_HEADER + u64::from(optional))?;
    for index in 0..u64::from(count.min(MAX_SECTIONS)) {
        let row = table.checked_add(index * ROW)?;
        let mut found = [0; 8];
        if memory.read(row, &mut found) == found.len()
            && found.starts_with(name)
            && found[name.len()..].iter().all(|&byte| byte == 0)
        {
            let size = memory.u32(row.checked_add(8)?)?;
            let start = base.checked_add(memory.u32(row.checked_add(12)?)?.into())?;
            return Some((start, start.checked_add(size.into())?));
        }
    }
    None
}
