//! Counting, which takes many slots at once and plain blocks with little work, counts what a walk reports
//! block by block: in whole dumps and in damaged ones.

use std::collections::BTreeMap;

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, Span, State, Visitor},
    dump::{Dump, DumpFile},
    heap::Heaps,
    losses::Losses,
    process::Process,
    stats::{self, Count, HeapStatistics},
};
use ntheap_synth::{Random, oracle::testdata_dumps};

/// The totals of a heap.
#[derive(Debug, Default, PartialEq, Eq)]
struct Totals {
    sizes: BTreeMap<u64, Count>,
    busy: u64,
    busy_slots: Count,
    free_slots: Count,
    free: Count,
    internal: Count,
    losses: Losses,
}

/// Counts block by block.
impl Visitor for Totals {
    fn block(&mut self, block: &Block) -> Flow {
        let slot = matches!(block.kind, Kind::Lfh | Kind::SegmentLfh);
        match block.state {
            State::Busy if block.internal => self.internal.add(block.block_size),
            State::Busy => {
                self.busy += 1;
                self.sizes.entry(block.size).or_default().add(block.size);
                if slot {
                    self.busy_slots.add(block.block_size);
                }
            }
            State::Free if slot => self.free_slots.add(block.block_size),
            State::Free => self.free.add(block.block_size),
            State::Freed => {}
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.losses.span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.losses.finding(finding)
    }
}

fn of(statistics: &HeapStatistics) -> Totals {
    Totals {
        sizes: statistics.sizes.iter().collect(),
        busy: statistics.busy_blocks,
        busy_slots: statistics.lfh_busy,
        free_slots: statistics.lfh_free,
        free: statistics.free,
        internal: statistics.internal,
        losses: statistics.losses.clone(),
    }
}

/// Counts a dump in each way; how many blocks there were.
fn compare(bytes: &[u8], name: &str) -> u64 {
    let Ok(dump) = Dump::parse(bytes) else {
        return 0;
    };
    let Ok(process) = Process::of(&dump) else {
        return 0;
    };
    let heaps = Heaps::of(&process);
    let (with_stacks, stacks) = stats::collect_with_stacks(&heaps);
    let mut blocks = 0;
    let sizes = stats::collect(&heaps);
    for (((heap, sizes), with_stacks), stacks) in
        heaps.iter().zip(&sizes).zip(&with_stacks).zip(&stacks)
    {
        let mut each = Totals::default();
        let _ = heap.walk(&mut each);
        assert_eq!(of(sizes), each, "{name}: heap {:x}", heap.handle());
        assert_eq!(of(with_stacks), each, "{name}: heap {:x}", heap.handle());
        let of_stacks: u64 = stacks.iter().map(|(_, count)| count.blocks).sum();
        assert_eq!(of_stacks, each.busy, "{name}: heap {:x}", heap.handle());
        assert_eq!(sizes.traced_blocks, with_stacks.traced_blocks, "{name}");
        blocks += each.busy;
    }
    blocks
}

#[test]
fn counts_are_those_of_the_blocks_one_by_one() {
    let rounds = if cfg!(debug_assertions) { 2 } else { 12 };
    let mut dumps = 0;
    for path in testdata_dumps() {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let file = DumpFile::open(&path).expect("the dump opens");
        let mut bytes = file.bytes().to_vec();
        assert!(compare(&bytes, &name) > 0, "{name}");
        dumps += 1;
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        for _ in 0..rounds {
            // Each round adds to the damage: single bits, bytes, and pages of zeros.
            for _ in 0..bytes.len() / 0x4000 {
                let at = random.below(bytes.len());
                bytes[at] ^= 1 << random.below(8);
                let at = random.below(bytes.len());
                bytes[at] = random.below(0x100) as u8;
            }
            let page = 0x1_0000 + random.below(bytes.len() - 0x1_1000);
            bytes[page..page + 0x200].fill(0);
            compare(&bytes, &name);
        }
    }
    assert!(dumps > 10);
}
