//! Modules of the dumped process and the PDB that each one names.

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

fn file_name(path: &str) -> &str {
    path.rsplit(['\\', '/']).next().unwrap_or(path)
}
