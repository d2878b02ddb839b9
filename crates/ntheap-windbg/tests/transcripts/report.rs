//! `-s -h H` of the 2023 extension: what its report of a heap gets wrong.
//!
//! The histogram is made again from the walk, once as the extension would count with one of its
//! errors; every other line has to be equal or proved by itself.

use std::collections::BTreeMap;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::{
        Heap,
        nt::{NtHeap, Piece, RawEntry},
    },
    process::Process,
};

use crate::segment_report;

/// `FLG_USER_STACK_TRACE_DB`.
const TRACES: u32 = 0x1000;
/// What the extension takes for the highest count of unused bytes.
const CAP: u64 = 0x3f;
/// The build from which on the extension finds the buckets of the LFH.
const BUCKETS: u32 = 10240;
const MAX_ROW: u64 = 511;

/// The class, if the whole report is proved.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    typed: &str,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let operands = typed.strip_prefix("!heap -s -h ")?;
    let mut words = operands.split(' ');
    let handle = hex(words.next()?)?;
    let bucket = match (words.next(), words.next()) {
        (Some("-b"), Some(size)) => hex(size)?,
        _ => 1024,
    };
    let opened = Heap::open(process, process.heap(handle).ok()?);
    let heap = match &opened {
        Heap::Nt(heap) => heap,
        Heap::Segment(heap) => return segment_report::excuse(heap, expected, actual),
        _ => return None,
    };

    let mut class = None;
    let (mut theirs, mut ours) = (lines(expected), lines(actual));
    if process.layouts.heap.encoding.is_none() {
        xp_errors(heap, &mut theirs, &mut ours, &mut class)?;
    }
    let (theirs, their_rows) = take_histogram(theirs)?;
    let (mut ours, our_rows) = take_histogram(ours)?;
    if process.build < BUCKETS && !theirs.iter().any(|line| is_bucket(line)) {
        let before = ours.len();
        ours.retain(|line| !is_bucket(line));
        if ours.len() < before {
            class = Some("no buckets of the LFH before Windows 10");
        }
    }
    if theirs.len() != ours.len() {
        return None;
    }
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs != ours {
            class = Some(
                crate::excuse::cached_blocks(theirs, ours)
                    .or_else(|| empty_containers(theirs, ours, &their_rows))
                    .or_else(|| xp_unused(process, heap, theirs, ours))?,
            );
        }
    }
    if their_rows == our_rows {
        return class;
    }
    let counted = Counted::of(&opened, heap, bucket);
    let traces = process.nt_global_flag.unwrap_or(0) & TRACES != 0;
    let slots_told = process.build >= 9200 && !traces;
    counted.prove(&their_rows, &our_rows, slots_told)
}

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// A row of the table of buckets.
fn is_bucket(line: &str) -> bool {
    line.ends_with("-0)") && line.contains(",0") && line.contains(" (")
}

/// A container counts as empty when all its slots are free: never, if all are taken for busy.
fn empty_containers(theirs: &str, ours: &str, rows: &Rows) -> Option<&'static str> {
    let without_empty = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (is_bucket(line) && words.len() > 3).then(|| (words.remove(3), words))
    };
    let ((empty, theirs), (_, ours)) = (without_empty(theirs)?, without_empty(ours)?);
    let none_free = rows.values().all(|row| row.front_free == 0);
    (theirs == ours && empty == "0" && none_free).then_some(STATE)
}

const STATE: &str = "state of LFH slots not told for this build";

