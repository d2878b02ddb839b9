//! A dump on disk: mapped, or decompressed to a temporary file and mapped.

use std::{
    fmt,
    fs::{File, Metadata},
    io::{self, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    MappedFile,
    packed::{Packing, with_contents},
    regular::{self, io_error},
};
use crate::{Error, Result};

/// More than dumps of mostly untouched memory shrink by.
const HIGHEST_RATIO: u64 = 1000;
/// Every dump may unpack to this much.
const ALWAYS_ALLOWED: u64 = 4 << 30;

/// Called while a compressed dump is unpacked, with the compressed bytes read so far and their
/// total number.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// How to open a dump.
#[derive(Default)]
pub struct OpenOptions<'p> {
    /// Told of the progress of decompression.
    pub progress: Option<Progress<'p>>,
    /// Most bytes that a compressed dump may unpack to, a safeguard for the disk that the temporary
    /// file is on. By default 1,000 times its size, and 4 GiB in any case.
    pub max_decompressed: Option<u64>,
}

impl fmt::Debug for OpenOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("progress", &self.progress.is_some())
            .field("max_decompressed", &self.max_decompressed)
            .finish()
    }
}

/// The bytes of a dump file. Packed dumps (zstd, gzip, xz, zip, 7z, cabinets; told by content, not by
/// name) are unpacked to a temporary file that goes when this value goes, or the program, however it ends.
#[derive(Debug)]
pub struct DumpFile {
    map: MappedFile,
    incomplete: Option<String>,
    source: Source,
}

/// The file that the bytes come from, to see whether it is still the one that was opened.
#[derive(Debug)]
struct Source {
    path: PathBuf,
    file: File,
    opened: Metadata,
}

impl DumpFile {
    /// Opens and maps the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read or mapped, [`Error::NotAFile`], [`Error::EmptyFile`],
    /// [`Error::UnpacksToTooMuch`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens and maps the file, with options.
    ///
    /// # Errors
    /// As [`DumpFile::open`].
    pub fn open_with(path: &Path, options: OpenOptions<'_>) -> Result<Self> {
        let failed = |source| io_error(path, source);
        let (mut file, opened) = regular::open(path)?;
        let mut magic = [0; Packing::MAGIC];
        let count = read_up_to(&mut file, &mut magic).map_err(failed)?;
        if count == 0 {
            return Err(Error::EmptyFile);
        }
        file.rewind().map_err(failed)?;
        let source = Source {
            path: path.to_owned(),
            file: file.try_clone().map_err(failed)?,
            opened,
        };

        let mut incomplete = None;
        let map = match Packing::of(&magic[..count]) {
            Packing::Plain => regular::map(path, file)?,
            packing => {
                let size = source.opened.len();
                let work = |contents: &mut dyn Read, consumed: &AtomicU64| {
                    unpack(contents, consumed, path, size, options)
                };
                let unpacked;
                (unpacked, incomplete) = with_contents(packing, file, work).map_err(failed)??;
                MappedFile::new(unpacked).map_err(failed)?
            }
        };
        if map.is_empty() {
            return Err(Error::EmptyFile);
        }
        Ok(DumpFile {
            map,
            incomplete,
            source,
        })
    }

    /// The bytes of the (decompressed) dump.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Does work that looks at few places far apart, as finding the heaps of a process does. For what goes
    /// through the file the system reads ahead.
    pub fn scattered<T>(&self, work: impl FnOnce() -> T) -> T {
        self.map.scattered(work)
    }

    /// Why decompression ended early, if it did: the bytes up to there are kept.
    #[must_use]
    pub fn incomplete(&self) -> Option<&str> {
        self.incomplete.as_deref()
    }

    /// Whether what was read so far can be relied on: to be asked when the work is done.
    ///
    /// # Errors
    /// [`Error::Lost`] if a part of the file could not be read any more, [`Error::Changed`] if it was
    /// written to since it was opened.
    pub fn check(&self) -> Result<()> {
        let Source { path, file, opened } = &self.source;
        let size = opened.len();
        let now = file.metadata().map_err(|error| io_error(path, error))?;
        let cut_off = (now.len() < size).then_some(now.len());
        if let Some(from) = self.map.lost().into_iter().chain(cut_off).min() {
            return Err(Error::Lost { from, size });
        }
        // Not every file system keeps the time.
        let written = |of: &Metadata| of.modified().ok();
        if now.len() != size || written(&now) != written(opened) {
            return Err(Error::Changed {
                before: size,
                after: now.len(),
            });
        }
        Ok(())
    }
}

/// Unpacks into a temporary file; damage ends the unpacking and is described, not fatal.
///
/// The file has no name on Unix and is gone with its last handle on Windows.
fn unpack(
    contents: &mut dyn Read,
    consumed: &AtomicU64,
    path: &Path,
    size: u64,
    mut options: OpenOptions<'_>,
) -> Result<(File, Option<String>)> {
    let limit = options
        .max_decompressed
        .unwrap_or_else(|| size.saturating_mul(HIGHEST_RATIO).max(ALWAYS_ALLOWED));
    let no_room = |error: io::Error| {
        let folder = std::env::temp_dir();
        let text = format!("can't be unpacked to {}: {error}", folder.display());
        io_error(path, io::Error::new(error.kind(), text))
    };
    let mut output = Sparse {
        file: tempfile::tempfile().map_err(no_room)?,
        size: 0,
    };
    let mut buffer = vec![0; 1 << 20];
    let incomplete = loop {
        match contents.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => {
                if output.size.saturating_add(count as u64) > limit {
                    return Err(Error::UnpacksToTooMuch {
                        packed: size,
                        limit,
                    });
                }
                output.put(&buffer[..count]).map_err(no_room)?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if output.size > 0 => {
                break Some(format!(
                    "compressed data ends or is damaged after {} bytes: {error}",
                    output.size
                ));
            }
            Err(error) => return Err(io_error(path, error)),
        }
        if let Some(progress) = &mut options.progress {
            progress(consumed.load(Ordering::Relaxed).min(size), size);
        }
    };
    output.file.set_len(output.size).map_err(no_room)?;
    Ok((output.file, incomplete))
}

/// A new file whose zeros take no room.
struct Sparse {
    file: File,
    size: u64,
}

impl Sparse {
    fn put(&mut self, bytes: &[u8]) -> io::Result<()> {
        const HOLE: usize = 0x1_0000;
        for part in bytes.chunks(HOLE) {
            if part.len() == HOLE && part.iter().all(|&byte| byte == 0) {
                self.file.seek(SeekFrom::Current(HOLE as i64))?;
            } else {
                self.file.write_all(part)?;
            }
            self.size += part.len() as u64;
        }
        Ok(())
    }
}

fn read_up_to(file: &mut File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read(&mut buffer[done..])? {
            0 => break,
            count => done += count,
        }
    }
    Ok(done)
}
