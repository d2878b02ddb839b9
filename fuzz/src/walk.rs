//! What is done with every changed dump.

use std::fmt::Write;

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Visitor},
    dump::Dump,
    heap::Heaps,
    layout::Bitness,
    process::{Process, ProcessOptions},
    stats, verify,
};

use crate::sink::Sink;

/// Blocks and findings as text, with what must hold of any block.
#[derive(Default)]
struct Checked(Sink, u64);

impl Visitor for Checked {
    fn block(&mut self, block: &Block) -> Flow {
        self.1 += 1;
        assert!(self.1 < 1 << 24, "endless blocks");
        let _ = write!(self.0, "{block:?}");
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        let _ = write!(self.0, "{finding}");
        CONTINUE
    }
}

/// Walks, counts and verifies all heaps of both sides, and asks for some addresses.
pub fn everything(bytes: &[u8], addresses: &[u64]) {
    let Ok(dump) = Dump::parse(bytes) else { return };
    for bitness in [None, Some(Bitness::X86), Some(Bitness::X64)] {
        let options = ProcessOptions {
            bitness,
            ..ProcessOptions::default()
        };
        let Ok(process) = Process::with_options(&dump, &options) else {
            continue;
        };
        if bitness == Some(process.bitness) && !process.wow64 {
            continue;
        }
        let heaps = Heaps::of(&process);
        let mut checked = Checked::default();
        for heap in heaps.iter().chain(heaps.normal()) {
            let _ = heap.walk(&mut checked);
            let _ = (heap.lock_state(), heap.flags());
        }
        let counts = stats::collect(&heaps);
        assert_eq!(counts.len(), heaps.len());
        let _ = verify::verify(&heaps);
        for &address in addresses {
            let _ = heaps.at(address);
        }
        let _ = heaps.losses().to_string();
    }
}
