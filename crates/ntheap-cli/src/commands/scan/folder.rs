//! The dumps in a folder.

use std::{
    fs::{self, File},
    io::Read,
    path::{Path, PathBuf},
};

use ntheap::dump::FileName;

use crate::failure::Failure;

/// Folders in folders that are looked into.
const DEEPEST: usize = 64;

/// What a folder holds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Dumps, packed ones too, by their paths in the folder, in order.
    pub(super) dumps: Vec<PathBuf>,
    /// How many files are none.
    pub(super) others: u64,
    /// Folders that could not be read, each with the reason.
    pub(super) unread: Vec<String>,
}

/// Looks for dumps: by name, and where the name does not tell by content. What the results are written
/// to is passed over, and links to folders, which can lead in circles.
pub(super) fn dumps(folder: &Path, output: &Path) -> Result<Found, Failure> {
    let unusable = |error: std::io::Error| {
        Failure::Usage(format!("{}: {error}", crate::privacy::path(folder)))
    };
    fs::read_dir(folder).map_err(unusable)?;
    let output = output.canonicalize().ok();
    let mut found = Found::default();
    let mut open = vec![(PathBuf::new(), 0)];
    while let Some((relative, depth)) = open.pop() {
        let path = folder.join(&relative);
        if output.is_some() && path.canonicalize().ok() == output {
            continue;
        }
        let entries = match fs::read_dir(&path) {
            Ok(entries) => entries,
            Err(error) => {
                found
                    .unread
                    .push(format!("{}: {error}", relative.display()));
                continue;
            }
        };
        for entry in entries.flatten() {
            let relative = relative.join(entry.file_name());
            match entry.file_type() {
                Ok(kind) if kind.is_dir() && depth < DEEPEST => open.push((relative, depth + 1)),
                Ok(kind) if kind.is_dir() => {
                    found
                        .unread
                        .push(format!("{}: lies too deep", relative.display()));
                }
                // A link to a file is as good as the file.
                Ok(_) if entry.path().is_file() => match is_dump(&entry.path()) {
                    true => found.dumps.push(relative),
                    false => found.others += 1,
                },
                _ => found.others += 1,
            }
        }
    }
    found.dumps.sort();
    Ok(found)
}

fn is_dump(path: &Path) -> bool {
    let begins = || {
        let mut magic = [0; 4];
        let read = File::open(path).and_then(|mut file| file.read_exact(&mut magic));
        read.is_ok() && &magic == b"MDMP"
    };
    FileName::of(path) == FileName::Dump || begins()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dumps_are_found_by_name_and_content() {
        let folder = tempfile::tempdir().expect("a folder");
        let put = |name: &str, bytes: &[u8]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().expect("a folder")).expect("made");
            fs::write(path, bytes).expect("written");
        };
        put("b.DMP", b"");
        put("a/x.dmp.zst", b"");
        put("a/report", b"MDMPxxxx");
        put("a/notes.dmp.txt", b"hello");
        put("out/scan.jsonl", b"{}");
        put("out/y.dmp", b"");
        let found = dumps(folder.path(), &folder.path().join("out")).expect("it can be read");
        let names: Vec<String> = found
            .dumps
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        assert_eq!(
            names,
            ["a/report", "a/x.dmp.zst", "b.DMP"]
                .map(|name| { Path::new(name).display().to_string() })
        );
        assert_eq!(found.others, 1);
        assert!(dumps(&folder.path().join("none"), folder.path()).is_err());
    }
}
