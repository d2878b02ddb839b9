//! The built-in layouts against the type records of real ntdll PDBs.
//!
//! The PDBs are not part of the repository: they are looked for beside the folder that
//! `NTHEAP_ORACLE` names.

use std::{env, fs, path::PathBuf};

use ntheap::layout::{Bitness, Layouts, TypeCatalogue, TypeSource};
use ntheap_symbols::PdbTypes;

/// PDBs by the beginning of their identity: build and width.
const PDBS: [(&str, &str, u32, Bitness); 7] = [
    ("ntdll.pdb", "1EB9FACB", 19041, Bitness::X64),
    ("ntdll.pdb", "7762C666", 19041, Bitness::X64),
    ("ntdll.pdb", "9D04EB0A", 7601, Bitness::X64),
    ("ntdll.pdb", "E3C1142B", 7601, Bitness::X86),
    ("ntdll.pdb", "CCC0E361", 19045, Bitness::X64),
    ("wntdll.pdb", "CBD5D6B8", 19041, Bitness::X86),
    ("wntdll.pdb", "1C96EAD8", 19045, Bitness::X86),
];

fn folder() -> Option<PathBuf> {
    let mut oracle = PathBuf::from(env::var_os("NTHEAP_ORACLE")?);
    if oracle.is_relative() {
        oracle = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("../..")
            .join(oracle);
    }
    Some(oracle.join("../symbols/ntdll"))
}

#[test]
fn built_in_layouts_equal_the_type_records() {
    let Some(folder) = folder() else {
        println!("NTHEAP_ORACLE is not set: no PDB to compare with");
        return;
    };
    let (mut compared, mut structures, mut typed) = (0, 0, 0);
    let mut wrong = Vec::new();
    for (name, id, build, bitness) in PDBS {
        let store = folder.join(name);
        let entries = fs::read_dir(&store).unwrap_or_else(|_| panic!("no {}", store.display()));
        let path = entries
            .flatten()
            .find(|entry| entry.file_name().to_string_lossy().starts_with(id))
            .map(|entry| entry.path().join(name))
            .unwrap_or_else(|| panic!("no PDB {id} in {}", store.display()));
        let bytes = fs::read(&path).expect("the PDB reads");
        let types = PdbTypes::from_bytes(&bytes).expect("the PDB has types");
        let built_in = Layouts::for_build(build, bitness);
        let mut last = "";
        for (structure, field, offset) in built_in.fields() {
            if last != structure {
                last = structure;
                structures += usize::from(types.size_of(structure).is_some());
            }
            // Page heap left ntdll for verifier.dll, whose structures of these names have grown apart
            // from those in ntdll's type records since 14393 (docs/findings-page-heap.md).
            if build >= 14393 && matches!(structure, "_DPH_HEAP_ROOT" | "_DPH_HEAP_BLOCK") {
                continue;
            }
            let Some(found) = types.field_offset(structure, field) else {
                continue;
            };
            compared += 1;
            if offset != Some(found) {
                wrong.push(format!(
                    "{id} {structure}.{field}: {offset:x?}, the PDB has {found:#x}"
                ));
            }
        }
        for name in TypeCatalogue::names(&built_in) {
            let id = built_in.find(&name).expect("it was listed");
            let structure = TypeCatalogue::structure(&built_in, id).expect("it was found");
            for field in structure.fields {
                let recorded = types.field(&name, &field.name);
                let recorded = recorded.map(|(_, field)| field.type_name.as_str());
                typed += usize::from(recorded.is_some());
                if recorded.is_some_and(|recorded| recorded != field.type_name) {
                    wrong.push(format!(
                        "{build} {name}.{}: {}, the PDB has {recorded:?}",
                        field.name, field.type_name
                    ));
                }
            }
        }
        // Overriding with what is the same must change nothing.
        let mut overridden = built_in.clone();
        let changed = overridden.override_with(&types);
        if changed != 0 {
            wrong.push(format!("{id}: overriding changes {changed} values"));
        }
    }
    println!(
        "{compared} fields of {structures} structures compared, {typed} types; {} wrong",
        wrong.len()
    );
    assert!(compared.min(typed) > 1000, "hardly anything was compared");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
