//! Run-time type information of programs that nobody of this project built: the `debugpy` wheels for
//! Windows carry programs and libraries made by Visual C++, with their PDBs.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Instant,
};

use ntheap::{
    address_space::AddressSpace,
    dump::{Module, PdbReference},
    layout::Bitness,
    types::Rtti,
};
use ntheap_symbols::{SymbolPath, Symbols};

const VERSION: &str = "debugpy==1.8.22";
/// Complete object locators, and as many virtual function tables, of all images together: 25 in each
/// `inject_dll`, 4 in each of the libraries.
const LOCATORS: usize = 66;

/// Installs the wheel for a platform, if that was not done before; `None` where it can't be had.
fn wheel(platform: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = root.join("target/wheels").join(platform);
    if folder.join("debugpy").is_dir() {
        return Some(folder);
    }
    let status = Command::new("python3")
        .args([
            "-m",
            "pip",
            "install",
            "--quiet",
            "--disable-pip-version-check",
        ])
        .args([
            "--no-deps",
            "--only-binary=:all:",
            "--python-version",
            "3.12",
        ])
        .args(["--no-compile", "--platform", platform, "--target"])
        .arg(&folder)
        .arg(VERSION)
        .status();
    let installed = status.is_ok_and(|status| status.success());
    (installed && folder.join("debugpy").is_dir()).then_some(folder)
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            files(&path, found);
        } else {
            found.push(path);
        }
    }
}

/// An executable as the loader maps it at the address that it prefers.
struct Loaded {
    module: Module,
    bitness: Bitness,
    sections: Vec<(u64, u64, u64)>,
}

fn load(path: &Path, bytes: &[u8]) -> Loaded {
    let u16_at = |at: usize| u16::from_le_bytes(bytes[at..at + 2].try_into().unwrap());
    let u32_at = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let header = u32_at(0x3c) as usize;
    let optional = header + 0x18;
    let wide = u16_at(optional) == 0x20b;
    let base = if wide {
        u64::from(u32_at(optional + 0x18)) | u64::from(u32_at(optional + 0x1c)) << 32
    } else {
        u64::from(u32_at(optional + 0x1c))
    };
    let mut sections = vec![(base, 0, u64::from(u32_at(optional + 0x3c)))];
    let first = optional + usize::from(u16_at(header + 0x14));
    for index in 0..usize::from(u16_at(header + 6)) {
        let section = first + index * 0x28;
        let [size, rva, raw, offset] = [8, 12, 16, 20].map(|at| u64::from(u32_at(section + at)));
        sections.push((base + rva, offset, size.min(raw)));
    }
    // The CodeView record names the PDB.
    let at = bytes.windows(4).position(|window| window == b"RSDS");
    let pdb = at.and_then(|at| {
        let name = bytes[at + 24..].split(|&byte| byte == 0).next()?;
        let guid: String = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15]
            .iter()
            .map(|&index| format!("{:02X}", bytes[at + 4 + index]))
            .collect();
        Some(PdbReference {
            file: String::from_utf8_lossy(name).into_owned(),
            id: format!("{guid}{:X}", u32_at(at + 20)).parse().ok()?,
        })
    });
    Loaded {
        module: Module {
            base,
            size: u64::from(u32_at(optional + 0x38)),
            path: path.to_string_lossy().into_owned(),
            timestamp: u32_at(header + 8),
            checksum: 0,
            version: None,
            pdb,
        },
        bitness: if wide { Bitness::X64 } else { Bitness::X86 },
        sections,
    }
}

#[test]
fn all_locators_and_tables_of_foreign_images_are_found_and_none_invented() {
    let mut seen = BTreeSet::new();
    let mut locators = 0;
    for platform in ["win_amd64", "win32"] {
        let Some(folder) = wheel(platform) else {
            println!("SKIPPED: the {VERSION} wheel for {platform} can't be installed here");
            return;
        };
        let mut found = Vec::new();
        files(&folder, &mut found);
        found.sort();
        for path in found {
            let is_image = path.extension().is_some_and(|e| e == "dll" || e == "exe");
            if is_image && seen.insert(path.file_name().map(ToOwned::to_owned)) {
                locators += compare(&path);
            }
        }
    }
    assert_eq!(locators, LOCATORS);
}

