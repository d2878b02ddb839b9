//! The folders that the server may read, and nothing else.

use std::{
    fs, io,
    path::{Component, Path, PathBuf},
};

use ntheap::dump::FileName;

use crate::fault::{Fault, FaultKind};

/// Most entries of a folder that are looked at.
const MOST_ENTRIES: usize = 10_000;

/// The folders, by their real paths.
#[derive(Debug)]
pub(crate) struct Folders(Vec<PathBuf>);

/// A dump or a folder below them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// Its path, as the tools take it.
    pub(crate) path: String,
    pub(crate) is_folder: bool,
    pub(crate) bytes: u64,
}

impl Folders {
    pub(crate) fn new(folders: &[PathBuf]) -> io::Result<Self> {
        if folders.is_empty() {
            let text = "at least one folder must be named";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let real = |folder: &PathBuf| {
            let named = |error: io::Error| {
                io::Error::new(error.kind(), format!("{}: {error}", folder.display()))
            };
            let real = folder.canonicalize().map_err(named)?;
            match real.is_dir() {
                true => Ok(real),
                false => Err(named(io::ErrorKind::NotADirectory.into())),
            }
        };
        folders
            .iter()
            .map(real)
            .collect::<io::Result<_>>()
            .map(Folders)
    }

    /// The real path of something below the folders. Links are followed first: what they lead to must
    /// lie below a folder, too. What lies elsewhere is refused alike whether it exists or not.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf, Fault> {
        if path.is_empty() || path.contains('\0') {
            return Err(Fault::argument("the path is empty or no path"));
        }
        let asked = Path::new(path);
        let mut inside = false;
        for folder in &self.0 {
            let full = folder.join(asked);
            match full.canonicalize() {
                Ok(real) if self.0.iter().any(|folder| real.starts_with(folder)) => {
                    return Ok(real);
                }
                Ok(_) => {}
                Err(_) => inside |= self.0.iter().any(|folder| stays_below(&full, folder)),
            }
        }
        Err(match inside {
            true => Fault::new(FaultKind::NoSuchFile, "there is no such file"),
            false => Fault {
                hint: Some("call open without a path for what may be read"),
                ..Fault::new(
                    FaultKind::OutsideFolders,
                    "the path leads out of the folders that may be read",
                )
            },
        })
    }

    /// The dumps and folders in a folder, or in all that were named.
    pub(crate) fn list(&self, folder: Option<&Path>) -> Vec<Entry> {
        let folders = folder.map_or_else(|| self.0.clone(), |folder| vec![folder.to_path_buf()]);
        let mut entries: Vec<Entry> = folders
            .iter()
            .flat_map(|folder| self.entries(folder))
            .collect();
        entries.sort_by(|a, b| a.path.cmp(&b.path));
        entries.dedup();
        entries
    }

    fn entries(&self, folder: &Path) -> Vec<Entry> {
        let Ok(read) = fs::read_dir(folder) else {
            return Vec::new();
        };
        let entry = |entry: fs::DirEntry| {
            let path = entry.path();
            // Without following: a link may lead anywhere.
            let about = entry.metadata().ok()?;
            let is_folder = about.is_dir();
            let is_dump = about.is_file() && FileName::of(&path) != FileName::Other;
            if !is_folder && !is_dump {
                return None;
            }
            Some(Entry {
                path: self.shown(&path),
                is_folder,
                bytes: about.len(),
            })
        };
        let all = read.take(MOST_ENTRIES).flatten();
        all.filter_map(entry).collect()
    }

    /// A path as the tools take it: below the folder, where there is one alone.
    pub(crate) fn shown(&self, path: &Path) -> String {
        let below = match &self.0[..] {
            [only] => path.strip_prefix(only).unwrap_or(path),
            _ => path,
        };
        below.display().to_string()
    }
}

/// Whether a path that does not exist would lie below a folder, by its parts alone.
fn stays_below(path: &Path, folder: &Path) -> bool {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            Component::CurDir => {}
            part => plain.push(part),
        }
    }
    plain.starts_with(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(folders: &Folders, path: &str) -> Option<FaultKind> {
        folders.resolve(path).err().map(|fault| fault.kind)
    }

    #[test]
    fn nothing_outside_is_reached() {
        let home = tempfile::tempdir().expect("a folder");
        let (open, closed) = (home.path().join("open"), home.path().join("closed"));
        fs::create_dir_all(open.join("deep")).expect("folders");
        fs::create_dir_all(&closed).expect("a folder");
        fs::write(open.join("deep/a.dmp"), "a").expect("a file");
        fs::write(closed.join("b.dmp"), "b").expect("a file");
        let folders = Folders::new(std::slice::from_ref(&open)).expect("folders");

        assert_eq!(kind(&folders, "deep/a.dmp"), None);
        assert_eq!(kind(&folders, "deep/../deep/a.dmp"), None);
        let inside = open.join("deep/a.dmp").display().to_string();
        assert_eq!(kind(&folders, &inside), None);
        assert_eq!(kind(&folders, "deep/none.dmp"), Some(FaultKind::NoSuchFile));
        assert_eq!(kind(&folders, ""), Some(FaultKind::BadArgument));
        assert_eq!(kind(&folders, "a\0.dmp"), Some(FaultKind::BadArgument));
        let outside = Some(FaultKind::OutsideFolders);
        assert_eq!(kind(&folders, "../closed/b.dmp"), outside);
        // Whether it exists is none of the agent's business.
        assert_eq!(kind(&folders, "../closed/none.dmp"), outside);
        assert_eq!(kind(&folders, "deep/../../closed/b.dmp"), outside);
        assert_eq!(
            kind(&folders, &closed.join("b.dmp").display().to_string()),
            outside
        );
        assert_eq!(kind(&folders, "/etc/passwd"), outside);
        let sibling = format!("{}-too/a.dmp", open.display());
        assert_eq!(kind(&folders, &sibling), outside);
    }

    #[cfg(unix)]
    #[test]
    fn links_lead_nowhere_else() {
        use std::os::unix::fs::symlink;
        let home = tempfile::tempdir().expect("a folder");
        let (open, closed) = (home.path().join("open"), home.path().join("closed"));
        fs::create_dir_all(&open).expect("a folder");
        fs::create_dir_all(&closed).expect("a folder");
        fs::write(closed.join("b.dmp"), "b").expect("a file");
        fs::write(open.join("a.dmp"), "a").expect("a file");
        symlink(closed.join("b.dmp"), open.join("file.dmp")).expect("a link");
        symlink(&closed, open.join("folder")).expect("a link");
        symlink(open.join("a.dmp"), open.join("fine.dmp")).expect("a link");
        let folders = Folders::new(&[open]).expect("folders");
        assert_eq!(kind(&folders, "file.dmp"), Some(FaultKind::OutsideFolders));
        assert_eq!(
            kind(&folders, "folder/b.dmp"),
            Some(FaultKind::OutsideFolders)
        );
        assert_eq!(kind(&folders, "fine.dmp"), None);
        let names: Vec<String> = folders
            .list(None)
            .into_iter()
            .map(|entry| entry.path)
            .collect();
        assert_eq!(names, ["a.dmp"]);
    }
}
