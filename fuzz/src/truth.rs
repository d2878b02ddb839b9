//! What the analysis says of a dump, as one number: a page or a record that is lost without a change of it
//! did not matter.

use std::{
    collections::BTreeSet,
    hash::{DefaultHasher, Hash, Hasher},
};

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, Span, State, Trace, Visitor},
    dump::Dump,
    heap::Heaps,
    layout::Bitness,
    process::{Process, ProcessOptions},
    traces::Traces,
    verify,
};

/// Of a block's contents that much matters, and of so many blocks of a heap: pointers to others, a table of
/// functions.
const CONTENTS: usize = 64;
const WITH_CONTENTS: usize = 24;

/// What a walk says of a heap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HeapTruth {
    pub(crate) handle: u64,
    digest: u64,
    /// Addresses of the program's blocks, in the order of the walk.
    pub(crate) addresses: Vec<u64>,
    pub(crate) bitness: Bitness,
    /// Everything that differs between kinds of blocks.
    pub(crate) kinds: BTreeSet<(Kind, State, bool, u8)>,
}

impl HeapTruth {
    /// Whether another one has the same blocks, whatever is known of them.
    pub(crate) fn is_like(&self, other: &Self) -> bool {
        (self.handle, &self.addresses) == (other.handle, &other.addresses)
    }
}

/// What the analysis says of the heaps of a dump, on the side that its program has.
pub(crate) fn heaps(dump: &Dump<'_>) -> Vec<HeapTruth> {
    let Ok(process) = Process::of(dump) else {
        return Vec::new();
    };
    of_process(&process)
}

fn of_process(process: &Process<'_, '_>) -> Vec<HeapTruth> {
    let (traces, heaps) = (Traces::of(process), Heaps::of(process));
    let one = |heap: &ntheap::heap::Heap<'_, '_>| {
        let mut walked = Walked {
            memory: &process.dump.memory,
            traces: &traces,
            hasher: DefaultHasher::new(),
            addresses: Vec::new(),
            kinds: BTreeSet::new(),
        };
        let _ = heap.walk(&mut walked);
        HeapTruth {
            handle: heap.handle(),
            digest: walked.hasher.finish(),
            addresses: walked.addresses,
            bitness: process.bitness,
            kinds: walked.kinds,
        }
    };
    heaps.iter().map(one).collect()
}

/// All of it: both sides, what is said of the process, and damages.
pub(crate) fn whole(bytes: &[u8]) -> Option<(Vec<HeapTruth>, String)> {
    let dump = Dump::parse(bytes).ok()?;
    let (mut all, mut said) = (Vec::new(), String::new());
    for bitness in [None, Some(Bitness::X64)] {
        let options = ProcessOptions {
            bitness,
            ..ProcessOptions::default()
        };
        let Ok(process) = Process::with_options(&dump, &options) else {
            continue;
        };
        if bitness.is_some() && !process.wow64 {
            continue;
        }
        all.extend(of_process(&process));
        let traces = Traces::of(&process);
        let heaps = Heaps::of(&process);
        let damages = verify::verify(&heaps).damages;
        said += &format!(
            "{:?} {:?} {:?} {:?} {:?} {:?} {:?} {damages:?}",
            process.build,
            process.peb,
            process.nt_global_flag,
            process.problems,
            traces.log(),
            traces.database().is_some(),
            process.normal_heaps,
        );
    }
    (!all.is_empty()).then_some((all, said))
}

struct Walked<'w, 'a> {
    memory: &'w ntheap::address_space::AddressSpace<'a>,
    traces: &'w Traces<'w, 'a>,
    hasher: DefaultHasher,
    addresses: Vec<u64>,
    kinds: BTreeSet<(Kind, State, bool, u8)>,
}

impl Visitor for Walked<'_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        let state = (block.kind, block.state, block.certainty, block.trace);
        let place = (block.heap, block.container, block.entry, block.address);
        let rest = (block.size, block.block_size, block.flags, block.tag);
        (state, place, rest, block.internal).hash(&mut self.hasher);
        self.traces.frames(block.trace).hash(&mut self.hasher);
        if block.is_user_block() && self.addresses.len() < WITH_CONTENTS {
            let mut contents = [0; CONTENTS];
            let size = CONTENTS.min(block.size as usize);
            self.memory.read(block.address, &mut contents[..size]);
            contents.hash(&mut self.hasher);
        }
        self.addresses
            .extend(block.is_user_block().then_some(block.address));
        let trace = match block.trace {
            Trace::None => 0,
            Trace::Record(_) => 1,
            Trace::Index(_) => 2,
            Trace::Entry(_) => 3,
            Trace::TraceBlock(_) => 4,
        };
        self.kinds
            .insert((block.kind, block.state, block.internal, trace));
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        (span.kind, span.start, span.size).hash(&mut self.hasher);
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        finding.to_string().hash(&mut self.hasher);
        CONTINUE
    }
}