/// Compares what is found in an image with what its PDB names; the number of locators.
fn compare(path: &Path) -> usize {
    let bytes = fs::read(path).expect("the image");
    let loaded = load(path, &bytes);
    let memory = AddressSpace::new(&bytes, loaded.sections.iter().copied());
    let modules = [loaded.module];
    let rtti = Rtti::of_modules(&memory, &modules, loaded.bitness);
    let [module] = modules;

    let mut search = SymbolPath::default();
    search.push_folder(path.parent().expect("a folder"));
    let symbols = Symbols::builder().path(search).build();
    let loaded = symbols.module(&module);
    let loaded = loaded.unwrap_or_else(|| panic!("{}: {:?}", module.path, symbols.status(&module)));
    let named = |prefix: &str| -> BTreeSet<u64> {
        let all = loaded.table().symbols().iter();
        let named = all.filter(|symbol| symbol.decorated_name().starts_with(prefix));
        named
            .map(|symbol| module.base + u64::from(symbol.rva))
            .collect()
    };
    let tables: BTreeSet<u64> = rtti.vftables().map(|vftable| vftable.address).collect();
    let locators: BTreeSet<u64> = rtti.vftables().map(|vftable| vftable.locator).collect();
    let truth = named("??_R4");
    assert_eq!(locators, truth, "{}: locators", module.path);
    assert_eq!(rtti.locators(), truth.len(), "{}", module.path);
    let truth = named("??_7");
    assert_eq!(tables, truth, "{}: virtual function tables", module.path);
    for vftable in rtti.vftables() {
        let class = rtti.class(vftable.class).expect("a class");
        let rva = (vftable.address - module.base) as u32;
        let symbols = loaded.table().at(rva);
        let name = format!("{}::`vftable'", class.name);
        assert!(
            symbols.iter().any(|symbol| symbol.name == name),
            "{}: {name} is {symbols:?}",
            module.path
        );
    }
    println!("{}: {} locators", module.file_name(), truth.len());
    truth.len()
}

/// The time that the search takes, over images made large by repetition.
#[test]
fn the_search_is_fast() {
    let Some(folder) = wheel("win_amd64") else {
        println!("SKIPPED: the {VERSION} wheel can't be installed here");
        return;
    };
    let mut found = Vec::new();
    files(&folder, &mut found);
    let path = found
        .iter()
        .find(|path| path.ends_with("inject_dll_amd64.exe"));
    let bytes = fs::read(path.expect("inject_dll_amd64.exe")).expect("the image");
    let copies = (100 << 20) / bytes.len();
    let mut many = Vec::with_capacity(copies * bytes.len());
    let mut sections = Vec::new();
    let mut modules = Vec::new();
    for copy in 0..copies as u64 {
        let mut loaded = load(Path::new("inject.exe"), &bytes);
        let shift = copy << 24;
        loaded.module.base += shift;
        for (address, offset, size) in loaded.sections {
            sections.push((address + shift, offset + many.len() as u64, size));
        }
        many.extend_from_slice(&bytes);
        modules.push(loaded.module);
    }
    let memory = AddressSpace::new(&many, sections);
    let started = Instant::now();
    let rtti = Rtti::of_modules(&memory, &modules, Bitness::X64);
    let took = started.elapsed();
    println!(
        "{} locators in {} MB: {took:?}",
        rtti.locators(),
        many.len() >> 20
    );
    assert!(rtti.locators() >= copies * 20);
    // Five times what is asked for: the machine that runs the tests has other things to do.
    assert!(took.as_secs_f64() < 1.0, "{took:?}");
}
