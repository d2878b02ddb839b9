//! Every command over dumps of corrupt processes, and commands that nobody means to type.

use std::{
    fmt::{self, Write},
    ops::ControlFlow,
};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Visitor},
    dump::{Dump, DumpFile},
    heap::{Heap, Heaps},
    names::ModuleNames,
    process::Process,
};
use ntheap_windbg::{CommandError, Session};

use ntheap_synth::{self as synth, HEAP, Random, oracle::testdata_dumps, small_dump};

/// Of the whole process.
const OF_PROCESS: &[&str] = &[
    "!heap",
    "!heap -s",
    "!heap -s -v",
    "!heap -m",
    "!heap -g",
    "!heap -stat",
    "!heap -stat -h 0",
    "!heap -flt s 20",
    "!heap -flt r 8 1000",
    "!heap -triage",
    "!heap -l",
    "!heap -p",
    "!heap -p -all",
    "!address",
    "!address -summary",
    "lm",
    "x ntdll!*",
    "dt ntdll!_*",
];

/// Of a heap.
const OF_HEAP: &[&str] = &[
    "!heap -h",
    "!heap -hl",
    "!heap -a",
    "!heap -m",
    "!heap -f",
    "!heap -v",
    "!heap -T",
    "!heap -i",
    "!heap -s -h",
    "!heap -s -b 1 -a -v -h",
    "!heap -s -b ffffffffffffffff -h",
    "!heap -stat -h",
    "!heap -p -h",
    "dt ntdll!_HEAP",
    "dt -r1 ntdll!_SEGMENT_HEAP",
    "dt ntdll!_HEAP SegmentList.",
];

/// Of an address.
const OF_ADDRESS: &[&str] = &[
    "!heap -x",
    "!heap -x -v",
    "!heap -i",
    "!heap -p -a",
    "!address",
    "ln",
    "db",
    "dw",
    "dd",
    "dq",
    "dps",
    "da",
    "du",
    "dt ntdll!_LIST_ENTRY Flink.Flink.Flink",
    "dt ntdll!_HEAP_ENTRY",
];

/// Takes what a screen could, then refuses the rest.
struct Screen(usize);

impl Write for Screen {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}

/// Addresses of some blocks, those inside and behind them included.
struct Addresses(Vec<u64>);

impl Visitor for Addresses {
    fn block(&mut self, block: &Block) -> Flow {
        let behind = block.entry.wrapping_add(block.block_size);
        let inside = block.address.wrapping_add(block.size / 2);
        self.0.extend([block.entry, inside, behind]);
        CONTINUE
    }
}

fn addresses(process: &Process<'_, '_>) -> Vec<u64> {
    let mut found = Addresses(vec![0, u64::MAX, 1 << 63]);
    for heap in &Heaps::listed(process) {
        let _ = heap.walk(&mut found);
    }
    found.0
}

/// Gives a command to a session; what it prints does not matter, only that it ends.
fn execute(session: &mut Session<'_, '_>, command: &str) {
    const SCREEN: usize = 64 << 20;
    let result = session.execute(command, &mut Screen(SCREEN)).result;
    assert_ne!(
        result,
        Err(CommandError::Output),
        "{command}: endless output"
    );
}

/// With a process that can be read, and a session over it.
fn with_session(
    bytes: &[u8],
    work: impl FnOnce(&Process<'_, '_>, &mut Session<'_, '_>),
) -> ControlFlow<()> {
    let Ok(dump) = Dump::parse(bytes) else {
        return ControlFlow::Break(());
    };
    let Ok(process) = Process::of(&dump) else {
        return ControlFlow::Break(());
    };
    let names = ModuleNames::new(&dump);
    work(
        &process,
        &mut Session::new(&Heaps::listed(&process), &names),
    );
    ControlFlow::Continue(())
}

/// All commands, with heaps and addresses that the dump itself has.
fn execute_all(bytes: &[u8], random: &mut Random) {
    let _ = with_session(bytes, |process, session| {
        let addresses = addresses(process);
        let heaps = process.heaps.iter().chain(&process.normal_heaps);
        let handles: Vec<u64> = heaps.map(|heap| heap.handle).collect();
        for command in OF_PROCESS {
            execute(session, command);
        }
        for command in OF_HEAP {
            let handle = handles[random.below(handles.len())];
            execute(session, &format!("{command} {handle:x}"));
        }
        for command in OF_ADDRESS {
            let address = addresses[random.below(addresses.len())];
            execute(session, &format!("{command} {address:x}"));
        }
    });
}

