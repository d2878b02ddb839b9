//! Time of the graph of references, of the classes of all blocks and of the dominators, against the
//! time of reading the same file's bytes once.
//!
//! `cargo bench -p ntheap --bench graph`; size of the generated dump in MiB with `NTHEAP_BENCH_MIB`.
//! With 1024 MiB the dump has 4 million blocks and 25 million references: a fifth of all words.
//! `NTHEAP_BENCH_DUMP` measures a dump of yours instead, `NTHEAP_BENCH_THREADS=1` one thread alone.

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{Read, Write},
    path::Path,
    time::{Duration, Instant},
};

use ntheap::{
    dump::{Dump, DumpFile},
    graph::{Graph, Rules},
    heap::Heaps,
    process::Process,
    types::Types,
};
use ntheap_synth as synth;

/// Runs of each measurement; the best counts, as everything else is the machine's other work.
const RUNS: usize = 3;
/// Where the roots lie, and their number.
const ROOTS: u64 = 0x80_0000;
const ROOT_COUNT: u64 = 4096;

/// Reads the file from its beginning to its end, as `cat` does.
fn read_once(path: &Path) -> u64 {
    let mut file = File::open(path).expect("opens");
    let mut buffer = vec![0; 1 << 20];
    let mut total = 0;
    while let Ok(count @ 1..) = file.read(&mut buffer) {
        total += count as u64;
        black_box(&buffer);
    }
    total
}

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

/// Four heaps of segments of 16 MiB with blocks of 8 to 520 bytes; of each five words one is a
/// pointer to a block anywhere, of each ten of those one into its middle.
fn generated(mebibytes: u64) -> Vec<u8> {
    const SEGMENT: u64 = 16 << 20;
    let (mut heaps, mut memory, mut blocks) = (Vec::new(), Vec::new(), Vec::new());
    let mut random = Random(1);
    for index in 0..4 {
        let base = (index + 1) << 36;
        let segments = (mebibytes / 64).max(1);
        let (ranges, mine) = synth::heap(base, SEGMENT, segments, |_| 8 + random.next() % 512);
        heaps.push(base);
        memory.extend(ranges);
        blocks.extend(mine);
    }
    let pointer = |random: &mut Random| {
        let (address, size) = blocks[random.next() as usize % blocks.len()];
        match random.next() % 10 {
            0 if size > 8 => address + ((random.next() % size) & !7),
            _ => address,
        }
    };
    let mut at = 0;
    for &(address, size) in &blocks {
        while address - memory[at].0 >= SEGMENT {
            at += 1;
        }
        let (start, bytes) = &mut memory[at];
        let block = &mut bytes[(address - *start) as usize..][..size as usize];
        for word in block.as_chunks_mut::<8>().0 {
            let value = match random.next() % 5 {
                0 => pointer(&mut random),
                _ => random.next() % 1000,
            };
            *word = value.to_le_bytes();
        }
    }
    let roots = (0..ROOT_COUNT).flat_map(|_| pointer(&mut random).to_le_bytes());
    memory.push((ROOTS, roots.collect()));
    synth::dump(&heaps, memory)
}

/// Time that the process has had the processors, where the system tells.
fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    // User and system time, in hundredths of a second.
    let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
    Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
}

/// How long something took: by the clock, and on the processors.
#[derive(Debug, Clone, Copy, Default)]
struct Time {
    clock: Duration,
    processor: Option<Duration>,
}

impl Time {
    fn plus(self, other: Time) -> Time {
        let both = self.processor.zip(other.processor);
        Time {
            clock: self.clock + other.clock,
            processor: both.map(|(mine, theirs)| mine + theirs),
        }
    }
}

/// The best times of some runs, and what the last one gave.
fn best<T>(mut run: impl FnMut() -> T) -> (Time, T) {
    let mut timed = || {
        let (start, busy) = (Instant::now(), processor_time());
        let result = run();
        let busy = busy.zip(processor_time()).map(|(from, to)| to - from);
        let clock = start.elapsed();
        (
            Time {
                clock,
                processor: busy,
            },
            result,
        )
    };
    let (mut time, mut result) = timed();
    for _ in 1..RUNS {
        drop(result);
        let (again, other) = timed();
        time = Time {
            clock: time.clock.min(again.clock),
            processor: time.processor.min(again.processor),
        };
        result = other;
    }
    (time, result)
}

fn measure(path: &Path, threads: usize) -> Time {
    let (reading, bytes) = best(|| read_once(path));
    let row = |name: &str, time: Time| {
        let processor = time.processor.map_or(f64::NAN, |time| time.as_secs_f64());
        println!(
            "{threads} threads  {name:<20} {:>7.2} s, {processor:>6.2} s on processors, {:>6.1} times reading",
            time.clock.as_secs_f64(),
            time.clock.as_secs_f64() / reading.clock.as_secs_f64()
        );
    };
    row(&format!("reading {} MiB", bytes >> 20), reading);
    let file = DumpFile::open(path).expect("opens");
    let dump = Dump::parse(file.bytes()).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let (walking, heaps) = best(|| {
        let heaps = Heaps::of(&process);
        black_box(heaps.losses());
        heaps
    });
    row("walking", walking);
    let (building, graph) = best(|| Graph::of(&heaps));
    row("references", building);
    let (marking, classes) = best(|| graph.classes(Rules::ALL));
    row("classes", marking);
    let (dominating, dominators) = best(|| graph.dominators());
    row("dominators", dominating);
    let (typing, types) = best(|| Types::of(&graph, None));
    row("types", typing);
    drop(types);
    row("leaks", building.plus(marking));
    row("owners", building.plus(dominating));
    let blocks = graph.index().len();
    let kept = (0..blocks as u32)
        .filter(|&block| dominators.is_reached(block))
        .count();
    println!(
        "{blocks} blocks ({kept} reached, {} lost), {} references; the graph takes {:.1} bytes a \
         block without references, {:.1} bytes a reference",
        classes.lost().len(),
        graph.reference_count(),
        graph.index().memory() as f64 / blocks as f64 + 4.0,
        (graph.memory() - graph.index().memory() - 4 * blocks) as f64
            / graph.reference_count().max(1) as f64,
    );
    building.plus(marking).plus(dominating)
}

fn main() {
    let number = |name: &str| env::var(name).ok().and_then(|number| number.parse().ok());
    let dump = env::var_os("NTHEAP_BENCH_DUMP").map(std::path::PathBuf::from);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    if dump.is_none() {
        let mebibytes = number("NTHEAP_BENCH_MIB").unwrap_or(1024);
        file.write_all(&generated(mebibytes)).expect("written");
    }
    let path = dump.as_deref().unwrap_or(file.path());
    let time = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
        pool.expect("threads").install(|| measure(path, threads))
    };
    let one = time(1);
    if number("NTHEAP_BENCH_THREADS") != Some(1) {
        let two = time(2);
        println!(
            "two threads: {:.2} times as fast",
            one.clock.as_secs_f64() / two.clock.as_secs_f64()
        );
    }
}
