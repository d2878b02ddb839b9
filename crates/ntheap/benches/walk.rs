//! Time of counting all blocks of all heaps against the time of reading the same file's bytes once.
//!
//! `cargo bench -p ntheap --bench walk`; sizes of the generated dump in MiB with `NTHEAP_BENCH_MIB`.

#[allow(dead_code)]
use ntheap_synth as synth;

use std::{
    env,
    fs::File,
    hint::black_box,
    io::{Read, Write},
    path::Path,
    time::Duration,
};

use criterion::{Criterion, Throughput};
use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
    stats,
};
use rayon::prelude::*;

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

/// Maps the file and adds up its words on all cores: each byte is touched, nothing is copied.
fn sum_mapped(path: &Path) -> u64 {
    let file = DumpFile::open(path).expect("opens");
    let sum = |chunk: &[u8]| {
        let words = chunk.as_chunks::<8>().0;
        words.iter().fold(0, |sum: u64, word| {
            sum.wrapping_add(u64::from_le_bytes(*word))
        })
    };
    file.bytes()
        .par_chunks(1 << 20)
        .map(sum)
        .reduce(|| 0, u64::wrapping_add)
}

/// Opens the dump and counts the blocks of every size of every heap.
fn stat(path: &Path) -> u64 {
    let file = DumpFile::open(path).expect("opens");
    let dump = Dump::parse(file.bytes()).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    stats::collect(&Heaps::of(&process))
        .iter()
        .map(|heap| heap.busy_blocks)
        .sum()
}

fn measure(criterion: &mut Criterion, name: &str, path: &Path) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(path.metadata().expect("exists").len()));
    group.bench_function("read once", |bencher| {
        bencher.iter(|| read_once(black_box(path)))
    });
    group.bench_function("sum mapped", |bencher| {
        bencher.iter(|| sum_mapped(black_box(path)))
    });
    group.bench_function("stat", |bencher| bencher.iter(|| stat(black_box(path))));
    group.finish();
}

/// Four heaps of segments of 16 MiB with blocks of 8 to 520 bytes, as small as real ones are.
fn generated(mebibytes: u64) -> Vec<u8> {
    const SEGMENT: u64 = 16 << 20;
    let (mut heaps, mut memory) = (Vec::new(), Vec::new());
    for index in 0..4 {
        let base = (index + 1) << 36;
        let mut state = index + 1;
        let (ranges, _) = synth::heap(base, SEGMENT, (mebibytes / 64).max(1), |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            8 + (state >> 33) % 512
        });
        heaps.push(base);
        memory.extend(ranges);
    }
    synth::dump(&heaps, memory)
}

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(4))
        .sample_size(20)
        .configure_from_args();
    let mebibytes = env::var("NTHEAP_BENCH_MIB")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1024);
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(&generated(mebibytes)).expect("written");
    measure(
        &mut criterion,
        &format!("generated, {mebibytes} MiB"),
        file.path(),
    );

    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for name in [
        "19041.662-small.snap2",
        "19041.662-smallust.snap2",
        "x86-2600.5512-small.snap1",
    ] {
        let packed = DumpFile::open(&testdata.join(format!("{name}.dmp.zst"))).expect("opens");
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(packed.bytes()).expect("written");
        measure(&mut criterion, name, file.path());
    }
    criterion.final_summary();
}
