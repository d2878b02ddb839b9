//! The exports of a module whose image is in the dump: names for addresses without any PDB.

use super::{
    Module,
    pe::{Directory, ImageHeaders},
};
use crate::address_space::AddressSpace;

/// More exports than any module has.
const MAX_EXPORTS: u32 = 1 << 18;

/// The named exports of a module, by ascending address; several names of one address by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exports {
    /// (offset from the module's base, name)
    sorted: Vec<(u32, String)>,
    /// Indices of those by name, without regard to case.
    by_name: Vec<u32>,
}

/// A name as it is looked up: debuggers' symbols have no case.
fn lower(name: &str) -> impl Iterator<Item = u8> + '_ {
    name.bytes().map(|byte| byte.to_ascii_lowercase())
}

impl Exports {
    /// Reads the export table from the module's image. Empty where the image or its table is not in
    /// the dump (most dumps leave out unchanged pages of images).
    #[must_use]
    pub fn read(memory: &AddressSpace<'_>, module: &Module) -> Self {
        Exports::of(read(memory, module).unwrap_or_default())
    }

    fn of(sorted: Vec<(u32, String)>) -> Self {
        let name = |index: &u32| sorted[*index as usize].1.as_str();
        let mut by_name: Vec<u32> = (0..sorted.len() as u32).collect();
        by_name.sort_by(|a, b| lower(name(a)).cmp(lower(name(b))));
        Exports { sorted, by_name }
    }

    /// The export at or below an offset from the module's base.
    #[must_use]
    pub fn nearest(&self, rva: u32) -> Option<(&str, u32)> {
        let index = self.sorted.partition_point(|export| export.0 <= rva);
        let below = self.sorted.get(index.checked_sub(1)?)?.0;
        // Of several names of one function the first.
        let first = self.sorted.partition_point(|export| export.0 < below);
        let (rva, name) = self.sorted.get(first)?;
        Some((name, *rva))
    }

    /// The first export above an offset from the module's base.
    #[must_use]
    pub fn above(&self, rva: u32) -> Option<(&str, u32)> {
        let index = self.sorted.partition_point(|export| export.0 <= rva);
        let (rva, name) = self.sorted.get(index)?;
        Some((name, *rva))
    }

    /// Offset from the module's base of what it exports by this name, without regard to case.
    #[must_use]
    pub fn offset_of(&self, name: &str) -> Option<u32> {
        let of = |index: u32| &self.sorted[index as usize];
        let order = |index: &u32| lower(&of(*index).1).cmp(lower(name));
        let found = self.by_name.binary_search_by(order).ok()?;
        Some(of(self.by_name[found]).0)
    }

    /// All exports: offset from the module's base and name, by ascending offset.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.sorted.iter().map(|(rva, name)| (*rva, name.as_str()))
    }

    /// Whether the module exports this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.sorted.iter().any(|export| export.1 == name)
    }

    /// Number of named exports.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.sorted.is_empty()
    }
}

/// Offsets in the export table, which the published specification of the PE format fixes.
mod table {
    pub(super) const NAME: u64 = 0xc;
    pub(super) const NUMBER_OF_FUNCTIONS: u64 = 0x14;
    pub(super) const NUMBER_OF_NAMES: u64 = 0x18;
    pub(super) const FUNCTIONS: u64 = 0x1c;
    pub(super) const NAMES: u64 = 0x20;
    pub(super) const ORDINALS: u64 = 0x24;
}

/// Offset from the module's base and size of its export table.
fn export_table(memory: &AddressSpace<'_>, module: &Module) -> Option<(u32, u32)> {
    ImageHeaders::at(memory, module.base)?.directory(Directory::Exports)
}

/// The name that a module's own export table gives it, for a module whose name is lost.
pub(super) fn own_name(memory: &AddressSpace<'_>, module: &Module) -> Option<String> {
    let (table, _) = export_table(memory, module)?;
    let at = |rva: u32| module.base.checked_add(u64::from(rva));
    let name = memory.u32(at(table)?.checked_add(table::NAME)?)?;
    memory.string(at(name)?)
}

fn read(memory: &AddressSpace<'_>, module: &Module) -> Option<Vec<(u32, String)>> {
    let at = |rva: u64| module.base.checked_add(rva);
    let u32_at = |rva: u64| memory.u32(at(rva)?);
    let (table, size) = export_table(memory, module)?;
    let table_rva = u64::from(table);
    let count = u32_at(table_rva + table::NUMBER_OF_NAMES)?.min(MAX_EXPORTS);
    let functions = u32_at(table_rva + table::NUMBER_OF_FUNCTIONS)?;
    let [functions_rva, names, ordinals] =
        [table::FUNCTIONS, table::NAMES, table::ORDINALS].map(|field| u32_at(table_rva + field));
    let (functions_rva, names, ordinals) = (
        u64::from(functions_rva?),
        u64::from(names?),
        u64::from(ordinals?),
    );
    let mut sorted = Vec::new();
    for index in 0..u64::from(count) {
        let export = || {
            let ordinal = memory.u16(at(ordinals + index * 2)?)?;
            if u32::from(ordinal) >= functions {
                return None;
            }
            let rva = u32_at(functions_rva + u64::from(ordinal) * 4)?;
            // A forwarded export points to a string inside the table, not to code.
            let forwarded = (table..table.saturating_add(size)).contains(&rva);
            let name = memory.string(at(u32_at(names + index * 4)?.into())?)?;
            (!forwarded && rva != 0).then_some((rva, name))
        };
        sorted.extend(export());
    }
    sorted.sort_unstable();
    sorted.dedup();
    Some(sorted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exports_are_found_by_the_address_below() {
        let mut image = vec![0u8; 0x400];
        let mut put = |at: usize, bytes: &[u8]| image[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"MZ");
        put(0x3c, &0x80u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x98, &0x20bu16.to_le_bytes());
        put(0x98 + 0x70, &0x200u32.to_le_bytes());
        put(0x98 + 0x74, &0x80u32.to_le_bytes());
        put(0x214, &2u32.to_le_bytes());
        put(0x218, &2u32.to_le_bytes());
        for (index, rva) in [0x280u32, 0x290, 0x2a0].into_iter().enumerate() {
            put(0x21c + index * 4, &rva.to_le_bytes());
        }
        put(0x280, &0x1000u32.to_le_bytes());
        put(0x284, &0x900u32.to_le_bytes());
        put(0x290, &0x300u32.to_le_bytes());
        put(0x294, &0x308u32.to_le_bytes());
        put(0x2a0, &[0, 0, 1, 0]);
        put(0x300, b"Alpha\0");
        put(0x308, b"Beta\0");
        let space = AddressSpace::new(&image, [(0x10_0000, 0, 0x400)]);
        let module = Module {
            base: 0x10_0000,
            size: 0x2000,
            path: "a.dll".to_owned(),
            timestamp: 0,
            checksum: 0,
            version: None,
            pdb: None,
        };
        let exports = Exports::read(&space, &module);
        assert_eq!(exports.nearest(0x8ff), None);
        assert_eq!(exports.nearest(0x900), Some(("Beta", 0x900)));
        assert_eq!(exports.nearest(0x1010), Some(("Alpha", 0x1000)));
        assert_eq!(exports.above(0x900), Some(("Alpha", 0x1000)));
        assert_eq!(exports.offset_of("alpha"), Some(0x1000));
        assert_eq!(exports.offset_of("Gamma"), None);
        let elsewhere = Module {
            base: 0x20_0000,
            ..module
        };
        assert!(Exports::read(&space, &elsewhere).is_empty());
    }
}
