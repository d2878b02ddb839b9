//! Dumps named by pattern: where the shell does not expand `*` and `?`, as on Windows.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ntheap::names::matches_pattern;

use crate::failure::Failure;

/// The files that the arguments name, in order; those of a pattern by name.
pub(crate) fn expand(paths: &[PathBuf]) -> Result<Vec<PathBuf>, Failure> {
    let mut all = Vec::new();
    for path in paths {
        all.extend(one(path)?);
    }
    Ok(all)
}

fn one(path: &Path) -> Result<Vec<PathBuf>, Failure> {
    let name = path.file_name().map(|name| name.to_string_lossy());
    let Some(pattern) = name.filter(|name| name.contains(['*', '?']) && !path.exists()) else {
        return Ok(vec![path.to_owned()]);
    };
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let entries = fs::read_dir(folder.unwrap_or(Path::new("."))).into_iter();
    let mut found: Vec<PathBuf> = entries
        .flatten()
        .filter_map(Result::ok)
        .filter(|entry| matches_pattern(&pattern, &entry.file_name().to_string_lossy()))
        .map(|entry| match folder {
            Some(folder) => folder.join(entry.file_name()),
            None => entry.file_name().into(),
        })
        .collect();
    found.sort();
    match found.is_empty() {
        true => Err(Failure::Usage(format!("{}: no such file", path.display()))),
        false => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_every_file_that_fits() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["b-2.dmp", "b-1.dmp", "c.dmp"] {
            fs::write(folder.path().join(name), b"").expect("written");
        }
        let found = expand(&[folder.path().join("b-*.dmp")]).expect("they are there");
        let names: Vec<_> = found.iter().filter_map(|path| path.file_name()).collect();
        assert_eq!(names, ["b-1.dmp", "b-2.dmp"]);
        assert!(expand(&[folder.path().join("d*.dmp")]).is_err());
    }
}
