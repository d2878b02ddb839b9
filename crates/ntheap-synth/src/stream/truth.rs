//! What a written dump holds, counted while it was written.

use std::collections::BTreeMap;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Trace, Visitor},
    stats::Count,
};

/// What a heap holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeapTruth {
    /// Its handle.
    pub handle: u64,
    /// Blocks of the program by requested size.
    pub sizes: BTreeMap<u64, u64>,
    /// Blocks of the program and their requested bytes.
    pub busy: Count,
    /// Of those the slots of the LFH, in bytes with their headers.
    pub lfh_busy: Count,
    /// Of those the blocks with a mapping of their own, in committed bytes.
    pub large: Count,
    /// Free blocks outside the LFH, in bytes with their headers.
    pub free: Count,
    /// Free slots of the LFH, in bytes with their headers.
    pub lfh_free: Count,
    /// The heap's own blocks, in bytes with their headers.
    pub internal: Count,
    /// Blocks of the program with a stack trace.
    pub traced: u64,
    /// A sum over all blocks of the program in which address, size and trace take part.
    pub digest: u64,
}

impl HeapTruth {
    /// Blocks that a walk meets: the program's and free ones.
    pub fn blocks(&self) -> u64 {
        self.busy.blocks + self.free.blocks + self.lfh_free.blocks
    }
}

impl HeapTruth {
    /// A block of the program.
    pub(super) fn busy(&mut self, address: u64, size: u64, trace: u64) {
        *self.sizes.entry(size).or_default() += 1;
        self.busy.add(size);
        self.traced += u64::from(trace != 0);
        self.digest = self.digest.wrapping_add(digest(address, size, trace));
    }
}

/// The same of whatever order.
fn digest(address: u64, size: u64, trace: u64) -> u64 {
    let mixed = (address ^ size.rotate_left(40) ^ trace.rotate_left(20))
        .wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
}

/// Collects what a walk says of a heap, to be held against the truth.
#[derive(Debug, Default)]
pub struct Walked {
    /// What the walk met.
    pub truth: HeapTruth,
    /// Blocks that the walk was not certain of.
    pub uncertain: u64,
    /// What the walk complained of.
    pub findings: Vec<ntheap::blocks::Finding>,
}

impl Visitor for Walked {
    fn block(&mut self, block: &Block) -> Flow {
        let truth = &mut self.truth;
        let slot = matches!(block.kind, Kind::Lfh | Kind::SegmentLfh);
        self.uncertain += u64::from(!block.certainty.is_certain());
        match block.state {
            State::Busy if block.internal => truth.internal.add(block.block_size),
            State::Busy => {
                let trace = match block.trace {
                    Trace::Record(address) => address,
                    _ => 0,
                };
                truth.busy(block.address, block.size, trace);
                match block.kind {
                    Kind::Virtual | Kind::Large => truth.large.add(block.block_size),
                    _ if slot => truth.lfh_busy.add(block.block_size),
                    _ => {}
                }
            }
            _ if slot => truth.lfh_free.add(block.block_size),
            _ => truth.free.add(block.block_size),
        }
        CONTINUE
    }

    fn finding(&mut self, finding: ntheap::blocks::Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}