/// Numbers that sums and differences overflow with.
const EXTREMES: [u64; 8] = [
    0,
    1,
    8,
    u64::MAX,
    u64::MAX - 7,
    !0xffff,
    1 << 63,
    0xffff_fff0,
];

/// Structures of a heap that its blocks hang on.
fn structures(heap: &Heap<'_, '_>) -> Vec<u64> {
    match heap {
        Heap::Nt(heap) => {
            let segments = heap.segments.iter().map(|segment| segment.header);
            let blocks = heap.virtual_blocks.iter().map(|block| block.element);
            let front_end = heap.header.front_end.address;
            segments.chain(blocks).chain([front_end]).collect()
        }
        Heap::Segment(heap) => {
            let segments = heap.segments.iter().map(|segment| segment.base);
            let blocks = heap.large_blocks.iter().map(|block| block.node);
            segments.chain(blocks).collect()
        }
        Heap::Page(page) => page.normal().map(structures).unwrap_or_default(),
    }
}

/// Places where heaps keep their numbers: in the headers of heaps, segments and blocks.
fn places(bytes: &[u8], random: &mut Random) -> Vec<usize> {
    let mut places = Vec::new();
    let _ = with_session(bytes, |process, _| {
        let addresses = addresses(process);
        let mut starts: Vec<u64> = (0..8)
            .map(|_| addresses[random.below(addresses.len())] & !7)
            .collect();
        for heap in &Heaps::listed(process) {
            starts.extend([heap.handle(); 2]);
            starts.extend(structures(heap));
        }
        for start in starts {
            // What lies nearest is what most structures consist of.
            let limit = [0x40, 0x300][random.below(2)];
            let offset = (random.below(limit) & !3) as u64;
            let at = start.checked_add(offset);
            if let Some(slice) = at.and_then(|at| process.dump.memory.slice(at, 8)) {
                places.push(slice.as_ptr() as usize - bytes.as_ptr() as usize);
            }
        }
    });
    // Most of it stays as it is, else nothing would be left to walk.
    places.retain(|_| random.below(4) == 0);
    places
}

/// The dump with some of its numbers replaced by extreme ones.
fn with_extremes(bytes: &[u8], random: &mut Random) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    for at in places(bytes, random) {
        let value = EXTREMES[random.below(EXTREMES.len())];
        damaged[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }
    damaged
}

#[test]
fn every_command_over_damaged_real_dumps() {
    let mut random = Random(7);
    for path in testdata_dumps() {
        let file = DumpFile::open(&path).expect("opens");
        for round in 0..3 {
            let mut bytes = with_extremes(file.bytes(), &mut random);
            for _ in 0..round * 40 {
                let at = random.below(bytes.len() - 8) & !7;
                let from = random.below(bytes.len() - 8) & !7;
                let value: [u8; 8] = bytes[from..from + 8].try_into().expect("eight bytes");
                bytes[at..at + 8].copy_from_slice(&value);
            }
            execute_all(&bytes, &mut random);
        }
    }
}

#[test]
fn every_command_over_wild_headers() {
    let (bytes, _) = small_dump();
    let mut random = Random(0x5151);
    for _ in 0..150 {
        let damaged = with_extremes(&bytes, &mut random);
        execute_all(&damaged, &mut random);
    }
}

#[test]
fn every_command_over_a_heap_at_the_end_of_the_address_space() {
    let mut random = Random(3);
    // The last byte of a program's half, and the last but one of all.
    for end in [1 << 63, u64::MAX] {
        let base = (end & !0xfff) - 0x4000;
        let (memory, _) = synth::heap(base, 0x2000, 2, |number| 8 + number * 13 % 300);
        execute_all(&synth::dump(&[base], memory), &mut random);
        for back in [0x40, 0x20, 0x18, 0x11, 0x10, 8, 1] {
            let at = end - back;
            let memory = vec![(at & !0xfff, vec![0xee; 0xfff])];
            let (own, _) = synth::heap(HEAP, 0x2000, 1, |_| 24);
            let bytes = synth::dump(&[HEAP], [own, memory].concat());
            let run = with_session(&bytes, |_, session| {
                for command in OF_ADDRESS.iter().chain(OF_HEAP) {
                    execute(session, &format!("!heap -i {HEAP:x}"));
                    execute(session, &format!("{command} {at:x}"));
                }
            });
            assert!(run.is_continue());
        }
    }
}

