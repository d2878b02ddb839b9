//! Compressed files and archives, told by their content: the reader of the dump inside.
//!
//! Dumps travel as `.zst` and `.gz`, as `.zip` and `.7z` from people, as `.xz` from Linux collectors
//! and as `.cab` from Windows Error Reporting.

use std::{
    fs::File,
    io::{self, BufReader, Read, Seek, SeekFrom},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// What a file's first bytes say that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Packing {
    /// Not packed.
    Plain,
    Zstd,
    Gzip,
    Xz,
    Zip,
    SevenZip,
    Cabinet,
}

impl Packing {
    /// Longest signature in bytes.
    pub(super) const MAGIC: usize = 6;

    pub(super) fn of(magic: &[u8]) -> Self {
        const SIGNATURES: [(&[u8], Packing); 6] = [
            (&[0x28, 0xb5, 0x2f, 0xfd], Packing::Zstd),
            (&[0x1f, 0x8b], Packing::Gzip),
            (&[0xfd, b'7', b'z', b'X', b'Z', 0], Packing::Xz),
            (b"PK\x03\x04", Packing::Zip),
            (&[b'7', b'z', 0xbc, 0xaf, 0x27, 0x1c], Packing::SevenZip),
            (b"MSCF", Packing::Cabinet),
        ];
        SIGNATURES
            .iter()
            .find(|(signature, _)| magic.starts_with(signature))
            .map_or(Packing::Plain, |(_, packing)| *packing)
    }
}

/// Hands the bytes of the dump in a packed file to `work`, and how many packed bytes they took.
pub(super) fn with_contents<T>(
    packing: Packing,
    file: File,
    work: impl FnOnce(&mut dyn Read, &AtomicU64) -> T,
) -> io::Result<T> {
    let file = Counted::new(file);
    let count = file.count.clone();
    Ok(match packing {
        Packing::Plain => work(&mut { file }, &count),
        Packing::Zstd => {
            let mut decoder = zstd::Decoder::new(file)?;
            // Dumps compressed with `zstd --long` use windows up to 2 GiB.
            decoder.window_log_max(31)?;
            work(&mut decoder, &count)
        }
        Packing::Gzip => work(&mut flate2::read::MultiGzDecoder::new(file), &count),
        Packing::Xz => work(
            &mut lzma_rust2::XzReader::new(BufReader::new(file), true),
            &count,
        ),
        Packing::Zip => {
            let mut archive = zip::ZipArchive::new(file).map_err(io::Error::from)?;
            let names = archive.file_names().map(str::to_owned).collect();
            let name = the_dump(names)?;
            let mut member = archive.by_name(&name).map_err(io::Error::from)?;
            work(&mut member, &count)
        }
        Packing::SevenZip => return in_seven_zip(file, &count, work),
        Packing::Cabinet => {
            let mut cabinet = cab::Cabinet::new(file)?;
            let folders = cabinet.folder_entries();
            let files = folders.flat_map(|folder| folder.file_entries());
            let name = the_dump(files.map(|file| file.name().to_owned()).collect())?;
            let mut member = cabinet.read_file(&name)?;
            work(&mut member, &count)
        }
    })
}

fn in_seven_zip<T>(
    mut file: Counted,
    count: &AtomicU64,
    work: impl FnOnce(&mut dyn Read, &AtomicU64) -> T,
) -> io::Result<T> {
    use sevenz_rust2::{ArchiveReader, Password};

    let failed = |error: sevenz_rust2::Error| io::Error::other(error.to_string());
    file.seek(SeekFrom::Start(0))?;
    let mut archive = ArchiveReader::new(file, Password::empty()).map_err(failed)?;
    let members = archive.archive().files.iter();
    let files = members.filter(|member| member.has_stream() && !member.is_directory());
    let name = the_dump(files.map(|member| member.name().to_owned()).collect())?;
    let mut work = Some(work);
    let mut result = None;
    archive
        .for_each_entries(|member, reader| {
            // Members of one solid block lie behind each other: those before are read and forgotten.
            if member.name() != name {
                io::copy(reader, &mut io::sink())?;
                return Ok(true);
            }
            if let Some(work) = work.take() {
                result = Some(work(reader, count));
            }
            Ok(false)
        })
        .map_err(failed)?;
    result.ok_or_else(|| no_dump("the archive does not give out"))
}

/// The member that is a dump: by its name, or because it is alone.
fn the_dump(mut names: Vec<String>) -> io::Result<String> {
    const ENDINGS: [&str; 3] = [".dmp", ".mdmp", ".hdmp"];
    names.retain(|name| !name.ends_with(['/', '\\']));
    let alone = names.len() == 1;
    let is_dump = |name: &&String| {
        let name = name.to_ascii_lowercase();
        ENDINGS.iter().any(|ending| name.ends_with(ending))
    };
    let dumps: Vec<&String> = names.iter().filter(is_dump).collect();
    match dumps[..] {
        [] if alone => Ok(names.swap_remove(0)),
        [] => Err(no_dump("no member of the archive has the name of")),
        [dump] => Ok(dump.clone()),
        [first, second, ..] => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!(
                "the archive has {} dumps ({first}, {second}{}): unpack the one that is meant",
                dumps.len(),
                if dumps.len() > 2 { ", ..." } else { "" }
            ),
        )),
    }
}

fn no_dump(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{what} a dump"))
}

/// Counts the packed bytes that were read.
struct Counted {
    file: BufReader<File>,
    count: Arc<AtomicU64>,
}

impl Counted {
    fn new(file: File) -> Self {
        Counted {
            file: BufReader::with_capacity(1 << 18, file),
            count: Arc::default(),
        }
    }
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.count.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

impl Seek for Counted {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.file.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(list: &[&str]) -> Vec<String> {
        list.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn the_member_that_is_a_dump() {
        let found = |list| the_dump(names(list)).map_err(|error| error.to_string());
        assert_eq!(
            found(&["a/", "a/readme.txt", "a/App.DMP"]).unwrap(),
            "a/App.DMP"
        );
        assert_eq!(found(&["memory"]).unwrap(), "memory");
        assert!(
            found(&["a.txt", "b.txt"])
                .unwrap_err()
                .contains("no member")
        );
        assert!(
            found(&["a.dmp", "b.dmp"])
                .unwrap_err()
                .contains("2 dumps (a.dmp, b.dmp)")
        );
        assert!(found(&[]).is_err());
    }

    #[test]
    fn packings_by_their_first_bytes() {
        assert_eq!(Packing::of(b"MDMP\x93\xa7"), Packing::Plain);
        assert_eq!(Packing::of(b"PK\x03\x04\x14\0"), Packing::Zip);
        assert_eq!(Packing::of(b"MSCF\0\0"), Packing::Cabinet);
        assert_eq!(Packing::of(&[0x1f]), Packing::Plain);
    }
}
