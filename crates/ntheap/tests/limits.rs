//! Inputs as large as their formats allow, and larger: every analysis ends soon, in memory that the file
//! pays for. `docs/robustness.md` has the list.
//!
//! What was quadratic once takes minutes here, so each case has a limit of time that is far above what it
//! needs and far below that.

use std::time::{Duration, Instant};

use ntheap::{
    Error,
    dump::Dump,
    graph::Graph,
    heap::Heaps,
    layout::{Bitness, Layouts},
    process::Process,
    stats,
    traces::Traces,
    usage::Usage,
    verify,
};
use ntheap_synth::{BUILD, HEAP, dump, heap, small_dump};

/// Without optimization everything is smaller by this factor.
const SMALLER: u64 = if cfg!(debug_assertions) { 20 } else { 1 };
const SOON: Duration = Duration::from_secs(60);

const MODULES: u32 = 4;
const MEMORY: u32 = 5;
const REGIONS: u32 = 16;

/// The dump with further streams.
fn with_streams(mut file: Vec<u8>, streams: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let u32_at = |at: usize| u32::from_le_bytes(*file[at..].first_chunk().expect("a header"));
    let (count, at) = (u32_at(8) as usize, u32_at(12) as usize);
    let wanted = |kind: u32| streams.iter().all(|(new, _)| *new != kind);
    let mut directory: Vec<[u32; 3]> = (0..count)
        .map(|index| [0, 4, 8].map(|part| u32_at(at + index * 12 + part)))
        .filter(|[kind, ..]| wanted(*kind))
        .collect();
    for (kind, bytes) in streams {
        directory.push([*kind, bytes.len() as u32, file.len() as u32]);
        file.extend(bytes);
    }
    let at = file.len() as u32;
    file[8..12].copy_from_slice(&(directory.len() as u32).to_le_bytes());
    file[12..16].copy_from_slice(&at.to_le_bytes());
    directory
        .iter()
        .flatten()
        .for_each(|value| file.extend(value.to_le_bytes()));
    file
}

fn region(base: u64, size: u64, kind: u32) -> [u8; 48] {
    let mut entry = [0; 48];
    entry[..8].copy_from_slice(&base.to_le_bytes());
    entry[8..16].copy_from_slice(&base.to_le_bytes());
    entry[24..32].copy_from_slice(&size.to_le_bytes());
    for (at, value) in [(32, 0x1000), (36, 4), (40, kind)] {
        entry[at..at + 4].copy_from_slice(&u32::to_le_bytes(value));
    }
    entry
}

fn regions(entries: impl Iterator<Item = [u8; 48]>) -> (u32, Vec<u8>) {
    let mut stream = Vec::new();
    for value in [16u32, 48, 0, 0] {
        stream.extend(value.to_le_bytes());
    }
    let mut count = 0u64;
    for entry in entries {
        stream.extend(entry);
        count += 1;
    }
    stream[8..16].copy_from_slice(&count.to_le_bytes());
    (REGIONS, stream)
}

/// Everything that can be asked of a dump; the busy blocks of its heaps.
fn everything(file: &[u8]) -> Result<u64, Error> {
    let start = Instant::now();
    let busy = analyses(file);
    assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    busy
}

fn analyses(file: &[u8]) -> Result<u64, Error> {
    let mut last = Instant::now();
    let mut took = |what: &str| {
        println!("{what}: {:?}", last.elapsed());
        last = Instant::now();
    };
    let dump = Dump::parse(file)?;
    took("parse");
    let process = Process::of(&dump)?;
    took("process");
    let heaps = Heaps::of(&process);
    let busy = stats::collect(&heaps)
        .iter()
        .map(|heap| heap.busy_blocks)
        .sum();
    took("statistics");
    let _ = verify::verify(&heaps);
    took("verify");
    let usage = Usage::of(&heaps);
    let _ = (usage.totals(), usage.owners(), usage.largest(10));
    took("usage");
    let _ = Traces::of(&process);
    let _ = Graph::of(&heaps);
    took("graph");
    Ok(busy)
}

