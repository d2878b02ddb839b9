//! Input that is no dump, half a dump, or a dump of a corrupt process: a clear error or a partial
//! result, never a panic, a hang or a huge allocation.

use std::path::Path;

use ntheap::{
    Error,
    blocks::{Block, CONTINUE, Finding, FindingKind, Flow, Kind, Visitor},
    dump::{Dump, DumpFile, Problem},
    heap::{Heap, Heaps},
    layout::{Bitness, Layouts},
    process::Process,
    stats,
    traces::Traces,
};
use ntheap_synth::{
    self as synth, HEAP, Random,
    oracle::{testdata, testdata_dumps},
    small_dump,
    stream::{Plan, write},
};

#[derive(Default)]
struct Walk {
    busy: Vec<(u64, u64)>,
    findings: Vec<Finding>,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.busy.push((block.address, block.size));
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}

/// Walks whatever can be walked.
fn walk(bytes: &[u8]) -> Result<(Walk, Vec<Problem>), Error> {
    let dump = Dump::parse(bytes)?;
    let process = Process::of(&dump)?;
    let mut walk = Walk::default();
    Heaps::of(&process).iter().for_each(|heap| {
        let _ = heap.walk(&mut walk);
    });
    assert_eq!(
        stats::collect(&Heaps::of(&process)).len(),
        process.all_heaps().count()
    );
    let _ = ntheap::verify::verify(&Heaps::of(&process));
    let _ = ntheap::usage::Usage::of(&Heaps::of(&process));
    let _ = Traces::of(&process);
    Ok((walk, dump.problems.clone()))
}

#[test]
fn a_made_dump_walks_to_its_blocks() {
    let (bytes, blocks) = small_dump();
    let (walk, problems) = walk(&bytes).expect("it is a dump");
    assert_eq!(walk.busy, blocks);
    assert_eq!((walk.findings, problems), (vec![], vec![]));
}

#[test]
fn what_is_no_dump_is_named() {
    assert!(matches!(Dump::parse(b""), Err(Error::EmptyFile)));
    assert!(matches!(
        Dump::parse(b"hello, world"),
        Err(Error::NotAMinidump { .. })
    ));
    assert!(matches!(
        Dump::parse(b"PAGEDU64xxxx"),
        Err(Error::KernelDump { .. })
    ));
    assert!(matches!(
        Dump::parse(b"PAGEDUMPxxxx"),
        Err(Error::KernelDump { .. })
    ));
    assert!(matches!(Dump::parse(b"\x7fELF\x02\x01"), Err(Error::Elf)));
    assert!(matches!(Dump::parse(b"MDMP"), Err(Error::Header { .. })));
    assert!(matches!(Dump::parse(b"M"), Err(Error::NotAMinidump { .. })));
    for error in [
        Dump::parse(b"").unwrap_err(),
        Dump::parse(b"PAGEDU64").unwrap_err(),
    ] {
        assert!(error.hint().is_some());
    }
}

#[test]
fn files_that_can_not_be_opened_are_named() {
    let missing = DumpFile::open(Path::new("no/such/file.dmp")).unwrap_err();
    assert!(matches!(missing, Error::Io { .. }));
    let folder = DumpFile::open(Path::new(env!("CARGO_MANIFEST_DIR"))).unwrap_err();
    assert!(matches!(folder, Error::NotAFile { .. }), "{folder}");
    let empty = tempfile::NamedTempFile::new().expect("a temporary file");
    assert!(matches!(
        DumpFile::open(empty.path()),
        Err(Error::EmptyFile)
    ));
}

#[test]
fn a_dump_without_heap_memory_says_how_to_take_one() {
    let error = walk(&synth::dump(&[HEAP], Vec::new()))
        .map(|_| ())
        .unwrap_err();
    assert!(matches!(error, Error::NoHeapMemory { .. }), "{error}");
    assert!(
        error
            .hint()
            .is_some_and(|hint| hint.contains("procdump -ma"))
    );
}

