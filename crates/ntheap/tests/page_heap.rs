//! Page heaps whose structures are damaged: nothing panics, nothing runs forever, and what is lost
//! is reported.

use std::{collections::BTreeSet, path::Path};

use ntheap::{
    address_space::AddressSpace,
    blocks::{Block, CONTINUE, Certainty, Finding, FindingKind, Flow, Kind, State, Visitor},
    dump::{Dump, DumpFile},
    heap::Heaps,
    heap::{Heap, page::PageHeap},
    layout::Bitness,
    process::{HeapKind, HeapSource, Problem, Process},
};

const X64_FULL: &str = "14393.351-pageheap.snap1.dmp.zst";
const X86_LIGHT: &str = "x86-19041.1682-pageheaplight.snap1.dmp.zst";

fn load(name: &str) -> Vec<u8> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2);
    let path = root.expect("workspace").join("testdata").join(name);
    read(&path)
}

fn read(path: &Path) -> Vec<u8> {
    let file = DumpFile::open(path).expect("the dump opens");
    file.bytes().to_vec()
}

/// The dumps to mutate: those of `testdata/`, and XP's where the unpacked oracle is at hand.
fn dumps() -> Vec<Vec<u8>> {
    let mut dumps = vec![load(X64_FULL), load(X86_LIGHT)];
    if let Some(oracle) = ntheap_synth::oracle::oracle() {
        let path = oracle
            .unpacked
            .join("x86-2600.5512-pageheapmixed/snap1.dmp");
        if path.exists() {
            dumps.push(read(&path));
        }
    }
    dumps
}

#[derive(Default)]
struct Walk {
    blocks: Vec<Block>,
    findings: Vec<Finding>,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        assert!(block.address.checked_add(block.size).is_some());
        self.blocks.push(*block);
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        assert!(!finding.to_string().is_empty());
        self.findings.push(finding);
        CONTINUE
    }
}

impl Walk {
    fn has(&self, kind: fn(&FindingKind) -> bool) -> bool {
        self.findings.iter().any(|finding| kind(&finding.kind))
    }
}

fn page_heaps(process: &Process<'_, '_>) -> Vec<u64> {
    let heaps = process.heaps.iter();
    let heaps = heaps.filter(|heap| heap.kind == HeapKind::PageHeap);
    heaps.map(|heap| heap.handle).collect()
}

/// Walks all heaps of the dump.
fn walk(bytes: &[u8]) -> Walk {
    let mut walk = Walk::default();
    let dump = Dump::parse(bytes).expect("the dump parses");
    if let Ok(process) = Process::of(&dump) {
        for heap in &Heaps::of(&process) {
            let _ = (heap.lock_state(), heap.flags());
            let _ = heap.walk(&mut walk);
            if let Heap::Page(heap) = &heap {
                for block in heap.blocks() {
                    assert!(heap.block_at(block.address).is_some());
                    let _ = heap.information(block.address);
                }
            }
        }
    }
    walk
}

/// Offset in the file of an address.
fn offset(bytes: &[u8], memory: &AddressSpace<'_>, address: u64) -> Option<usize> {
    let slice = memory.slice(address, 1)?;
    Some(slice.as_ptr() as usize - bytes.as_ptr() as usize)
}

/// Calls `look` with the first page heap that has a full block, and gives what it returns.
fn of_first_heap<T>(bytes: &[u8], look: impl Fn(&Process<'_, '_>, &PageHeap<'_, '_>) -> T) -> T {
    let dump = Dump::parse(bytes).expect("the dump parses");
    let process = Process::of(&dump).expect("a process");
    let heaps = Heaps::of(&process);
    let heap = heaps.iter().find_map(|heap| match heap {
        Heap::Page(heap) if heap.busy.len() > 1 => Some(heap),
        _ => None,
    });
    look(&process, heap.expect("a page heap"))
}

fn put(bytes: &mut [u8], at: usize, value: u64, bitness: Bitness) {
    let size = bitness.pointer_size() as usize;
    if let Some(place) = bytes.get_mut(at..at + size) {
        place.copy_from_slice(&value.to_le_bytes()[..size]);
    }
}

