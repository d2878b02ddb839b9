//! A dump on disk: mapped, or decompressed to a temporary file and mapped.

use std::{
    fmt,
    fs::File,
    io::{self, Read, Seek, Write},
    path::Path,
};

use memmap2::Mmap;

use super::map::map;
use crate::{Error, Result};

/// Called while a compressed dump is unpacked, with the compressed bytes read so far and their
/// total number.
pub type Progress<'p> = &'p mut dyn FnMut(u64, u64);

/// How to open a dump.
pub struct OpenOptions<'p> {
    /// Told of the progress of decompression.
    pub progress: Option<Progress<'p>>,
    /// Most bytes that a compressed dump may unpack to (a safeguard for the disk that the
    /// temporary file is on). What comes after is left out and reported as truncated.
    pub max_decompressed: u64,
}

impl Default for OpenOptions<'_> {
    fn default() -> Self {
        OpenOptions {
            progress: None,
            max_decompressed: 1 << 40,
        }
    }
}

impl fmt::Debug for OpenOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OpenOptions")
            .field("progress", &self.progress.is_some())
            .field("max_decompressed", &self.max_decompressed)
            .finish()
    }
}

/// The bytes of a dump file. Compressed dumps (zstd, gzip; told by content, not by name) are
/// decompressed to a temporary file that goes when this value goes.
#[derive(Debug)]
pub struct DumpFile {
    map: Mmap,
    incomplete: Option<String>,
}

impl DumpFile {
    /// Opens and maps the file.
    ///
    /// # Errors
    /// [`Error::Io`] if it can't be read or mapped, [`Error::EmptyFile`].
    pub fn open(path: &Path) -> Result<Self> {
        Self::open_with(path, OpenOptions::default())
    }

    /// Opens and maps the file, with options.
    ///
    /// # Errors
    /// As [`DumpFile::open`].
    pub fn open_with(path: &Path, options: OpenOptions<'_>) -> Result<Self> {
        let io_error = |source| Error::Io {
            path: path.to_owned(),
            source,
        };
        let mut file = File::open(path).map_err(io_error)?;
        let metadata = file.metadata().map_err(io_error)?;
        if metadata.is_dir() {
            return Err(io_error(io::Error::from(io::ErrorKind::IsADirectory)));
        }
        let mut magic = [0; 4];
        let count = read_up_to(&mut file, &mut magic).map_err(io_error)?;
        if count == 0 {
            return Err(Error::EmptyFile);
        }
        file.rewind().map_err(io_error)?;

        let size = metadata.len();
        let (file, incomplete) = match magic {
            [0x28, 0xb5, 0x2f, 0xfd] => {
                let mut decoder = zstd::Decoder::new(Counted::new(file)).map_err(io_error)?;
                // Dumps compressed with `zstd --long` use windows up to 2 GiB.
                decoder.window_log_max(31).map_err(io_error)?;
                unpack(decoder, |d| d.get_ref().get_ref().count, size, options).map_err(io_error)?
            }
            [0x1f, 0x8b, ..] => {
                let decoder = flate2::read::MultiGzDecoder::new(Counted::new(file));
                unpack(decoder, |d| d.get_ref().count, size, options).map_err(io_error)?
            }
            _ => (file, None),
        };
        if file.metadata().map_err(io_error)?.len() == 0 {
            return Err(Error::EmptyFile);
        }
        Ok(DumpFile {
            map: map(&file).map_err(io_error)?,
            incomplete,
        })
    }

    /// The bytes of the (decompressed) dump.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.map
    }

    /// Why decompression ended early, if it did: the bytes up to there are kept.
    #[must_use]
    pub fn incomplete(&self) -> Option<&str> {
        self.incomplete.as_deref()
    }
}

/// Unpacks into a temporary file; damage ends the unpacking and is described, not fatal.
fn unpack<D: Read>(
    mut decoder: D,
    consumed: impl Fn(&D) -> u64,
    total: u64,
    mut options: OpenOptions<'_>,
) -> io::Result<(File, Option<String>)> {
    let mut output = tempfile::tempfile()?;
    let mut buffer = vec![0; 1 << 20];
    let mut written = 0u64;
    let incomplete = loop {
        match decoder.read(&mut buffer) {
            Ok(0) => break None,
            Ok(count) => {
                if written.saturating_add(count as u64) > options.max_decompressed {
                    break Some(format!(
                        "unpacks to more than {} bytes",
                        options.max_decompressed
                    ));
                }
                output.write_all(&buffer[..count])?;
                written += count as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) if written > 0 => {
                break Some(format!(
                    "compressed data ends or is damaged after {written} bytes: {error}"
                ));
            }
            Err(error) => return Err(error),
        }
        if let Some(progress) = &mut options.progress {
            progress(consumed(&decoder), total);
        }
    };
    Ok((output, incomplete))
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

/// Counts the compressed bytes that were read.
struct Counted {
    file: File,
    count: u64,
}

impl Counted {
    fn new(file: File) -> Self {
        Counted { file, count: 0 }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}
