//! Verification: healthy heaps have no damage, and each sort of damage is found where it was done.

use std::path::{Path, PathBuf};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    dump::{Dump, DumpFile},
    heap::Heaps,
    layout::Bitness,
    process::{Process, ProcessOptions},
    verify::{self, Check, Damage, Verification},
};
use rayon::prelude::*;

fn testdata() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata")
}

/// Dumps below a folder, not deeper than one level.
fn dumps(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let mut folders = vec![folder.to_owned()];
    folders.extend(list(folder).into_iter().filter(|path| path.is_dir()));
    let is_dump = |path: &PathBuf| {
        let name = path.to_string_lossy();
        name.ends_with(".dmp.zst") || name.ends_with(".dmp")
    };
    let mut dumps: Vec<PathBuf> = folders
        .iter()
        .flat_map(|folder| list(folder))
        .filter(is_dump)
        .collect();
    dumps.sort();
    dumps
}

fn verify_bytes(bytes: &[u8], bitness: Option<Bitness>) -> Option<Verification> {
    let dump = Dump::parse(bytes).expect("it parses");
    let options = ProcessOptions {
        bitness,
        ..ProcessOptions::default()
    };
    let process = Process::with_options(&dump, &options).ok()?;
    Some(verify::verify(&Heaps::of(&process)))
}

fn assert_healthy(name: &str, paths: &[PathBuf]) {
    assert!(!paths.is_empty());
    let results: Vec<(String, usize, u64)> = paths
        .par_iter()
        .map(|path| {
            let file = DumpFile::open(path).expect("the dump opens");
            let (mut wrong, mut blocks) = (0, 0);
            for bitness in [Bitness::X86, Bitness::X64] {
                let Some(found) = verify_bytes(file.bytes(), Some(bitness)) else {
                    continue;
                };
                for damage in found.damages.iter().take(5) {
                    println!("{}: {damage}", path.display());
                }
                wrong += found.damages.len() + found.missing.findings().len();
                blocks += found.checked.blocks;
            }
            assert!(blocks > 0, "{}", path.display());
            (path.display().to_string(), wrong, blocks)
        })
        .collect();
    let wrong: Vec<_> = results.iter().filter(|result| result.1 > 0).collect();
    let blocks: u64 = results.iter().map(|result| result.2).sum();
    println!(
        "{name}: {} dumps, {blocks} blocks, {} dumps with findings",
        results.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn healthy_heaps_have_no_damage() {
    assert_healthy("testdata", &dumps(&testdata()));
}

#[test]
fn healthy_heaps_of_the_oracle_have_no_damage() {
    if let Some(oracle) = ntheap_synth::oracle::oracle() {
        assert_healthy("oracle", &dumps(&oracle.unpacked));
    }
}

/// A dump that can be written to.
struct Patient {
    bytes: Vec<u8>,
    blocks: Vec<Block>,
}

#[derive(Default)]
struct Collector(Vec<Block>);

impl Visitor for Collector {
    fn block(&mut self, block: &Block) -> Flow {
        self.0.push(*block);
        CONTINUE
    }
}

impl Patient {
    fn open(name: &str) -> Self {
        let file = DumpFile::open(&testdata().join(name)).expect("the dump opens");
        let bytes = file.bytes().to_vec();
        let mut blocks = Collector::default();
        {
            let dump = Dump::parse(&bytes).expect("it parses");
            let process = Process::of(&dump).expect("it has heaps");
            Heaps::of(&process).iter().for_each(|heap| {
                let _ = heap.walk(&mut blocks);
            });
        }
        Patient {
            bytes,
            blocks: blocks.0,
        }
    }

    /// The block, its predecessor and its successor in the walk, for which a condition holds.
    fn find(&self, holds: impl Fn(&[Block; 3]) -> bool) -> [Block; 3] {
        self.blocks
            .windows(3)
            .map(|window| <[Block; 3]>::try_from(window).expect("three"))
            .filter(|[a, b, c]| {
                a.entry + a.block_size == b.entry && b.entry + b.block_size == c.entry
            })
            .find(holds)
            .expect("a block like that")
    }

    fn write(&mut self, address: u64, bytes: &[u8]) {
        let offset = {
            let dump = Dump::parse(&self.bytes).expect("it parses");
            let slice = dump
                .memory
                .slice(address, bytes.len() as u64)
                .expect("memory");
            slice.as_ptr() as usize - self.bytes.as_ptr() as usize
        };
        self.bytes[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn read(&self, address: u64, size: u64) -> Vec<u8> {
        let dump = Dump::parse(&self.bytes).expect("it parses");
        dump.memory.slice(address, size).expect("memory").to_vec()
    }

    fn damages(&self) -> Vec<Damage> {
        verify_bytes(&self.bytes, None).expect("heaps").damages
    }

    fn only(&self) -> Damage {
        let mut damages = self.damages();
        assert_eq!(damages.len(), 1, "{damages:#x?}");
        damages.remove(0)
    }
}

const DEBUG: &str = "19041.662-debug.snap2.dmp.zst";
const TRACED: &str = "19041.662-smallust.snap2.dmp.zst";

fn is_busy(block: &Block) -> bool {
    block.is_user_block() && block.kind == Kind::Backend
}

fn address_of(block: Option<Block>) -> Option<u64> {
    block.map(|block| block.address)
}

#[test]
fn an_overrun_tail_is_found() {
    let mut patient = Patient::open(DEBUG);
    let [before, block, after] = patient.find(|[a, b, c]| {
        is_busy(a) && is_busy(b) && is_busy(c) && b.size > 100 && b.flags & 4 != 0
    });
    // A string's end that is one byte too far, then two bytes more.
    let end = block.address + block.size;
    patient.write(end + 3, &[0, 1, 2]);
    let damage = patient.only();
    assert_eq!((damage.check, damage.address), (Check::TailFill, end + 3));
    assert!(damage.found.starts_with("00 01 02 ab"), "{damage}");
    assert_eq!(address_of(damage.block), Some(block.address));
    assert_eq!(address_of(damage.before), Some(before.address));
    assert_eq!(address_of(damage.after), Some(after.address));
    assert_eq!(damage.suspect(), Some(&block));
}

#[test]
fn a_write_into_a_free_block_is_found() {
    let mut patient = Patient::open(DEBUG);
    let [before, block, _] =
        patient.find(|[a, b, _]| is_busy(a) && b.state == State::Free && b.block_size > 0x80);
    patient.write(block.entry + 0x47, b"late");
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::FreeFill, block.entry + 0x47)
    );
    assert_eq!(address_of(damage.block), Some(block.address));
    assert_eq!(damage.suspect(), Some(&before));
}

#[test]
fn an_overwritten_header_names_the_block_before() {
    let mut patient = Patient::open(TRACED);
    let [before, block, after] = patient.find(|[a, b, c]| is_busy(a) && is_busy(b) && is_busy(c));
    let header = block.entry + 8;
    let mut raw = patient.read(header, 1);
    raw[0] ^= 0x20;
    patient.write(header, &raw);
    let damage = patient.only();
    assert_eq!((damage.check, damage.address), (Check::Header, block.entry));
    assert_eq!(damage.block, None);
    assert_eq!(damage.suspect(), Some(&before));
    assert_eq!(address_of(damage.after), Some(after.address));
}

#[test]
fn a_wrong_previous_size_is_found() {
    let mut patient = Patient::open(TRACED);
    let [before, block, _] = patient.find(|[a, b, _]| is_busy(a) && is_busy(b));
    // Outside the checksum: only the chain of sizes shows it.
    let field = block.entry + 12;
    let mut raw = patient.read(field, 1);
    raw[0] ^= 0x01;
    patient.write(field, &raw);
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::PreviousSize, block.entry)
    );
    assert_eq!(damage.suspect(), Some(&before));
    assert_eq!(address_of(damage.block), Some(block.address));
}

