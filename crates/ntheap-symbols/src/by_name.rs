//! PDBs of modules of which only name and size are known, as logs have them: through the image file,
//! whose debug directory says which PDB belongs to it, or by the name alone.

use std::{
    fs::{self, File},
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    time::SystemTime,
};

use debugid::DebugId;
use ntheap::dump::PdbReference;

use crate::{Entry, SymbolPath, container::Container};

/// Files of one name that are looked at.
const MOST_FILES: usize = 64;
/// Larger PDBs are not read for their identity.
const MOST_BYTES: u64 = 1 << 30;

/// A PDB that was found by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LocalPdb {
    /// The file.
    pub path: PathBuf,
    /// The identity that it has.
    pub id: DebugId,
    /// When it was last written.
    pub modified: Option<SystemTime>,
}

/// The PDBs of this name in the folders of a symbol path, the newest first. Servers are not asked.
#[must_use]
pub fn local_pdbs(path: &SymbolPath, name: &str) -> Vec<LocalPdb> {
    let mut found: Vec<LocalPdb> = files(path, name)
        .filter_map(|path| {
            let metadata = fs::metadata(&path).ok()?;
            if metadata.len() > MOST_BYTES {
                return None;
            }
            let bytes = fs::read(&path).ok()?;
            let id = Container::parse(&bytes).ok()?.identity().ok()?;
            let modified = metadata.modified().ok();
            Some(LocalPdb { path, id, modified })
        })
        .collect();
    found.sort_by(|a, b| (b.modified, &a.path).cmp(&(a.modified, &b.path)));
    found
}

/// What the debug directory of an image says of its PDB: the first image of this name and size in the
/// folders of a symbol path, or at `own`.
#[must_use]
pub fn image_pdb(
    path: &SymbolPath,
    name: &str,
    size: u64,
    own: Option<&Path>,
) -> Option<PdbReference> {
    let all = files(path, name).chain(own.map(Path::to_owned));
    let mut images = all.filter_map(|path| read_image(&path));
    images.find(|image| image.0 == size)?.1
}

/// The files of a name in the folders of a symbol path: themselves, and in the layout of stores.
fn files(path: &SymbolPath, name: &str) -> impl Iterator<Item = PathBuf> {
    let is_plain = !name.is_empty() && !name.contains(['/', '\\', ':']) && !name.starts_with('.');
    let folders: Vec<PathBuf> = path
        .entries
        .iter()
        .filter(|_| is_plain)
        .flat_map(|entry| match entry {
            Entry::Folder(folder) => vec![folder.clone()],
            Entry::Cache(folder) => folder.iter().cloned().collect(),
            Entry::Server { stores, .. } => stores.iter().flatten().cloned().collect(),
        })
        .collect();
    let in_folder = |folder: PathBuf| {
        let Some(first) = child(&folder, name) else {
            return Vec::new();
        };
        if first.is_file() {
            return vec![first];
        }
        let ids = fs::read_dir(&first).into_iter().flatten().flatten();
        let files = ids.filter_map(|id| child(&id.path(), name));
        files.filter(|path| path.is_file()).collect()
    };
    let files: Vec<PathBuf> = folders.into_iter().flat_map(in_folder).collect();
    files.into_iter().take(MOST_FILES)
}

/// A folder's entry of this name, whatever its case.
fn child(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if exact.exists() {
        return Some(exact);
    }
    let mut entries = fs::read_dir(folder).ok()?.flatten();
    let same = |entry: &fs::DirEntry| {
        let found = entry.file_name();
        found.to_string_lossy().eq_ignore_ascii_case(name)
    };
    entries.find(same).map(|entry| entry.path())
}

