//! Made dumps, one of each kind of block, and what is done with them: what `tests/instructions` counts the
//! instructions of and `benches/blocks` the time.

use std::{hint::black_box, io::Cursor};

use ntheap::{dump::Dump, heap::Heaps, process::Process, stats};
use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

/// What is done with a dump, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// Counting the blocks of each size.
    Sizes,
    /// Counting them by their stacks.
    Stacks,
    /// Opening the heaps.
    Open,
}

/// A dump, and what is done with it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    pub(crate) work: Work,
    plan: fn(Plan) -> Plan,
}

pub(crate) const CASES: &[Case] = &[
    Case {
        name: "backend",
        work: Work::Sizes,
        plan: |plan| Plan { lfh: 0, ..plan },
    },
    Case {
        name: "lfh",
        work: Work::Sizes,
        plan: |plan| Plan { lfh: 95, ..plan },
    },
    Case {
        name: "traced",
        work: Work::Sizes,
        plan: |plan| Plan {
            lfh: 0,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "traced-lfh",
        work: Work::Sizes,
        plan: |plan| Plan {
            lfh: 95,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "traced-by-stack",
        work: Work::Stacks,
        plan: |plan| Plan {
            lfh: 0,
            stacks: 200,
            ..plan
        },
    },
    Case {
        name: "segment-heap",
        work: Work::Sizes,
        plan: |plan| Plan {
            manager: Manager::Segment,
            ..plan
        },
    },
    Case {
        name: "segment-heap-22000",
        work: Work::Sizes,
        plan: |plan| Plan {
            manager: Manager::Segment,
            build: 22000,
            ..plan
        },
    },
    Case {
        name: "open-segment-heap",
        work: Work::Open,
        plan: |plan| Plan {
            manager: Manager::Segment,
            ..plan
        },
    },
];

impl Case {
    /// The dump of so many bytes, and how many blocks it holds.
    pub(crate) fn dump(&self, bytes: u64) -> (Vec<u8>, u64) {
        let plan = (self.plan)(Plan {
            bytes,
            large: 0,
            ..Plan::default()
        });
        let mut file = Cursor::new(Vec::new());
        let truth = write(&plan, &mut file).expect("memory takes it");
        let all = |heap: &HeapTruth| heap.busy.blocks + heap.free.blocks + heap.lfh_free.blocks;
        (file.into_inner(), truth.iter().map(all).sum())
    }

    /// Does the work on a dump so often as `more` says yes.
    pub(crate) fn run(&self, bytes: &[u8], mut more: impl FnMut() -> bool) {
        let dump = Dump::parse(bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let heaps = Heaps::of(&process);
        while more() {
            match self.work {
                Work::Sizes => drop(black_box(stats::collect(&heaps))),
                Work::Stacks => drop(black_box(stats::collect_with_stacks(&heaps))),
                Work::Open => drop(black_box(Heaps::of(&process))),
            }
        }
    }
}