#[test]
fn a_broken_free_list_is_found_at_its_link() {
    let mut patient = Patient::open(TRACED);
    let [before, block, _] =
        patient.find(|[a, b, _]| is_busy(a) && b.state == State::Free && b.block_size > 0x40);
    // The classic: the program writes to a freed block's first pointer.
    patient.write(block.entry + 16, &0x4141_4141_4141_4140u64.to_le_bytes());
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::FreeList, block.entry + 16)
    );
    assert_eq!(damage.found, "4141414141414140");
    assert_eq!(damage.suspect(), Some(&before));

    let mut patient = Patient::open(TRACED);
    patient.write(block.entry + 24, &0u64.to_le_bytes());
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::FreeList, block.entry + 24)
    );
    assert_eq!(address_of(damage.block), Some(block.address));
}

#[test]
fn a_slots_overwritten_header_is_found() {
    let mut patient = Patient::open(TRACED);
    let is_slot = |block: &Block| block.kind == Kind::Lfh && block.state == State::Busy;
    let [before, block, _] = patient
        .find(|[a, b, c]| is_slot(a) && is_slot(b) && is_slot(c) && a.container == b.container);
    patient.write(block.entry + 8, b"over");
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::SlotHeader, block.entry + 8)
    );
    assert_eq!(address_of(damage.block), Some(block.address));
    assert_eq!(damage.suspect(), Some(&before));
}

#[test]
fn a_slots_state_that_bitmap_and_depth_deny_is_found() {
    let mut patient = Patient::open(TRACED);
    let [_, block, _] = patient.find(|[a, b, _]| {
        let is_slot = |block: &Block| block.kind == Kind::Lfh && block.state == State::Busy;
        is_slot(a) && is_slot(b)
    });
    // `UnusedBytes` of a free slot.
    patient.write(block.entry + 15, &[0x80]);
    let checks: Vec<Check> = patient
        .damages()
        .iter()
        .map(|damage| damage.check)
        .collect();
    assert_eq!(checks.len(), 2, "{checks:?}");
    assert!(checks.contains(&Check::Bitmap) && checks.contains(&Check::Depth));
}

#[test]
fn a_wrong_total_is_found() {
    let mut patient = Patient::open(TRACED);
    let heap = patient.blocks[0].heap;
    let field = {
        let dump = Dump::parse(&patient.bytes).expect("it parses");
        let process = Process::of(&dump).expect("it has heaps");
        heap + u64::from(process.layouts.heap.total_free_size.expect("a field"))
    };
    patient.write(field, &0x1234u64.to_le_bytes());
    let damage = patient.only();
    assert_eq!((damage.check, damage.address), (Check::Total, field));
    assert_eq!(damage.found, "0x12340 bytes");
}

#[test]
fn a_page_heap_blocks_fill_is_found() {
    let mut patient = Patient::open("14393.351-pageheap.snap1.dmp.zst");
    let block = *patient
        .blocks
        .iter()
        .find(|block| {
            block.kind == Kind::Page && block.state == State::Busy && block.size % 16 == 3
        })
        .expect("a block with a suffix");
    patient.write(block.address + block.size, &[0]);
    let damage = patient.only();
    assert_eq!(
        (damage.check, damage.address),
        (Check::PageHeap, block.address)
    );
    assert_eq!(address_of(damage.block), Some(block.address));
    assert_eq!(address_of(damage.suspect().copied()), Some(block.address));
}
