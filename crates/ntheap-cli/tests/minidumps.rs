//! Dumps without full memory: what is there is told, what is not is said.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use ntheap::{
    dump::{Dump, DumpFile},
    process::Process,
};
use tempfile::TempDir;

const PAGE: u64 = 0x1000;

fn sample() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/19041.662-smallust.snap2.dmp.zst")
}

fn number(bytes: &[u8], at: usize, size: usize) -> usize {
    let mut value = [0; 8];
    value[..size].copy_from_slice(&bytes[at..at + size]);
    u64::from_le_bytes(value) as usize
}

/// The dump with nothing of its memory but these pages, as a small minidump has them.
fn with_pages(file: &[u8], dump: &Dump<'_>, pages: &[u64]) -> Vec<u8> {
    const FULL: usize = 9;
    const FLAGS: usize = 24;
    let (count, directory) = (number(file, 8, 4), number(file, 12, 4));
    let entries = (0..count).map(|index| directory + index * 12);
    let mut entries = entries.filter(|&at| number(file, at, 4) == FULL);
    let entry = entries.next().expect("the list of all memory");
    let list = number(file, entry + 8, 4);
    // What stands behind the list of all memory is the memory.
    let mut out = file[..number(file, list + 8, 8)].to_vec();
    let mut bytes = Vec::new();
    let mut records = (pages.len() as u32).to_le_bytes().to_vec();
    let place = out.len();
    let first = place + 4 + pages.len() * 16;
    for &page in pages {
        let mut content = [0; PAGE as usize];
        assert_eq!(dump.memory.read(page, &mut content), PAGE as usize);
        records.extend(page.to_le_bytes());
        records.extend((PAGE as u32).to_le_bytes());
        records.extend(((first + bytes.len()) as u32).to_le_bytes());
        bytes.extend(content);
    }
    let small = [5, records.len() as u32, place as u32].map(u32::to_le_bytes);
    out[entry..entry + 12].copy_from_slice(&small.concat());
    out[FLAGS..FLAGS + 8].fill(0);
    out.extend(records);
    out.extend(bytes);
    out
}

/// The code that the program ends with, what it prints, and what it says beside that.
fn run(arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .env_remove("_NT_SYMBOL_PATH")
        .args(arguments)
        .output()
        .expect("runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (
        output.status.code(),
        text(&output.stdout),
        text(&output.stderr),
    )
}

/// Writes a minidump with the environment blocks, and with the heaps' headers if those are wanted;
/// hands over its path and the handles of the heaps.
fn with_minidump(headers: bool, test: impl FnOnce(&str, &[u64])) {
    let file = DumpFile::open(&sample()).expect("opens");
    let dump = Dump::parse(file.bytes()).expect("parses");
    let process = Process::of(&dump).expect("has heaps");
    let peb = process.peb.expect("has an environment block");
    let array = process.layouts.peb.process_heaps.expect("known");
    let array = dump.memory.u64(peb + u64::from(array)).expect("read");
    let handles: Vec<u64> = process.heaps.iter().map(|heap| heap.handle).collect();
    let mut pages = vec![peb, array];
    pages.extend(dump.threads.iter().map(|thread| thread.teb));
    if headers {
        pages.extend(&handles);
    }
    pages.iter_mut().for_each(|page| *page &= !(PAGE - 1));
    pages.sort_unstable();
    pages.dedup();
    let folder = TempDir::new().expect("a folder");
    let path = folder.path().join("mini.dmp");
    fs::write(&path, with_pages(file.bytes(), &dump, &pages)).expect("written");
    test(path.to_str().expect("text"), &handles);
}

#[test]
fn heaps_are_listed_where_their_headers_are_there() {
    with_minidump(true, |path, handles| {
        for arguments in [
            &["info", path][..],
            &["summary", path],
            &["stat", path],
            &["verify", path],
            &["address", path],
            &["exec", path, "!heap"],
            &["exec", path, "!heap -s"],
        ] {
            let (code, text, said) = run(arguments);
            assert!(!text.is_empty(), "{arguments:?}: {said}");
            // What walks says what it could not walk.
            let walks = arguments[0] != "address";
            assert_eq!(code, Some(i32::from(walks)), "{arguments:?}: {said}");
            assert_eq!(
                said.contains("not in the dump"),
                walks,
                "{arguments:?}: {said}"
            );
            if matches!(arguments[0], "summary" | "exec") {
                for handle in handles {
                    assert!(
                        text.contains(&format!("{handle:x}")),
                        "{arguments:?}: {text}"
                    );
                }
            }
        }
    });
}

#[test]
fn without_any_heap_the_process_is_told_and_how_to_take_more() {
    with_minidump(false, |path, handles| {
        for arguments in [
            &["info", path][..],
            &["address", path],
            &["exec", path, "~*;lm;!teb"],
        ] {
            let (code, text, said) = run(arguments);
            assert_eq!(code, Some(1), "{arguments:?}: {said}");
            assert!(!text.is_empty(), "{arguments:?}");
            for handle in handles {
                assert!(
                    said.contains(&format!("{handle:x}")),
                    "{arguments:?}: {said}"
                );
            }
        }
        for command in ["summary", "stat", "verify", "leaks"] {
            let (code, _, said) = run(&[command, path]);
            assert_eq!(code, Some(2), "{command}: {said}");
            assert!(said.contains("procdump -ma"), "{command}: {said}");
        }
    });
}