/// XP's uncommitted ranges are misread: a complaint at the end of each segment, at the place where
/// a range starts, or at the last entry in front of it or of the segment's end.
fn xp_errors(
    heap: &NtHeap<'_, '_>,
    theirs: &mut Vec<String>,
    ours: &mut Vec<String>,
    class: &mut Option<&'static str>,
) -> Option<()> {
    const MISSING: &str = "Error: Missing BUSY flag for an uncommitted range";
    const INVALID: &str = "Error: Invalid uncommitted range descriptor";
    let start = format!("HEAP {:08x} (Seg ", heap.handle());
    let mut ranges = Vec::new();
    let mut kept: Vec<String> = Vec::new();
    let mut lines = std::mem::take(theirs).into_iter().peekable();
    // The report goes on where it was when the complaint came.
    let mut open = false;
    while let Some(line) = lines.next() {
        let Some((before, rest)) = line.split_once(&start) else {
            match kept.last_mut().filter(|_| open) {
                Some(last) => last.push_str(&line),
                None => kept.push(line),
            }
            open = false;
            continue;
        };
        let (segment, rest) = rest.split_once(") At ")?;
        let (at, error) = rest.split_once(' ')?;
        let (segment, at) = (hex(segment)?, hex(at)?);
        let segment = heap.segments.iter().find(|s| s.header == segment)?;
        let right = match error {
            MISSING => segment.ranges.iter().any(|range| range.start == at),
            INVALID => {
                let entry = heap.raw_entry_at(at)?;
                let end = entry.address + entry.size;
                let mut ranges = segment.ranges.iter();
                end == segment.end || ranges.any(|range| range.start == end)
            }
            _ => false,
        };
        (right && lines.next()?.is_empty()).then_some(())?;
        *class = Some("XP: uncommitted ranges and free list map misread");
        ranges.extend(segment.ranges.iter().map(|range| range.start));
        match kept.last_mut().filter(|_| open) {
            Some(last) => last.push_str(before),
            None => kept.push(before.to_owned()),
        }
        open = true;
    }
    *theirs = kept;
    // In place of the row of the range stands the complaint, of which the empty line is left.
    ours.retain(|line| {
        let range = line.strip_prefix("Uncommitted range ");
        let start = range.and_then(|range| hex(range.split(' ').next()?));
        !start.is_some_and(|start| ranges.contains(&start))
    });
    Some(())
}

/// XP: the unused bytes of a free entry are what that byte of its header holds.
fn xp_unused(
    process: &Process<'_, '_>,
    heap: &NtHeap<'_, '_>,
    theirs: &str,
    ours: &str,
) -> Option<&'static str> {
    let parts = |line: &str| {
        let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        (words.len() > 7 && words[7] == "free").then(|| (words.remove(6), words))
    };
    let ((theirs_unused, theirs), (_, ours)) = (parts(theirs)?, parts(ours)?);
    let entry = hex(&ours[0])?;
    let field = u64::from(process.layouts.entry.unused_bytes?);
    let raw = process.memory().u8(entry + field)?;
    (heap.is_xp() && theirs == ours && hex(&theirs_unused)? == u64::from(raw))
        .then_some("XP: unused bytes of free entries are any byte")
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Row {
    busy: u64,
    free: u64,
    front_busy: u64,
    front_free: u64,
    unused: u64,
}

/// By the first size of the row.
type Rows = BTreeMap<u64, Row>;

/// Takes the histogram out of a report; averages and the sum have to be right for its rows.
fn take_histogram(lines: Vec<String>) -> Option<(Vec<String>, Rows)> {
    let mut rows = Rows::new();
    let mut kept = Vec::new();
    let mut total = None;
    let numbers = |text: &str| -> Option<(Row, u64)> {
        let words = text.split_whitespace().map(|word| word.parse().ok());
        let n = words.collect::<Option<Vec<u64>>>()?;
        let &[busy, free, front_busy, front_free, unused, average] = n.as_slice() else {
            return None;
        };
        Some((
            Row {
                busy,
                free,
                front_busy,
                front_free,
                unused,
            },
            average,
        ))
    };
    let mut inside = false;
    for line in lines {
        inside |= line.starts_with("   Range (bytes)");
        if !inside || line.starts_with("   Range (bytes)") || line.starts_with("---") {
            kept.push(line);
            continue;
        }
        let (from, row) = if let Some(row) = line.strip_prefix("  Total ") {
            (None, numbers(row)?)
        } else if let Some((from, rest)) = line.split_once(" - ") {
            let rest = rest.trim_start().split_once(' ')?.1;
            (Some(from.trim().parse().ok()?), numbers(rest)?)
        } else {
            kept.push(line);
            continue;
        };
        let (row, average) = row;
        let blocks = row.busy + row.front_busy;
        (average == row.unused.checked_div(blocks).unwrap_or(0)).then_some(())?;
        match from {
            Some(from) => {
                rows.insert(from, row);
            }
            None => total = Some(row),
        }
    }
    let sum = rows.values().fold(Row::default(), |sum, row| Row {
        busy: sum.busy + row.busy,
        free: sum.free + row.free,
        front_busy: sum.front_busy + row.front_busy,
        front_free: sum.front_free + row.front_free,
        unused: sum.unused + row.unused,
    });
    (total == Some(sum)).then_some((kept, rows))
}

/// What a walk counts of the entries outside the LFH, by row.
#[derive(Default, Clone, Copy)]
struct Backend {
    unused: u64,
    capped: u64,
    containers: u64,
    containers_unused: u64,
}