#[test]
fn page_heaps_are_found_without_their_list() {
    for mut bytes in [load(X64_FULL), load(X86_LIGHT)] {
        let (expected, link, bitness) = of_first_heap(&bytes, |process, heap| {
            let field = process.layouts.dph_root.next_heap.expect("NextHeap");
            let link = heap.root.address + u64::from(field);
            let at = offset(&bytes, process.memory(), link).expect("in the dump");
            (page_heaps(process), at, process.bitness)
        });
        assert_eq!(expected.len(), 8);
        put(&mut bytes, link, 0xdead_0000, bitness);
        let dump = Dump::parse(&bytes).expect("the dump parses");
        let process = Process::of(&dump).expect("a process");
        let found: BTreeSet<u64> = page_heaps(&process).into_iter().collect();
        assert_eq!(found, expected.into_iter().collect());
        assert_eq!(process.heaps.len(), 8, "no normal heap is listed");
        assert_eq!(process.normal_heaps.len(), 8);
        assert!(
            process
                .heaps
                .iter()
                .any(|heap| heap.source == HeapSource::Scan)
        );
        let broken = |problem: &Problem| matches!(problem, Problem::HeapList { .. });
        assert!(process.problems.iter().any(broken));
    }
}

#[test]
fn page_heaps_are_found_without_the_environment_block() {
    for mut bytes in dumps() {
        let (expected, at) = of_first_heap(&bytes, |process, _| {
            let peb = process
                .memory()
                .at(process.peb.expect("a PEB"), process.bitness);
            let field = peb.address(process.layouts.peb.maximum_number_of_heaps);
            let at = offset(&bytes, process.memory(), field.expect("a field"));
            (page_heaps(process), at.expect("in the dump"))
        });
        // No array can have more heaps than this.
        put(&mut bytes, at, 0, Bitness::X86);
        let dump = Dump::parse(&bytes).expect("the dump parses");
        let process = Process::of(&dump).expect("a process");
        assert_eq!(process.peb, None);
        let found: BTreeSet<u64> = page_heaps(&process).into_iter().collect();
        assert_eq!(found, expected.iter().copied().collect());
        assert_eq!(
            process.heaps.len(),
            expected.len(),
            "no normal heap is listed"
        );
        assert_eq!(process.normal_heaps.len(), expected.len());
    }
}

#[test]
fn writes_outside_a_block_are_found() {
    let clean = load(X64_FULL);
    assert!(walk(&clean).findings.is_empty());
    // Behind the data of the first block whose size leaves a suffix, and in front of its data.
    let (behind, front) = of_first_heap(&clean, |process, heap| {
        let uneven = heap.busy.iter().find(|block| block.requested % 16 != 0);
        let block = uneven.expect("a block of uneven size");
        let at = |address| offset(&clean, process.memory(), address).expect("in the dump");
        (at(block.address + block.requested), at(block.address - 1))
    });
    for at in [behind, front] {
        let mut bytes = clean.clone();
        bytes[at] ^= 0xff;
        let damaged = walk(&bytes);
        assert_eq!(damaged.findings.len(), 1);
        assert!(damaged.has(|kind| matches!(kind, FindingKind::PageHeapDamage { .. })));
        assert_eq!(damaged.blocks.len(), walk(&clean).blocks.len());
    }

    let clean = load(X86_LIGHT);
    let whole = walk(&clean);
    assert!(whole.findings.is_empty());
    let light = |block: &&Block| block.kind == Kind::PageLight && block.state == State::Busy;
    let block = whole.blocks.iter().find(light).expect("a light block");
    let dump = Dump::parse(&clean).expect("the dump parses");
    let at = |address| offset(&clean, &dump.memory, address).expect("in the dump");
    for at in [at(block.address + block.size), at(block.address - 1)] {
        let mut bytes = clean.clone();
        bytes[at] ^= 0xff;
        let damaged = walk(&bytes);
        assert_eq!(damaged.findings.len(), 1);
        assert!(damaged.has(|kind| matches!(kind, FindingKind::PageHeapDamage { .. })));
        assert_eq!(damaged.blocks, whole.blocks, "no block is lost");
    }
}

