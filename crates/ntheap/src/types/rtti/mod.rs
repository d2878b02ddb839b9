//! Run-time type information: which addresses are virtual function tables, and of which classes.
//!
//! Visual C++ and compatible compilers put a pointer in front of each virtual function table, to a
//! complete object locator, which names the class and lists its bases. All of it lies in the images,
//! so that no PDB is needed; modules that were compiled without it (`/GR-`) have none.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, process::Process, types::Rtti};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let rtti = Rtti::of(&process);
//! for class in rtti.classes() {
//!     println!("{}", class.name);
//! }
//! # Ok(())
//! # }
//! ```

mod image;
mod locate;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use crate::{
    address_space::AddressSpace,
    dump::{Dump, Module},
    layout::Bitness,
    process::Process,
};
use image::Image;

/// A class that an image's run-time type information names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Class {
    /// Its name, undecorated: `app::Box<int>`.
    pub name: Arc<str>,
    /// Its name as the type descriptor has it: `.?AV?$Box@H@app@@`.
    pub decorated: Box<str>,
    /// All that it derives from, directly or not, depth first.
    pub bases: Box<[Base]>,
}

/// A base of a class, and where it lies.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Base {
    /// Its name, undecorated.
    pub name: Box<str>,
    /// Its offset in the class, or in the virtual base that it is part of.
    pub member: i32,
    /// Offset in the class of the pointer to the table of virtual bases; −1: no virtual base.
    pub table: i32,
    /// Offset in that table of the entry that says where the virtual base lies.
    pub entry: i32,
}

/// A virtual function table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Vftable {
    /// Its address, which objects begin with (or have at [`Vftable::offset`]).
    pub address: u64,
    /// Address of its complete object locator.
    pub locator: u64,
    /// Index of its class ([`Rtti::class`]).
    pub class: u32,
    /// Where in an object of the class the pointer to this table lies.
    pub offset: u32,
}

/// What the images of a process say of their classes.
#[derive(Debug, Default)]
pub struct Rtti {
    classes: Vec<Class>,
    vftables: FxHashMap<u64, Vftable>,
    locators: usize,
    /// The images with virtual function tables, from the lowest table to one past the highest.
    spans: Vec<(u64, u64)>,
}

impl Rtti {
    /// Reads it from the images of this side of the process, as far as the dump holds them.
    #[must_use]
    pub fn of(process: &Process<'_, '_>) -> Self {
        Self::of_dump(process.dump, process.bitness)
    }

    /// Reads it from those images of a dump that have this width.
    #[must_use]
    pub fn of_dump(dump: &Dump<'_>, bitness: Bitness) -> Self {
        Self::of_modules(&dump.memory, &dump.modules, bitness)
    }

    /// Reads it from these images, as far as they have this width.
    #[must_use]
    pub fn of_modules(memory: &AddressSpace<'_>, modules: &[Module], bitness: Bitness) -> Self {
        let found: Vec<_> = modules
            .par_iter()
            .map(|module| Image::of(memory, module, bitness))
            .filter(|image| image.bitness == bitness)
            .map(|image| locate::find(&image))
            .collect();
        let mut rtti = Rtti::default();
        for image in found {
            let first = rtti.classes.len() as u32;
            rtti.locators += image.locators;
            rtti.classes.extend(image.classes);
            let addresses = image.vftables.iter().map(|vftable| vftable.address);
            if let Some(low) = addresses.clone().min() {
                let high = addresses.max().unwrap_or(low);
                rtti.spans.push((low, high.saturating_add(1)));
            }
            rtti.vftables
                .extend(image.vftables.into_iter().map(|mut vftable| {
                    vftable.class += first;
                    (vftable.address, vftable)
                }));
        }
        rtti.spans.sort_unstable();
        rtti
    }

    /// The virtual function table at `address`.
    #[must_use]
    #[inline]
    pub fn vftable(&self, address: u64) -> Option<&Vftable> {
        let inside = |&(low, high): &(u64, u64)| address.wrapping_sub(low) < high - low;
        if !self.spans.iter().any(inside) {
            return None;
        }
        self.vftables.get(&address)
    }

    /// Whether there is no virtual function table.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vftables.is_empty()
    }

    /// The class with this index.
    #[must_use]
    pub fn class(&self, index: u32) -> Option<&Class> {
        self.classes.get(index as usize)
    }

    /// All classes. A class that several modules have is there once for each of them.
    #[must_use]
    pub fn classes(&self) -> &[Class] {
        &self.classes
    }

    /// All virtual function tables.
    pub fn vftables(&self) -> impl Iterator<Item = &Vftable> {
        self.vftables.values()
    }

    /// Number of complete object locators.
    #[must_use]
    pub fn locators(&self) -> usize {
        self.locators
    }

    /// The class of the object of at most `size` bytes at `address` that begins with a virtual function
    /// table of its beginning.
    #[must_use]
    pub fn object(
        &self,
        memory: &AddressSpace<'_>,
        bitness: Bitness,
        address: u64,
        size: u64,
    ) -> Option<u32> {
        if size < bitness.pointer_size() {
            return None;
        }
        let vftable = self.vftable(memory.pointer(address, bitness)?)?;
        (vftable.offset == 0).then_some(vftable.class)
    }

    /// Whether an object at `address` has the virtual function table `vftable` where its class says:
    /// in a virtual base, which the object's own table of virtual bases places.
    #[must_use]
    pub fn holds_virtual_base(
        &self,
        memory: &AddressSpace<'_>,
        bitness: Bitness,
        address: u64,
        vftable: &Vftable,
    ) -> bool {
        let Some(class) = self.class(vftable.class) else {
            return false;
        };
        let offset = i64::from(vftable.offset);
        class.bases.iter().any(|base| {
            let place = || {
                let table = u64::try_from(base.table).ok()?;
                let entry = u64::try_from(base.entry).ok()?;
                let at = memory.pointer(address.checked_add(table)?, bitness)?;
                let displacement = memory.u32(at.checked_add(entry)?)? as i32;
                Some(i64::from(base.table) + i64::from(displacement) + i64::from(base.member))
            };
            place() == Some(offset)
        })
    }
}
