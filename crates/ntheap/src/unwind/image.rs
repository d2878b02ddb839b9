//! What images tell of their functions: the table of functions and what each puts on the stack.

use crate::{
    address_space::AddressSpace,
    dump::{Dump, Module},
};

/// Offsets of the PE format, which the published specification fixes.
mod pe {
    pub(super) const E_LFANEW: u64 = 0x3c;
    pub(super) const OPTIONAL_HEADER: u64 = 0x18;
    pub(super) const MAGIC_PE32_PLUS: u16 = 0x20b;
    /// The directory of exceptions, the fourth, in the optional header of 64-bit images.
    pub(super) const EXCEPTIONS: u64 = 0x70 + 3 * 8;
}

/// Size of an entry of the table: begin, end, unwind data.
const FUNCTION: u64 = 12;

/// A function, its addresses as offsets from the image's base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Function {
    pub(super) begin: u32,
    pub(super) end: u32,
    pub(super) unwind: u32,
}

/// An image and its table of functions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Image<'d, 'a> {
    pub(super) memory: &'d AddressSpace<'a>,
    pub(super) base: u64,
    /// Place of the table and how many functions it has; `None` where the dump has no headers.
    table: Option<(u64, u64)>,
}

impl<'d, 'a> Image<'d, 'a> {
    pub(super) fn at(dump: &'d Dump<'a>, address: u64) -> Option<Self> {
        let module = dump.module_at(address)?;
        Some(Image {
            memory: &dump.memory,
            base: module.base,
            table: table(&dump.memory, module),
        })
    }

    /// The function that holds an offset. `Err` where the table is not in the dump, `Ok(None)`
    /// where it has no such function: a leaf, which puts nothing on the stack.
    pub(super) fn function(&self, offset: u32) -> Result<Option<Function>, ()> {
        let (table, count) = self.table.ok_or(())?;
        let begin = |index: u64| self.memory.u32(table + index * FUNCTION).ok_or(());
        // The first function that begins behind the offset.
        let (mut low, mut high) = (0, count);
        while low < high {
            let middle = low + (high - low) / 2;
            match begin(middle)? <= offset {
                true => low = middle + 1,
                false => high = middle,
            }
        }
        let Some(index) = low.checked_sub(1) else {
            return Ok(None);
        };
        let function = self.entry(table + index * FUNCTION).ok_or(())?;
        Ok((offset < function.end).then_some(function))
    }

    /// The entry of a table of functions at an address.
    pub(super) fn entry(&self, at: u64) -> Option<Function> {
        let word = |field: u64| self.memory.u32(at.checked_add(field)?);
        let mut function = Function {
            begin: word(0)?,
            end: word(4)?,
            unwind: word(8)?,
        };
        // The lowest bit: what is there is the entry of the function that this is a part of.
        if function.unwind & 1 != 0 {
            let at = self.base.checked_add(u64::from(function.unwind & !1))?;
            function.unwind = self.memory.u32(at.checked_add(8)?)?;
        }
        Some(function)
    }

    /// Copies what of the image stands at an offset; returns how much.
    pub(super) fn read(&self, offset: u32, buffer: &mut [u8]) -> usize {
        let at = self.base.checked_add(u64::from(offset));
        at.map_or(0, |at| self.memory.read(at, buffer))
    }
}

fn table(memory: &AddressSpace<'_>, module: &Module) -> Option<(u64, u64)> {
    let at = |offset: u64| module.base.checked_add(offset);
    let u32_at = |offset: u64| memory.u32(at(offset)?);
    if memory.u16(module.base)? != u16::from_le_bytes(*b"MZ") {
        return None;
    }
    let header = u64::from(u32_at(pe::E_LFANEW)?);
    if u32_at(header)? != u32::from_le_bytes(*b"PE\0\0") {
        return None;
    }
    let optional = header + pe::OPTIONAL_HEADER;
    if memory.u16(at(optional)?)? != pe::MAGIC_PE32_PLUS {
        return None;
    }
    let place = u64::from(u32_at(optional + pe::EXCEPTIONS)?);
    let size = u64::from(u32_at(optional + pe::EXCEPTIONS + 4)?);
    if place == 0 || place >= module.size {
        return None;
    }
    Some((at(place)?, size.min(module.size - place) / FUNCTION))
}
