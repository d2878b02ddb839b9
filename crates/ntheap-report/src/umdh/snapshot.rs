//! Logs of dumps: what umdh would have written of the process.

use std::{cell::OnceCell, io::Write};

use rustc_hash::FxHashMap;

use super::{
    Error,
    model::{Allocation, Frame, Header, Log, LogHeap, LogModule, Trace as Stack, TraceId},
    write::LogWriter,
};
use ntheap::{
    blocks::{Block, Finding, Span, Trace, TryVisitor},
    dump::Dump,
    heap::{Heap, Heaps},
    losses::Losses,
    process::Process,
    time::UtcTime,
    traces::Traces,
};

/// What a snapshot holds, and what it could not.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// Allocations with a stack, which the log lists.
    pub allocations: u64,
    /// Allocations without one, which umdh leaves out.
    pub without_stack: u64,
    /// Distinct stacks.
    pub stacks: u64,
    /// Distinct traces whose record is not in the dump or not plausible: their allocations are
    /// listed without frames.
    pub unreadable_stacks: u64,
    /// What of the heaps could not be read.
    pub losses: Losses,
}

impl Header {
    /// The header of a dump's log: the time is that of the dump, in UTC; the machine is not known.
    #[must_use]
    pub fn of(process: &Process<'_, '_>) -> Self {
        let time = UtcTime::from_unix(process.dump.timestamp.into());
        let version = process.dump.os_version;
        Header {
            version: format!("ntheap {}", env!("CARGO_PKG_VERSION")),
            log_time: format!("{time:#}"),
            machine: "unknown".to_owned(),
            process_id: process.dump.process_id.unwrap_or(0),
            os_version: version.map_or_else(
                || "unknown".to_owned(),
                |[major, minor, _]| format!("{major}.{minor}"),
            ),
        }
    }
}

impl LogModule {
    /// The modules of a dump.
    #[must_use]
    pub fn all_of(dump: &Dump<'_>) -> Vec<Self> {
        let module = |module: &ntheap::dump::Module| LogModule {
            base: module.base,
            size: module.size,
            path: module.path.clone(),
        };
        dump.modules.iter().map(module).collect()
    }
}

/// Writes the log of these heaps while they are walked. `out` should be buffered.
///
/// As in umdh's own logs, allocations without a stack are left out, ids are the low 32 bits of the
/// address of the stack's record, and each stack stands at the first use of its id.
///
/// # Errors
/// [`Error::Io`] if `out` fails; the walk ends there.
pub fn write_snapshot<W: Write>(heaps: &Heaps<'_, '_>, out: W) -> Result<(W, Snapshot), Error> {
    let process = heaps.process();
    let modules = LogModule::all_of(process.dump);
    let mut writer = LogWriter::new(out, &Header::of(process), &modules)?;
    let traces = Traces::of(process);
    let mut ids = Ids::new(&traces);
    let mut snapshot = Snapshot::default();
    for heap in heaps {
        writer.start_heap(heap.handle())?;
        let mut sink = |allocation: &Allocation, first: Option<Trace>| {
            let stack = OnceCell::new();
            writer.allocation(allocation, |_| {
                let frames = stack_of(&traces, first?)?;
                Some(stack.get_or_init(|| frames))
            })
        };
        walk(heap, &mut ids, &mut snapshot, &mut sink)?;
        writer.end_heap()?;
    }
    ids.count(&mut snapshot);
    Ok((writer.finish()?, snapshot))
}

