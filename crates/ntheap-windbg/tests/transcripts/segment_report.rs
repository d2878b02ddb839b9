//! `-s -h H` of a segment heap: three columns that the extension does not fill.

use ntheap::heap::segment::{RangeKind, SegmentHeap};

const CLASS: &str = "-s -h of a segment heap: segments, blocks of affinity slots, unused pages";
/// Pages in a row of the ranges; what is larger counts in the last.
const PAGE: u64 = 0x1000;
const LAST_ROW: u64 = 127;

/// The class, if the lines differ in those columns alone.
pub(crate) fn excuse(
    heap: &SegmentHeap<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let unused = Unused::of(heap);
    let (theirs, ours): (Vec<&str>, Vec<&str>) =
        (expected.lines().collect(), actual.lines().collect());
    let same = theirs.len() == ours.len()
        && theirs.iter().zip(&ours).all(|(theirs, ours)| {
            theirs == ours
                || segment_count(heap, theirs, ours)
                || affinity(theirs, ours)
                || unused.explains(theirs, ours)
        });
    same.then_some(CLASS)
}

/// The count is always 0.
fn segment_count(heap: &SegmentHeap<'_, '_>, theirs: &str, ours: &str) -> bool {
    let count = |line: &str| {
        line.strip_prefix("Segment Count                      : ")
            .and_then(|count| count.parse::<usize>().ok())
    };
    count(theirs) == Some(0) && count(ours) == Some(heap.segments.len())
}

/// Blocks are 5 in every slot of every bucket.
fn affinity(theirs: &str, ours: &str) -> bool {
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
    let (Some((head, theirs)), Some((our_head, ours))) = (parts(theirs), parts(ours)) else {
        return false;
    };
    let first = |slots: &[(u64, u64)]| slots.iter().map(|slot| slot.0).collect::<Vec<_>>();
    // Columns of the row: the count of slots is the fifth.
    let count = head.split_whitespace().nth(4).and_then(|n| n.parse().ok());
    head == our_head
        && first(&theirs) == first(&ours)
        && theirs.iter().all(|slot| slot.1 == 5)
        && Some(ours.iter().map(|slot| slot.1).sum::<u64>()) == count
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

    fn explains(&self, theirs: &str, ours: &str) -> bool {
        let parts = |line: &str| {
            let mut words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
            let last = words.pop()?.parse::<u64>().ok()?;
            Some((words, last))
        };
        let (Some((words, theirs)), Some((our_words, ours))) = (parts(theirs), parts(ours)) else {
            return false;
        };
        let right = match words.get(1).map(String::as_str) {
            Some("Count") => self
                .rows
                .iter()
                .fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1)),
            Some(end) => {
                let row = end.parse::<u64>().map_or(0, |end| end / PAGE);
                let at = (row as usize).checked_sub(1);
                match at.and_then(|at| self.rows.get(at)) {
                    Some(row) => *row,
                    None => return false,
                }
            }
            None => return false,
        };
        words == our_words && right == (theirs, ours)
    }
}
