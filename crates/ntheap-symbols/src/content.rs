//! The bytes of a PDB: mapped, or expanded to memory.

use std::fs::File;
use std::io;
use std::ops::Deref;

use ntheap::dump::MappedFile;

/// The bytes of a file.
#[derive(Debug)]
pub(crate) struct Content(MappedFile);

impl Content {
    /// Maps a file that was written here.
    pub(crate) fn of(file: &File) -> io::Result<Self> {
        Ok(Self(MappedFile::new(file.try_clone()?)?))
    }

    /// Whether the file could be read to its end so far.
    pub(crate) fn is_whole(&self) -> bool {
        self.0.lost().is_none()
    }
}

impl From<MappedFile> for Content {
    fn from(file: MappedFile) -> Self {
        Self(file)
    }
}

impl Deref for Content {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