impl Log {
    /// The log of these heaps, in memory: what reading [`write_snapshot`]'s output gives.
    #[must_use]
    pub fn of(heaps: &Heaps<'_, '_>) -> (Self, Snapshot) {
        let process = heaps.process();
        let mut log = Log {
            header: Header::of(process),
            modules: LogModule::all_of(process.dump),
            ..Log::default()
        };
        let traces = Traces::of(process);
        let mut ids = Ids::new(&traces);
        let mut snapshot = Snapshot::default();
        for heap in heaps {
            let mut allocations = Vec::new();
            let stacks = &mut log.traces;
            let mut sink = |allocation: &Allocation, first: Option<Trace>| {
                allocations.push(*allocation);
                if let Some(stack) = first.and_then(|trace| stack_of(&traces, trace)) {
                    stacks.entry(allocation.trace).or_insert(stack);
                }
                Ok(())
            };
            // This sink never fails.
            let _ = walk(heap, &mut ids, &mut snapshot, &mut sink);
            log.heaps.push(LogHeap {
                address: Some(heap.handle()),
                allocations,
                aggregates: Vec::new(),
            });
        }
        ids.count(&mut snapshot);
        (log, snapshot)
    }
}

fn stack_of(traces: &Traces<'_, '_>, trace: Trace) -> Option<Stack> {
    let frames = traces.frames(trace)?;
    Some(
        frames
            .into_iter()
            .map(Frame::Address)
            .collect::<Vec<_>>()
            .into(),
    )
}

/// The ids of the traces that were met, each looked up once.
struct Ids<'t, 'p, 'a> {
    traces: &'t Traces<'p, 'a>,
    known: FxHashMap<Trace, Option<TraceId>>,
}

impl<'t, 'p, 'a> Ids<'t, 'p, 'a> {
    fn new(traces: &'t Traces<'p, 'a>) -> Self {
        Ids {
            traces,
            known: FxHashMap::default(),
        }
    }

    /// The id of a trace, and whether it was asked for before. `None` if no record can be found.
    fn id(&mut self, trace: Trace) -> (Option<TraceId>, bool) {
        if let Some(&id) = self.known.get(&trace) {
            return (id, true);
        }
        let address = self.traces.address(trace);
        let id = address.map(TraceId::from_entry_address);
        self.known.insert(trace, id);
        (id, false)
    }

    fn count(&self, snapshot: &mut Snapshot) {
        for (trace, id) in &self.known {
            match id.and_then(|_| self.traces.frames(*trace)) {
                Some(_) => snapshot.stacks += 1,
                None => snapshot.unreadable_stacks += 1,
            }
        }
    }
}

/// Takes an allocation; with its trace where that comes for the first time.
type Sink<'s> = &'s mut dyn FnMut(&Allocation, Option<Trace>) -> Result<(), Error>;

/// Hands every allocation of the heap that has a stack to `sink`, until that fails.
fn walk(
    heap: &Heap<'_, '_>,
    ids: &mut Ids<'_, '_, '_>,
    snapshot: &mut Snapshot,
    sink: Sink<'_>,
) -> Result<(), Error> {
    heap.try_walk(&mut Walker {
        ids,
        snapshot,
        sink,
    })
}

struct Walker<'w, 's, 't, 'p, 'a> {
    ids: &'w mut Ids<'t, 'p, 'a>,
    snapshot: &'w mut Snapshot,
    sink: Sink<'s>,
}

impl TryVisitor for Walker<'_, '_, '_, '_, '_> {
    type Error = Error;

    fn block(&mut self, block: &Block) -> Result<(), Error> {
        if !block.is_user_block() {
            return Ok(());
        }
        let (id, known) = match block.trace {
            Trace::None => (None, true),
            trace => self.ids.id(trace),
        };
        let Some(trace) = id else {
            self.snapshot.without_stack += 1;
            return Ok(());
        };
        self.snapshot.allocations += 1;
        let allocation = Allocation {
            address: block.address,
            requested: block.size,
            overhead: block.block_size.saturating_sub(block.size),
            trace,
        };
        (self.sink)(&allocation, (!known).then_some(block.trace))
    }

    fn finding(&mut self, finding: Finding) -> Result<(), Error> {
        self.snapshot.losses.add(finding);
        Ok(())
    }

    fn span(&mut self, span: &Span) -> Result<(), Error> {
        self.snapshot.losses.add_span(span);
        Ok(())
    }
}
