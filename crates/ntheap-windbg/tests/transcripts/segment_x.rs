//! `!heap -x` of an address in a segment heap.
//!
//! The 2015 extension prints nothing. The 2023 one reports on the block, with three errors: it calls
//! the size of a slot or chunk that of its subsegment, takes the prefix of a block for a part of what
//! the program asked for, and reads a null pointer where pages are free.

use super::block_at;
use ntheap::{
    blocks::Kind,
    heap::{
        Heap,
        segment::{Range, RangeKind},
    },
    process::{HeapKind, Process},
};

use crate::excuse::hex;

const START: &str = "Search was performed for the following Address: 0x";
const SIZE: &str = "Subsegment Size          : ";
const REQUESTED: &str = "User requested size      : ";

/// The class, if the differences are the extensions' errors.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    newer: bool,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let is_search = |line: &&str| line.starts_with("Search VM for address range");
    let searches = || actual.lines().filter(is_search);
    let ours: Vec<&str> = actual.lines().filter(|line| !is_search(line)).collect();
    let address = hex(ours.first()?.strip_prefix(START)?)?;
    let range = range_at(process, address);
    let known = |line: &str| searches().any(|ours| ours == line);
    if !newer {
        let mut lines = expected.lines().filter(|line| !line.is_empty());
        // Its block is one of a segment heap, by the address alone.
        let large = || block_at(process, address).is_some_and(|block| block.kind == Kind::Large);
        let held = range.is_some() || large();
        return (held && lines.all(known)).then_some("-x finds nothing in segment heaps");
    }
    let expected = expected.trim_start_matches('\n');
    let mut theirs: Vec<&str> = expected.lines().collect();
    let mut class = None;
    let mut ours = ours.into_iter();
    // The exception ends the report of a free range.
    let crash = theirs
        .iter()
        .position(|line| line.starts_with("c0000005 Exception in exts23.heap"));
    if let Some(at) = crash {
        let free = range?;
        let place = theirs.get(at + 1)?;
        let null = place.starts_with("      PC: ") && theirs.len() == at + 2;
        let rest = [
            format!("{SIZE}{} Bytes", free.size),
            "Allocation status        : Free".to_owned(),
            String::new(),
        ];
        let begins: Vec<&str> = ours.by_ref().take(at).collect();
        let proved = null
            && free.kind == RangeKind::Free
            && begins == theirs[..at]
            && ours.eq(rest.iter().map(String::as_str));
        return proved.then_some("-x fails on free pages of a segment heap");
    }
    // A block's own size, given for that of the subsegment that holds it.
    let block_size = theirs.iter().find_map(|line| {
        let number = line
            .strip_prefix("Block Size               : ")
            .or_else(|| line.strip_prefix("Chunk size (bytes)       : "))?;
        Some(number.trim_end_matches(" Bytes").to_owned())
    });
    for theirs in theirs.drain(..) {
        let ours = ours.next()?;
        if theirs == ours {
            continue;
        }
        let bytes = |line: &str, name| -> Option<u64> {
            let number = line.strip_prefix(name)?.strip_suffix(" Bytes")?;
            number.parse().ok()
        };
        if let (Some(wrong), Some(right)) = (bytes(theirs, SIZE), bytes(ours, SIZE)) {
            let range = range?;
            let block = block_at(process, address)?;
            let proved = block_size.as_deref() == Some(&wrong.to_string())
                && wrong == block.block_size
                && right == range.size;
            class = proved.then_some("-x: the size of a block given for its subsegment's");
        } else {
            let (wrong, right) = (bytes(theirs, REQUESTED)?, bytes(ours, REQUESTED)?);
            let block = block_at(process, address)?;
            let proved = right == block.size && wrong == right + (block.address - block.entry);
            class = proved.then_some("-x: the prefix of a block counted as requested");
        }
        class?;
    }
    if ours.next().is_some() {
        return None;
    }
    class.or(Some("-x -v leaves out a search of memory"))
}

fn range_at(process: &Process<'_, '_>, address: u64) -> Option<Range> {
    let heaps = process.heaps.iter();
    heaps
        .filter(|heap| heap.kind == HeapKind::Segment)
        .find_map(|reference| match Heap::open(process, reference) {
            Heap::Segment(heap) => heap.page_range_at(address).map(|found| found.range),
            _ => None,
        })
}
