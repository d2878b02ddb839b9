//! The program's times and memory on made dumps, as ratios of reading the same file once.
//!
//! `cargo bench -p ntheap-cli --bench ratios -- --bytes 1G`; `--profile NAME` for some of them,
//! `--folder DIR` for another place than the build's folder. `--what` says what is measured:
//!
//! * `ratios`: `stat`, `diff` and `blocks` on dumps of each profile;
//! * `growth`: `stat` alone on dumps of each of the sizes, `--bytes 1G,2G,4G`;
//! * `cold`: `stat` of a file that is not in the page cache, and, as the superuser, in a control group with
//!   `--memory 512M` for everything;
//! * `opening`: opening a dump of 400,000 ranges;
//! * `naming`: naming some 10,000 stacks with symbols that lie in the cache.
//!
//! The dumps are taken away afterwards.

mod measure;

use std::{
    env, fs,
    fs::File,
    io::{self, BufWriter},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use measure::{Limit, RUNS, Run, forget, ntheap, piped, read_once};
use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

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

fn make(plan: &Plan, path: &Path) -> io::Result<Vec<HeapTruth>> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(plan, &mut file)
}

fn blocks(truth: &[HeapTruth]) -> u64 {
    truth.iter().map(HeapTruth::blocks).sum()
}

