//! What a module and a stack are, independent of where they were loaded.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use ntheap::{
    dump::{Module, PdbReference},
    names::is_allocator,
    printable::printable,
};

/// Characters of a name that are kept.
const LONGEST_NAME: usize = 160;

/// A module, as it is the same in every process that loads it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ModuleIdentity {
    /// File name.
    pub name: String,
    /// `TimeDateStamp` of the image.
    pub timestamp: u32,
    /// Size of the mapped image in bytes.
    pub size: u64,
    /// Whether it is a part of Windows, by the folder that it was loaded from, or one of Microsoft's C
    /// and C++ runtimes, wherever these were.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub system: bool,
    /// File name of its PDB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdb: Option<String>,
    /// GUID and age of the PDB, as symbol servers write them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pdb_id: Option<String>,
}

impl ModuleIdentity {
    /// The identity of a module of a dump.
    #[must_use]
    pub fn of(module: &Module) -> Self {
        ModuleIdentity {
            name: bounded(module.file_name()),
            timestamp: module.timestamp,
            size: module.size,
            system: is_of_windows(&module.path) || is_runtime(module.name()),
            pdb: module.pdb.as_ref().map(|pdb| bounded(pdb.file_name())),
            pdb_id: module.pdb.as_ref().map(|pdb| pdb.id.breakpad().to_string()),
        }
    }

    /// The module as symbols are looked for, at address 0.
    #[must_use]
    pub fn as_module(&self) -> Module {
        let id = self.pdb_id.as_ref().and_then(|id| id.parse().ok());
        Module {
            base: 0,
            size: self.size,
            path: self.name.clone(),
            timestamp: self.timestamp,
            checksum: 0,
            version: None,
            pdb: id
                .zip(self.pdb.clone())
                .map(|(id, file)| PdbReference { file, id }),
        }
    }

    /// The name without its extension.
    #[must_use]
    pub fn short_name(&self) -> &str {
        self.name
            .rsplit_once('.')
            .map_or(&self.name, |(stem, _)| stem)
    }

    /// The line by which a frame in the module is hashed.
    fn line(&self, offset: u64) -> String {
        let name = self.name.to_ascii_lowercase();
        format!("{name}|{:x}|{:x}|{offset:x}\n", self.timestamp, self.size)
    }
}

/// Whether a file lies in a folder of Windows.
fn is_of_windows(path: &str) -> bool {
    let path = path.to_ascii_lowercase().replace('/', "\\");
    let mut parts = path.split('\\');
    let folders = ["system32", "syswow64", "winsxs", "systemapps", "assembly"];
    parts.any(|part| part == "windows" || part == "winnt" || part == "systemroot")
        && parts.any(|part| folders.contains(&part))
}

/// Whether a module is a runtime, which programs bring along or take from Windows.
fn is_runtime(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    let beginnings = [
        "msvcp",
        "vcruntime",
        "ucrtbase",
        "concrt",
        "mfc1",
        "mfc4",
        "atl1",
    ];
    is_allocator(&name) || beginnings.iter().any(|begin| name.starts_with(begin))
}

/// A name from a dump, in a length that leaves room for others.
pub(super) fn bounded(name: &str) -> String {
    let name = printable(name);
    if name.chars().count() <= LONGEST_NAME {
        return name.into_owned();
    }
    // Names that begin alike stay apart.
    let kept: String = name.chars().take(LONGEST_NAME - 18).collect();
    format!("{kept}~{}", hash([name.as_bytes()]))
}

/// The first 16 hexadecimal digits of the SHA-256 of these bytes together.
fn hash<'b>(parts: impl IntoIterator<Item = &'b [u8]>) -> String {
    let mut digest = Sha256::new();
    parts.into_iter().for_each(|part| digest.update(part));
    let digest = digest.finalize();
    digest[..8]
        .iter()
        .fold(String::with_capacity(16), |text, byte| {
            text + &format!("{byte:02x}")
        })
}

/// A frame: its module, and the offset in it; `None` outside all modules.
type Frame<'m> = Option<(&'m ModuleIdentity, u64)>;

fn line(frame: Frame<'_>) -> String {
    frame.map_or_else(|| "?\n".to_owned(), |(module, offset)| module.line(offset))
}

/// The hash of a stack: the first 16 hexadecimal digits of the SHA-256 of a line for each frame,
/// innermost first: `name|timestamp|size|offset`, the name in lower case, the numbers in hexadecimal;
/// `?` for a frame outside all modules.
#[must_use]
pub fn stack_hash(frames: &[Frame<'_>]) -> String {
    let lines: Vec<String> = frames.iter().copied().map(line).collect();
    hash(lines.iter().map(String::as_bytes))
}

/// The hash of a stack without the frames of Windows and the runtimes, and those outside all modules, so that it is the
/// same on every version of Windows; of a stack that has no other, the hash of all.
#[must_use]
pub fn site_hash(frames: &[Frame<'_>]) -> String {
    let own: Vec<Frame<'_>> = frames
        .iter()
        .copied()
        .filter(|frame| frame.is_some_and(|(module, _)| !module.system))
        .collect();
    stack_hash(if own.is_empty() { frames } else { &own })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn module(name: &str, system: bool) -> ModuleIdentity {
        ModuleIdentity {
            name: name.to_owned(),
            timestamp: 0x5f00_0001,
            size: 0x1000,
            system,
            pdb: None,
            pdb_id: None,
        }
    }

    /// The numbers are what `printf 'app.exe|5f000001|1000|1234\n' | sha256sum` prints.
    #[test]
    fn hashes_are_those_of_the_documented_lines() {
        let (app, ntdll) = (module("App.exe", false), module("ntdll.dll", true));
        let (inner, own, outer) = (
            Some((&ntdll, 0x10)),
            Some((&app, 0x1234)),
            Some((&ntdll, 0x20)),
        );
        assert_eq!(stack_hash(&[own]), "dce00897e3ad5a24");
        assert_eq!(site_hash(&[inner, own, None, outer]), stack_hash(&[own]));
        assert_ne!(stack_hash(&[inner, own, outer]), stack_hash(&[own]));
        assert_ne!(stack_hash(&[own, inner]), stack_hash(&[inner, own]));
        assert_eq!(site_hash(&[inner, outer]), stack_hash(&[inner, outer]));
    }

    #[test]
    fn what_is_a_part_of_windows() {
        for path in [
            r"C:\Windows\System32\ntdll.dll",
            r"D:\WINDOWS\SysWOW64\kernel32.dll",
            r"\SystemRoot\system32\ntdll.dll",
            r"C:\Windows\WinSxS\amd64_x\comctl32.dll",
        ] {
            assert!(is_of_windows(path), "{path}");
        }
        for path in [
            r"C:\App\app.exe",
            "app.exe",
            r"C:\App\Windows\plugin.dll",
            r"C:\system32\x.dll",
        ] {
            assert!(!is_of_windows(path), "{path}");
        }
    }

    #[test]
    fn long_names_stay_apart() {
        let long = "n".repeat(1000);
        let names = [bounded(&(long.clone() + "a")), bounded(&(long + "b"))];
        assert_ne!(names[0], names[1]);
        assert!(names.iter().all(|name| name.len() <= LONGEST_NAME));
        assert_eq!(bounded("a\n"), r"a\x0a");
    }
}
