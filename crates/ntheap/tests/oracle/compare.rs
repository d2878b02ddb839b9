//! Comparing a walk with the truth.

use std::{collections::BTreeMap, path::Path};

use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, Span, SpanKind, State, Trace, Visitor},
    dump::Dump,
    heap::Heaps,
    heap::{Heap, segment::SegmentHeap},
    process::{HeapSource, Process},
    traces::Traces,
};

use crate::{
    transcript::Row,
    truth::{Sizes, Truth, TruthHeap},
};

/// What was compared, and what differed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) heaps: usize,
    pub(crate) busy: usize,
    pub(crate) lfh: usize,
    pub(crate) free: usize,
    pub(crate) uncommitted: usize,
    pub(crate) virtual_blocks: usize,
    pub(crate) totals: usize,
    pub(crate) stacks: usize,
    /// Page heap: busy light blocks, freed blocks, freed blocks of moving reallocations, freed
    /// blocks that left the queue, traces, rows of the debugger.
    pub(crate) light: usize,
    pub(crate) freed: usize,
    pub(crate) moved: usize,
    pub(crate) left_queue: usize,
    pub(crate) traces: usize,
    pub(crate) rows: usize,
    pub(crate) problems: Vec<String>,
}

/// Everything that a walk reported.
#[derive(Default)]
struct Walk {
    busy: Sizes,
    internal: Sizes,
    free: Sizes,
    cached: usize,
    uncommitted: Sizes,
    virtual_blocks: Sizes,
    lfh: usize,
    /// Address to trace of busy blocks.
    traces: BTreeMap<u64, Trace>,
    /// Sum of all that lies in segments.
    accounted: u64,
    free_bytes: u64,
    findings: Vec<Finding>,
    duplicates: usize,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        let pair = (block.address, block.size);
        let new = match (block.state, block.kind) {
            (State::Busy, _) if block.internal => self.internal.insert(pair),
            (State::Busy, kind) => {
                self.lfh += usize::from(matches!(kind, Kind::Lfh | Kind::SegmentLfh));
                if block.trace != Trace::None {
                    self.traces.insert(block.address, block.trace);
                }
                if kind == Kind::Virtual {
                    self.virtual_blocks.insert(pair);
                }
                self.busy.insert(pair)
            }
            (_, kind) => {
                if kind == Kind::Backend {
                    self.free_bytes += block.block_size;
                }
                self.cached += usize::from(kind == Kind::Lookaside);
                self.free.insert((block.entry, block.block_size))
            }
        };
        self.duplicates += usize::from(!new);
        // The slots of an NT heap's LFH lie inside a block of the backend.
        if !matches!(block.kind, Kind::Lfh | Kind::Virtual | Kind::Large) {
            self.accounted += block.block_size;
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.accounted += span.size;
        if span.kind == SpanKind::Uncommitted {
            self.uncommitted.insert((span.start, span.size));
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}

pub(crate) fn compare(dump: &Dump<'_>, truth: &Truth, folder: &Path) -> Outcome {
    let mut outcome = Outcome::default();
    let process = match Process::of(dump) {
        Ok(process) => process,
        Err(error) => {
            outcome.problems.push(format!("no process: {error}"));
            return outcome;
        }
    };
    let mut unlisted = 0;
    let mut problem = |text: String| outcome.problems.push(text);
    // The truth files of a few transcripts do not name the bitness.
    if truth.bits != 0 && u64::from(process.bitness.bits()) != truth.bits {
        problem(format!("bitness {:?}, not {}", process.bitness, truth.bits));
    }
    if process.build != truth.build {
        problem(format!("build {}, not {}", process.build, truth.build));
    }
    process
        .problems
        .iter()
        .for_each(|found| problem(format!("process: {found}")));
    dump.problems
        .iter()
        .for_each(|found| problem(format!("dump: {found}")));
    if let Some(page) = &truth.page_heap {
        crate::page::compare(&process, truth, page, folder, &mut outcome);
        return outcome;
    }
    let heaps = Heaps::of(&process);
    for heap in &heaps {
        if heap.reference().source == HeapSource::Unlisted {
            unlisted += 1;
            compare_unlisted(heap, truth, &mut problem);
        } else if !truth
            .heaps
            .iter()
            .any(|expected| expected.handle == heap.handle())
        {
            problem(format!("heap {:x} is not in the truth", heap.handle()));
        }
    }
    if unlisted > 1 {
        problem(format!("{unlisted} heaps are on no list"));
    }
    let traces = Traces::of(&process);
    compare_databases(&process, &traces, truth, &mut outcome);
    for (index, expected) in truth.heaps.iter().enumerate() {
        let Some(heap) = heaps.iter().find(|heap| heap.handle() == expected.handle) else {
            outcome
                .problems
                .push(format!("heap {:x} is missing", expected.handle));
            continue;
        };
        if expected.segment_heap != matches!(heap, Heap::Segment(_)) {
            outcome
                .problems
                .push(format!("heap {:x} is of another kind", expected.handle));
        }
        compare_heap(heap, index, truth, &traces, &mut outcome);
    }
    outcome
}

/// The one heap that ntdll keeps for itself, on no list that the recorder of the truth could read, so
/// that its blocks are in no truth: it must walk to its end without a finding, and hold nothing of any
/// other heap.
fn compare_unlisted(heap: &Heap<'_, '_>, truth: &Truth, problem: &mut impl FnMut(String)) {
    let mut walk = Walk::default();
    let _ = heap.walk(&mut walk);
    let mut problem = |text| problem(format!("unlisted heap {:x}: {text}", heap.handle()));
    for finding in &walk.findings {
        problem(format!("finding: {finding}"));
    }
    if !matches!(heap, Heap::Segment(_)) || walk.busy.is_empty() || walk.duplicates > 0 {
        problem("is no segment heap with blocks of its own".to_owned());
    }
    for expected in &truth.heaps {
        let listed = expected.recorded.iter().chain(&expected.walked_busy);
        for &(address, _) in listed.filter(|block| walk.busy.contains(block)) {
            problem(format!("has {address:x} of heap {:x}", expected.handle));
        }
    }
}

pub(crate) fn compare_heap(
    heap: &Heap<'_, '_>,
    index: usize,
    truth: &Truth,
    traces: &Traces<'_, '_>,
    outcome: &mut Outcome,
) {
    let expected = &truth.heaps[index];
    let mut walk = Walk::default();
    let _ = heap.walk(&mut walk);
    outcome.heaps += 1;
    outcome.busy += walk.busy.len();
    outcome.lfh += walk.lfh;
    outcome.free += walk.free.len();
    outcome.uncommitted += walk.uncommitted.len();
    outcome.virtual_blocks += walk.virtual_blocks.len();
    let handle = heap.handle();
    compare_stacks(handle, index, truth, &walk, traces, outcome);
    let problems = &mut outcome.problems;
    let mut problem = |text: String| problems.push(format!("heap {handle:x}: {text}"));
    for finding in &walk.findings {
        problem(format!("finding: {finding}"));
    }
    if walk.duplicates > 0 {
        problem(format!("{} blocks were reported twice", walk.duplicates));
    }
    for &(address, size) in expected.recorded.difference(&walk.busy) {
        // XP's LFH stores a request for no bytes as one byte; RtlSizeHeap says 1 as well.
        if size == 0
            && expected.stored_as_one.contains(&address)
            && walk.busy.contains(&(address, 1))
        {
            continue;
        }
        problem(format!("busy block {address:x} of {size:x} is missing"));
    }
    for &(address, size) in walk.busy.difference(&expected.recorded) {
        if !expected.walked_busy.contains(&(address, size)) {
            problem(format!("busy block {address:x} of {size:x} is extra"));
        }
    }
    if let Heap::Segment(segment) = heap {
        compare_segment_totals(segment, expected, &walk, outcome);
        compare_row(segment, truth, outcome);
        return;
    }
    if !expected.walked {
        return;
    }
    let mut same = |what: &str, ours: &Sizes, theirs: &Sizes| {
        for (address, size) in theirs.difference(ours).take(4) {
            problem(format!("{what} {address:x} of {size:x} is missing"));
        }
        for (address, size) in ours.difference(theirs).take(4) {
            problem(format!("{what} {address:x} of {size:x} is extra"));
        }
    };
    // XP's walk does not mark them.
    if truth.build >= 6000 {
        same(
            "virtual block",
            &walk.virtual_blocks,
            &expected.walked_virtual,
        );
    }
    if walk.cached > 0 {
        // XP's own walk empties the lookaside lists first, which joins free neighbours, and gives
        // back the pages of a free block that thereby becomes large.
        let idle = |free: &Sizes, uncommitted: &Sizes| joined(&(free | uncommitted));
        same(
            "free or uncommitted run",
            &idle(&walk.free, &walk.uncommitted),
            &idle(&expected.walked_free, &expected.walked_uncommitted),
        );
    } else {
        same(
            "uncommitted range",
            &walk.uncommitted,
            &expected.walked_uncommitted,
        );
        same("free block", &walk.free, &expected.walked_free);
    }
    compare_totals(heap, expected, &walk, outcome);
}

/// The totals that ntdll itself computes, and the sum over the segments.
fn compare_segment_totals(
    heap: &SegmentHeap<'_, '_>,
    expected: &TruthHeap,
    walk: &Walk,
    outcome: &mut Outcome,
) {
    let segments: u64 = heap.segments.iter().map(|segment| segment.size).sum();
    let mut checks = vec![(
        "sum of everything in the segments",
        walk.accounted,
        segments,
    )];
    if let Some((reserve, commit)) = expected.extended {
        checks.push(("extended reserve", heap.reserved_bytes(), reserve));
        checks.push(("extended commit", heap.committed_bytes(), commit));
    }
    for (what, ours, theirs) in checks {
        outcome.totals += 1;
        if ours != theirs {
            outcome.problems.push(format!(
                "heap {:x}: {what} is {ours:x}, not {theirs:x}",
                heap.handle()
            ));
        }
    }
}

/// The row that the debugger prints of a heap. Large blocks do not count there.
fn compare_row(heap: &SegmentHeap<'_, '_>, truth: &Truth, outcome: &mut Outcome) {
    let Some(row) = truth.table.get(&heap.handle()) else {
        return;
    };
    let ours = Row {
        global_flags: heap.header.global_flags,
        list_index: heap.header.list_index,
        reserved_kib: heap.header.reserved >> 10,
        committed_kib: heap.header.committed >> 10,
    };
    outcome.rows += 1;
    if *row != ours {
        outcome.problems.push(format!(
            "heap {:x}: row is {ours:?}, not {row:?}",
            heap.handle()
        ));
    }
}

/// Adjoining blocks joined.
fn joined(blocks: &Sizes) -> Sizes {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for &(start, size) in blocks {
        match runs.last_mut() {
            Some(last) if last.0 + last.1 == start => last.1 += size,
            _ => runs.push((start, size)),
        }
    }
    runs.into_iter().collect()
}

/// The totals that ntdll itself computes, and the sum over the segments.
fn compare_totals(heap: &Heap<'_, '_>, expected: &TruthHeap, walk: &Walk, outcome: &mut Outcome) {
    let Heap::Nt(heap) = heap else { return };
    let handle = heap.handle();
    let mut check = |what: &str, ours: u64, theirs: u64| {
        outcome.totals += 1;
        if ours != theirs {
            outcome.problems.push(format!(
                "heap {handle:x}: {what} is {ours:x}, not {theirs:x}"
            ));
        }
    };
    let segments: u64 = heap.segments.iter().map(|segment| segment.reserved).sum();
    check(
        "sum of everything in the segments",
        walk.accounted,
        segments,
    );
    check(
        "sum of free blocks",
        walk.free_bytes,
        heap.header.total_free,
    );
    let committed: u64 = heap
        .segments
        .iter()
        .map(|segment| segment.committed())
        .sum();
    let header = &heap.header;
    let virtual_sum = |size: fn(&ntheap::heap::nt::VirtualBlock) -> u64| {
        heap.virtual_blocks.iter().map(size).sum::<u64>()
    };
    if let (Some((reserve, commit)), Some(reserved), Some(counted)) =
        (expected.extended, header.reserved, header.committed)
    {
        check(
            "extended reserve",
            reserved + virtual_sum(|b| b.reserved),
            reserve,
        );
        check(
            "extended commit",
            counted + virtual_sum(|b| b.committed),
            commit,
        );
    }
    if let Some((total, allocated)) = expected.debug {
        let ours = header.committed.unwrap_or(committed);
        check("committed", ours, total);
        check("allocated", ours.wrapping_sub(header.total_free), allocated);
    }
}

/// The trace databases: found where traces were on, with as many traces as they say.
fn compare_databases(
    process: &Process<'_, '_>,
    traces: &Traces<'_, '_>,
    truth: &Truth,
    outcome: &mut Outcome,
) {
    if !truth.traced {
        return;
    }
    let mut problem = |text: String| outcome.problems.push(text);
    match traces.database() {
        Some(database) => {
            let entries = database.entries(process.memory(), &process.layouts).len() as u64;
            if truth
                .back_traces
                .is_some_and(|count| count != u64::from(database.added))
            {
                problem(format!(
                    "{} traces, not {:?}",
                    database.added, truth.back_traces
                ));
            }
            if entries > u64::from(database.added) {
                problem(format!(
                    "{entries} entries, but {} were added",
                    database.added
                ));
            }
        }
        None => problem("no stack trace database was found".to_owned()),
    }
    match traces.log() {
        Some(log) => {
            let records = log.records(process);
            if records.len() as u64 != u64::from(log.count) {
                problem(format!(
                    "{} records, the log says {}",
                    records.len(),
                    log.count
                ));
            }
            let unread = records
                .iter()
                .filter(|&&r| traces.frames(Trace::Record(r)).is_none());
            if unread.count() > 0 {
                problem("a record of the log has no frames".to_owned());
            }
        }
        // XP keeps all traces in the database.
        None if truth.build < 6000 => {}
        None => problem("no trace log was found".to_owned()),
    }
}

/// Every block's stack, frame by frame.
fn compare_stacks(
    handle: u64,
    index: usize,
    truth: &Truth,
    walk: &Walk,
    traces: &Traces<'_, '_>,
    outcome: &mut Outcome,
) {
    let captured = truth.captured.range((index, 0)..=(index, u64::MAX));
    for (&(_, address), frames) in captured {
        outcome.stacks += 1;
        let found = walk
            .traces
            .get(&address)
            .and_then(|&trace| traces.frames(trace));
        if found.as_ref() != Some(frames) {
            let trace = walk.traces.get(&address);
            let (found, frames) = (found.map(|f| f.len()), frames.len());
            outcome.problems.push(format!(
                "heap {handle:x}: stack of {address:x} differs: {found:x?} frames of {trace:x?}, not {frames}"
            ));
        }
    }
    // Blocks that ntdll made inside a call to it (a critical section's debug record while a heap is
    // created): their capture is not in the truth, but their callers are, and the trace ends in them.
    for (&(_, address), callers) in truth.called.range((index, 0)..=(index, u64::MAX)) {
        let Some(&trace) = walk.traces.get(&address) else {
            continue;
        };
        outcome.stacks += 1;
        let found = traces.frames(trace).unwrap_or_default();
        // A segment heap that resizes a block in place captures nothing: the trace stays that of
        // the first allocation.
        let resized = callers
            .first()
            .is_some_and(|frame| truth.in_resize.contains(frame));
        let agrees = match resized {
            true => !found.is_empty() && found.last() == callers.last(),
            false => found.ends_with(callers),
        };
        if !agrees {
            outcome.problems.push(format!(
                "heap {handle:x}: stack of {address:x} is {found:x?}, but its callers are {callers:x?}"
            ));
        }
    }
}
