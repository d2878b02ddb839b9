//! Segment heaps without ntdll's data, and with damage.

use std::collections::BTreeSet;

use ntheap::{
    address_space::AddressSpace,
    blocks::{Block, CONTINUE, Finding, Flow, Visitor},
    dump::{Dump, DumpFile},
    heap::{Heap, Heaps},
    process::Process,
};
use ntheap_synth::{Random, oracle::testdata};

/// Segment heaps of the first Windows 10, of 32 bits, and of Windows 11 with traces.
const DUMPS: [&str; 3] = [
    "10586.0-smallseg.snap1",
    "x86-19041.546-smallseg.snap1",
    "22000.778-smallsegust.snap1",
];

fn read(name: &str) -> Vec<u8> {
    let file = DumpFile::open(&testdata().join(format!("{name}.dmp.zst")));
    file.expect("the dump opens").bytes().to_vec()
}

#[derive(Default)]
struct Walk {
    busy: BTreeSet<(u64, u64)>,
    accounted: u64,
    findings: Vec<Finding>,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.busy.insert((block.address, block.size));
        }
        self.accounted += block.block_size;
        CONTINUE
    }
    fn span(&mut self, span: &ntheap::blocks::Span) -> Flow {
        self.accounted += span.size;
        CONTINUE
    }
    fn finding(&mut self, finding: Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}

fn walk(dump: &Dump<'_>) -> Vec<Walk> {
    let Ok(process) = Process::of(dump) else {
        return Vec::new();
    };
    Heaps::of(&process)
        .iter()
        .filter(|heap| matches!(heap, Heap::Segment(_)))
        .map(|heap| {
            let mut walk = Walk::default();
            let _ = heap.walk(&mut walk);
            // Each byte of a segment is reported once, whatever its state is.
            if let Heap::Segment(heap) = heap {
                let segments = heap.segments.iter().map(|segment| segment.size);
                let large = heap.large_blocks.iter().map(|block| block.size);
                assert_eq!(walk.accounted, segments.chain(large).sum::<u64>());
            }
            walk
        })
        .collect()
}

#[test]
fn keys_are_found_without_the_data_of_ntdll() {
    for name in DUMPS {
        let bytes = read(name);
        let mut dump = Dump::parse(&bytes).expect("the dump parses");
        let with = walk(&dump);
        dump.modules
            .retain(|module| !module.file_name().eq_ignore_ascii_case("ntdll.dll"));
        let without = walk(&dump);
        assert!(!with.is_empty());
        for (with, without) in with.iter().zip(&without) {
            assert!(
                without.findings.is_empty(),
                "{name}: {:?}",
                without.findings
            );
            assert_eq!(with.busy, without.busy, "{name}");
        }
    }
}

#[test]
fn the_lfh_of_a_misjudged_build_is_recognised() {
    let bytes = read("22000.778-smallsegust.snap1");
    let mut dump = Dump::parse(&bytes).expect("the dump parses");
    let own = walk(&dump);
    // The contexts of 26100 are where those of 22000 are; its LFH subsegments differ.
    dump.os_version = Some([10, 0, 26100]);
    dump.modules.iter_mut().for_each(|module| {
        module.version = module.version.map(|_| [10, 0, 26100, 1]);
    });
    let misjudged = walk(&dump);
    for (own, misjudged) in own.iter().zip(&misjudged) {
        assert_eq!(own.busy, misjudged.busy, "{:?}", misjudged.findings);
    }
}

/// Offsets in the file of the pages that describe heaps: headers, descriptors, subsegments.
fn targets(bytes: &[u8]) -> Vec<usize> {
    let dump = Dump::parse(bytes).expect("the dump parses");
    let process = Process::of(&dump).expect("the process");
    let offset_of = |address: u64| {
        let slice = dump.memory.slice(address, 1)?;
        Some(slice.as_ptr() as usize - bytes.as_ptr() as usize)
    };
    let mut targets = Vec::new();
    for heap in &Heaps::of(&process) {
        let Heap::Segment(heap) = &heap else { continue };
        targets.push(heap.handle());
        targets.extend(heap.segments.iter().map(|segment| segment.base));
        targets.extend(heap.large_blocks.iter().map(|block| block.node));
        let mut containers = Containers::default();
        let _ = Heap::open(&process, &heap.reference).walk(&mut containers);
        targets.extend(containers.0);
    }
    targets.into_iter().filter_map(offset_of).collect()
}

