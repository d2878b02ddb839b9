//! Instructions that a walk takes for each block, counted by valgrind on small made dumps and held
//! against `baseline.txt`: more than five percent above it fails.
//!
//! `cargo test --release -p ntheap --test instructions -- --nocapture` prints the counts; with
//! `NTHEAP_RECORD=1` they become the baseline. Without valgrind, or not optimised, nothing is counted.

mod cases;

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

use cases::{CASES, Case};

const BYTES: u64 = 2 << 20;
/// Set for the process under valgrind: the case, and how often its work is done.
const CHILD: &str = "NTHEAP_INSTRUCTIONS";
const RECORD: &str = "NTHEAP_RECORD";
/// Counts differ by more than the tolerance with incremental compilation and with the features that other
/// packages ask of dependencies, so they are held against the baseline only where they are built as it was:
/// `CARGO_INCREMENTAL=0 NTHEAP_INSTRUCTIONS=1 cargo test --release -p ntheap --test instructions`.
const ASKED: &str = "NTHEAP_INSTRUCTIONS";

/// The work of the process under valgrind.
#[test]
#[ignore = "run by the other test, under valgrind"]
fn work() {
    let Ok(task) = env::var(CHILD) else { return };
    let (name, times) = task.split_once(':').expect("case and number");
    let case = CASES.iter().find(|case| case.name == name).expect("a case");
    let mut times: usize = times.parse().expect("a number");
    let (subject, _) = case.subject(BYTES);
    case.run(&subject, || {
        let more = times > 0;
        times = times.saturating_sub(1);
        more
    });
}

/// Instructions of the process that does a case's work so many times.
fn instructions(case: &Case, times: usize, folder: &Path) -> u64 {
    let out = folder.join(format!("{}.{times}", case.name));
    let status = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(env::current_exe().expect("this program"))
        .args(["work", "--exact", "--ignored", "--test-threads=1"])
        .env(CHILD, format!("{}:{times}", case.name))
        .env("RAYON_NUM_THREADS", "1")
        .output()
        .expect("valgrind runs");
    assert!(status.status.success(), "{status:?}");
    let counts = fs::read_to_string(&out).expect("valgrind's file");
    let total = counts.lines().rev().find_map(|line| {
        let total = line.strip_prefix("totals: ")?;
        total.trim().parse().ok()
    });
    total.expect("the file ends with the total")
}

/// What is counted for: blocks, or the opening itself.
fn blocks(case: &Case) -> u64 {
    if case.is_opening() {
        return 1;
    }
    case.subject(BYTES).1
}

fn baseline_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/instructions/baseline.txt")
}

fn baseline() -> BTreeMap<String, f64> {
    let text = fs::read_to_string(baseline_file()).unwrap_or_default();
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, count)| Some((name.to_owned(), count.trim().parse().ok()?)))
        .collect()
}

#[test]
fn a_block_takes_no_more_instructions_than_it_did() {
    /// What a change may cost before it is looked at.
    const TOLERANCE: f64 = 1.05;
    if cfg!(debug_assertions) {
        println!("skipped: instructions are counted of optimised programs (--release)");
        return;
    }
    if env::var_os(ASKED).is_none() && env::var_os(RECORD).is_none() {
        println!("skipped: {ASKED} is not set");
        return;
    }
    if Command::new("valgrind").arg("--version").output().is_err() {
        println!("skipped: there is no valgrind to count instructions with");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let known = baseline();
    let mut counted = Vec::new();
    let mut worse = Vec::new();
    for case in CASES {
        let (once, thrice) = (
            instructions(case, 1, folder.path()),
            instructions(case, 3, folder.path()),
        );
        let each = thrice.saturating_sub(once) as f64 / 2.0 / blocks(case) as f64;
        let before = known.get(case.name);
        println!("{:<20} {each:>10.1} (baseline {before:?})", case.name);
        if before.is_none_or(|before| each > before * TOLERANCE) {
            worse.push(case.name);
        }
        counted.push(format!("{} {each:.1}\n", case.name));
    }
    if env::var_os(RECORD).is_some() {
        let title = "# Instructions for each block (of open-*: for each opening).\n";
        fs::write(baseline_file(), title.to_owned() + &counted.concat()).expect("written");
        return;
    }
    assert!(worse.is_empty(), "more instructions than before: {worse:?}");
}
