//! What is done with every changed dump.

use std::fmt::Write;

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Visitor},
    heap::{Found, Heap, Heaps},
    layout::Bitness,
    process::{Process, ProcessOptions},
    stats, verify,
};

use crate::sink::Sink;

/// What must hold of any block, and findings as text.
#[derive(Default)]
struct Checked {
    text: Sink,
    heap: u64,
    all: u64,
    busy: u64,
    bytes: u64,
}

impl Visitor for Checked {
    fn block(&mut self, block: &Block) -> Flow {
        self.all += 1;
        assert!(self.all < 1 << 24, "endless blocks");
        assert_eq!(block.heap, self.heap, "{block:?}");
        assert!(block.size <= block.block_size, "{block:?}");
        let (start, end) = block.extent();
        assert!((start..=end).contains(&block.address), "{block:?}");
        if block.is_user_block() {
            self.busy += 1;
            self.bytes = self.bytes.wrapping_add(block.size);
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        let _ = write!(self.text, "{finding}");
        CONTINUE
    }
}

/// Walks and counts all heaps of both sides; what `choice` says is done beside that.
pub fn everything(process: &Process<'_, '_>, addresses: &[u64], choice: u8) {
    of_side(process, addresses, choice);
    let other = match process.bitness {
        Bitness::X86 => Bitness::X64,
        Bitness::X64 => Bitness::X86,
    };
    let options = ProcessOptions {
        bitness: Some(other),
        ..ProcessOptions::default()
    };
    if let Ok(process) = Process::with_options(process.dump, &options) {
        of_side(&process, addresses, choice);
    }
}

fn of_side(process: &Process<'_, '_>, addresses: &[u64], choice: u8) {
    let heaps = Heaps::of(process);
    // Slots are counted another way than they are walked.
    let counts = stats::collect(&heaps);
    assert_eq!(counts.len(), heaps.len());
    for (heap, count) in heaps.iter().zip(&counts) {
        let walked = walk(heap);
        assert_eq!(
            (walked.busy, walked.bytes),
            (count.busy_blocks, count.busy_bytes)
        );
    }
    match choice % 4 {
        0 | 1 => drop(verify::verify(&heaps)),
        2 => {
            for heap in heaps.normal() {
                let _ = walk(heap);
            }
            addresses.iter().for_each(|&address| at(&heaps, address));
        }
        _ => drop(heaps.losses().to_string()),
    }
}

fn at(heaps: &Heaps<'_, '_>, address: u64) {
    if let Some(Found::Block(block)) = heaps.at(address) {
        let (start, end) = block.extent();
        assert!((start..end).contains(&address), "{address:x}: {block:?}");
    }
}

fn walk(heap: &Heap<'_, '_>) -> Checked {
    let mut checked = Checked {
        heap: heap.handle(),
        ..Checked::default()
    };
    let _ = heap.walk(&mut checked);
    let _ = (heap.lock_state(), heap.flags());
    checked
}
