//! The table of segment heaps that the debugger prints, where a transcript lies beside the dump.

use std::{collections::BTreeMap, path::Path};

/// `!heap -s` of the debugger extension that knows segment heaps.
const TRANSCRIPT: &str = "cdb/exts25877/exts23.heap_-s.txt";
/// `_SEGMENT_HEAP.Signature`, the second column of every row.
const SIGNATURE: &str = "ddeeddee";

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) global_flags: u32,
    pub(crate) list_index: u16,
    pub(crate) reserved_kib: u64,
    pub(crate) committed_kib: u64,
}

/// The rows of the transcript beside a dump, by handle.
pub(crate) fn segment_heaps(dump: &Path) -> BTreeMap<u64, Row> {
    let text = std::fs::read_to_string(dump.with_file_name(TRANSCRIPT)).unwrap_or_default();
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<(u64, Row)> {
    let columns: Vec<&str> = line.split_whitespace().collect();
    let &[handle, SIGNATURE, flags, index, reserved, committed] = columns.as_slice() else {
        return None;
    };
    let row = Row {
        global_flags: u32::from_str_radix(flags, 16).ok()?,
        list_index: index.parse().ok()?,
        reserved_kib: reserved.parse().ok()?,
        committed_kib: committed.parse().ok()?,
    };
    Some((u64::from_str_radix(handle, 16).ok()?, row))
}
