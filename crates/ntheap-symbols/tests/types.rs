//! Classes by the names that PDBs have for their virtual function tables, as for modules that were
//! compiled without run-time type information.
//!
//! Runs when `NTHEAP_ORACLE` names the folder of the recordings and `oracle-leaks` lies beside it; the
//! symbols are expected in `symbols` beside both, the unpacked dumps beside `NTHEAP_ORACLE_UNPACKED`.

use std::{
    collections::HashMap,
    fs::{self, File},
    io::BufReader,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::{Dump, DumpFile},
    graph::Graph,
    heap::Heaps,
    process::Process,
    types::{ContainerKind, Rtti, TypeKind, Types},
};
use ntheap_symbols::{DumpNames, SymbolPath, Symbols};
use serde_json::Value;

fn folders() -> Option<(PathBuf, PathBuf)> {
    let Some(oracle) = std::env::var_os("NTHEAP_ORACLE").map(PathBuf::from) else {
        println!("skipped: NTHEAP_ORACLE is not set");
        return None;
    };
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let unpacked = std::env::var_os("NTHEAP_ORACLE_UNPACKED").map_or_else(
        || root.join("target/oracle-leaks"),
        |folder| PathBuf::from(folder).with_file_name("oracle-leaks"),
    );
    if !unpacked.is_dir() {
        println!("skipped: no unpacked recordings in {}", unpacked.display());
        return None;
    }
    Some((
        root.join(oracle)
            .with_file_name("symbols")
            .join("programs-leaks"),
        unpacked,
    ))
}

#[derive(Default)]
struct Score {
    classed: usize,
    right: usize,
    wrong: Vec<String>,
}

#[test]
fn classes_by_the_tables_that_pdbs_name() {
    let Some((pdbs, unpacked)) = folders() else {
        return;
    };
    let mut path = SymbolPath::default();
    path.push_folder(pdbs);
    let symbols = Symbols::builder().path(path).build();
    let mut score = Score::default();
    let runs = fs::read_dir(&unpacked).expect("the recordings").flatten();
    let mut dumps: Vec<PathBuf> = runs
        .map(|run| run.path().join("snap1.dmp"))
        .filter(|dump| dump.is_file())
        .collect();
    dumps.sort();
    for dump in &dumps {
        compare(dump, &symbols, &mut score);
    }
    println!(
        "{} dumps: {} of {} right",
        dumps.len(),
        score.right,
        score.classed
    );
    assert!(score.wrong.is_empty(), "{:#?}", score.wrong);
    assert!(score.right * 100 >= score.classed * 98);
}

/// What memory can't tell apart the types of variables and fields do.
#[test]
fn pdbs_tell_maps_from_sets() {
    let Some((pdbs, unpacked)) = folders() else {
        return;
    };
    let mut path = SymbolPath::default();
    path.push_folder(pdbs);
    let symbols = Symbols::builder().path(path).build();
    let runs = fs::read_dir(&unpacked).expect("the recordings").flatten();
    let runs = runs.filter(|run| run.file_name().to_string_lossy().starts_with("stl-"));
    let (mut sets, mut maps, mut open, mut dumps) = (0, 0, 0, 0);
    for dump in runs.map(|run| run.path().join("snap3.dmp")) {
        let truth = File::open(dump.with_extension("truth.json")).expect("the truth");
        let truth: Value = serde_json::from_reader(BufReader::new(truth)).expect("JSON");
        let kinds: HashMap<u64, &str> = truth["containers"]
            .as_array()
            .expect("containers")
            .iter()
            .map(|row| {
                let owner = row["owner"].as_u64().expect("an address");
                (owner, row["kind"].as_str().expect("a kind"))
            })
            .collect();
        let file = DumpFile::open(&dump).expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("the dump is one");
        let process = Process::of(&dump).expect("a process");
        let graph = Graph::of(&Heaps::of(&process));
        let names = DumpNames::new(&dump, &symbols);
        let types = Types::of(&graph, Some(&names));
        dumps += 1;
        for container in types.containers() {
            // The truth names the containers of variables, and those in objects that are held.
            let expected = kinds.get(&container.owner).copied();
            let told = match container.kind {
                ContainerKind::Set => "set",
                ContainerKind::Map => "map",
                ContainerKind::UnorderedMap => "unordered_map",
                ContainerKind::UnorderedSet => "unordered_set",
                ContainerKind::MapOrSet | ContainerKind::UnorderedMapOrSet => {
                    open += 1;
                    continue;
                }
                _ => continue,
            };
            assert!(
                expected.is_none_or(|expected| expected == told),
                "{:x} of {} is called {told}",
                container.owner,
                container.holder
            );
            sets += usize::from(expected == Some("set"));
            maps += usize::from(expected.is_some_and(|kind| kind != "set"));
        }
    }
    println!("{dumps} dumps: {sets} sets, {maps} maps, {open} either");
    assert!(sets >= dumps && maps >= dumps && dumps > 0);
}

fn compare(path: &Path, symbols: &Symbols, score: &mut Score) {
    let truth = BufReader::new(File::open(path.with_extension("truth.json")).expect("the truth"));
    let truth: Value = serde_json::from_reader(truth).expect("JSON");
    let columns = truth["leak_columns"].as_array().expect("columns");
    let column = |name: &str| {
        columns
            .iter()
            .position(|known| known == name)
            .expect("a column")
    };
    let (address, of) = (column("user_address"), column("type"));

    let file = DumpFile::open(path).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump is one");
    let process = Process::of(&dump).expect("a process");
    let graph = Graph::of(&Heaps::of(&process));
    let names = DumpNames::new(&dump, symbols);
    let types = Types::with_rtti(&graph, Rtti::default(), Some(&names));
    for row in truth["leaks"].as_array().expect("rows") {
        let Some(expected) = row[of].as_str() else {
            continue;
        };
        let class = ["class ", "struct "]
            .iter()
            .find_map(|key| expected.strip_prefix(key));
        let found = types.type_of(row[address].as_u64().expect("an address"));
        let found = found.filter(|found| found.kind == TypeKind::Class);
        match (class, found) {
            (Some(class), found) => {
                score.classed += 1;
                let right = found.is_some_and(|found| &*found.name == class);
                score.right += usize::from(right);
                if let (false, Some(found)) = (right, found) {
                    score
                        .wrong
                        .push(format!("{expected} is called {}", found.name));
                }
            }
            (None, Some(found)) if expected == "raw" => {
                score
                    .wrong
                    .push(format!("{expected} is called {}", found.name));
            }
            (None, _) => {}
        }
    }
}