#[test]
fn a_million_ranges_and_regions() {
    let count = 1_000_000 / SMALLER;
    let (memory, blocks) = heap(HEAP, 0x2000, 2, |number| 8 + number * 13 % 300);
    let far = 0x10_0000_0000;
    let ranges = (0..count).map(|index| (far + index * 0x2000, vec![0xcc; 16]));
    let file = dump(&[HEAP], memory.into_iter().chain(ranges).collect());
    assert_eq!(everything(&file).expect("a dump"), blocks.len() as u64);
    let private = (0..count).map(|index| region(far + index * 0x2000, 0x1000, 0x20000));
    let file = with_streams(file, &[regions(private)]);
    assert_eq!(everything(&file).expect("a dump"), blocks.len() as u64);
}

/// Every region claims the whole address space, and so does every module.
#[test]
fn regions_and_modules_over_each_other() {
    let count = 1_000_000 / SMALLER;
    let (file, blocks) = small_dump();
    let everywhere = (0..count).map(|index| region(0x1000 + index, 1 << 46, 0x20000));
    let mut modules = (count as u32).to_le_bytes().to_vec();
    let name = file.len() as u32;
    for index in 0..count {
        let mut module = [0; 108];
        module[..8].copy_from_slice(&(0x7000_0000_0000 + index * 16).to_le_bytes());
        module[8..12].copy_from_slice(&u32::MAX.to_le_bytes());
        module[20..24].copy_from_slice(&name.to_le_bytes());
        modules.extend(module);
    }
    let mut file = file;
    file.extend(2u32.to_le_bytes());
    file.extend([b'a', 0, 0, 0]);
    let file = with_streams(file, &[regions(everywhere), (MODULES, modules)]);
    assert_eq!(everything(&file).expect("a dump"), blocks.len() as u64);
}

#[test]
fn many_claimed_heaps() {
    let count = 100_000 / SMALLER;
    let (memory, blocks) = heap(HEAP, 0x2000, 2, |number| 8 + number * 13 % 300);
    // Nothing there; the same again and again; no addresses at all.
    let claims: [&dyn Fn(u64) -> u64; 3] = [
        &|index| 0x7000_0000_0000 + index * 0x1_0000,
        &|_| HEAP,
        &|index| u64::MAX - index,
    ];
    for claim in claims {
        let heaps: Vec<u64> = [HEAP].into_iter().chain((1..count).map(claim)).collect();
        let file = dump_with_array_elsewhere(&heaps, memory.clone());
        assert_eq!(everything(&file).expect("a dump"), blocks.len() as u64);
        let dump = Dump::parse(&file).expect("a dump");
        let said = Process::of(&dump).expect("a process").problems.len();
        assert!(said < 200, "{said} problems");
    }
}

/// Headers that look like heaps, tens of thousands of them: the same bytes of the file at many addresses.
#[test]
fn many_heaps_that_look_like_some() {
    let count = 60_000 / SMALLER;
    let (memory, blocks) = heap(HEAP, 0x2000, 1, |number| 8 + number * 13 % 300);
    let header = memory[0].1.clone();
    let far = |index: u64| 0x10_0000_0000 + index * 0x1_0000;
    let heaps: Vec<u64> = [HEAP].into_iter().chain((1..count).map(far)).collect();
    let mut file = dump_with_array_elsewhere(&heaps, memory);
    let at = file.len() as u32;
    file.extend(&header);
    let mut list = (count as u32 - 1).to_le_bytes().to_vec();
    for index in 1..count {
        list.extend(far(index).to_le_bytes());
        list.extend((header.len() as u32).to_le_bytes());
        list.extend(at.to_le_bytes());
    }
    let file = with_streams(file, &[(MEMORY, list)]);
    assert!(everything(&file).expect("a dump") >= blocks.len() as u64);
}

/// The array of heaps of `ntheap_synth::dump` would reach into the heap.
fn dump_with_array_elsewhere(heaps: &[u64], mut memory: ntheap_synth::Memory) -> Vec<u8> {
    const ARRAY: u64 = 0x5000_0000;
    let layouts = Layouts::for_build(BUILD, Bitness::X64);
    let offset = |field: Option<u32>| field.expect("the layout has the field") as usize;
    let array: Vec<u8> = heaps
        .iter()
        .flat_map(|handle| handle.to_le_bytes())
        .collect();
    memory.push((ARRAY, array));
    let mut file = dump(&heaps[..1], memory);
    let peb = {
        let dump = Dump::parse(&file).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let peb = process.peb.expect("a PEB");
        let range = dump.memory.range_of(peb).expect("in the dump");
        range.bytes.as_ptr() as usize - file.as_ptr() as usize + (peb - range.start) as usize
    };
    let count = (heaps.len() as u32).to_le_bytes();
    let at = peb + offset(layouts.peb.number_of_heaps);
    file[at..at + 4].copy_from_slice(&count);
    let at = peb + offset(layouts.peb.process_heaps);
    file[at..at + 8].copy_from_slice(&ARRAY.to_le_bytes());
    file
}

