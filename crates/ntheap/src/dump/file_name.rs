//! What the name of a file tells of it.

use std::path::Path;

/// Ends of the names of dumps, and of the packed files that [`DumpFile`](super::DumpFile) unpacks.
const DUMPS: [&str; 5] = ["dmp", "mdmp", "hdmp", "dump", "minidump"];
const PACKED: [&str; 6] = ["zst", "gz", "xz", "zip", "7z", "cab"];

/// What the name of a file tells of it.
///
/// ```
/// use ntheap::dump::FileName;
///
/// assert_eq!(FileName::of("app.dmp.zst".as_ref()), FileName::Dump);
/// assert_eq!(FileName::of("report.zip".as_ref()), FileName::Packed);
/// assert_eq!(FileName::of("app.dmp.txt".as_ref()), FileName::Other);
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileName {
    /// A dump, plain or packed.
    Dump,
    /// Something packed, which may be a dump.
    Packed,
    /// Neither.
    Other,
}

impl FileName {
    /// What the name at the end of a path tells, whatever the case of its letters.
    #[must_use]
    pub fn of(path: &Path) -> Self {
        let ends_with = |path: &Path, ends: &[&str]| {
            let extension = path.extension().map(|end| end.to_string_lossy());
            extension.is_some_and(|end| ends.iter().any(|known| end.eq_ignore_ascii_case(known)))
        };
        let is_packed = ends_with(path, &PACKED);
        let unpacked = path.with_extension("");
        match if is_packed { unpacked.as_path() } else { path } {
            name if ends_with(name, &DUMPS) => FileName::Dump,
            _ if is_packed => FileName::Packed,
            _ => FileName::Other,
        }
    }
}
