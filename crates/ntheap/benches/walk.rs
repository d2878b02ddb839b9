//! Time of counting all blocks of all heaps against the time of reading the same file's bytes once.
//!
//! `cargo bench -p ntheap --bench walk`; sizes of the generated dump in MiB with `NTHEAP_BENCH_MIB`.

#[allow(dead_code)]
#[path = "../tests/support/mod.rs"]
mod support;

use std::{env, hint::black_box, io::Write, path::Path, time::Duration};

use criterion::{Criterion, Throughput};
use ntheap::{
    dump::{Dump, DumpFile},
    process::Process,
    stats,
};
use rayon::prelude::*;

/// Adds up all words of the file, on all cores: the fastest way there is to have read it.
fn read_once(bytes: &[u8]) -> u64 {
    bytes
        .par_chunks(1 << 20)
        .map(|chunk| {
            chunk.as_chunks::<8>().0.iter().fold(0u64, |sum, word| {
                sum.wrapping_add(u64::from_le_bytes(*word))
            })
        })
        .reduce(|| 0, u64::wrapping_add)
}

fn count_blocks(bytes: &[u8]) -> u64 {
    let dump = Dump::parse(bytes).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    stats::collect(&process)
        .iter()
        .map(|heap| heap.busy_blocks)
        .sum()
}

fn measure(criterion: &mut Criterion, name: &str, bytes: &[u8]) {
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Bytes(bytes.len() as u64));
    group.bench_function("read once", |bencher| {
        bencher.iter(|| read_once(black_box(bytes)))
    });
    group.bench_function("stat", |bencher| {
        bencher.iter(|| count_blocks(black_box(bytes)))
    });
    group.finish();
}

/// Four heaps of segments of 16 MiB with blocks of 8 to 520 bytes, as small as real ones are.
fn generated(mebibytes: u64) -> Vec<u8> {
    const SEGMENT: u64 = 16 << 20;
    let (mut heaps, mut memory) = (Vec::new(), Vec::new());
    for index in 0..4 {
        let base = (index + 1) << 36;
        let mut state = index + 1;
        let (ranges, _) = support::heap(base, SEGMENT, (mebibytes / 64).max(1), |_| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            8 + (state >> 33) % 512
        });
        heaps.push(base);
        memory.extend(ranges);
    }
    support::dump(&heaps, memory)
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
    let mapped = DumpFile::open(file.path()).expect("opens");
    measure(
        &mut criterion,
        &format!("generated, {mebibytes} MiB"),
        mapped.bytes(),
    );

    let testdata = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    for name in [
        "19041.662-small.snap2",
        "19041.662-smallust.snap2",
        "x86-2600.5512-small.snap1",
    ] {
        let dump = DumpFile::open(&testdata.join(format!("{name}.dmp.zst"))).expect("opens");
        measure(&mut criterion, name, dump.bytes());
    }
    criterion.final_summary();
}
