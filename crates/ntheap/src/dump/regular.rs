//! Opening what is a file, and nothing else: a pipe has no end that could be mapped, a device may do
//! anything when it is read.

use std::{
    fs::{File, FileType, Metadata},
    io,
    path::Path,
};

use super::MappedFile;
use crate::{Error, Result};

impl MappedFile {
    /// Opens and maps a file. One on another machine is copied to a temporary file first where the
    /// system can't be asked to make the loss of a map good (Windows).
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::NotAFile`].
    pub fn open(path: &Path) -> Result<Self> {
        let (file, _) = open(path)?;
        map(path, file)
    }
}

/// Opens a regular file. Anything else is refused, and not even opened: that alone can take forever.
pub(super) fn open(path: &Path) -> Result<(File, Metadata)> {
    let failed = |source| io_error(path, source);
    let refused = |metadata: &Metadata| match what_else(metadata.file_type()) {
        Some(what) => Err(Error::NotAFile {
            path: path.to_owned(),
            what,
        }),
        None => Ok(()),
    };
    refused(&path.metadata().map_err(failed)?)?;
    let file = options().open(path).map_err(failed)?;
    // It may have been replaced meanwhile.
    let metadata = file.metadata().map_err(failed)?;
    refused(&metadata)?;
    Ok((file, metadata))
}

/// Maps a file that was opened by its path.
pub(super) fn map(path: &Path, mut file: File) -> Result<MappedFile> {
    let failed = |source| io_error(path, source);
    if cfg!(windows) && is_remote(path) {
        let mut copy = tempfile::tempfile().map_err(failed)?;
        io::copy(&mut file, &mut copy).map_err(failed)?;
        file = copy;
    }
    MappedFile::new(file).map_err(failed)
}

pub(super) fn io_error(path: &Path, source: io::Error) -> Error {
    Error::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(unix)]
fn options() -> std::fs::OpenOptions {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = File::options();
    options.read(true).custom_flags(libc::O_NONBLOCK);
    options
}

#[cfg(windows)]
fn options() -> std::fs::OpenOptions {
    use std::os::windows::fs::OpenOptionsExt;
    const FILE_SHARE_READ: u32 = 1;
    const FILE_SHARE_DELETE: u32 = 4;
    let mut options = File::options();
    // Nobody may write to it while it is read.
    options
        .read(true)
        .share_mode(FILE_SHARE_READ | FILE_SHARE_DELETE);
    options
}

#[cfg(not(any(unix, windows)))]
fn options() -> std::fs::OpenOptions {
    let mut options = File::options();
    options.read(true);
    options
}

#[cfg(unix)]
fn what_else(kind: FileType) -> Option<&'static str> {
    use std::os::unix::fs::FileTypeExt;
    if kind.is_fifo() {
        return Some("a pipe");
    }
    if kind.is_char_device() || kind.is_block_device() {
        return Some("a device");
    }
    if kind.is_socket() {
        return Some("a socket");
    }
    plain_what_else(kind)
}

#[cfg(not(unix))]
fn what_else(kind: FileType) -> Option<&'static str> {
    plain_what_else(kind)
}

fn plain_what_else(kind: FileType) -> Option<&'static str> {
    if kind.is_dir() {
        return Some("a folder");
    }
    (!kind.is_file()).then_some("something else")
}

/// Whether a file lies on another machine: drives that stand for shares are resolved by the system.
fn is_remote(path: &Path) -> bool {
    use std::path::{Component, Prefix};
    let full = path.canonicalize();
    let full = full.as_deref().unwrap_or(path);
    matches!(
        full.components().next(),
        Some(Component::Prefix(prefix))
            if matches!(prefix.kind(), Prefix::UNC(..) | Prefix::VerbatimUNC(..))
    )
}
