//! Names that a dump from a stranger can hold: nothing outside of the given folders is looked at.

mod common;

use std::fs;

use common::*;
use ntheap_symbols::{ModuleStatus, SymbolPath, Symbols};

#[test]
fn only_the_last_part_of_a_name_is_used() {
    let root = tempfile::tempdir().unwrap();
    let content = pdb_bytes("ordersvc.pdb", ORDERSVC);
    // What must not be found: beside the store, and where the dump says.
    put(root.path(), &["ordersvc.pdb"], &content);
    put(root.path(), &["else", "ordersvc.pdb"], &content);
    let store = root.path().join("a").join("store");
    fs::create_dir_all(&store).unwrap();
    put(&store, &["index2.txt"], b"");
    let here = root.path().to_str().unwrap();
    let path = SymbolPath::parse(&format!("{0};srv*{0};cache*{0}", store.display())).unwrap();
    for name in [
        format!("{here}/else/ordersvc.pdb"),
        format!("{here}\\else\\ordersvc.pdb"),
        "../../else/ordersvc.pdb".to_owned(),
        r"..\..\ordersvc.pdb".to_owned(),
        "C:ordersvc.pdb".to_owned(),
        r"\\?\C:\ordersvc.pdb".to_owned(),
        "..".to_owned(),
        String::new(),
    ] {
        let symbols = Symbols::builder().path(path.clone()).build();
        let mut module = ordersvc();
        module.path = format!("{here}/else/ordersvc.exe");
        module.pdb.as_mut().unwrap().file.clone_from(&name);
        match symbols.status(&module) {
            ModuleStatus::NotFound { tried } => {
                let inside = |text: &String| {
                    text.starts_with(store.to_str().unwrap()) || text.contains("is no file name")
                };
                assert!(tried.iter().all(inside), "{name}: {tried:?}");
            }
            status => panic!("{name}: {status:?}"),
        }
    }
    // The last part is enough, where the file is.
    put(
        &store,
        &["ordersvc.pdb", ORDERSVC, "ordersvc.pdb"],
        &content,
    );
    for name in [
        "../../else/ordersvc.pdb",
        r"Z:\gone\ordersvc.pdb",
        r"\\server\share/ordersvc.pdb",
    ] {
        let symbols = Symbols::builder().path(path.clone()).build();
        let mut module = ordersvc();
        module.pdb.as_mut().unwrap().file = name.to_owned();
        assert!(symbols.resolve(&module, 0x1449).is_some(), "{name}");
    }
}

#[test]
fn names_of_devices_and_folders_are_none_of_files() {
    for name in [
        "..",
        ".",
        "...",
        "..x.pdb",
        ". .pdb",
        "nul",
        "NUL.pdb",
        "con",
        "aux.x.pdb",
        "Com1",
        "lpt9.pdb",
        "COM\u{b9}.pdb",
        "prn .pdb",
        "CONIN$",
        "a:b",
        "C:",
        "a.pdb:stream",
        "x\0y",
        "\u{1b}[2J",
        "a?b",
        "a*b",
        "a.pdb.",
        "a.pdb ",
    ] {
        let symbols = folder(&testdata()).build();
        let mut module = ordersvc();
        module.pdb.as_mut().unwrap().file = format!("C:\\x\\{name}");
        match symbols.status(&module) {
            ModuleStatus::NotFound { tried } => {
                assert!(tried[0].contains("is no file name"), "{name:?}: {tried:?}");
            }
            status => panic!("{name:?}: {status:?}"),
        }
    }
    // These only look like it.
    for name in [
        "console.pdb",
        "com.pdb",
        "lpt.pdb",
        "com10x.pdb",
        ".net.pdb",
        "nul1.pdb",
        "x..pdb",
    ] {
        let symbols = folder(&testdata()).build();
        let mut module = ordersvc();
        module.pdb.as_mut().unwrap().file = name.to_owned();
        let ModuleStatus::NotFound { tried } = symbols.status(&module) else {
            panic!("{name}");
        };
        assert!(
            tried.iter().all(|text| text.contains("not there")),
            "{name}: {tried:?}"
        );
    }
}

#[test]
fn garbage_with_the_right_name_is_said() {
    let sound = pdb_bytes("ordersvc.pdb", ORDERSVC);
    for (content, said) in [
        (&b"no PDB at all"[..], "not a PDB"),
        (b"", "not a PDB"),
        (&[0; 5000], "not a PDB"),
        (&sound[..5000], "damaged PDB"),
        (
            b"BSJB\x01\0\x01\0 and what else such a file of .NET holds, to 52",
            ".NET",
        ),
    ] {
        let store = tempfile::tempdir().unwrap();
        put(
            store.path(),
            &["ordersvc.pdb", ORDERSVC, "ordersvc.pdb"],
            content,
        );
        match folder(store.path()).build().status(&ordersvc()) {
            ModuleStatus::Failed { path, reason } => {
                assert!(path.starts_with(store.path()));
                assert!(reason.contains(said), "{reason}");
            }
            status => panic!("{said}: {status:?}"),
        }
        // It is nothing to speak of where there is a sound one.
        let symbols = folder(store.path()).extra_folder(testdata()).build();
        assert!(matches!(
            symbols.status(&ordersvc()),
            ModuleStatus::Loaded { .. }
        ));
    }
}
