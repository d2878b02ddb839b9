//! Walks every dump that comes with a truth file and compares block by block.
//!
//! The dumps in `testdata/` are always walked. With `NTHEAP_ORACLE` set to a folder of packed dumps
//! they are unpacked below `target/` once and walked too. A dump that differs fails the test.

mod compare;
mod page;
mod transcript;
mod truth;

use std::{
    env,
    path::{Path, PathBuf},
};

use ntheap::dump::{Dump, DumpFile};
use rayon::prelude::*;

use compare::Outcome;
use ntheap_synth::oracle::{oracle, workspace};
use truth::Truth;

/// Dumps below `folder` (not deeper than one level) as (dump, truth) pairs.
fn pairs(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let mut pairs = Vec::new();
    let mut folders = vec![folder.to_owned()];
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    // The samples of types have a truth of their own form, and a suite of their own.
    let walked = |path: &PathBuf| path.is_dir() && !path.ends_with("types");
    folders.extend(list(folder).into_iter().filter(walked));
    for file in folders.iter().flat_map(|folder| list(folder)) {
        let name = file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        for (dump, truth) in [(".dmp.zst", ".truth.json.zst"), (".dmp", ".truth.json")] {
            if let Some(stem) = name.strip_suffix(dump) {
                let truth = file.with_file_name(format!("{stem}{truth}"));
                if truth.exists() {
                    pairs.push((file.clone(), truth));
                }
            }
        }
    }
    pairs.sort();
    pairs
}

fn check(dump: &Path, truth: &Path) -> Outcome {
    let mut truth = Truth::read(truth);
    truth.table = transcript::segment_heaps(dump);
    let file = DumpFile::open(dump).expect("the dump opens");
    let parsed = Dump::parse(file.bytes()).expect("the dump parses");
    compare::compare(&parsed, &truth, dump.parent().unwrap_or(dump))
}

fn run(name: &str, pairs: &[(PathBuf, PathBuf)]) {
    assert!(
        !pairs.is_empty(),
        "{name}: no dump with a truth file was found"
    );
    let only = env::var("NTHEAP_ORACLE_ONLY").unwrap_or_default();
    let outcomes: Vec<(String, Outcome)> = pairs
        .par_iter()
        .map(|(dump, truth)| {
            let folder = dump.parent().and_then(Path::file_name).unwrap_or_default();
            let label = format!(
                "{}/{}",
                folder.display(),
                dump.file_name().unwrap().display()
            );
            (label, dump, truth)
        })
        .filter(|(label, ..)| label.contains(&only))
        .map(|(label, dump, truth)| (label, check(dump, truth)))
        .collect();
    let wrong: Vec<_> = outcomes
        .iter()
        .filter(|(_, outcome)| !outcome.problems.is_empty())
        .collect();
    for (label, outcome) in &wrong {
        println!("{label}:");
        outcome
            .problems
            .iter()
            .take(12)
            .for_each(|problem| println!("    {problem}"));
    }
    let sum = |count: fn(&Outcome) -> usize| outcomes.iter().map(|(_, o)| count(o)).sum::<usize>();
    println!(
        "{name}: {} dumps exact of {}; {} heaps walked; {} busy blocks ({} of them in \
         the LFH), {} free blocks, {} uncommitted ranges, {} virtual blocks, {} heap totals, \
         {} stacks compared; {} wrong",
        outcomes.len() - wrong.len(),
        outcomes.len(),
        sum(|o| o.heaps),
        sum(|o| o.busy),
        sum(|o| o.lfh),
        sum(|o| o.free),
        sum(|o| o.uncommitted),
        sum(|o| o.virtual_blocks),
        sum(|o| o.totals),
        sum(|o| o.stacks),
        sum(|o| o.problems.len()),
    );
    println!(
        "{name}, page heap: {} light blocks, {} freed blocks, {} freed by moving, {} that left the \
         queue, {} traces, {} rows of the debugger",
        sum(|o| o.light),
        sum(|o| o.freed),
        sum(|o| o.moved),
        sum(|o| o.left_queue),
        sum(|o| o.traces),
        sum(|o| o.rows),
    );
    assert!(
        wrong.is_empty(),
        "{} dumps differ from their truth",
        wrong.len()
    );
}

#[test]
fn testdata_walks_to_its_truth() {
    run("testdata", &pairs(&workspace().join("testdata")));
}

#[test]
fn oracle_walks_to_its_truth() {
    if let Some(oracle) = oracle() {
        run("oracle", &pairs(&oracle.unpacked));
    }
}
