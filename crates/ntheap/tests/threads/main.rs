//! Dumps of a process with nine threads, taken in the middle of what they do.
//!
//! Every block that no call in flight touches is found, nothing else is busy, nothing is called
//! damage, and what is half done is named with a thread that was at it. The dumps lie in
//! `oracle-threads`, beside the folder that `NTHEAP_ORACLE` names.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Visitor},
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
    verify,
};
use serde_json::Value;

/// What the snapshot's calls and blocks were.
struct Truth {
    /// Blocks that no call in flight touches: address and size.
    certain: BTreeMap<u64, u64>,
    /// Blocks of calls in flight, whose state may be either, and the heap's own.
    may_be_busy: BTreeSet<u64>,
    /// Thread and heap of each call that had not returned.
    in_flight: BTreeSet<(u32, u64)>,
}

impl Truth {
    fn read(path: &Path) -> Self {
        let text = std::fs::read_to_string(path).expect("the truth is there");
        let truth: Value = serde_json::from_str(&text).expect("the truth is JSON");
        let number = |value: &Value| value.as_u64().expect("a number");
        let rows = |name: &str, columns: &str, wanted: [&str; 2]| -> Vec<[u64; 2]> {
            let columns = truth[columns].as_array().expect("columns");
            let place = |name| columns.iter().position(|column| column == name);
            let places = wanted.map(|name| place(name).expect("a column"));
            let rows = truth[name].as_array().expect("rows").iter();
            rows.map(|row| places.map(|place| number(&row[place])))
                .collect()
        };
        let certain = rows(
            "allocations",
            "allocation_columns",
            ["address", "requested"],
        );
        let uncertain = rows("uncertain", "uncertain_columns", ["address", "size"]);
        let internal = rows("internal", "internal_columns", ["address", "size"]);
        let calls = truth["in_flight"].as_array().expect("calls");
        Truth {
            certain: certain.into_iter().map(|[at, size]| (at, size)).collect(),
            may_be_busy: uncertain
                .into_iter()
                .chain(internal)
                .map(|[at, _]| at)
                .collect(),
            in_flight: calls
                .iter()
                .map(|call| (number(&call["thread"]) as u32, number(&call["heap"])))
                .collect(),
        }
    }
}

#[derive(Default)]
struct Busy(Vec<Block>);

impl Visitor for Busy {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.0.push(*block);
        }
        CONTINUE
    }
}

/// What is wrong with a dump's result.
fn check(dump: &Path, truth: &Truth) -> Vec<String> {
    let mut wrong = Vec::new();
    let file = DumpFile::open(dump).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the process has heaps");
    let heaps = Heaps::of(&process);
    let mut busy = Busy::default();
    for heap in &heaps {
        assert!(heap.walk(&mut busy).is_continue());
    }
    let found: BTreeMap<u64, &Block> = busy.0.iter().map(|b| (b.address, b)).collect();
    for (address, size) in &truth.certain {
        match found.get(address) {
            Some(block) if block.size == *size && block.certainty.is_certain() => {}
            Some(block) => wrong.push(format!("{address:x} of {size:#x} bytes is {block:x?}")),
            None => wrong.push(format!("{address:x} of {size:#x} bytes is missing")),
        }
    }
    for address in found.keys() {
        if !truth.certain.contains_key(address) && !truth.may_be_busy.contains(address) {
            wrong.push(format!("{address:x} is busy, but no call asked for it"));
        }
    }
    let verification = verify::verify(&heaps);
    for damage in &verification.damages {
        wrong.push(format!("called damage: {damage}"));
    }
    if !verification.missing.is_empty() {
        wrong.push(format!("called missing: {}", verification.missing));
    }
    for unfinished in &verification.unfinished {
        let heap = unfinished.damage.heap;
        let is_at_it = |thread| truth.in_flight.contains(&(thread, heap));
        if !unfinished
            .threads
            .iter()
            .any(|operation| is_at_it(operation.thread))
        {
            wrong.push(format!(
                "no thread is named that was at it: {unfinished:x?}"
            ));
        }
    }
    for operation in heaps.operations() {
        if operation.holds_lock
            && !truth
                .in_flight
                .contains(&(operation.thread, operation.heap))
        {
            wrong.push(format!("holds no lock: {operation:x?}"));
        }
    }
    wrong
}

fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut dumps: Vec<PathBuf> = list(folder)
        .iter()
        .flat_map(|folder| list(folder))
        .filter(|path| path.extension().is_some_and(|extension| extension == "dmp"))
        .collect();
    dumps.sort();
    dumps
}

#[test]
fn heaps_in_the_middle_of_calls_are_sound() {
    let Some(oracle) = ntheap_synth::oracle::oracle_beside("oracle-threads") else {
        return;
    };
    let dumps = snapshots(&oracle.unpacked);
    assert!(!dumps.is_empty(), "no dump was found");
    let mut failed = 0;
    for dump in &dumps {
        let truth = Truth::read(&dump.with_extension("truth.json"));
        let wrong = check(dump, &truth);
        failed += usize::from(!wrong.is_empty());
        if !wrong.is_empty() {
            println!("{}:", dump.display());
            wrong
                .iter()
                .take(20)
                .for_each(|line| println!("    {line}"));
        }
    }
    assert_eq!(failed, 0, "{failed} of {} dumps", dumps.len());
}
