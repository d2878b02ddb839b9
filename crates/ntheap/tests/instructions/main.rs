//! Instructions that a walk takes for each block, counted by valgrind on small made dumps and held
//! against `baseline.txt`: more than five percent above it fails.
//!
//! `cargo test --release -p ntheap --test instructions -- --nocapture` prints the counts; with
//! `NTHEAP_RECORD=1` they become the baseline. Without valgrind, or not optimised, nothing is counted.

use std::{
    collections::BTreeMap,
    env, fs,
    hint::black_box,
    io::Cursor,
    path::{Path, PathBuf},
    process::Command,
};

use ntheap::{dump::Dump, heap::Heaps, process::Process, stats};
use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

/// What is done with a dump, over and over.
#[derive(Debug, Clone, Copy)]
enum Work {
    /// Counting the blocks of each size.
    Sizes,
    /// Counting them by their stacks.
    Stacks,
    /// Opening the heaps.
    Open,
}

/// A dump, and what is done with it.
struct Case {
    name: &'static str,
    work: Work,
    plan: fn(Plan) -> Plan,
}

const CASES: &[Case] = &[
    Case {
        name: "backend",
        work: Work::Sizes,
        plan: |plan| Plan { lfh: 0, ..plan },
    },
    Case {
        name: "lfh",
        work: Work::Sizes,
        plan: |plan| Plan { lfh: 95, ..plan },
    },
    Case {
        name: "traced",
        work: Work::Sizes,
        plan: |plan| Plan {
            lfh: 0,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "traced-lfh",
        work: Work::Sizes,
        plan: |plan| Plan {
            lfh: 95,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "traced-by-stack",
        work: Work::Stacks,
        plan: |plan| Plan {
            lfh: 0,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "segment-heap",
        work: Work::Sizes,
        plan: |plan| Plan {
            manager: Manager::Segment,
            ..plan
        },
    },
    Case {
        name: "segment-heap-22000",
        work: Work::Sizes,
        plan: |plan| Plan {
            manager: Manager::Segment,
            build: 22000,
            ..plan
        },
    },
    Case {
        name: "open-segment-heap",
        work: Work::Open,
        plan: |plan| Plan {
            manager: Manager::Segment,
            ..plan
        },
    },
];

const BYTES: u64 = 2 << 20;
/// Set for the process under valgrind: the case, and how often its work is done.
const CHILD: &str = "NTHEAP_INSTRUCTIONS";
const RECORD: &str = "NTHEAP_RECORD";
/// Counts differ by more than the tolerance with incremental compilation and with the features that other
/// packages ask of dependencies, so they are held against the baseline only where they are built as it was:
/// `CARGO_INCREMENTAL=0 NTHEAP_INSTRUCTIONS=1 cargo test --release -p ntheap --test instructions`.
const ASKED: &str = "NTHEAP_INSTRUCTIONS";

fn plan(case: &Case) -> Plan {
    (case.plan)(Plan {
        bytes: BYTES,
        large: 0,
        ..Plan::default()
    })
}

/// The work of the process under valgrind.
#[test]
#[ignore = "run by the other test, under valgrind"]
fn work() {
    let Ok(task) = env::var(CHILD) else { return };
    let (name, times) = task.split_once(':').expect("case and number");
    let case = CASES.iter().find(|case| case.name == name).expect("a case");
    let times: usize = times.parse().expect("a number");
    let mut file = Cursor::new(Vec::new());
    write(&plan(case), &mut file).expect("memory takes it");
    let bytes = file.into_inner();
    let dump = Dump::parse(&bytes).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let heaps = Heaps::of(&process);
    for _ in 0..times {
        match case.work {
            Work::Sizes => drop(black_box(stats::collect(&heaps))),
            Work::Stacks => drop(black_box(stats::collect_with_stacks(&heaps))),
            Work::Open => drop(black_box(Heaps::of(&process))),
        }
    }
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
    if let Work::Open = case.work {
        return 1;
    }
    let truth = write(&plan(case), &mut Cursor::new(Vec::new())).expect("memory takes it");
    let all = |heap: &HeapTruth| heap.busy.blocks + heap.free.blocks + heap.lfh_free.blocks;
    truth.iter().map(all).sum()
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