#[test]
fn lists_of_ten_million_entries() {
    let count = 10_000_000 / SMALLER;
    let (file, blocks) = small_dump();
    // Ranges of nothing.
    let mut list = (count as u32).to_le_bytes().to_vec();
    list.resize(4 + 16 * count as usize, 0);
    let more = with_streams(file.clone(), &[(MEMORY, list)]);
    assert_eq!(everything(&more).expect("a dump"), blocks.len() as u64);
    // Ranges over the same bytes, of descending addresses.
    let mut list = (count as u32).to_le_bytes().to_vec();
    for index in 0..count {
        list.extend((0x7000_0000_0000 - index).to_le_bytes());
        list.extend(0x1000u32.to_le_bytes());
        list.extend(0u32.to_le_bytes());
    }
    let more = with_streams(file.clone(), &[(MEMORY, list)]);
    assert_eq!(everything(&more).expect("a dump"), blocks.len() as u64);
    // Counts without entries.
    for kind in [3, MODULES, MEMORY, 9, REGIONS] {
        let mut list = (count as u32).to_le_bytes().to_vec();
        list.resize(16, 0xff);
        let _ = everything(&with_streams(file.clone(), &[(kind, list)]));
        let _ = everything(&with_streams(file.clone(), &[(kind, vec![0xff; 64])]));
    }
}

/// A list of large blocks with as many links.
#[test]
fn a_linked_list_of_ten_million_entries() {
    let count = 10_000_000 / SMALLER;
    let layouts = Layouts::for_build(BUILD, Bitness::X64);
    let head = HEAP + u64::from(layouts.heap.virtual_allocd_blocks.expect("a list"));
    let base = 0x10_0000_0000u64;
    let link = |index: u64| match index {
        0 => head,
        _ if index > count => head,
        _ => base + (index - 1) * 16,
    };
    let mut links = Vec::with_capacity(16 * count as usize);
    for index in 1..=count {
        links.extend(link(index + 1).to_le_bytes());
        links.extend(link(index - 1).to_le_bytes());
    }
    let (mut memory, blocks) = heap(HEAP, 0x2000, 2, |number| 8 + number * 13 % 300);
    let at = (head - HEAP) as usize;
    let header = &mut memory[0].1;
    header[at..at + 8].copy_from_slice(&link(1).to_le_bytes());
    header[at + 8..at + 16].copy_from_slice(&link(count).to_le_bytes());
    memory.push((base, links));
    let file = dump(&[HEAP], memory);
    assert!(everything(&file).expect("a dump") >= blocks.len() as u64);
}

#[test]
fn ranges_at_the_ends_of_the_address_space() {
    let (memory, blocks) = heap(HEAP, 0x2000, 2, |number| 8 + number * 13 % 300);
    for address in [
        0,
        1,
        0x7fff_ffff_f000,
        (1 << 63) - 8,
        1 << 63,
        0xffff_ffff_8000_0000,
        u64::MAX - 0xfff,
        u64::MAX - 8,
        u64::MAX,
    ] {
        let mut memory = memory.clone();
        memory.push((address, vec![0xff; 0x1000]));
        let file = dump(&[HEAP], memory);
        assert_eq!(
            everything(&file).expect("a dump"),
            blocks.len() as u64,
            "{address:x}"
        );
        let wild = [
            region(address, u64::MAX, 0x20000),
            region(address, 0x1000, 0x100_0000),
        ];
        let file = with_streams(file, &[regions(wild.into_iter())]);
        assert_eq!(
            everything(&file).expect("a dump"),
            blocks.len() as u64,
            "{address:x}"
        );
    }
}

