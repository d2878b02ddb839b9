//! Made dumps, one of each kind of block, and what is done with them: what `tests/instructions` counts the
//! instructions of and `benches/blocks` the time.

use std::{hint::black_box, io::Cursor};

use ntheap::{
    diff::{Grouping, Keep, Snapshot, compare_heaps},
    dump::Dump,
    heap::Heaps,
    process::Process,
    stats,
};
use ntheap_synth::stream::{HeapTruth, Manager, Plan, write};

/// What is done with a dump, over and over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Counting the blocks of each size.
    Sizes,
    /// Counting them by their stacks.
    Stacks,
    /// Reading the dump's streams, and the process's lists.
    Parse,
    /// Opening the heaps.
    Open,
    /// Comparing them with those of the same process some time later.
    Diff(Grouping),
}

const BY_SIZE: Grouping = Grouping {
    size: true,
    stack: false,
};
const BY_BOTH: Grouping = Grouping {
    size: true,
    stack: true,
};

/// A dump, and what is done with it.
pub(crate) struct Case {
    pub(crate) name: &'static str,
    work: Work,
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
    Case {
        name: "many-ranges",
        work: Work::Sizes,
        plan: |plan| Plan {
            hole_every: 0x2000,
            ..plan
        },
    },
    Case {
        name: "parse-many-ranges",
        work: Work::Parse,
        plan: |plan| Plan {
            hole_every: 0x1000,
            ..plan
        },
    },
    Case {
        name: "open-many-ranges",
        work: Work::Open,
        plan: |plan| Plan {
            hole_every: 0x2000,
            ..plan
        },
    },
    Case {
        name: "diff-backend",
        work: Work::Diff(BY_SIZE),
        plan: |plan| Plan { lfh: 0, ..plan },
    },
    Case {
        name: "diff-lfh",
        work: Work::Diff(BY_SIZE),
        plan: |plan| Plan { lfh: 95, ..plan },
    },
    Case {
        name: "diff-traced-by-both",
        work: Work::Diff(BY_BOTH),
        plan: |plan| Plan {
            lfh: 0,
            stacks: 200,
            ..plan
        },
    },
];

/// A dump, and another where two are compared.
pub(crate) struct Subject {
    before: Vec<u8>,
    after: Vec<u8>,
}

impl Case {
    /// Whether the whole is counted, not each block.
    pub(crate) fn is_opening(&self) -> bool {
        matches!(self.work, Work::Parse | Work::Open)
    }

    /// What the work is done on, and how many blocks there are.
    pub(crate) fn subject(&self, bytes: u64) -> (Subject, u64) {
        let (before, blocks) = self.dump(bytes);
        // The same plan with more bytes is the same process some time later.
        let (after, more) = match self.work {
            Work::Diff(_) => self.dump(bytes + bytes / 16),
            _ => (Vec::new(), 0),
        };
        (Subject { before, after }, blocks + more)
    }

    fn dump(&self, bytes: u64) -> (Vec<u8>, u64) {
        let plan = (self.plan)(Plan {
            bytes,
            large: 0,
            ..Plan::default()
        });
        let mut file = Cursor::new(Vec::new());
        let truth = write(&plan, &mut file).expect("memory takes it");
        (file.into_inner(), truth.iter().map(HeapTruth::blocks).sum())
    }

    /// Does the work as often as `more` says yes.
    pub(crate) fn run(&self, subject: &Subject, mut more: impl FnMut() -> bool) {
        if let Work::Diff(by) = self.work {
            let [before, after] =
                [&subject.before, &subject.after].map(|bytes| Dump::parse(bytes).expect("a dump"));
            let [before, after] =
                [&before, &after].map(|dump| Process::of(dump).expect("a process"));
            let [before, after] = [&before, &after].map(Snapshot::of);
            while more() {
                drop(black_box(compare_heaps(
                    &[&before, &after],
                    by,
                    Keep::Nothing,
                )));
            }
            return;
        }
        if self.work == Work::Parse {
            while more() {
                let dump = Dump::parse(&subject.before).expect("a dump");
                let _ = black_box(Process::of(&dump).expect("a process"));
            }
            return;
        }
        let dump = Dump::parse(&subject.before).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let heaps = Heaps::of(&process);
        while more() {
            match self.work {
                Work::Sizes => drop(black_box(stats::collect(&heaps))),
                Work::Stacks => drop(black_box(stats::collect_with_stacks(&heaps))),
                Work::Open | Work::Parse | Work::Diff(_) => drop(black_box(Heaps::of(&process))),
            }
        }
    }
}
