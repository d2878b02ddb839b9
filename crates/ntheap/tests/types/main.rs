//! What blocks are, judged on dumps whose every block is known.

mod judge;
mod truth;

use std::{
    fs,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::{Dump, DumpFile},
    graph::Graph,
    heap::Heaps,
    process::Process,
    types::Types,
};
use ntheap_synth::oracle::{oracle, oracle_beside, testdata, testdata_dumps};
use rayon::prelude::*;

use judge::{Report, judge};
use truth::Truth;

/// The snapshots below a folder of unpacked runs.
fn snapshots(folder: &Path) -> Vec<PathBuf> {
    let only = std::env::var("NTHEAP_ORACLE_ONLY").unwrap_or_default();
    let mut found: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the unpacked oracle")
        .flatten()
        .filter(|run| run.file_name().to_string_lossy().contains(&only))
        .flat_map(|run| fs::read_dir(run.path()).into_iter().flatten().flatten())
        .map(|file| file.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "dmp"))
        .collect();
    found.sort();
    found
}

fn with_types<T>(path: &Path, look: impl FnOnce(&Types<'_, '_>) -> T) -> Option<T> {
    let file = DumpFile::open(path).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump is one");
    let process = Process::of(&dump).ok()?;
    let graph = Graph::of(&Heaps::of(&process));
    let types = Types::of(&graph, None);
    Some(look(&types))
}

/// Judges dumps that have their truth beside them.
fn judge_all(snapshots: &[PathBuf], truth: impl Fn(&Path) -> PathBuf + Sync) -> Report {
    let reports: Vec<Report> = snapshots
        .par_iter()
        .map(|path| {
            let truth = Truth::read(&truth(path));
            with_types(path, |types| judge(types, &truth)).expect("a process")
        })
        .collect();
    let mut all = Report::default();
    for (path, report) in snapshots.iter().zip(reports) {
        for line in &report.wrong {
            println!("{}: {line}", path.display());
        }
        all.merge(report);
    }
    println!("{} dumps\n{all}", snapshots.len());
    assert!(all.wrong.is_empty(), "{} wrong", all.wrong.len());
    assert!(
        all.right * 100 >= all.classed * 98,
        "types: {} of {}",
        all.right,
        all.classed
    );
    all
}

#[test]
fn types_and_containers_of_the_leak_oracle() {
    let Some(oracle) = oracle_beside("oracle-leaks") else {
        return;
    };
    judge_all(&snapshots(&oracle.unpacked), |dump| {
        dump.with_extension("truth.json")
    });
}

#[test]
fn types_and_containers_of_the_samples() {
    let folder = testdata().join("types");
    let mut samples: Vec<PathBuf> = fs::read_dir(folder)
        .expect("the samples")
        .flatten()
        .map(|file| file.path())
        .filter(|path| path.to_string_lossy().ends_with(".dmp.zst"))
        .collect();
    samples.sort();
    let report = judge_all(&samples, |dump| {
        let dump = dump.to_string_lossy();
        dump.replace(".dmp.zst", ".truth.json.zst").into()
    });
    assert!(report.classed > 1000 && report.containers > 200, "{report}");
}

/// No program of this oracle has a class or a container of the C++ library.
#[test]
fn nothing_is_invented_in_the_heap_oracle() {
    let Some(oracle) = oracle() else {
        return;
    };
    let invented: Vec<String> = snapshots(&oracle.unpacked)
        .par_iter()
        .flat_map(|path| nothing_invented(path))
        .collect();
    assert!(invented.is_empty(), "{invented:#?}");
}

#[test]
fn nothing_is_invented_in_the_samples() {
    let paths = testdata_dumps();
    assert!(!paths.is_empty());
    let invented: Vec<String> = paths
        .par_iter()
        .flat_map(|path| nothing_invented(path))
        .collect();
    assert!(invented.is_empty(), "{invented:#?}");
}

fn nothing_invented(path: &Path) -> Vec<String> {
    let found = with_types(path, |types| {
        let mut found: Vec<String> = types
            .containers()
            .iter()
            .map(|container| format!("{}: {container:x?}", path.display()))
            .collect();
        let typed = types.blocks().filter_map(|(address, size, of)| {
            let of = of.filter(|of| of.class.is_some())?;
            Some(format!(
                "{}: {address:x} {size:x} {}",
                path.display(),
                of.name
            ))
        });
        found.extend(typed);
        found
    });
    found.unwrap_or_default()
}
