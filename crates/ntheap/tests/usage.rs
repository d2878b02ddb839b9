//! The use of the address space: every byte has one owner, heaps have what their segments say, and a
//! leak outside the heaps is named as one.

use std::path::{Path, PathBuf};

use ntheap::{
    address_space::AddressSpace,
    diff::{self, Grouping, Snapshot},
    dump::{Dump, DumpFile, Region, RegionKind, RegionState},
    heap::Heaps,
    heap::{Heap, nt::Segment},
    process::Process,
    usage::{Class, Owner, Usage},
};

fn testdata() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    let entries = std::fs::read_dir(folder).expect("testdata").flatten();
    let is_dump = |path: &PathBuf| path.to_string_lossy().ends_with(".dmp.zst");
    entries.map(|entry| entry.path()).filter(is_dump).collect()
}

fn open(name: &str) -> DumpFile {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    DumpFile::open(&folder.join(name)).expect("the dump opens")
}

const BY_SIZE: Grouping = Grouping {
    size: true,
    stack: false,
};

#[test]
fn every_byte_has_one_owner() {
    let dumps = testdata();
    assert!(!dumps.is_empty());
    for path in dumps {
        let file = DumpFile::open(&path).expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("it parses");
        let process = Process::of(&dump).expect("it has heaps");
        let usage = Usage::of(&Heaps::of(&process));
        assert!(usage.described);
        let mut at = 0;
        for used in &usage.regions {
            assert!(used.region.base >= at, "{}", path.display());
            at = used.region.end();
        }
        let parts: u64 = usage.regions.iter().map(|used| used.region.size).sum();
        let whole: u64 = dump.regions.iter().map(|region| region.size).sum();
        assert_eq!(parts, whole, "{}", path.display());

        let owners = usage.owners();
        for heap in &Heaps::of(&process) {
            let total = owners
                .iter()
                .find(|(owner, _)| *owner == Owner::Heap(heap.handle()));
            let (_, total) = total.expect("every heap has memory");
            if let Heap::Nt(heap) = &heap {
                let held = |segment: &Segment| {
                    let holes: u64 = segment.ranges.iter().map(|range| range.size).sum();
                    segment.reserved - holes
                };
                let segments: u64 = heap.segments.iter().map(held).sum();
                let blocks: u64 = heap
                    .virtual_blocks
                    .iter()
                    .map(|block| block.committed)
                    .sum();
                let (_, front_end) = heap.header.lfh_region;
                // The heap decommits pages inside large free blocks without counting them.
                let counted = segments + blocks + front_end;
                let free_pages = heap.header.total_free;
                assert!(
                    (counted - free_pages..=counted).contains(&total.committed),
                    "heap {:x} of {}",
                    heap.handle(),
                    path.display()
                );
            }
        }
        let stacks = usage.of_class(Class::Stack);
        assert!(stacks.committed > 0 && stacks.regions >= 3);
        assert!(usage.of_class(Class::Teb).regions >= 1);
        assert!(usage.of_class(Class::Peb).regions >= 1);
    }
}

/// `!address -summary` of the debugger: images and stacks to the byte; heaps where it counts what
/// this does (it leaves the part of a virtual block's reservation out that a random start skips).
#[test]
fn the_debugger_finds_the_same() {
    let Some(oracle) = ntheap_synth::oracle::oracle() else {
        return;
    };
    let mut compared = 0;
    for folder in std::fs::read_dir(oracle.unpacked)
        .expect("a folder")
        .flatten()
    {
        let text = std::fs::read_to_string(folder.path().join("cdb/address_-summary.txt"));
        let (Ok(text), true) = (text, folder.path().join("dump.dmp").exists()) else {
            continue;
        };
        let size_of = |name: &str| {
            let row = text.lines().find(|line| line.starts_with(name))?;
            let size = row.split_whitespace().nth(2)?.replace('`', "");
            u64::from_str_radix(&size, 16).ok()
        };
        let file = DumpFile::open(&folder.path().join("dump.dmp")).expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("it parses");
        let process = Process::of(&dump).expect("it has heaps");
        let usage = Usage::of(&Heaps::of(&process));
        let name = folder.file_name();
        for (row, class) in [("Image", Class::Image), ("Stack", Class::Stack)] {
            let ours = usage.of_class(class).size;
            assert_eq!(Some(ours), size_of(row), "{row} of {}", name.display());
            compared += 1;
        }
        let segment_heaps = Heaps::of(&process)
            .iter()
            .any(|heap| matches!(heap, Heap::Segment(_)));
        if let Some(theirs) = size_of("Heap").filter(|_| !segment_heaps) {
            let more = usage.of_class(Class::Heap).size - theirs;
            assert!(more <= 0x1_0000, "{} more in {}", more, name.display());
            compared += 1;
        }
    }
    println!("{compared} sizes compared with the debugger's");
    assert!(compared > 0);
}

