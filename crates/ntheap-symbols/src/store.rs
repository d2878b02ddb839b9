//! Finds PDBs in local folders.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use debugid::DebugId;
use ntheap::dump::MappedFile;

use crate::content::Content;
use crate::convert::identity;
use crate::{Error, sandbox};

/// A PDB's content and where it came from.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) path: PathBuf,
    pub(crate) data: Content,
    pub(crate) id: DebugId,
}

/// What to look for: a file name without any folder, and its identity.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) name: String,
    pub(crate) id: DebugId,
    pub(crate) max_size: u64,
}

impl Wanted {
    /// `None` when the name could lead out of the folders that it is looked for in, on any system.
    pub(crate) fn new(name: &str, id: DebugId, max_size: u64) -> Option<Self> {
        is_harmless(name).then(|| Self {
            name: name.to_owned(),
            id,
            max_size,
        })
    }

    /// GUID and age as stores name their folders: capital digits, the age without leading zeros.
    pub(crate) fn key(&self) -> String {
        self.id.breakpad().to_string()
    }

    /// The name of the compressed file: the last character is replaced by `_`.
    pub(crate) fn compressed_name(&self) -> String {
        compressed_name(&self.name)
    }
}

/// Whether a name is that of a file and of nothing else, on any system.
fn is_harmless(name: &str) -> bool {
    const DEVICES: [&str; 8] = [
        "con", "prn", "aux", "nul", "conin$", "conout$", "com", "lpt",
    ];
    // Devices keep their meaning with any extension, and some with a number behind them.
    let stem = name.split('.').next().unwrap_or_default().trim_end();
    let number = stem.trim_end_matches(|c: char| c.is_ascii_digit() || "¹²³".contains(c));
    let is_device = DEVICES.iter().any(|device| {
        let numbered = matches!(*device, "com" | "lpt");
        let plain = if numbered { number } else { stem };
        plain.eq_ignore_ascii_case(device) && numbered == (number.len() < stem.len())
    });
    // Two letters of the name are a folder in some stores.
    let is_dots = |text: &str| text.trim().chars().all(|c| c == '.');
    let initials: String = name.chars().take(2).collect();
    !name.is_empty()
        && name.len() < 256
        && !is_dots(&initials)
        && !name.ends_with(['.', ' '])
        && !name.contains(['/', '\\', ':', '*', '?', '"', '<', '>', '|'])
        && !name.chars().any(char::is_control)
        && !is_device
}

pub(crate) fn compressed_name(name: &str) -> String {
    let mut compressed = name.to_owned();
    compressed.pop();
    compressed.push('_');
    compressed
}

/// Collects what was tried, and files of the right name and the wrong identity.
#[derive(Debug, Default)]
pub(crate) struct Search {
    pub(crate) tried: Vec<String>,
    pub(crate) mismatched: Option<Found>,
    /// Files of the right name that are not what they should be, and why.
    pub(crate) unusable: Vec<(PathBuf, String)>,
    seen: HashSet<PathBuf>,
}

impl Search {
    /// Looks into one folder: the file itself, then the store layouts.
    pub(crate) fn folder(&mut self, folder: &Path, wanted: &Wanted) -> Option<Found> {
        let key = wanted.key();
        let name = wanted.name.as_str();
        let initials: String = name.chars().take(2).collect();
        let compressed = wanted.compressed_name();
        let mut layouts: Vec<Vec<&str>> = vec![
            vec![name],
            vec![name, &key, name],
            vec![name, &key, &compressed],
        ];
        if child(folder, "index2.txt").is_some() {
            layouts.push(vec![&initials, name, &key, name]);
            layouts.push(vec![&initials, name, &key, &compressed]);
        }
        for kind in ["dll", "exe"] {
            layouts.push(vec![kind, name]);
            layouts.push(vec!["symbols", kind, name]);
        }
        layouts.iter().find_map(|parts| {
            let mut path = folder.to_owned();
            for part in parts {
                match child(&path, part) {
                    Some(next) => path = next,
                    None => {
                        if parts.len() != 2 && parts[0] == name && parts.last() == Some(&name) {
                            let path = parts.iter().fold(folder.to_owned(), |p, part| p.join(part));
                            self.note(&path, "not there");
                        }
                        return None;
                    }
                }
            }
            self.file(&path, wanted)
        })
    }

