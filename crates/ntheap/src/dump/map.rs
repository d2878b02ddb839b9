//! The one place with `unsafe`: mapping a file into memory.

use std::{fs::File, io};

use memmap2::Mmap;

/// Maps `file` read-only.
pub(super) fn map(file: &File) -> io::Result<Mmap> {
    // SAFETY: the map is read-only and lives as long as its owner. What no program can rule out is
    // that another process truncates or rewrites the file meanwhile: a dump is a finished file, and
    // every memory-mapping reader (debuggers too) makes the same assumption.
    unsafe { Mmap::map(file) }
}
