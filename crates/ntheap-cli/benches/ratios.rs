//! The program's times and memory on made dumps, as ratios of reading the same file once.
//!
//! `cargo bench -p ntheap-cli --bench ratios -- --bytes 1G`; `--profile NAME` for some of them,
//! `--folder DIR` for another place than the build's folder. The dumps are taken away afterwards.

use std::{
    env, fs,
    fs::File,
    io::{self, BufWriter, Read},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

/// Runs of each measurement; the best counts, as everything else is the machine's other work.
const RUNS: usize = 3;
/// Between two looks at the memory of a process.
const LOOK: Duration = Duration::from_millis(5);

/// A name, and what makes the plan of it.
type Profile = (&'static str, fn(Plan) -> Plan);

const PROFILES: [Profile; 7] = [
    ("backend", |plan| Plan { lfh: 0, ..plan }),
    ("lfh", |plan| Plan { lfh: 95, ..plan }),
    ("traced", |plan| Plan {
        stacks: 10_000,
        ..plan
    }),
    ("many-heaps", |plan| Plan {
        heaps: 1000,
        ..plan
    }),
    ("segment-heap", |plan| Plan {
        manager: Manager::Segment,
        ..plan
    }),
    ("many-ranges", |plan| Plan {
        hole_every: 0x2000,
        ..plan
    }),
    ("x86", |plan| Plan {
        bitness: ntheap::layout::Bitness::X86,
        bytes: plan.bytes.min(1 << 30),
        ..plan
    }),
];

/// Reads the file from its beginning to its end, as `cat` does.
fn read_once(path: &Path) -> Duration {
    let begun = Instant::now();
    let mut file = File::open(path).expect("opens");
    let mut buffer = vec![0; 1 << 20];
    while let Ok(1..) = file.read(&mut buffer) {}
    begun.elapsed()
}

/// The most memory of its own that a process has had, in bytes, as often as it could be asked.
fn private_memory(child: &mut Child) -> u64 {
    let status = format!("/proc/{}/status", child.id());
    let mut most = 0;
    while let Ok(None) = child.try_wait() {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
        most = most.max(kilobytes.unwrap_or(0) << 10);
        thread::sleep(LOOK);
    }
    most
}

/// What a run of the program took.
#[derive(Debug, Clone, Copy)]
struct Run {
    time: Duration,
    memory: u64,
}

/// The best of some runs; its memory is the most of all.
fn ntheap(arguments: &[&str], output: impl Fn() -> Stdio) -> Run {
    let mut best = Run {
        time: Duration::MAX,
        memory: 0,
    };
    for _ in 0..RUNS {
        let begun = Instant::now();
        let mut child = Command::new(env!("CARGO_BIN_EXE_ntheap"))
            .args(arguments)
            .stdout(output())
            .stderr(Stdio::null())
            .spawn()
            .expect("the program starts");
        let memory = private_memory(&mut child);
        let status = child.wait().expect("ends");
        assert!(status.success(), "{arguments:?}: {status}");
        best.time = best.time.min(begun.elapsed());
        best.memory = best.memory.max(memory);
    }
    best
}

fn make(plan: &Plan, path: &Path) -> io::Result<Vec<HeapTruth>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(plan, &mut file)
}

fn milliseconds(time: Duration) -> String {
    format!("{:.0} ms", time.as_secs_f64() * 1000.0)
}

/// Measures one profile; prints its row.
fn measure(name: &str, plan: &Plan, folder: &Path) {
    let (before, after) = (
        folder.join(format!("{name}.before.dmp")),
        folder.join(format!("{name}.dmp")),
    );
    // The same process some time later: it has more, and the rest is where it was.
    let grown = Plan {
        bytes: plan.bytes + plan.bytes / 16,
        ..plan.clone()
    };
    make(plan, &before).expect("written");
    let truth = make(&grown, &after).expect("written");
    let blocks: u64 = truth
        .iter()
        .map(|heap| heap.busy.blocks + heap.free.blocks + heap.lfh_free.blocks)
        .sum();
    let (old, new) = (before.to_string_lossy(), after.to_string_lossy());
    let reading = (0..RUNS).map(|_| read_once(&after)).min().expect("runs");
    let null = Stdio::null;
    let stat = ntheap(&["stat", &new], null);
    let single = ntheap(&["stat", &new, "--threads", "1"], null);
    let stacks = ntheap(&["stat", &new, "--group-by", "stack"], null);
    let first = ntheap(&["stat", &old], null);
    let diff = ["diff", &old, &new, "--no-owners", "--group-by"];
    let by_size = ntheap(&[&diff[..], &["size"]].concat(), null);
    let by_stack = ntheap(&[&diff[..], &["size,stack"]].concat(), null);
    let of_reading = |time: Duration| time.as_secs_f64() / reading.as_secs_f64();
    let of_stats = |run: Run| run.time.as_secs_f64() / (stat.time + first.time).as_secs_f64();
    let megabytes = |run: Run| run.memory >> 20;
    println!(
        "| {name} | {} MiB, {:.1} million blocks | {} | {} ({:.2}) | {:.1} | {:.2} | {:.2} | {:.2} | {}, {}, {} MiB |",
        after.metadata().map_or(0, |file| file.len() >> 20),
        blocks as f64 / 1e6,
        milliseconds(reading),
        milliseconds(stat.time),
        of_reading(stat.time),
        single.time.as_secs_f64() / stat.time.as_secs_f64(),
        of_reading(stacks.time),
        of_stats(by_size),
        of_stats(by_stack),
        megabytes(stat),
        megabytes(by_size),
        megabytes(by_stack),
    );
    if name == "backend" {
        let begun = ntheap(&["blocks", &new], null);
        let busy: u64 = truth.iter().map(|heap| heap.busy.blocks).sum();
        let rate = busy as f64 / begun.time.as_secs_f64() / 1e6;
        println!(
            "blocks: {rate:.1} million lines a second, {} MiB",
            megabytes(begun)
        );
    }
    let _ = fs::remove_file(before);
    let _ = fs::remove_file(after);
}

fn bytes(text: &str) -> u64 {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'M') => (&text[..text.len() - 1], 20),
        _ => (text, 0),
    };
    digits.parse::<u64>().expect("a size") << shift
}

fn main() {
    let arguments: Vec<String> = env::args().collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1).cloned()
    };
    // As `cargo test --benches` runs it, it has nothing to measure.
    if arguments.iter().any(|argument| argument == "--test") {
        return;
    }
    let size = value("--bytes").map_or(1 << 30, |text| bytes(&text));
    let only = value("--profile");
    let folder =
        value("--folder").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder");
    println!(
        "| dump | size | read once | stat (of reading) | one thread / all | by stack / reading | \
         diff by size / both stats | diff by size, stack / both stats | private: stat, diff, diff |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, plan) in PROFILES {
        if only.as_ref().is_none_or(|only| only == name) {
            let plan = plan(Plan {
                bytes: size,
                heaps: 4,
                ..Plan::default()
            });
            measure(name, &plan, &folder);
        }
    }
}