#[test]
fn a_cycle_in_the_tree_ends() {
    let mut bytes = load(X64_FULL);
    let whole = walk(&bytes).blocks.len();
    let (at, node, bitness) = of_first_heap(&bytes, |process, heap| {
        let layouts = &process.layouts;
        let links = &layouts.balanced_links;
        let table = layouts.dph_root.busy_nodes_table.expect("a tree");
        let table = heap.root.address + u64::from(table);
        let top = process.memory().at(table, process.bitness);
        let top = top.pointer(links.right_child).expect("a node");
        let left = process
            .memory()
            .at(top, process.bitness)
            .address(links.left_child);
        let at = offset(&bytes, process.memory(), left.expect("a link"));
        (at.expect("in the dump"), top, process.bitness)
    });
    put(&mut bytes, at, node, bitness);
    let damaged = walk(&bytes);
    assert!(damaged.has(|kind| matches!(kind, FindingKind::BrokenList { .. })));
    // What the tree does not lead to any more is found by what lies in front of the data.
    assert_eq!(damaged.blocks.len(), whole);
    let found = |block: &&Block| block.certainty == Certainty::Stamps;
    let found = damaged.blocks.iter().filter(found).count();
    assert!(0 < found && found < whole, "{found} of {whole}");
}

/// Overwrites words of roots, records, block informations and heap headers, in a fixed sequence.
#[test]
fn mutated_structures_do_not_panic() {
    const ROUNDS: usize = if cfg!(debug_assertions) { 60 } else { 400 };
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for mut bytes in dumps() {
        // What can be hit, and the values that are likely to fool a walk: addresses of records.
        let (places, addresses, bitness) = {
            let dump = Dump::parse(&bytes).expect("the dump parses");
            let process = Process::of(&dump).expect("a process");
            let mut places = Vec::new();
            let mut addresses = vec![0, 1, u64::MAX, u64::MAX - 0xfff, 0x8000_0000];
            let mut structures: Vec<(u64, u64)> = Vec::new();
            for heap in &Heaps::of(&process) {
                let Heap::Page(heap) = heap else { continue };
                structures.push((heap.handle(), 0x40));
                structures.push((heap.root.address, 0x180));
                structures.push((heap.normal_heap(), 0x300));
                addresses.push(heap.root.address);
                for block in heap.blocks().take(40) {
                    structures.push((block.node, 0x40));
                    structures.push((block.address.saturating_sub(0x40), 0x40));
                    addresses.push(block.node);
                    addresses.push(block.virtual_block);
                }
                let mut walk = Walk::default();
                let _ = Heap::open(&process, &heap.reference).walk(&mut walk);
                let light = walk
                    .blocks
                    .iter()
                    .filter(|block| block.kind == Kind::PageLight);
                structures.extend(light.take(40).map(|block| (block.entry, 0x60)));
            }
            let size = process.bitness.pointer_size();
            for (start, length) in structures {
                for at in (start..start.saturating_add(length)).step_by(size as usize) {
                    places.extend(offset(&bytes, process.memory(), at));
                }
            }
            (places, addresses, process.bitness)
        };
        for _ in 0..ROUNDS {
            let mut saved = Vec::new();
            for _ in 0..=random() % 6 {
                let place = places[random() as usize % places.len()];
                let Some(old) = bytes.get(place..place + 8) else {
                    continue;
                };
                saved.push((place, old.to_vec()));
                let value = match random() % 3 {
                    0 => random(),
                    1 => addresses[random() as usize % addresses.len()],
                    _ => 1u64 << (random() % 64),
                };
                put(&mut bytes, place, value, bitness);
            }
            walk(&bytes);
            for (place, old) in saved.into_iter().rev() {
                bytes[place..place + 8].copy_from_slice(&old);
            }
        }
    }
}

#[test]
fn a_light_block_lies_in_its_block() {
    let mut bytes = load(X86_LIGHT);
    let is_light = |block: &&Block| {
        let units = block.block_size / 8;
        block.kind == Kind::PageLight && block.state == State::Busy && (16..64).contains(&units)
    };
    let sound = walk(&bytes);
    let block = *sound.blocks.iter().find(is_light).expect("a light block");
    let at = {
        let dump = Dump::parse(&bytes).expect("the dump parses");
        let entry = dump.memory.slice(block.entry, 8).expect("in the dump");
        entry.as_ptr() as usize - bytes.as_ptr() as usize
    };
    // Three units, with the checksum that goes with them: less than page heap writes in front of data.
    let change = (block.block_size / 8) as u8 ^ 3;
    bytes[at] ^= change;
    bytes[at + 3] ^= change;
    for block in walk(&bytes).blocks {
        assert!(block.address <= block.extent().1, "{block:?}");
    }
}