#[test]
fn a_dump_cut_off_anywhere_keeps_what_is_there() {
    let (bytes, blocks) = small_dump();
    let mut most = 0;
    for length in 0..bytes.len() {
        match walk(&bytes[..length]) {
            Ok((walk, problems)) => {
                assert!(!problems.is_empty(), "cut at {length}: not said");
                assert!(
                    walk.busy.iter().all(|block| blocks.contains(block)),
                    "cut at {length}"
                );
                most = most.max(walk.busy.len());
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    assert!(most > blocks.len() / 2, "a truncated dump lost everything");
}

#[test]
fn a_compressed_dump_cut_off_keeps_what_is_there() {
    let (bytes, _) = small_dump();
    let packed = zstd::encode_all(&bytes[..], 1).expect("zstd");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    std::io::Write::write_all(&mut file, &packed).expect("written");
    let whole = DumpFile::open(file.path()).expect("opens");
    assert_eq!((whole.bytes(), whole.incomplete()), (&bytes[..], None));
    file.as_file()
        .set_len(packed.len() as u64 * 2 / 3)
        .expect("cut");
    // Small frames can come out whole or not at all: either is said.
    match DumpFile::open(file.path()) {
        Ok(cut) => assert!(cut.incomplete().is_some()),
        Err(error) => assert!(matches!(error, Error::Io { .. })),
    }
}

#[test]
fn one_corrupt_entry_costs_one_entry() {
    let (bytes, blocks) = small_dump();
    let mut missed_most = 0;
    for victim in (0..blocks.len() - 1).step_by(3) {
        let mut bytes = bytes.clone();
        let entry = offset_of(&bytes, blocks[victim].0 - 16) as usize;
        bytes[entry + 8..entry + 16].fill(0xee);
        let (walk, _) = walk(&bytes).expect("still a dump");
        let missed = blocks
            .iter()
            .filter(|block| !walk.busy.contains(block))
            .count();
        missed_most = missed_most.max(missed);
        assert!(
            walk.busy.iter().all(|block| blocks.contains(block)),
            "an invented block"
        );
        let corrupt = |f: &Finding| matches!(f.kind, FindingKind::CorruptEntry { .. });
        assert!(walk.findings.iter().any(corrupt), "not said");
    }
    assert_eq!(missed_most, 1, "the walk lost its way");
}

/// Where in the file an address of the made dump lies.
fn offset_of(bytes: &[u8], address: u64) -> u64 {
    let dump = Dump::parse(bytes).expect("a dump");
    let range = dump.memory.range_of(address).expect("in the dump");
    let offset = range.bytes.as_ptr() as u64 - bytes.as_ptr() as u64;
    offset + (address - range.start)
}

#[test]
fn wild_and_cyclic_lists_end() {
    let (bytes, _) = small_dump();
    let layouts = Layouts::for_build(synth::BUILD, Bitness::X64);
    let heads = [
        layouts.heap.segment_list,
        layouts.heap.virtual_allocd_blocks,
        layouts.heap.ucr_list,
        layouts.segment.ucr_segment_list,
        layouts.segment.segment_list_entry,
        layouts.heap.front_end_heap,
        layouts.heap.blocks_index,
        layouts.heap.lock_variable,
    ];
    for head in heads.into_iter().flatten() {
        for target in [
            0,
            8,
            HEAP,
            HEAP + 0x18,
            HEAP + u64::from(head),
            u64::MAX,
            u64::MAX - 7,
            1 << 63,
        ] {
            let mut bytes = bytes.clone();
            let at = offset_of(&bytes, HEAP + u64::from(head)) as usize;
            bytes[at..at + 8].copy_from_slice(&target.to_le_bytes());
            let (walk, _) = walk(&bytes).expect("still a dump");
            assert!(walk.busy.len() <= 1000);
        }
    }
}

#[test]
fn wild_heap_lists_are_reported() {
    let (memory, blocks) = synth::heap(HEAP, 0x2000, 1, |_| 24);
    let heaps = [HEAP, 0, u64::MAX, 0x123, HEAP, !0xfff, HEAP + 0x1000];
    let bytes = synth::dump(&heaps, memory);
    let dump = Dump::parse(&bytes).expect("a dump");
    let process = Process::of(&dump).expect("one heap is good");
    assert_eq!(process.all_heaps().count(), 1);
    assert_eq!(process.problems.len(), 5, "{:?}", process.problems);
    assert_eq!(
        stats::collect(&Heaps::of(&process))[0].busy_blocks,
        blocks.len() as u64
    );
}

/// A small generator of pseudo-random numbers, so that failures can be repeated.

#[test]
fn flipped_bits_and_zeroed_pages_never_panic() {
    let (bytes, _) = small_dump();
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for _ in 0..4000 {
        let mut bytes = bytes.clone();
        for _ in 0..=random.below(6) {
            match random.below(3) {
                0 => bytes[random.below(0x1000)] ^= 1 << random.below(8),
                1 => {
                    let at = random.below(bytes.len());
                    bytes[at] = random.below(256) as u8;
                }
                _ => {
                    let at = random.below(bytes.len() - 0x400);
                    let size = random.below(0x400);
                    bytes[at..at + size].fill(0);
                }
            }
        }
        let _ = walk(&bytes);
    }
}

/// The dumps that come with the project.
#[test]
fn damaged_real_dumps_never_panic() {
    let mut random = Random(42);
    let mut dumps = 0;
    for path in testdata_dumps() {
        let file = DumpFile::open(&path).expect("opens");
        dumps += 1;
        let mut bytes = file.bytes().to_vec();
        for round in 0..12 {
            // Headers, lists and pointers: damage by pointers to other places of the same dump.
            for _ in 0..1 << round {
                let at = random.below(bytes.len() - 8) & !7;
                let from = random.below(bytes.len() - 8) & !7;
                let value: [u8; 8] = bytes[from..from + 8].try_into().expect("eight bytes");
                bytes[at..at + 8].copy_from_slice(&value);
            }
            let _ = walk(&bytes);
        }
    }
    assert!(dumps > 10);
}

#[test]
fn a_virtual_block_is_not_smaller_than_its_header() {
    let plan = Plan {
        bytes: 1 << 16,
        large: 1,
        ..Plan::default()
    };
    let mut file = std::io::Cursor::new(Vec::new());
    write(&plan, &mut file).expect("memory takes it");
    let mut bytes = file.into_inner();
    let (sound, _) = walk(&bytes).expect("it is a dump");
    assert_eq!(sound.findings, []);
    let layouts = Layouts::for_build(plan.build, plan.bitness);
    let at = {
        let dump = Dump::parse(&bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let head = layouts.heap.virtual_allocd_blocks.expect("a list");
        let head = process.heaps[0].handle + u64::from(head);
        let element = dump.memory.u64(head).expect("the first block");
        let size = layouts.virtual_alloc.commit_size.expect("a field");
        let place = dump.memory.slice(element + u64::from(size), 8);
        place.expect("in the dump").as_ptr() as usize - bytes.as_ptr() as usize
    };
    bytes[at..at + 8].fill(0);
    let (broken, _) = walk(&bytes).expect("it is a dump");
    assert_eq!(broken.busy.len() + 1, sound.busy.len());
    assert!(matches!(
        broken.findings[..],
        [Finding {
            kind: FindingKind::BrokenStructure { .. },
            ..
        }]
    ));
}

#[test]
fn a_stored_prefix_is_not_larger_than_its_block() {
    #[derive(Default)]
    struct Slots(Vec<Block>);
    impl Visitor for Slots {
        fn block(&mut self, block: &Block) -> Flow {
            if block.kind == Kind::SegmentLfh && block.is_user_block() {
                self.0.push(*block);
            }
            CONTINUE
        }
    }
    let slots = |bytes: &[u8]| {
        let dump = Dump::parse(bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let mut slots = Slots::default();
        for heap in Heaps::of(&process).iter() {
            let _ = heap.walk(&mut slots);
        }
        slots.0
    };
    let path = testdata().join("x86-19041.546-smallseg.snap1.dmp.zst");
    let mut bytes = DumpFile::open(&path).expect("opens").bytes().to_vec();
    let sound = slots(&bytes);
    let (unit, too_large) = (Bitness::X86.unit(), 0x200);
    let smaller = sound.iter().find(|slot| slot.block_size < too_large);
    let slot = smaller.expect("a small slot");
    assert_eq!(slot.address, slot.entry + unit, "its prefix is one unit");
    for at in [slot.entry, slot.entry + too_large - unit] {
        let at = offset_of(&bytes, at) as usize;
        bytes[at..at + 4].copy_from_slice(&(too_large as u32).to_le_bytes());
    }
    let changed = slots(&bytes);
    assert_eq!(changed.len(), sound.len());
    let changed = changed.iter().find(|other| other.entry == slot.entry);
    assert_eq!(changed, Some(slot), "taken for the smallest");
}

#[test]
fn inputs_that_once_broke_something_do_no_more() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/regressions");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the folder").flatten() {
        let bytes = std::fs::read(file.path()).expect("reads");
        count += 1;
        let _ = walk(&bytes);
    }
    assert!(count > 0);
}

#[test]
fn everything_can_be_shared_between_threads() {
    fn shared<T: Send + Sync>() {}
    shared::<DumpFile>();
    shared::<Dump<'_>>();
    shared::<Process<'_, '_>>();
    shared::<Heap<'_, '_>>();
    shared::<Traces<'_, '_>>();
    shared::<stats::HeapStatistics>();
    shared::<Error>();
}
