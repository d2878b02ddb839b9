//! Comparisons of dumps, from the outside.

use ntheap::{
    diff::{self, Grouping, Snapshot},
    dump::{Dump, DumpFile},
    process::Process,
};
use ntheap_synth::oracle::testdata_dumps;

const BY_SIZE: Grouping = Grouping {
    size: true,
    stack: false,
};

/// Of every heap that another process does not have all blocks are new: those of its segments, and
/// those that have memory of their own below, between and above them.
#[test]
fn new_blocks_come_by_address() {
    let files: Vec<DumpFile> = testdata_dumps()
        .iter()
        .map(|path| DumpFile::open(path).expect("the dump opens"))
        .collect();
    let mut blocks = 0;
    for (before, after) in files.iter().zip(files.iter().skip(1)) {
        let dumps = [before, after].map(|file| Dump::parse(file.bytes()).expect("a dump"));
        let processes = dumps
            .each_ref()
            .map(|dump| Process::of(dump).expect("heaps"));
        let [before, after] = processes.each_ref().map(Snapshot::of);
        for heap in diff::compare(&before, &after, BY_SIZE).heaps {
            let new = &heap.new_blocks;
            assert!(
                new.is_sorted_by_key(|block| block.address),
                "heap {:x}",
                heap.handle
            );
            assert_eq!(new.len() as u64, heap.blocks.new.blocks);
            blocks += new.len();
        }
    }
    assert!(blocks > 10_000, "{blocks} new blocks");
}
