//! The report of a segment heap.

use std::fmt::{self, Write};

use super::ReportOptions;
use ntheap::{
    heap::{Heap, segment::SegmentHeap},
    stats::{Bucket, Chunks, Ranges, SegmentReport, Slots},
};

/// The largest block that has a page range of its own in units of pages.
const LARGEST: u64 = 0x8_0000;
/// Bytes in a row of the page ranges, unless the user says otherwise.
const DEFAULT_BUCKET: u64 = 0x1000;

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
    title("Large allocation stat", 40, BACKEND.width, out)?;
    writeln!(out, "Number of Blocks : {}", report.large.count)?;
    writeln!(out, "Busy bytes       : {}", report.large.busy)?;
    writeln!(out, "Unused bytes     : {}", report.large.unused)?;
    title("Backend Stats", 42, BACKEND.width, out)?;
    let segments = report.segments;
    writeln!(out, "Segment Count                      : {segments}")?;
    writeln!(out, "Bucket Size                        : {bucket}")?;
    writeln!(out, "Largest possible backend allocation: {LARGEST}")?;
    writeln!(out, "Number of buckets                  : {buckets}\n")?;
    let ranges = report.ranges.iter();
    let rows: Vec<_> = ranges
        .map(|(key, row)| range_row(*key, bucket, row))
        .collect();
    BACKEND.write(&rows, out)?;
    title("Variable size allocation stats.", 29, VARIABLE.width, out)?;
    let chunks = report.chunks.iter();
    let rows: Vec<_> = chunks.map(|(bucket, row)| chunk_row(bucket, row)).collect();
    VARIABLE.write(&rows, out)?;
    title("Lfh allocation stats.", 45, FRONT_END.width, out)?;
    let slots = report.slots.iter();
    let rows: Vec<_> = slots.map(|(bucket, row)| slot_row(bucket, row)).collect();
    FRONT_END.write(&rows, out)
}

fn title(text: &str, indent: usize, width: usize, out: &mut dyn Write) -> fmt::Result {
    writeln!(
        out,
        "\n{:*<width$}\n{:indent$}{text}\n{:*<width$}\n",
        "", "", ""
    )
}

/// A table's caption, its width, and the widths of the numbers that are summed up.
struct Table<const N: usize> {
    caption: &'static str,
    width: usize,
    numbers: [usize; N],
}

/// A row: what stands in front of the numbers that are summed up, these, and what stands behind.
type Row<const N: usize> = (String, [u64; N], String);

impl<const N: usize> Table<N> {
    /// Prints caption, rows with lines between them, and the row of their sum.
    fn write(&self, rows: &[Row<N>], out: &mut dyn Write) -> fmt::Result {
        let (caption, width) = (self.caption, self.width);
        writeln!(out, "{:_<width$}\n\n{caption}\n{:_<width$}\n", "", "")?;
        let mut total = [0; N];
        for (index, (head, numbers, tail)) in rows.iter().enumerate() {
            if index > 0 {
                writeln!(out, "{:-<width$}", "")?;
            }
            write!(out, "{head}")?;
            self.numbers(numbers, out)?;
            writeln!(out, "{tail}")?;
            for (total, number) in total.iter_mut().zip(numbers) {
                *total = u64::saturating_add(*total, *number);
            }
        }
        if !rows.is_empty() {
            writeln!(out, "{:_<width$}\n", "")?;
        }
        write!(out, "      Total Count")?;
        self.numbers(&total, out)?;
        writeln!(out, "\n{:_<width$}", "")
    }

    fn numbers(&self, numbers: &[u64; N], out: &mut dyn Write) -> fmt::Result {
        for (number, width) in numbers.iter().zip(self.numbers) {
            write!(out, " {number:width$}")?;
        }
        Ok(())
    }
}

const BACKEND: Table<8> = Table {
    caption: "   Range    Range     Page    Total     Busy  Committed  Decomitted  \
              Decomitted   Unused     Unused\n     \
              Min      Max    Range    Pages    Pages      Pages        Busy        \
              Free    Bytes  Committed\n                     \
              Count                                    Pages       Pages               Bytes",
    width: 101,
    numbers: [8, 8, 8, 10, 11, 11, 8, 10],
};

const VARIABLE: Table<6> = Table {
    caption: "  Bucket   Bucket     Busy     Free             Busy         Free         \
              Free   Unused\n   \
              Index     Size    Chunk    Chunk            Bytes  Decommitted    \
              Committed    Bytes\n          \
              (Bytes)    Count    Count                         Bytes        Bytes         ",
    width: 88,
    numbers: [8, 8, 16, 12, 12, 8],
};

const FRONT_END: Table<9> = Table {
    caption: "  Bucket    Block      Total      Empty    Block             Busy         \
              Free         Free   Unused     Tail     Tail Affinity Slots (Segments - \
              Blocks)\n   \
              Index     Size Subsegment Subsegment    Count            Bytes  \
              Decommitted    Committed    Bytes    Bytes Committed\n          \
              (Bytes)      Count      Count                                  Bytes        \
              Bytes                      Bytes",
    width: 120,
    numbers: [10, 10, 8, 16, 12, 12, 8, 8, 8],
};

fn range_row(key: u64, bucket: u64, row: &Ranges) -> Row<8> {
    let from = key.saturating_mul(bucket);
    (
        format!(
            "{:8} {:8}",
            from.saturating_add(1),
            from.saturating_add(bucket)
        ),
        [
            row.count,
            row.pages,
            row.busy_pages,
            row.committed_pages,
            row.decommitted_busy_pages,
            row.decommitted_free_pages,
            row.unused,
            row.unused_committed,
        ],
        String::new(),
    )
}

fn chunk_row(bucket: &Bucket, row: &Chunks) -> Row<6> {
    (
        bucket_columns(bucket),
        [
            row.busy_count,
            row.free_count,
            row.busy,
            row.free_decommitted,
            row.free_committed,
            row.unused,
        ],
        String::new(),
    )
}

fn slot_row(bucket: &Bucket, row: &Slots) -> Row<9> {
    let affinity = row.affinity.iter();
    let affinity: String = affinity
        .map(|(subsegments, slots)| format!("{subsegments:4} - {slots} ,"))
        .collect();
    (
        bucket_columns(bucket),
        [
            row.subsegments,
            row.empty_subsegments,
            row.count,
            row.busy,
            row.free_decommitted,
            row.free_committed,
            row.unused,
            row.tail,
            row.tail_committed,
        ],
        format!(" ({affinity} )"),
    )
}

fn bucket_columns(bucket: &Bucket) -> String {
    format!("{:8} {:8}", bucket.index, bucket.size)
}
