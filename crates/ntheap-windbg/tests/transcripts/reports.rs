//! `-s -h H` of the 2023 extension: what its report of a heap gets wrong.
//!
//! The histogram is made again from the walk, as the extension would count with its errors; every
//! other line has to be equal or proved by itself.

use std::collections::BTreeMap;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::{
        Heap,
        nt::{NtHeap, Piece, RawEntry},
        segment::{RangeKind, SegmentHeap},
    },
};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, words},
    regions::{LOW_BYTE, decodes_low_byte},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "no buckets of the LFH before Windows 10",
        |context| is_report(context) && context.process.build < BUCKETS,
        |context, theirs| {
            let ours = &context.ours;
            let none = !theirs.iter().any(|line| is_bucket(line));
            none && ours.put_back(theirs, |index| is_bucket(&ours.lines[index]))
        },
    ),
    known(
        "cached user blocks are not counted",
        is_report,
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| {
                let head = theirs.strip_suffix("     0)")?.strip_suffix(',')?;
                let (same, number) = ours.rsplit_once(',')?;
                let number: u32 = number.trim().strip_suffix(')')?.parse().ok()?;
                (head == same && theirs.contains(" bytes (") && number > 0).then(|| ours.to_owned())
            })
        },
    ),
    known(
        STATE,
        |context| is_report(context) && !slots_told(context),
        |context, theirs| {
            let rows = operands(context).and_then(|(_, bucket)| histogram(theirs, bucket));
            let none_free = rows.is_some_and(|rows| rows.values().all(|row| row.front_free == 0));
            let ours = &context.ours;
            none_free && ours.rewrite(theirs, empty_containers) || counts(context, theirs, STATE)
        },
    ),
    known(
        CONTAINERS,
        |context| is_report(context) && !slots_told(context),
        |context, theirs| counts(context, theirs, CONTAINERS),
    ),
    known(
        LOW_BYTE,
        |context| is_report(context) && decodes_low_byte(context),
        |context, theirs| counts(context, theirs, LOW_BYTE),
    ),
    known(CAPPED, is_report, |context, theirs| {
        counts(context, theirs, CAPPED)
    }),
    known(
        "-s -h of a segment heap: segments, blocks of affinity slots, unused pages",
        is_report,
        |context, theirs| {
            let heap =
                operands(context).and_then(|(handle, _)| context.model.heaps.get(handle).ok());
            let Some(Heap::Segment(heap)) = heap else {
                return false;
            };
            let unused = Unused::of(heap);
            context.ours.rewrite(theirs, |theirs, ours| {
                let proved = segment_count(heap, theirs, ours)
                    || affinity(theirs, ours) == Some(true)
                    || unused.explains(theirs, ours) == Some(true);
                proved.then(|| ours.to_owned())
            })
        },
    ),
];

const CAPPED: &str = "UnusedBytes capped at 3f";
const STATE: &str = "state of LFH slots not told for this build";
const CONTAINERS: &str = "LFH containers counted as blocks";
/// What the extension takes for the highest count of unused bytes.
const CAP: u64 = 0x3f;
/// The build from which on the extension finds the buckets of the LFH.
const BUCKETS: u32 = 10240;
const MAX_ROW: u64 = 511;

fn is_report(context: &Context<'_, '_>) -> bool {
    context.newer && context.is("!heap -s -h ")
}

/// Whether the extension knows the states of this build's slots.
fn slots_told(context: &Context<'_, '_>) -> bool {
    context.process.build >= 9200 && !context.has_traces()
}

/// The heap that a report is about, and the bytes of a row.
fn operands(context: &Context<'_, '_>) -> Option<(u64, u64)> {
    let words = words(context.typed.strip_prefix("!heap -s -h ")?);
    let bucket = match words.get(1..3) {
        Some(["-b", size]) => hex(size)?,
        _ => 1024,
    };
    Some((hex(words.first()?)?, bucket))
}

/// A row of the table of buckets.
fn is_bucket(line: &str) -> bool {
    line.ends_with("-0)") && line.contains(",0") && line.contains(" (")
}

/// A container counts as empty when all its slots are free: never, if all are taken for busy.
fn empty_containers(theirs: &str, ours: &str) -> Option<String> {
    const EMPTY: usize = 3;
    let (mut wrong, mut right) = (words(theirs), words(ours));
    if !is_bucket(theirs) || wrong.len() <= EMPTY || right.len() != wrong.len() {
        return None;
    }
    right.remove(EMPTY);
    (wrong.remove(EMPTY) == "0" && wrong == right).then(|| ours.to_owned())
}

