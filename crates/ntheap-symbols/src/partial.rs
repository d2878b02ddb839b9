//! Files that are being written.
//!
//! They lie in a folder of their own beside what they will be part of, and get their name when they are
//! complete. Their writer holds a lock on each, which the system takes away however the writer ends: what
//! nobody holds was left behind, and goes at the next start.

use std::fs::{self, File, TryLockError};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use tempfile::NamedTempFile;

use crate::Error;

/// The folder, in a store or in the cache.
const FOLDER: &str = ".partial";
/// What such files were called when they lay beside their future selves.
const FORMER_PREFIX: &str = ".partial-";
/// After this time a file is given up that can't be asked whether somebody holds it.
const LONGEST_WRITE: Duration = Duration::from_secs(24 * 60 * 60);

/// Makes a file that can be persisted in the store or cache `root`.
pub(crate) fn create(root: &Path) -> io::Result<NamedTempFile> {
    const ATTEMPTS: usize = 10;
    let folder = root.join(FOLDER);
    let mut made = Err(io::ErrorKind::NotFound.into());
    for _ in 0..ATTEMPTS {
        made = fs::create_dir_all(&folder)
            .and_then(|()| tempfile::Builder::new().prefix("").tempfile_in(&folder));
        // Whoever sweeps at this moment takes the empty folder away, or the file before it is locked.
        if let Ok(file) = &made {
            // Where there are no locks, age decides.
            let _ = file.as_file().lock();
            if file.path().exists() {
                break;
            }
        }
    }
    made
}

/// Removes what programs left behind in the store or cache `root` that were killed.
pub(crate) fn sweep(root: &Path) {
    let folder = root.join(FOLDER);
    if let Ok(entries) = fs::read_dir(&folder) {
        for entry in entries.flatten() {
            remove_if_left(&entry.path());
        }
        // Only an empty one goes.
        let _ = fs::remove_dir(&folder);
    }
}

/// Removes left-overs of earlier versions, which lie in the folder of a stored file.
pub(crate) fn sweep_former(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(FORMER_PREFIX) {
            remove_if_left(&entry.path());
        }
    }
}

fn remove_if_left(path: &Path) {
    if !path.symlink_metadata().is_ok_and(|m| m.is_file()) {
        return;
    }
    let Ok(file) = File::open(path) else {
        return;
    };
    let is_left = match file.try_lock() {
        Ok(()) => true,
        Err(TryLockError::WouldBlock) => false,
        Err(TryLockError::Error(_)) => is_old(&file),
    };
    if is_left {
        let _ = fs::remove_file(path);
    }
}

fn is_old(file: &File) -> bool {
    let written = file.metadata().and_then(|m| m.modified());
    written.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > LONGEST_WRITE))
}

/// Writes a file of the store or cache `root`: it appears when it is complete.
pub(crate) fn write(root: &Path, file: &Path, data: &[u8]) -> Result<(), Error> {
    let io = |error| Error::io(file, error);
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder).map_err(io)?;
    }
    let mut temporary = create(root).map_err(io)?;
    temporary.write_all(data).map_err(io)?;
    temporary.as_file().sync_all().map_err(io)?;
    temporary.persist(file).map_err(|error| io(error.error))?;
    tidy(root);
    Ok(())
}

/// Removes the folder of such files, unless somebody has one.
pub(crate) fn tidy(root: &Path) {
    let _ = fs::remove_dir(root.join(FOLDER));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_somebody_writes_stays_and_what_was_left_goes() {
        let root = tempfile::tempdir().unwrap();
        let living = create(root.path()).unwrap();
        let left = root.path().join(FOLDER).join("left");
        fs::write(&left, b"half").unwrap();
        sweep(root.path());
        assert!(living.path().exists() && !left.exists());
        let file = root.path().join("a/b");
        fs::create_dir(root.path().join("a")).unwrap();
        living.persist(&file).unwrap();
        sweep(root.path());
        let names: Vec<_> = fs::read_dir(root.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "{names:?}");
    }

    #[test]
    fn former_places_are_cleaned_too() {
        let folder = tempfile::tempdir().unwrap();
        for name in [".partial-aBc", "app.pdb"] {
            fs::write(folder.path().join(name), b"x").unwrap();
        }
        sweep_former(folder.path());
        let mut names = fs::read_dir(folder.path()).unwrap();
        assert_eq!(names.next().unwrap().unwrap().file_name(), "app.pdb");
        assert!(names.next().is_none());
    }

    #[test]
    fn many_writers_and_sweepers() {
        let root = tempfile::tempdir().unwrap();
        std::thread::scope(|scope| {
            for number in 0..8 {
                let root = root.path();
                scope.spawn(move || {
                    for round in 0..50 {
                        let file = root.join(format!("{number}/{round}"));
                        write(root, &file, b"whole").unwrap();
                        sweep(root);
                    }
                });
            }
        });
        let written = (0..8).flat_map(|number| (0..50).map(move |round| (number, round)));
        for (number, round) in written {
            let file = root.path().join(format!("{number}/{round}"));
            assert_eq!(fs::read(file).unwrap(), b"whole");
        }
    }
}
