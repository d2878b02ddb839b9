//! The bytes of a PDB: of a mapped file, or in memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

use ntheap::dump::MappedFile;

/// The bytes of a PDB.
#[derive(Debug)]
pub(crate) enum Content {
    Mapped(MappedFile),
    Memory(Vec<u8>),
}

impl Content {
    /// Maps a file that was written here.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self::Mapped(MappedFile::new(file.try_clone()?)?))
    }

    /// Whether the file could be read to its end so far.
    pub(crate) fn is_whole(&self) -> bool {
        match self {
            Self::Mapped(file) => file.lost().is_none(),
            Self::Memory(_) => true,
        }
    }
}

impl From<MappedFile> for Content {
    fn from(file: MappedFile) -> Self {
        Self::Mapped(file)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(file) => file,
            Self::Memory(bytes) => bytes,
        }
    }
}