/// Numbers of a row of the histogram.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Row {
    busy: u64,
    free: u64,
    front_busy: u64,
    front_free: u64,
    unused: u64,
}

impl Row {
    /// Reads a row, whose average has to be right.
    fn read(words: &[&str]) -> Option<Row> {
        let numbers = words.iter().map(|word| word.parse().ok());
        let numbers = numbers.collect::<Option<Vec<u64>>>()?;
        let &[busy, free, front_busy, front_free, unused, average] = &numbers[..] else {
            return None;
        };
        let mean = unused.checked_div(busy + front_busy).unwrap_or(0);
        (average == mean).then_some(Row {
            busy,
            free,
            front_busy,
            front_free,
            unused,
        })
    }

    fn plus(self, other: &Row) -> Row {
        Row {
            busy: self.busy + other.busy,
            free: self.free + other.free,
            front_busy: self.front_busy + other.front_busy,
            front_free: self.front_free + other.front_free,
            unused: self.unused + other.unused,
        }
    }
}

/// By the first size of the row.
type Rows = BTreeMap<u64, Row>;

/// The histogram of a report, with a row for so many bytes; the sum has to be right for its rows.
fn histogram(lines: &[String], bucket: u64) -> Option<Rows> {
    let mut rows = Rows::new();
    let mut total = None;
    for line in lines
        .iter()
        .skip_while(|line| !line.starts_with("   Range (bytes)"))
    {
        match words(line)[..] {
            ["Total", ref numbers @ ..] => total = Some(Row::read(numbers)?),
            [from, "-", to, ref numbers @ ..] => {
                let [from, to]: [u64; 2] = [from.parse().ok()?, to.parse().ok()?];
                (to == from + bucket).then_some(())?;
                rows.insert(from, Row::read(numbers)?);
            }
            _ => {}
        }
    }
    let sum = rows.values().fold(Row::default(), Row::plus);
    (total == Some(sum)).then_some(rows)
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
}

/// Puts our histogram in place of theirs, if theirs is what the walk counts with this error, and
/// perhaps with six bits of each count of unused bytes.
fn counts(context: &Context<'_, '_>, theirs: &mut Lines, error: &'static str) -> bool {
    let proved = || {
        let (handle, bucket) = operands(context)?;
        let opened = context.model.heaps.get(handle).ok()?;
        let Heap::Nt(heap) = opened else { return None };
        let counted = Counted::of(opened, heap, bucket);
        let (wrong, right) = (
            histogram(theirs, bucket)?,
            histogram(&context.ours.lines, bucket)?,
        );
        let all = |capped: bool| {
            let mut keys = wrong.keys().chain(right.keys());
            keys.all(|from| {
                let row = |rows: &Rows| rows.get(from).copied().unwrap_or_default();
                let backend = counted.rows.get(from).copied().unwrap_or_default();
                let unused = if capped {
                    backend.capped
                } else {
                    backend.unused
                };
                is_count(error, row(&wrong), row(&right), backend, unused)
            })
        };
        let capped = [error == CAPPED, true]
            .into_iter()
            .find(|capped| all(*capped))?;
        (wrong != right).then_some(capped)
    };
    let Some(capped) = proved() else { return false };
    if capped {
        context.used.borrow_mut().insert(CAPPED);
    }
    let place = |lines: &[String]| {
        let start = lines
            .iter()
            .position(|line| line.starts_with("   Range (bytes)"))?;
        let end = lines[start..]
            .iter()
            .position(|line| line.starts_with("  Total "))?;
        Some(start..start + end + 1)
    };
    if let (Some(wrong), Some(right)) = (place(theirs), place(&context.ours.lines)) {
        theirs.splice(wrong, context.ours.lines[right].iter().cloned());
        return true;
    }
    false
}