fn best(mut measure: impl FnMut() -> Duration) -> Duration {
    (0..RUNS).map(|_| measure()).min().unwrap_or_default()
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
    let blocks = blocks(&truth);
    let (old, new) = (before.to_string_lossy(), after.to_string_lossy());
    let reading = best(|| read_once(&after));
    let piping = best(|| piped(&after));
    let stat = ntheap(&["stat", &new]);
    let single = ntheap(&["stat", &new, "--threads", "1"]);
    let stacks = ntheap(&["stat", &new, "--group-by", "stack"]);
    let first = ntheap(&["stat", &old]);
    let first_stacks = ntheap(&["stat", &old, "--group-by", "stack"]);
    let diff = ["diff", &old, &new, "--no-owners", "--group-by"];
    let by_size = ntheap(&[&diff[..], &["size"]].concat());
    let by_stack = ntheap(&[&diff[..], &["size,stack"]].concat());
    let of_reading = |time: Duration| time.as_secs_f64() / reading.as_secs_f64();
    let of_both =
        |run: Run, a: Run, b: Run| run.time.as_secs_f64() / (a.time + b.time).as_secs_f64();
    println!(
        "| {name} | {} MiB, {:.1} million blocks | {} | {} | {} ({:.2}, {:.2}) | {:.1} | {:.2} | {:.2} | {:.2} | {}, {}, {} MiB |",
        after.metadata().map_or(0, |file| file.len() >> 20),
        blocks as f64 / 1e6,
        milliseconds(reading),
        milliseconds(piping),
        milliseconds(stat.time),
        of_reading(stat.time),
        stat.time.as_secs_f64() / piping.as_secs_f64(),
        single.time.as_secs_f64() / stat.time.as_secs_f64(),
        of_reading(stacks.time),
        of_both(by_size, first, stat),
        of_both(by_stack, first_stacks, stacks),
        stat.megabytes(),
        by_size.megabytes(),
        by_stack.megabytes(),
    );
    if name == "backend" {
        let begun = ntheap(&["blocks", &new]);
        let busy: u64 = truth.iter().map(|heap| heap.busy.blocks).sum();
        let rate = busy as f64 / begun.time.as_secs_f64() / 1e6;
        println!(
            "blocks: {rate:.1} million lines a second, {} MiB",
            begun.megabytes()
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
    let sizes = value("--bytes").unwrap_or_else(|| "1G".to_owned());
    let sizes: Vec<u64> = sizes.split(',').map(bytes).collect();
    let only = value("--profile");
    let folder =
        value("--folder").map_or_else(|| PathBuf::from(env!("CARGO_TARGET_TMPDIR")), PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder");
    let plans = |size: u64| {
        let wanted = |&&(name, _): &&Profile| only.as_ref().is_none_or(|only| only == name);
        let plan = Plan {
            bytes: size,
            heaps: 4,
            ..Plan::default()
        };
        let profiles = PROFILES.iter().filter(wanted);
        profiles
            .map(move |(name, of)| (*name, of(plan.clone())))
            .collect::<Vec<_>>()
    };
    let what = value("--what").unwrap_or_else(|| "ratios".to_owned());
    match what.as_str() {
        "ratios" => {
            println!(
                "| dump | size | read once | through a pipe | stat (of reading, of piping) | \
                 one thread / all | by stack / reading | diff by size / both stats | \
                 diff by size, stack / both stats by stack | private: stat, diff, diff |"
            );
            println!("|---|---|---|---|---|---|---|---|---|---|");
            for &size in &sizes {
                for (name, plan) in plans(size) {
                    measure(name, &plan, &folder);
                }
            }
        }
        "growth" => {
            println!(
                "| dump | size | read once | through a pipe | stat | one thread | a block | private |"
            );
            println!("|---|---|---|---|---|---|---|---|");
            for (name, _) in PROFILES {
                for &size in &sizes {
                    let wanted = |(of, _): &(&str, Plan)| *of == name;
                    for (name, plan) in plans(size).into_iter().filter(wanted) {
                        growth(name, &plan, &folder);
                    }
                }
            }
        }
        "cold" => {
            let memory = value("--memory").map_or(512 << 20, |text| bytes(&text));
            for &size in &sizes {
                for (name, plan) in plans(size) {
                    cold(name, &plan, &folder, memory);
                }
            }
        }
        "opening" => opening(&folder),
        "naming" => naming(&folder),
        other => panic!("nothing is measured by the name of {other}"),
    }
}

/// `stat` alone, for one of several sizes.
fn growth(name: &str, plan: &Plan, folder: &Path) {
    let path = folder.join(format!("{name}.dmp"));
    let truth = make(plan, &path).expect("written");
    let dump = path.to_string_lossy();
    let (reading, piping) = (best(|| read_once(&path)), best(|| piped(&path)));
    let stat = ntheap(&["stat", &dump]);
    let single = ntheap(&["stat", &dump, "--threads", "1"]);
    let blocks = blocks(&truth);
    println!(
        "| {name} | {} MiB, {:.1} million blocks | {} | {} | {} | {} | {:.1} ns | {} MiB |",
        path.metadata().map_or(0, |file| file.len() >> 20),
        blocks as f64 / 1e6,
        milliseconds(reading),
        milliseconds(piping),
        milliseconds(stat.time),
        milliseconds(single.time),
        single.time.as_nanos() as f64 / blocks as f64,
        stat.megabytes(),
    );
    let _ = fs::remove_file(path);
}

/// `stat` of a file that has to be read from the disk, with all memory and with little.
fn cold(name: &str, plan: &Plan, folder: &Path, memory: u64) {
    let path = folder.join(format!("{name}.dmp"));
    make(plan, &path).expect("written");
    let dump = path.to_string_lossy();
    let arguments = ["stat", &dump];
    let size = path.metadata().map_or(0, |file| file.len() >> 20);
    let reading = best(|| {
        forget(&path);
        read_once(&path)
    });
    let stat = best(|| {
        forget(&path);
        let begun = Instant::now();
        measure::once(&arguments);
        begun.elapsed()
    });
    let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
    println!(
        "{name}, {size} MiB, not in the page cache: read once {}, stat {} ({:.2})",
        milliseconds(reading),
        milliseconds(stat),
        ratio(stat, reading)
    );
    match Limit::of(memory) {
        None => println!("no control group could be made to limit memory"),
        Some(limit) => {
            let reading = best(|| {
                forget(&path);
                limit.read(&path).time
            });
            let stat = best(|| {
                forget(&path);
                limit.ntheap(&arguments).time
            });
            println!(
                "{name}, {size} MiB, with {} MiB of memory: read once {}, stat {} ({:.2})",
                memory >> 20,
                milliseconds(reading),
                milliseconds(stat),
                ratio(stat, reading)
            );
        }
    }
    let _ = fs::remove_file(path);
}

/// Opening a dump of 400,000 ranges with nothing between them that would join two.
fn opening(folder: &Path) {
    const RANGES: u64 = 400_000;
    let page = ntheap::layout::PAGE;
    let plan = Plan {
        // Each page has a hole behind it, and what is at the end of each heap nobody has needed yet.
        bytes: 2 * RANGES * page * 5 / 4,
        heaps: 4,
        hole_every: page,
        ..Plan::default()
    };
    let path = folder.join("ranges.dmp");
    make(&plan, &path).expect("written");
    let file = DumpFile::open(&path).expect("opens");
    let mut ranges = 0;
    let parse = best(|| {
        let begun = Instant::now();
        let dump = Dump::parse(file.bytes()).expect("a dump");
        ranges = dump.memory.ranges().len();
        begun.elapsed()
    });
    let open = best(|| {
        let begun = Instant::now();
        let dump = Dump::parse(file.bytes()).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        assert!(!Heaps::of(&process).is_empty());
        begun.elapsed()
    });
    println!(
        "{ranges} ranges: parsed in {}, with process and heaps {}",
        milliseconds(parse),
        milliseconds(open)
    );
    let _ = fs::remove_file(path);
}

/// Naming some 10,000 stacks, with the symbols of a program that the repository has.
fn naming(folder: &Path) {
    const STACKS: u64 = 40_000;
    const SYMBOLS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/symbols");
    let plan = Plan {
        bytes: 1 << 30,
        stacks: STACKS,
        ..Plan::default()
    };
    let path = folder.join("named.dmp");
    make(&plan, &path).expect("written");
    give_symbols(&path).expect("written");
    let dump = path.to_string_lossy();
    let nowhere = folder.join("no symbols");
    let nowhere = nowhere.to_string_lossy();
    let plain = ntheap(&["stacks", &dump, "--symbols", &nowhere]);
    let named = ntheap(&["stacks", &dump, "--symbols", SYMBOLS]);
    let text = measure::output(&["stacks", &dump, "--symbols", SYMBOLS]);
    let (stacks, names) = (text.lines().count(), text.matches("made!").count());
    println!(
        "{stacks} stacks with {names} names of functions: {} with names, {} without",
        milliseconds(named.time),
        milliseconds(plain.time)
    );
    let _ = fs::remove_file(path);
}

/// Makes the program of a made dump the one whose symbols the repository has.
fn give_symbols(path: &Path) -> io::Result<()> {
    /// `ordersvc.pdb`.
    const SIGNATURE: [u8; 16] = [
        0x08, 0x99, 0xbd, 0x9d, 0x89, 0xbc, 0x9a, 0x21, 0x4c, 0x4c, 0x44, 0x20, 0x50, 0x44, 0x42,
        0x2e,
    ];
    const MODULES: u32 = 4;
    const CODE_VIEW: usize = 76;
    let mut bytes = fs::read(path)?;
    let number = |bytes: &[u8], at: usize| {
        let field = bytes.get(at..).and_then(|bytes| bytes.first_chunk());
        field.map_or(0, |field| u32::from_le_bytes(*field))
    };
    let (streams, directory) = (number(&bytes, 8), number(&bytes, 12) as usize);
    let entry = (0..streams as usize)
        .map(|index| directory + 12 * index)
        .find(|&at| number(&bytes, at) == MODULES)
        .ok_or(io::ErrorKind::InvalidData)?;
    let module = number(&bytes, entry + 8) as usize + 4;
    let mut record = b"RSDS".to_vec();
    record.extend(SIGNATURE);
    record.extend(1u32.to_le_bytes());
    record.extend(b"ordersvc.pdb\0");
    let place = [record.len() as u32, bytes.len() as u32].map(u32::to_le_bytes);
    bytes[module + CODE_VIEW..][..8].copy_from_slice(place.as_flattened());
    bytes.extend(record);
    fs::write(path, bytes)
}