/// All 4 GiB of a 32-bit process, addresses written with and without their sign.
#[test]
#[cfg(target_pointer_width = "64")]
#[cfg_attr(debug_assertions, ignore = "takes minutes without optimization")]
fn a_32_bit_process_without_a_free_address() {
    use std::io::{Seek, SeekFrom, Write};
    for sign in [0, 0xffff_ffff_0000_0000u64] {
        let packed = ntheap_synth::oracle::testdata().join("x86-7601.21861-smallust.snap1.dmp.zst");
        let small = ntheap::dump::DumpFile::open(&packed).expect("opens");
        let before = Dump::parse(small.bytes()).expect("a dump");
        let busy = {
            let process = Process::of(&before).expect("a process");
            let heaps = Heaps::of(&process);
            stats::collect(&heaps)
                .iter()
                .map(|heap| heap.busy_blocks)
                .sum::<u64>()
        };
        // What the process has, and zeros everywhere else, as one range after the other.
        let (mut ranges, mut at) = (Vec::new(), 0u64);
        for range in before.memory.ranges() {
            if range.start > at {
                ranges.push((at, range.start - at, None));
            }
            ranges.push((range.start, range.bytes.len() as u64, Some(range.bytes)));
            at = range.end();
        }
        ranges.push((at, (1 << 32) - at, None));
        let mut list = Vec::new();
        list.extend((ranges.len() as u64).to_le_bytes());
        list.extend(0u64.to_le_bytes());
        for (start, size, _) in &ranges {
            let start = if *start >= 1 << 31 {
                start | sign
            } else {
                *start
            };
            list.extend(start.to_le_bytes());
            list.extend(size.to_le_bytes());
        }
        let mut head = with_streams(small.bytes().to_vec(), &[(9, list)]);
        let data = (head.len() as u64).next_multiple_of(0x1000);
        let at = head
            .windows(16)
            .rposition(|window| {
                window[..8] == (ranges.len() as u64).to_le_bytes() && window[8..] == [0; 8]
            })
            .expect("the list");
        head[at + 8..at + 16].copy_from_slice(&data.to_le_bytes());
        let mut file = tempfile::tempfile().expect("a file");
        file.write_all(&head).expect("written");
        let mut offset = data;
        for (_, size, bytes) in ranges {
            if let Some(bytes) = bytes {
                file.seek(SeekFrom::Start(offset)).expect("a place");
                file.write_all(bytes).expect("written");
            }
            offset += size;
        }
        file.set_len(offset).expect("grows");
        let map = ntheap::dump::MappedFile::new(file).expect("maps");
        let start = Instant::now();
        let dump = Dump::parse(&map).expect("a dump");
        assert_eq!(dump.memory.size(), 1 << 32);
        let process = Process::of(&dump).expect("a process");
        let heaps = Heaps::of(&process);
        let now: u64 = stats::collect(&heaps)
            .iter()
            .map(|heap| heap.busy_blocks)
            .sum();
        assert_eq!(now, busy, "sign {sign:x}");
        let usage = Usage::of(&heaps);
        assert!(usage.total().size <= 1 << 33);
        let _ = verify::verify(&heaps);
        assert!(start.elapsed() < SOON, "{:?}", start.elapsed());
    }
}

/// A walk whose time is up ends with what it found, and says so.
#[test]
fn a_deadline_ends_walks() {
    let (memory, blocks) = heap(HEAP, 0x10_0000, 4, |_| 24);
    let file = dump(&[HEAP], memory);
    let count = |after: Duration| {
        let mut dump = Dump::parse(&file).expect("a dump");
        dump.stop_at(Instant::now() + after);
        let process = Process::of(&dump).expect("a process");
        let heaps = Heaps::of(&process);
        let statistics = stats::collect(&heaps);
        let complete = statistics.iter().all(|heap| heap.losses.complete());
        let _ = verify::verify(&heaps);
        (
            statistics[0].busy_blocks,
            complete,
            heaps.losses().to_string(),
        )
    };
    assert_eq!(count(SOON), (blocks.len() as u64, true, String::new()));
    let (found, complete, said) = count(Duration::ZERO);
    assert!(found < blocks.len() as u64 && !complete, "{found} blocks");
    assert!(said.contains("the time was up"), "{said}");
}
