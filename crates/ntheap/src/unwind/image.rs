//! What images tell of their functions: the table of functions and what each puts on the stack.

use crate::{
    address_space::AddressSpace,
    dump::{
        Dump, Module,
        pe::{Directory, ImageHeaders},
    },
    layout::Bitness,
};

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
    let headers = ImageHeaders::at(memory, module.base)?;
    if headers.bitness != Bitness::X64 {
        return None;
    }
    let (place, size) = headers.directory(Directory::Exceptions)?;
    let (place, size) = (u64::from(place), u64::from(size));
    let behind = module
        .size
        .checked_sub(place)
        .filter(|&behind| behind > 0)?;
    let at = module.base.checked_add(place)?;
    Some((at, size.min(behind) / FUNCTION))
}