/// Size in memory of an image, and the PDB that it names.
fn read_image(path: &Path) -> Option<(u64, Option<PdbReference>)> {
    /// Fits the headers of every linker.
    const HEADERS: u64 = 0x1000;
    let mut file = File::open(path).ok()?;
    let head = read_at(&mut file, 0, HEADERS)?;
    let u16_at = |at: usize| Some(u16::from_le_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(head.get(at..at + 4)?.try_into().ok()?));
    if head.get(..2)? != b"MZ" {
        return None;
    }
    let pe = u32_at(0x3c)? as usize;
    if head.get(pe..pe.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let sections = usize::from(u16_at(pe + 6)?);
    let optional_size = usize::from(u16_at(pe + 20)?);
    let optional = pe + 24;
    // Where the data directories begin in PE32 and PE32+.
    let directories = match u16_at(optional)? {
        0x10b => optional + 96,
        0x20b => optional + 112,
        _ => return None,
    };
    let size = u64::from(u32_at(optional + 56)?);
    let (debug, debug_size) = (u32_at(directories + 48)?, u32_at(directories + 52)?);
    let table = optional + optional_size;
    let mut pdb = None;
    for section in (0..sections).map(|number| table + number * 40) {
        let (Some(virtual_size), Some(start), Some(raw)) = (
            u32_at(section + 8),
            u32_at(section + 12),
            u32_at(section + 20),
        ) else {
            break;
        };
        let Some(inside) = debug.checked_sub(start).filter(|at| *at < virtual_size) else {
            continue;
        };
        let entries = read_at(
            &mut file,
            u64::from(raw) + u64::from(inside),
            u64::from(debug_size.min(28 * 32)),
        );
        pdb = entries.and_then(|entries| codeview(&mut file, &entries));
        break;
    }
    Some((size, pdb))
}

/// The record of the CodeView entry of a debug directory.
fn codeview(file: &mut File, entries: &[u8]) -> Option<PdbReference> {
    const CODEVIEW: u32 = 2;
    entries.chunks_exact(28).find_map(|entry| {
        let number = |at: usize| Some(u32::from_le_bytes(entry.get(at..at + 4)?.try_into().ok()?));
        if number(12)? != CODEVIEW {
            return None;
        }
        let record = read_at(file, number(24)?.into(), number(16)?.min(1024).into())?;
        if record.get(..4)? != b"RSDS" {
            return None;
        }
        let age = u32::from_le_bytes(record.get(20..24)?.try_into().ok()?);
        let name = record.get(24..)?.split(|&byte| byte == 0).next()?;
        Some(PdbReference {
            file: String::from_utf8_lossy(name).into_owned(),
            id: DebugId::from_guid_age(record.get(4..20)?, age).ok()?,
        })
    })
}

/// As much of a stretch of a file as there is.
fn read_at(file: &mut File, at: u64, size: u64) -> Option<Vec<u8>> {
    file.seek(SeekFrom::Start(at)).ok()?;
    let mut bytes = Vec::new();
    file.take(size).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A PE32+ image of one section with a debug directory.
    fn image(size: u32, guid: [u8; 16]) -> Vec<u8> {
        let mut bytes = vec![0u8; 0x600];
        let mut put = |at: usize, value: &[u8]| bytes[at..at + value.len()].copy_from_slice(value);
        put(0, b"MZ");
        put(0x3c, &0x80u32.to_le_bytes());
        put(0x80, b"PE\0\0");
        put(0x86, &1u16.to_le_bytes());
        put(0x94, &240u16.to_le_bytes());
        let optional = 0x98;
        put(optional, &0x20bu16.to_le_bytes());
        put(optional + 56, &size.to_le_bytes());
        put(optional + 112 + 48, &0x1010u32.to_le_bytes());
        put(optional + 112 + 52, &28u32.to_le_bytes());
        let section = optional + 240;
        put(section + 8, &0x200u32.to_le_bytes());
        put(section + 12, &0x1000u32.to_le_bytes());
        put(section + 20, &0x400u32.to_le_bytes());
        put(0x410 + 12, &2u32.to_le_bytes());
        put(0x410 + 16, &34u32.to_le_bytes());
        put(0x410 + 24, &0x500u32.to_le_bytes());
        put(0x500, b"RSDS");
        put(0x504, &guid);
        put(0x514, &3u32.to_le_bytes());
        put(0x518, b"C:\\b\\a.pdb\0");
        bytes
    }

    #[test]
    fn an_image_of_the_size_names_its_pdb() {
        let folder = tempfile::tempdir().unwrap();
        let store = folder.path().join("a.exe").join("12345678a000");
        fs::create_dir_all(&store).unwrap();
        fs::write(store.join("A.EXE"), image(0xa000, [7; 16])).unwrap();
        let path = SymbolPath::parse(&folder.path().to_string_lossy()).unwrap();
        let found = image_pdb(&path, "a.exe", 0xa000, None).unwrap();
        assert_eq!(found.file_name(), "a.pdb");
        assert_eq!(found.id, DebugId::from_guid_age(&[7; 16], 3).unwrap());
        assert_eq!(image_pdb(&path, "a.exe", 0xb000, None), None);
        assert_eq!(image_pdb(&path, "../a.exe", 0xa000, None), None);
    }

    #[test]
    fn no_image_and_a_cut_one_say_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let whole = image(0xa000, [7; 16]);
        for length in [0, 2, 0x84, 0x98, 0x140, 0x198, 0x418, 0x510] {
            let path = folder.path().join("b.dll");
            fs::write(&path, &whole[..length]).unwrap();
            let pdb = read_image(&path).and_then(|image| image.1);
            assert_eq!(pdb, None, "{length:#x}");
        }
    }

    #[test]
    fn pdbs_are_found_by_name() {
        let symbols = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/symbols");
        let path = SymbolPath::parse(symbols).unwrap();
        assert!(!local_pdbs(&path, "ordersvc.pdb").is_empty());
        assert!(local_pdbs(&path, "nothing.pdb").is_empty());
    }
}
