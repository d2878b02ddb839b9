//! The report of a segment heap.

use std::fmt::{self, Write};

use super::ReportOptions;
use crate::{
    heap::{Heap, segment::SegmentHeap},
    stats::{Chunks, Ranges, SegmentReport, Slots},
};

/// The largest block that has a page range of its own in units of pages.
const LARGEST: u64 = 0x8_0000;
/// Bytes in a row of the page ranges, unless the user says otherwise.
const DEFAULT_BUCKET: u64 = 0x1000;

/// Widths of the tables, in columns.
const BACKEND: usize = 101;
const VARIABLE: usize = 88;
const FRONT_END: usize = 120;

/// Prints the report.
pub(super) fn write(
    opened: &Heap<'_, '_>,
    heap: &SegmentHeap<'_, '_>,
    options: ReportOptions,
    out: &mut dyn Write,
) -> fmt::Result {
    let bucket = options.bucket.unwrap_or(DEFAULT_BUCKET).max(1);
    let buckets = LARGEST.div_ceil(bucket);
    let report = SegmentReport::of(opened, heap, bucket, buckets);
    title("Large allocation stat", 40, BACKEND, out)?;
    writeln!(out, "Number of Blocks : {}", report.large.count)?;
    writeln!(out, "Busy bytes       : {}", report.large.busy)?;
    writeln!(out, "Unused bytes     : {}", report.large.unused)?;
    title("Backend Stats", 42, BACKEND, out)?;
    let segments = report.segments;
    writeln!(out, "Segment Count                      : {segments}")?;
    writeln!(out, "Bucket Size                        : {bucket}")?;
    writeln!(out, "Largest possible backend allocation: {LARGEST}")?;
    writeln!(out, "Number of buckets                  : {buckets}\n")?;
    backend(&report, bucket, out)?;
    title("Variable size allocation stats.", 29, VARIABLE, out)?;
    variable(&report, out)?;
    title("Lfh allocation stats.", 45, FRONT_END, out)?;
    front_end(&report, out)
}

fn title(text: &str, indent: usize, width: usize, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "\n{:*<width$}\n{:indent$}{text}\n{:*<width$}\n",
        "", "", ""
    )
}

/// A table: caption, rows with lines between them, and the row of their sum.
fn table(
    caption: &str,
    width: usize,
    rows: Vec<String>,
    total: &str,
    out: &mut dyn Write,
) -> fmt::Result {
    writeln!(out, "{:_<width$}\n\n{caption}\n{:_<width$}\n", "", "")?;
    for (index, row) in rows.iter().enumerate() {
        if index > 0 {
            writeln!(out, "{:-<width$}", "")?;
        }
        writeln!(out, "{row}")?;
    }
    if !rows.is_empty() {
        writeln!(out, "{:_<width$}\n", "")?;
    }
    writeln!(out, "      Total Count {total}\n{:_<width$}", "")
}

fn backend(report: &SegmentReport, bucket: u64, out: &mut dyn Write) -> fmt::Result {
    const CAPTION: &str = "   Range    Range     Page    Total     Busy  Committed  Decomitted  \
                           Decomitted   Unused     Unused\n     \
                           Min      Max    Range    Pages    Pages      Pages        Busy        \
                           Free    Bytes  Committed\n                     \
                           Count                                    Pages       Pages               Bytes";
    let numbers = |row: &Ranges| {
        format!(
            "{:8} {:8} {:8} {:10} {:11} {:11} {:8} {:10}",
            row.count,
            row.pages,
            row.busy_pages,
            row.committed_pages,
            row.decommitted_busy_pages,
            row.decommitted_free_pages,
            row.unused,
            row.unused_committed,
        )
    };
    let mut total = Ranges::default();
    let mut rows = Vec::new();
    for (key, row) in &report.ranges {
        let (from, to) = (key * bucket + 1, (key + 1) * bucket);
        rows.push(format!("{from:8} {to:8} {}", numbers(row)));
        total.count += row.count;
        total.pages += row.pages;
        total.busy_pages += row.busy_pages;
        total.committed_pages += row.committed_pages;
        total.decommitted_busy_pages += row.decommitted_busy_pages;
        total.decommitted_free_pages += row.decommitted_free_pages;
        total.unused += row.unused;
        total.unused_committed += row.unused_committed;
    }
    table(CAPTION, BACKEND, rows, &numbers(&total), out)
}

fn variable(report: &SegmentReport, out: &mut dyn Write) -> fmt::Result {
    const CAPTION: &str = "  Bucket   Bucket     Busy     Free             Busy         Free         \
                           Free   Unused\n   \
                           Index     Size    Chunk    Chunk            Bytes  Decommitted    \
                           Committed    Bytes\n          \
                           (Bytes)    Count    Count                         Bytes        Bytes         ";
    let numbers = |row: &Chunks| {
        format!(
            "{:8} {:8} {:16} {:12} {:12} {:8}",
            row.busy_count,
            row.free_count,
            row.busy,
            row.free_decommitted,
            row.free_committed,
            row.unused,
        )
    };
    let mut total = Chunks::default();
    let mut rows = Vec::new();
    for (bucket, row) in &report.chunks {
        rows.push(format!(
            "{:8} {:8} {}",
            bucket.index,
            bucket.size,
            numbers(row)
        ));
        total.busy_count += row.busy_count;
        total.free_count += row.free_count;
        total.busy += row.busy;
        total.free_decommitted += row.free_decommitted;
        total.free_committed += row.free_committed;
        total.unused += row.unused;
    }
    table(CAPTION, VARIABLE, rows, &numbers(&total), out)
}

fn front_end(report: &SegmentReport, out: &mut dyn Write) -> fmt::Result {
    const CAPTION: &str = "  Bucket    Block      Total      Empty    Block             Busy         \
                           Free         Free   Unused     Tail     Tail Affinity Slots (Segments - \
                           Blocks)\n   \
                           Index     Size Subsegment Subsegment    Count            Bytes  \
                           Decommitted    Committed    Bytes    Bytes Committed\n          \
                           (Bytes)      Count      Count                                  Bytes        \
                           Bytes                      Bytes";
    let numbers = |row: &Slots| {
        format!(
            "{:10} {:10} {:8} {:16} {:12} {:12} {:8} {:8} {:8}",
            row.subsegments,
            row.empty_subsegments,
            row.count,
            row.busy,
            row.free_decommitted,
            row.free_committed,
            row.unused,
            row.tail,
            row.tail_committed,
        )
    };
    let mut total = Slots::default();
    let mut rows = Vec::new();
    for (bucket, row) in &report.slots {
        let mut text = format!("{:8} {:8} {} (", bucket.index, bucket.size, numbers(row));
        for (subsegments, slots) in &row.affinity {
            write!(text, "{subsegments:4} - {slots} ,")?;
        }
        rows.push(text + " )");
        total.subsegments += row.subsegments;
        total.empty_subsegments += row.empty_subsegments;
        total.count += row.count;
        total.busy += row.busy;
        total.free_decommitted += row.free_decommitted;
        total.free_committed += row.free_committed;
        total.unused += row.unused;
        total.tail += row.tail;
        total.tail_committed += row.tail_committed;
    }
    table(CAPTION, FRONT_END, rows, &numbers(&total), out)
}