    /// Looks at one file.
    pub(crate) fn file(&mut self, path: &Path, wanted: &Wanted) -> Option<Found> {
        if !path.is_file() || !self.seen.insert(path.to_owned()) {
            return None;
        }
        match open(path, wanted) {
            Ok(found) if found.id == wanted.id => Some(found),
            Ok(found) => {
                let found_id = found.id.breakpad();
                self.note(path, &format!("is {found_id}, wanted {}", wanted.key()));
                self.mismatched.get_or_insert(found);
                None
            }
            Err(error) => {
                self.note(path, &error.to_string());
                self.unusable.push((path.to_owned(), error.to_string()));
                None
            }
        }
    }

    pub(crate) fn note(&mut self, place: &Path, what: &str) {
        self.note_text(format!("{}: {what}", place.display()));
    }

    pub(crate) fn note_text(&mut self, text: String) {
        if !self.tried.contains(&text) {
            self.tried.push(text);
        }
    }
}

/// Opens a PDB, expanding it when its name says that it is compressed.
fn open(path: &Path, wanted: &Wanted) -> Result<Found, Error> {
    let io = |error| Error::io(path, error);
    let map = || MappedFile::open(path).map_err(|error| unreadable(path, error));
    let size = fs::metadata(path).map_err(io)?.len();
    if size > wanted.max_size {
        return Err(Error::TooLarge {
            size,
            limit: wanted.max_size,
        });
    }
    let is_compressed = path
        .file_name()
        .and_then(OsStr::to_str)
        .is_some_and(|name| name.eq_ignore_ascii_case(&wanted.compressed_name()));
    let data = if is_compressed {
        let (packed, of) = (map()?, wanted.clone());
        let limit = Duration::from_secs(600);
        let mut target = tempfile::tempfile().map_err(io)?;
        let expanded = sandbox::run(limit, move || {
            expand(&packed, &of, &mut target)?;
            Ok(target)
        })?;
        Content::of(&expanded).map_err(io)?
    } else {
        Content::from(map()?)
    };
    let id = identity(&data)?;
    Ok(Found {
        path: path.to_owned(),
        data,
        id,
    })
}

fn unreadable(path: &Path, error: ntheap::Error) -> Error {
    match error {
        ntheap::Error::Io { source, .. } => Error::io(path, source),
        other => Error::io(path, std::io::Error::other(other)),
    }
}

/// Expands a cabinet that holds the wanted file to `target`.
pub(crate) fn expand(packed: &[u8], wanted: &Wanted, target: &mut File) -> Result<(), Error> {
    let failed = |detail: String| Error::Cabinet {
        name: wanted.compressed_name(),
        detail,
    };
    let mut cabinet =
        cab::Cabinet::new(std::io::Cursor::new(packed)).map_err(|e| failed(e.to_string()))?;
    let files: Vec<(String, u64)> = cabinet
        .folder_entries()
        .flat_map(|folder| folder.file_entries())
        .map(|file| (file.name().to_owned(), u64::from(file.uncompressed_size())))
        .collect();
    let (name, size) = files
        .iter()
        .find(|(name, _)| {
            let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
            name.eq_ignore_ascii_case(&wanted.name)
        })
        .or_else(|| files.first().filter(|_| files.len() == 1))
        .ok_or_else(|| failed(format!("holds {} files, none of them it", files.len())))?;
    if *size > wanted.max_size {
        return Err(Error::TooLarge {
            size: *size,
            limit: wanted.max_size,
        });
    }
    let reader = cabinet.read_file(name).map_err(|e| failed(e.to_string()))?;
    std::io::copy(&mut reader.take(*size), target).map_err(|e| failed(e.to_string()))?;
    Ok(())
}

/// The entry of a folder by its name, or, failing that, by its name without regard to case: stores
/// made on Windows do not care for it.
fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.exists() {
        return Some(exact);
    }
    let entries = fs::read_dir(folder).ok()?;
    entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .find(|path| {
            path.file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|n| n.eq_ignore_ascii_case(name))
        })
}

/// The folder of a file as a dump records it, when it can be looked at without any network.
pub(crate) fn local_folder(recorded: &str) -> Option<PathBuf> {
    let end = recorded.rfind(['/', '\\'])?;
    let is_share = recorded.starts_with(['\\', '/']) && recorded[1..].starts_with(['\\', '/']);
    let folder = Path::new(&recorded[..end]);
    (!is_share && folder.is_absolute() && folder.is_dir()).then(|| folder.to_owned())
}
