//! Modules of the dumped process and the PDB that each one names.

use std::collections::BTreeSet;

use debugid::DebugId;

/// A module (executable image) that was loaded in the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Module {
    /// Address of the image in the process.
    pub base: u64,
    /// Size of the mapped image in bytes.
    pub size: u64,
    /// Path as the dump records it, for instance `C:\Windows\System32\ntdll.dll`.
    pub path: String,
    /// `TimeDateStamp` of the image's COFF header.
    pub timestamp: u32,
    /// `CheckSum` of the image's optional header; 0 where the linker was not asked for one.
    pub checksum: u32,
    /// File version `[major, minor, build, revision]`, as the module list has it. Can be wrong:
    /// the loader's compatibility data may change it (6.2.19041 for 10.0.19041 has been seen).
    pub version: Option<[u16; 4]>,
    /// The PDB that the image's CodeView record names.
    pub pdb: Option<PdbReference>,
}

/// What an image's CodeView record says of its PDB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PdbReference {
    /// File name or path of the PDB as the linker wrote it.
    pub file: String,
    /// GUID and age (or, for `NB10` records, the signature and age). The age is the DBI stream's.
    pub id: DebugId,
}

impl PdbReference {
    /// The last component of [`PdbReference::file`], whichever separator it uses.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.file)
    }
}

impl Module {
    /// The last component of the path, for instance `ntdll.dll`.
    #[must_use]
    pub fn file_name(&self) -> &str {
        file_name(&self.path)
    }

    /// The name as debuggers print it: the file name without its extension.
    #[must_use]
    pub fn name(&self) -> &str {
        let file = self.file_name();
        file.rsplit_once('.').map_or(file, |(stem, _)| stem)
    }

    /// One past the last address of the image.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }

    /// Whether `address` lies in the image.
    #[must_use]
    pub fn contains(&self, address: u64) -> bool {
        (self.base..self.end()).contains(&address)
    }
}

/// Which module of a list holds an address: where modules claim the same one, the first in the list.
#[derive(Debug, Default)]
pub(super) struct ModulePlaces {
    /// Beginning, end and module of each stretch, by ascending address, apart from each other.
    stretches: Vec<(u64, u64, usize)>,
}

impl ModulePlaces {
    pub(super) fn of(modules: &[Module]) -> Self {
        let claims = modules
            .iter()
            .enumerate()
            .filter(|(_, module)| module.size > 0);
        let mut borders: Vec<(u64, bool, usize)> = claims
            .flat_map(|(index, module)| [(module.base, true, index), (module.end(), false, index)])
            .collect();
        borders.sort_unstable();
        let mut places = ModulePlaces::default();
        let (mut open, mut from) = (BTreeSet::new(), 0);
        for (at, begins, index) in borders {
            if let Some(&first) = open.first()
                && from < at
            {
                places.push(from, at, first);
            }
            from = at;
            match begins {
                true => open.insert(index),
                false => open.remove(&index),
            };
        }
        places
    }

    fn push(&mut self, start: u64, end: u64, index: usize) {
        match self.stretches.last_mut() {
            Some(last) if last.1 == start && last.2 == index => last.1 = end,
            _ => self.stretches.push((start, end, index)),
        }
    }

    pub(super) fn at(&self, address: u64) -> Option<usize> {
        let behind = self
            .stretches
            .partition_point(|&(start, ..)| start <= address);
        let &(_, end, index) = self.stretches.get(behind.checked_sub(1)?)?;
        (address < end).then_some(index)
    }
}

fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_module_of_an_address_is_found() {
        let claims = [
            (0x1000u64, 0x1000u64),
            (0x1800, 0x1000),
            (0x0, 0x1100),
            (0x1900, 0x100),
            (u64::MAX - 0x10, 0x1000),
            (0x5000, 0),
            (0x4000, 0x100),
            (0x4100, 0x100),
        ];
        let modules: Vec<Module> = claims
            .iter()
            .map(|&(base, size)| Module {
                base,
                size,
                path: String::new(),
                timestamp: 0,
                checksum: 0,
                version: None,
                pdb: None,
            })
            .collect();
        let places = ModulePlaces::of(&modules);
        let borders = claims
            .iter()
            .flat_map(|&(base, size)| [base, base.saturating_add(size)]);
        let near = borders.flat_map(|at| [at.saturating_sub(1), at, at.saturating_add(1)]);
        for address in near {
            let first = modules.iter().position(|module| module.contains(address));
            assert_eq!(places.at(address), first, "{address:x}");
        }
    }
}