#[test]
fn counters_of_a_segment_heap_that_overflow_their_sum() {
    let mut tried = 0;
    for path in testdata_dumps() {
        let file = DumpFile::open(&path).expect("opens");
        let mut bytes = file.bytes().to_vec();
        let mut places = Vec::new();
        let _ = with_session(&bytes, |process, _| {
            let layouts = &process.layouts;
            let (heap, stats) = (&layouts.segment_heap, &layouts.memory_stats);
            let large = [heap.large_reserved_pages, heap.large_committed_pages];
            let own = [heap.total_reserved_pages, heap.total_committed_pages];
            let moved = [stats.total_reserved_pages, stats.total_committed_pages];
            for found in &Heaps::listed(process) {
                let Heap::Segment(found) = found else {
                    continue;
                };
                let in_stats = |offset| Some(heap.mem_stats? + offset?);
                let offsets = large.into_iter().chain(own).chain(moved.map(in_stats));
                for at in offsets
                    .flatten()
                    .map(|offset| found.handle() + u64::from(offset))
                {
                    let slice = process.dump.memory.slice(at, 8).expect("a counter");
                    places.push(slice.as_ptr() as usize - bytes.as_ptr() as usize);
                }
            }
        });
        tried += places.len();
        for at in places {
            bytes[at..at + 8].fill(0xff);
        }
        let run = with_session(&bytes, |_, session| execute(session, "!heap -s"));
        assert!(run.is_continue());
    }
    assert!(tried > 0, "no segment heap");
}

#[test]
fn commands_that_nobody_means_to_type() {
    let (bytes, _) = small_dump();
    let deep = format!("dt ntdll!_LIST_ENTRY {HEAP:x} {}", "Flink.".repeat(100_000));
    let brackets = format!("db {}", "(".repeat(100_000));
    let signs = format!("db {}1", "-".repeat(100_000));
    let sum = format!("db 1{}", "+1".repeat(100_000));
    let stars = format!("dt ntdll!{}q", "*_".repeat(1000));
    let typed = [
        "db 0 ffffffffffffffff",
        "dq ffffffffffffffff ffffffffffffffff",
        "db 0 Lffffffffffffffff",
        "da 0 L?ffffffffffffffff",
        "db",
        "db l",
        "db L?",
        "dd 5 4",
        "du ffffffffffffffff",
        "dps ffffffffffffffff L10000",
        "!heap -flt r ffffffffffffffff 1",
        "!heap -flt r 1 ffffffffffffffff",
        "!heap -flt s ffffffffffffffff",
        "!heap -flt r",
        "!heap -stat -h 0 -grp S ffffffffffffffff",
        "!heap -stat -h 0 -grp é",
        "!heap -s -h 1 -b 0",
        "!heap -é",
        "!heap -i",
        "!heap -i ffffffffffffffff",
        "!heap -x ffffffffffffffff",
        "!heap -p -a ffffffffffffffff",
        "ln ffffffffffffffff",
        "x",
        "x é!*",
        "dt",
        "dt !",
        "dt ntdll!_HEAP ffffffffffffffff",
        "dt -r ntdll!_HEAP ffffffffffffffff",
        "dt -r99999999999 ntdll!_HEAP",
        "dt -ré ntdll!_HEAP",
        "dt ntdll!_HEAP .",
        "é",
        "\0",
        &deep,
        &brackets,
        &signs,
        &sum,
        &stars,
    ];
    let run = with_session(&bytes, |_, session| {
        for command in typed {
            execute(session, command);
        }
        execute(session, &format!("dt -r ntdll!_HEAP {HEAP:x}"));
        for bucket in ["0", "1", "7fffffffffffffff", "ffffffffffffffff"] {
            execute(session, &format!("!heap -s -h {HEAP:x} -b {bucket}"));
        }
    });
    assert!(run.is_continue());
}
