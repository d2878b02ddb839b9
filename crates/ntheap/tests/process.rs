//! What leads to the heaps of a process: lists that are broken, heaps of others, what ntdll noted.

use ntheap::{
    Error,
    diff::{self, Grouping, Snapshot},
    dump::{Dump, DumpFile},
    heap::Heaps,
    layout::{Bitness, Layouts},
    losses::Losses,
    process::{HeapSource, Problem, Process, ProcessOptions},
    stats,
};
use ntheap_synth::{BUILD, dump, heap, oracle::testdata};

const FIRST: u64 = 0x20_0000;
const SECOND: u64 = 0x40_0000;

fn layouts() -> Layouts {
    Layouts::for_build(BUILD, Bitness::X64)
}

fn field(offset: Option<u32>) -> u64 {
    u64::from(offset.expect("the layout has the field"))
}

/// Overwrites memory of a dump.
fn put(bytes: &mut [u8], address: u64, value: &[u8]) {
    let parsed = Dump::parse(bytes).expect("a dump");
    let range = parsed.memory.range_of(address).expect("in the dump");
    let offset = range.bytes.as_ptr() as usize - bytes.as_ptr() as usize;
    let at = offset + (address - range.start) as usize;
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// A dump of two heaps of which the process's lists name only the first.
fn two_heaps() -> Vec<u8> {
    let (mut memory, _) = heap(FIRST, 0x2000, 1, |_| 24);
    memory.extend(heap(SECOND, 0x2000, 1, |_| 40).0);
    dump(&[FIRST], memory)
}

fn heaps_of(bytes: &[u8]) -> (Vec<(u64, HeapSource)>, Vec<Problem>) {
    let dump = Dump::parse(bytes).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let heaps = process.heaps.iter();
    let heaps = heaps.map(|heap| (heap.handle, heap.source)).collect();
    (heaps, process.problems.clone())
}

#[test]
fn native_arm64_processes_are_refused() {
    const SYSTEM_INFO: u32 = 7;
    const ARM64: u16 = 12;
    let file = DumpFile::open(&testdata().join("19041.662-small.snap1.dmp.zst")).expect("opens");
    let mut bytes = file.bytes().to_vec();
    let number = |bytes: &[u8], at: usize| {
        u32::from_le_bytes(*bytes[at..].first_chunk().expect("in the file"))
    };
    let (count, directory) = (number(&bytes, 8), number(&bytes, 12) as usize);
    let stream = (0..count as usize)
        .map(|index| directory + 12 * index)
        .find(|&entry| number(&bytes, entry) == SYSTEM_INFO)
        .map(|entry| number(&bytes, entry + 8) as usize)
        .expect("system information");
    bytes[stream..stream + 2].copy_from_slice(&ARM64.to_le_bytes());
    let dump = Dump::parse(&bytes).expect("a dump");
    assert!(matches!(Process::of(&dump), Err(Error::NativeArm64)));
}

#[test]
fn a_heap_on_no_list_is_found_and_said() {
    let (heaps, problems) = heaps_of(&two_heaps());
    assert_eq!(
        heaps,
        [(FIRST, HeapSource::Peb), (SECOND, HeapSource::Scan)]
    );
    let handle = SECOND;
    let found = 1;
    assert_eq!(
        problems,
        [
            Problem::UnlistedHeap { handle },
            Problem::Searched { found }
        ]
    );
}

#[test]
fn the_heap_that_the_subsystem_shares_is_not_the_processs_own() {
    let own = [(FIRST, HeapSource::Peb)];
    // By its class, which the subsystem's heaps alone have.
    for class in [0x7000u32, 0x8000] {
        let mut bytes = two_heaps();
        let flags = SECOND + field(layouts().heap.flags);
        put(&mut bytes, flags, &(class | 2).to_le_bytes());
        assert_eq!(heaps_of(&bytes), (own.to_vec(), Vec::new()), "{class:x}");
    }
    // By the environment block, which names the section that it lies in.
    let mut bytes = two_heaps();
    let peb = Process::of(&Dump::parse(&bytes).expect("a dump"))
        .expect("a process")
        .peb
        .expect("an environment block");
    let base = peb + field(layouts().peb.read_only_shared_memory_base);
    put(&mut bytes, base, &SECOND.to_le_bytes());
    assert_eq!(heaps_of(&bytes), (own.to_vec(), Vec::new()));
    // And where the lists are lost as well.
    put(
        &mut bytes,
        peb + field(layouts().peb.number_of_heaps),
        &[0; 4],
    );
    let (heaps, problems) = heaps_of(&bytes);
    assert_eq!(heaps, own);
    assert!(matches!(problems[..], [Problem::HeapList { .. }]));
}

#[test]
fn a_header_that_does_not_name_itself_is_no_heap() {
    let mut bytes = two_heaps();
    let owner = SECOND + field(layouts().segment.heap);
    put(&mut bytes, owner, &FIRST.to_le_bytes());
    let (heaps, _) = heaps_of(&bytes);
    assert_eq!(heaps, [(FIRST, HeapSource::Peb)]);
}

#[test]
fn heaps_of_wine_are_called_what_they_are() {
    // The mark at the beginning of the header, and nothing else of a Windows heap.
    let mut page = vec![0; 0x2000];
    page[0x10..0x14].copy_from_slice(&0xffee_ffeeu32.to_le_bytes());
    page[0x70..0x74].copy_from_slice(&2u32.to_le_bytes());
    let bytes = dump(&[FIRST], vec![(FIRST, page)]);
    let parsed = Dump::parse(&bytes).expect("a dump");
    let error = Process::of(&parsed).expect_err("no Windows heap");
    assert!(matches!(error, Error::NotWindowsHeaps { .. }), "{error}");
    assert!(error.to_string().contains("Wine"));
    // A heap of Windows whose signature alone was overwritten is one all the same.
    let mut bytes = dump(&[FIRST], heap(FIRST, 0x2000, 1, |_| 24).0);
    put(&mut bytes, FIRST + field(layouts().heap.signature), &[0; 4]);
    let parsed = Dump::parse(&bytes).expect("a dump");
    assert!(!matches!(
        Process::of(&parsed),
        Err(Error::NotWindowsHeaps { .. })
    ));
}

#[test]
fn what_is_known_of_a_process_without_heaps_is_told_to_who_asks() {
    let bytes = dump(&[], Vec::new());
    let parsed = Dump::parse(&bytes).expect("a dump");
    assert!(matches!(
        Process::of(&parsed),
        Err(Error::NoHeapMemory { .. })
    ));
    let options = ProcessOptions {
        without_heaps: true,
        ..ProcessOptions::default()
    };
    let process = Process::with_options(&parsed, &options).expect("a process");
    assert_eq!(process.build, BUILD);
    assert!(process.problems.contains(&Problem::NoHeaps));
    assert!(!Losses::of(&process).complete());
}

fn open(name: &str) -> Vec<u8> {
    let file = DumpFile::open(&testdata().join(name)).expect("the dump opens");
    file.bytes().to_vec()
}

/// Two dumps of a leaking process, cut off at 75 per cent as a full disk leaves them.
#[test]
fn a_leak_is_seen_in_dumps_that_are_cut_off_and_nothing_is_sure() {
    let cut = |name: &str| {
        let mut bytes = open(name);
        bytes.truncate(bytes.len() * 3 / 4);
        bytes
    };
    let files = [
        cut("19041.662-smallust.snap1.dmp.zst"),
        cut("19041.662-smallust.snap2.dmp.zst"),
    ];
    let dumps = files
        .each_ref()
        .map(|file| Dump::parse(file).expect("a dump"));
    let processes = dumps
        .each_ref()
        .map(|dump| Process::of(dump).expect("heaps"));
    let blocks = |process: &Process<'_, '_>| {
        let heaps = stats::collect(&Heaps::of(process));
        (heaps.len(), heaps.iter().map(|heap| heap.busy_blocks).sum())
    };
    assert_eq!(blocks(&processes[0]), (7, 2011u64));
    assert_eq!(blocks(&processes[1]), (7, 2222u64));
    assert!(processes.iter().all(|p| !Losses::of(p).complete()));
    let [before, after] = processes.each_ref().map(Snapshot::of);
    let comparison = diff::compare(
        &before,
        &after,
        Grouping {
            size: true,
            stack: false,
        },
    );
    assert!(comparison.losses.iter().all(|losses| !losses.complete()));
    let grown = comparison
        .heaps
        .iter()
        .find(|heap| heap.handle == 0x21a_b856_0000);
    let grown = grown.expect("the heap that grew");
    assert_eq!((grown.busy.bytes(), grown.busy.blocks()), (251_496, 214));
}

/// ntdll's record of a damaged heap names itself by its version and size.
#[test]
fn what_ntdll_noted_is_found_without_symbols() {
    for (name, head, offsets) in [
        (
            "19041.662-small.snap1.dmp.zst",
            [2u32, 0x6d0],
            [0x10u64, 0x18, 0x58],
        ),
        (
            "7601.24545-small.snap1.dmp.zst",
            [1, 0x168],
            [0x10, 0x18, 0x68],
        ),
        (
            "x86-9200.16578-small.snap1.dmp.zst",
            [1, 0xb8],
            [0xc, 0x10, 0x38],
        ),
    ] {
        let mut bytes = open(name);
        let (heap, record, size) = {
            let dump = Dump::parse(&bytes).expect("a dump");
            let process = Process::of(&dump).expect("a process");
            assert_eq!(process.heap_failure(), None, "{name}");
            let ntdll = process.ntdll().expect("ntdll");
            let size = process.bitness.pointer_size();
            let is_head = |&at: &u64| {
                [dump.memory.u32(at), dump.memory.u32(at + 4)] == head.map(Some)
                    && dump.memory.u64(at + 8) == Some(0)
            };
            let record = (ntdll.base..ntdll.end())
                .step_by(size as usize)
                .find(is_head);
            (process.heaps[0].handle, record.expect("the record"), size)
        };
        put(&mut bytes, record + 8, &8u32.to_le_bytes());
        let values = [heap, heap + 0x1230, 0x7ff6_1234];
        for (offset, value) in offsets.into_iter().zip(values) {
            put(
                &mut bytes,
                record + offset,
                &value.to_le_bytes()[..size as usize],
            );
        }
        let dump = Dump::parse(&bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let failure = process.heap_failure().expect("it is noted");
        assert_eq!(failure.name, Some("HEAP_FAILURE_BLOCK_NOT_BUSY"), "{name}");
        assert_eq!((failure.heap, failure.address), (heap, heap + 0x1230));
        assert_eq!(failure.stack, [0x7ff6_1234]);
    }
}