struct Counted {
    rows: BTreeMap<u64, Backend>,
}

#[derive(Default)]
struct FrontEnd {
    entry: u64,
    containers: Vec<u64>,
    cached: Vec<u64>,
}

impl Visitor for FrontEnd {
    fn block(&mut self, block: &Block) -> Flow {
        match block.kind {
            Kind::Lfh if self.containers.last() != Some(&self.entry) => {
                self.containers.push(self.entry);
            }
            Kind::Lfh => {}
            Kind::Lookaside => self.cached.push(block.entry),
            _ => self.entry = block.entry,
        }
        CONTINUE
    }
}

impl Counted {
    fn of(opened: &Heap<'_, '_>, heap: &NtHeap<'_, '_>, bucket: u64) -> Counted {
        let mut front_end = FrontEnd::default();
        let _ = opened.walk(&mut front_end);
        let mut rows = BTreeMap::<u64, Backend>::new();
        let mut count = |entry: &RawEntry| {
            if !entry.is_busy() || front_end.cached.contains(&entry.address) {
                return;
            }
            let from = (entry.size / bucket).min(MAX_ROW) * bucket;
            let row = rows.entry(from).or_default();
            if front_end.containers.contains(&entry.address) {
                row.containers += 1;
                row.containers_unused += entry.unused;
            } else {
                row.unused += entry.unused;
                // Of a block with a trace the count stands in the trace's header, whole.
                let traced = entry.user - entry.address > heap.unit();
                row.capped += entry.unused.min(if traced { u64::MAX } else { CAP });
            }
        };
        if heap.is_xp()
            && let Some(header) = heap.raw_entry_at(heap.handle())
        {
            count(&header);
        }
        for segment in &heap.segments {
            let _ = heap.pieces::<std::convert::Infallible>(segment, &mut |piece| {
                if let Piece::Entry(entry) = piece {
                    count(&entry);
                }
                Ok(())
            });
        }
        Counted { rows }
    }

    /// The class that makes every row of theirs what the walk counted with that error.
    fn prove(&self, theirs: &Rows, ours: &Rows, slots_told: bool) -> Option<&'static str> {
        let capped = |_: &Row, ours: &Row, backend: &Backend| Row {
            unused: ours.unused - backend.unused + backend.capped,
            ..*ours
        };
        if self.all(theirs, ours, |a, b, c| *a == capped(a, b, c)) {
            return Some("UnusedBytes capped at 3f");
        }
        if slots_told {
            return None;
        }
        // Slots are counted as busy whatever they are; a free one adds no unused bytes.
        let all_busy = |theirs: &Row, ours: &Row, _: &Backend| {
            let front_busy = ours.front_busy + ours.front_free;
            let told = Row {
                front_busy,
                front_free: 0,
                ..*ours
            };
            *theirs == told
        };
        // Some or all busy slots are counted as free, and then their unused bytes are left out.
        let some_busy = |theirs: &Row, ours: &Row, backend: &Backend| {
            let slots = ours.front_busy + ours.front_free;
            let all_free = theirs.front_busy == 0;
            (theirs.busy, theirs.free) == (ours.busy, ours.free)
                && theirs.front_busy + theirs.front_free == slots
                && theirs.front_busy <= ours.front_busy
                && (backend.unused..=ours.unused).contains(&theirs.unused)
                && (!all_free || theirs.unused == backend.unused)
        };
        if self.all(theirs, ours, all_busy) || self.all(theirs, ours, some_busy) {
            return Some(STATE);
        }
        // Containers are blocks like any other.
        let blocks = |theirs: &Row, ours: &Row, backend: &Backend| {
            let told = Row {
                busy: ours.busy + backend.containers,
                free: ours.free,
                front_busy: 0,
                front_free: 0,
                unused: backend.unused + backend.containers_unused,
            };
            *theirs == told
        };
        self.all(theirs, ours, blocks)
            .then_some("LFH containers counted as blocks")
    }

    fn all(
        &self,
        theirs: &Rows,
        ours: &Rows,
        holds: impl Fn(&Row, &Row, &Backend) -> bool,
    ) -> bool {
        let keys = theirs.keys().chain(ours.keys());
        keys.into_iter().all(|from| {
            let row = |rows: &Rows| rows.get(from).copied().unwrap_or_default();
            let backend = self.rows.get(from).copied().unwrap_or_default();
            holds(&row(theirs), &row(ours), &backend)
        })
    }
}