#[test]
fn growth_outside_the_heaps_is_named_first() {
    let files = [
        "19041.662-small.snap1.dmp.zst",
        "19041.662-small.snap2.dmp.zst",
    ]
    .map(open);
    let [first, mut second] = [0, 1].map(|i| Dump::parse(files[i].bytes()).expect("it parses"));
    let compare = |second: &Dump<'_>| {
        let processes = [&first, second].map(|dump| Process::of(dump).expect("it has heaps"));
        let [before, after] = [0, 1].map(|i| Snapshot::of(&processes[i]));
        let comparison = diff::compare(&before, &after, BY_SIZE);
        let verdict = comparison.verdict().to_string();
        (verdict, comparison.usage)
    };
    let (verdict, usage) = compare(&second);
    assert!(verdict.starts_with("Heap 21ab6d00000 grew by 245.6 KiB"));
    assert!(usage.private(Class::Heap) > 0 && usage.private(Class::Private) == 0);
    assert!(usage.new.is_empty(), "{:x?}", usage.new);

    let base = 0x10_0000_0000;
    second
        .regions
        .retain(|region| !(region.base..region.end()).contains(&base));
    for (index, size) in [(0, 0x60_0000), (1, 0x40_0000)] {
        second.regions.push(Region {
            base: base + index * 0x100_0000,
            size,
            allocation_base: base + index * 0x100_0000,
            state: RegionState::Commit,
            kind: RegionKind::Private,
            protection: 4,
            allocation_protection: 4,
        });
    }
    second.regions.sort_by_key(|region| region.base);
    // As long as the dump holds nothing of them, nobody can say whose they are.
    let (verdict, usage) = compare(&second);
    assert!(verdict.starts_with("Heap 21ab6d00000 grew by"), "{verdict}");
    assert_eq!(usage.private(Class::Private), 0);
    assert_eq!(usage.private(Class::Missing), 0xa0_0000);

    let bytes = files[1].bytes();
    let ranges = second.memory.ranges().iter();
    let mut ranges: Vec<(u64, u64, u64)> = ranges
        .map(|range| {
            let offset = range.bytes.as_ptr() as usize - bytes.as_ptr() as usize;
            (range.start, offset as u64, range.bytes.len() as u64)
        })
        .collect();
    ranges.extend([(base, 0, 0x1000), (base + 0x100_0000, 0, 0x1000)]);
    second.memory = AddressSpace::new(bytes, ranges);
    let (verdict, usage) = compare(&second);
    assert!(
        verdict.starts_with(
            "VirtualAlloc outside the heaps grew by 10.0 MiB, the heaps by +180.0 KiB: 2 new \
             allocations, the largest 6.0 MiB at 1000000000. Heap 21ab6d00000 grew by"
        ),
        "{verdict}"
    );
    assert_eq!(usage.private(Class::Private), 0xa0_0000);
    let new: Vec<(u64, Owner)> = usage.new.iter().map(|new| (new.base, new.owner)).collect();
    let second_base = base + 0x100_0000;
    assert_eq!(
        new,
        [base, second_base].map(|base| (base, Owner::Private(base)))
    );
}

#[test]
fn a_dump_without_regions_is_counted_by_its_memory() {
    let file = open("7601.24545-small.snap1.dmp.zst");
    let mut dump = Dump::parse(file.bytes()).expect("it parses");
    dump.regions.clear();
    let process = Process::of(&dump).expect("it has heaps");
    let usage = Usage::of(&Heaps::of(&process));
    assert!(!usage.described);
    assert_eq!(usage.total().committed, dump.memory.size());
    assert!(usage.of_class(Class::Heap).committed > 0x20_0000);
    assert!(usage.of_class(Class::Image).committed > 0);
    assert_eq!(usage.largest_free(), None);
}