#[derive(Default)]
struct Containers(BTreeSet<u64>);

impl Visitor for Containers {
    fn block(&mut self, block: &Block) -> Flow {
        self.0.insert(block.container);
        CONTINUE
    }
}

#[test]
fn damaged_heaps_are_walked_to_the_end() {
    let rounds = if cfg!(debug_assertions) { 60 } else { 1200 };
    for name in DUMPS {
        let original = read(name);
        let targets = targets(&original);
        let mut bytes = original.clone();
        let mut numbers = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            let mut changed = Vec::new();
            for _ in 0..=numbers.below(4) {
                let target = targets[numbers.below(targets.len())];
                // Where the fields of headers are, or anywhere in the pages behind.
                let reach = [0x40, 0x200, 0x2000][numbers.below(3)];
                let at = (target + numbers.below(reach)).min(bytes.len() - 8);
                let value = match numbers.below(4) {
                    0 => 0,
                    1 => u64::MAX,
                    2 => numbers.below(usize::MAX) as u64,
                    _ => {
                        u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
                            ^ 1 << numbers.below(64)
                    }
                };
                let size = [1, 2, 4, 8][numbers.below(4)];
                bytes[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
                changed.push(at);
            }
            if let Ok(dump) = Dump::parse(&bytes) {
                walk(&dump);
            }
            for at in changed {
                bytes[at..at + 8].copy_from_slice(&original[at..at + 8]);
            }
        }
    }
}

#[test]
fn pages_that_are_not_in_the_dump_are_walked_around() {
    const PAGE: u64 = 0x1000;
    let rounds = if cfg!(debug_assertions) { 20 } else { 300 };
    for name in DUMPS {
        let bytes = read(name);
        let targets = targets(&bytes);
        let whole = Dump::parse(&bytes).expect("the dump parses");
        let ranges: Vec<(u64, u64, u64)> = whole
            .memory
            .ranges()
            .iter()
            .map(|range| {
                let offset = range.bytes.as_ptr() as usize - bytes.as_ptr() as usize;
                (range.start, offset as u64, range.bytes.len() as u64)
            })
            .collect();
        let mut numbers = Random(0x2545_f491_4f6c_dd1d);
        for _ in 0..rounds {
            let target = targets[numbers.below(targets.len())] as u64;
            // Not whole pages either: a dump may be cut anywhere.
            let hole = target + numbers.below(4) as u64 * PAGE + numbers.below(3) as u64 * 0x18;
            let hole = hole..hole + 1 + numbers.below(2 * PAGE as usize) as u64;
            let cut = ranges.iter().flat_map(|&(address, offset, size)| {
                let end = offset + size;
                let before = (offset, hole.start.clamp(offset, end));
                let behind = (hole.end.clamp(offset, end), end);
                [before, behind].map(|(from, to)| (address + (from - offset), from, to - from))
            });
            let mut dump = Dump::parse(&bytes).expect("the dump parses");
            dump.memory = AddressSpace::new(&bytes, cut);
            walk(&dump);
        }
    }
}

#[test]
fn a_corrupt_chunk_costs_only_its_neighbourhood() {
    let original = read(DUMPS[0]);
    let dump = Dump::parse(&original).expect("the dump parses");
    let before = walk(&dump);
    let process = Process::of(&dump).expect("the process");
    let heaps = Heaps::of(&process);
    let mut chunks = Chunks::default();
    heaps.iter().for_each(|heap| {
        let _ = heap.walk(&mut chunks);
    });
    let victim = chunks.0[chunks.0.len() / 2];
    let slice = dump.memory.slice(victim, 8).expect("the chunk");
    let at = slice.as_ptr() as usize - original.as_ptr() as usize;
    let mut bytes = original.clone();
    bytes[at..at + 8].fill(0x41);
    let after = walk(&Dump::parse(&bytes).expect("the dump parses"));
    let count = |walks: &[Walk]| walks.iter().map(|walk| walk.busy.len()).sum::<usize>();
    let findings: usize = after.iter().map(|walk| walk.findings.len()).sum();
    assert_eq!(count(&after), count(&before) - 1);
    assert!((1..=2).contains(&findings), "{findings}");
}

#[derive(Default)]
struct Chunks(Vec<u64>);

impl Visitor for Chunks {
    fn block(&mut self, block: &Block) -> Flow {
        if block.kind == ntheap::blocks::Kind::Vs && block.is_user_block() {
            self.0.push(block.entry);
        }
        CONTINUE
    }
}