/// Whether a row counts as the error has it; `unused` are the unused bytes outside the LFH as the
/// extension sums them.
fn is_count(error: &str, wrong: Row, right: Row, backend: Backend, unused: u64) -> bool {
    let slots = right.front_busy + right.front_free;
    let in_front = right.unused.saturating_sub(backend.unused);
    let outside = (wrong.busy, wrong.free) == (right.busy, right.free);
    match error {
        CAPPED => {
            wrong
                == Row {
                    unused: unused + in_front,
                    ..right
                }
        }
        // Slots are counted as busy whatever they are, where a free one adds no unused bytes; or some
        // or all busy slots as free, and then their unused bytes are left out.
        STATE => {
            let all_busy = (wrong.front_busy, wrong.front_free) == (slots, 0)
                && wrong.unused == unused + in_front;
            let some_busy = wrong.front_busy + wrong.front_free == slots
                && wrong.front_busy <= right.front_busy
                && (unused..=unused + in_front).contains(&wrong.unused)
                && (wrong.front_busy > 0 || wrong.unused == unused);
            outside && (all_busy || some_busy)
        }
        // What lies at the wrong places can be anything that fits a slot.
        LOW_BYTE => {
            outside
                && wrong.front_busy + wrong.front_free == slots
                && wrong.unused >= unused
                && (wrong.front_busy > 0 || wrong.unused == unused)
        }
        // Containers are blocks like any other.
        _ => {
            let told = Row {
                busy: right.busy + backend.containers,
                free: right.free,
                front_busy: 0,
                front_free: 0,
                unused: unused + backend.containers_unused,
            };
            wrong == told
        }
    }
}

/// Pages in a row of the ranges; what is larger counts in the last.
const PAGE: u64 = 0x1000;
const LAST_ROW: u64 = 127;

/// The count is always 0.
fn segment_count(heap: &SegmentHeap<'_, '_>, theirs: &str, ours: &str) -> bool {
    let count = |line: &str| {
        line.strip_prefix("Segment Count                      : ")
            .and_then(|count| count.parse::<usize>().ok())
    };
    count(theirs) == Some(0) && count(ours) == Some(heap.segments.len())
}

/// Blocks are 5 in every slot of every bucket.
fn affinity(theirs: &str, ours: &str) -> Option<bool> {
    type Parts = (String, Vec<(u64, u64)>);
    let parts = |line: &str| -> Option<Parts> {
        let (head, slots) = line.strip_suffix(" )")?.split_once(" (")?;
        let slot = |text: &str| {
            let (subsegments, blocks) = text.split_once(" - ")?;
            Some((
                subsegments.trim().parse().ok()?,
                blocks.trim().parse().ok()?,
            ))
        };
        let slots = slots.trim_end_matches(',').split(',').map(slot);
        Some((head.to_owned(), slots.collect::<Option<Vec<_>>>()?))
    };
    let ((head, theirs), (our_head, ours)) = (parts(theirs)?, parts(ours)?);
    let first = |slots: &[(u64, u64)]| slots.iter().map(|slot| slot.0).collect::<Vec<_>>();
    // Columns of the row: the count of slots is the fifth.
    let count = head.split_whitespace().nth(4).and_then(|n| n.parse().ok());
    Some(
        head == our_head
            && first(&theirs) == first(&ours)
            && theirs.iter().all(|slot| slot.1 == 5)
            && Some(ours.iter().map(|slot| slot.1).sum::<u64>()) == count,
    )
}

/// Unused bytes of ranges in use: the extension takes what a unit has besides them for committed.
struct Unused {
    /// By row: what it prints, and the bytes that are committed.
    rows: Vec<(u64, u64)>,
}

impl Unused {
    fn of(heap: &SegmentHeap<'_, '_>) -> Self {
        let mut rows = vec![(0, 0); LAST_ROW as usize + 1];
        for segment in &heap.segments {
            let unit = 1u64 << heap.contexts[segment.context].unit_shift;
            for range in heap.ranges(segment) {
                if range.unused == 0 || matches!(range.kind, RangeKind::Free | RangeKind::None) {
                    continue;
                }
                let row = &mut rows[((range.size - 1) / PAGE).min(LAST_ROW) as usize];
                let decommitted =
                    range.size - heap.committed(segment, &range).unwrap_or(range.size);
                row.0 += unit.saturating_sub(range.unused);
                row.1 += range.unused.saturating_sub(decommitted);
            }
        }
        Unused { rows }
    }

    fn explains(&self, theirs: &str, ours: &str) -> Option<bool> {
        let (mut wrong, mut right) = (words(theirs), words(ours));
        let numbers = (
            wrong.pop()?.parse::<u64>().ok()?,
            right.pop()?.parse::<u64>().ok()?,
        );
        let told = match *right.get(1)? {
            "Count" => {
                let rows = self.rows.iter();
                rows.fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1))
            }
            end => {
                let row = end.parse::<u64>().map_or(0, |end| end / PAGE);
                *self.rows.get((row as usize).checked_sub(1)?)?
            }
        };
        Some(wrong == right && told == numbers)
    }
}
