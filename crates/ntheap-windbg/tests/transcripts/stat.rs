//! `!heap -stat`: what the 2015 extension is bound to print, computed with its errors.
//!
//! The tables are made again from the blocks with one or more known errors of the extension's walk;
//! a difference is proved if exactly its output comes out.

use ntheap::{
    blocks::{Block, Kind},
    heap::{Heap, Heaps},
    layout::Bitness,
    process::{HeapKind, HeapRef, Process},
    stats::{self, HeapStatistics, Order, SizeCounts},
};
use ntheap_windbg as windbg;

use crate::{excuse, listing::capped, slots::Walk, xp};

/// The errors of the walk.
const SLOTS: u8 = 1;
const CAPPED: u8 = 2;
const XP: u8 = 4;
const LIGHT: u8 = 8;
const SEGMENT: u8 = 16;
const ERRORS: &[(u8, &str)] = &[
    (
        SLOTS,
        "-stat: LFH slots missed, or the heap lost behind them",
    ),
    (CAPPED, "UnusedBytes capped at 3f"),
    (XP, "XP: LFH and lookaside lists not looked into"),
    (LIGHT, "-stat: only the full blocks of a page heap"),
    (SEGMENT, "-stat: segment heaps not walked"),
];

/// The class, if the output is what the errors of the walk make of it.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    typed: &str,
    expected: &str,
) -> Option<&'static str> {
    let words: Vec<&str> = typed.strip_prefix("!heap -stat -h ")?.split(' ').collect();
    let handle = u64::from_str_radix(words[0], 16).ok()?;
    let order = match words.get(2) {
        Some(&"A") => Order::Size,
        Some(&"B") => Order::Blocks,
        _ => Order::Total,
    };
    let rows = match words.get(3) {
        Some(text) => match text.strip_prefix("0n") {
            Some(decimal) => decimal.parse().ok()?,
            None => usize::from_str_radix(text, 16).ok()?,
        },
        None => windbg::DEFAULT_ROWS,
    };
    let statistics = stats::collect(&Heaps::of(process));
    let walked: Vec<Walked> = process
        .heaps
        .iter()
        .map(|reference| Walked {
            walk: Walk::of(process, reference),
            front_end: front_end(process, reference),
        })
        .collect();
    let bitness = process.bitness;
    // XP's count of unused bytes is part of what is made of its blocks.
    let impossible = if xp::is_xp(process) { CAPPED } else { XP };
    let mut subsets: Vec<u8> = (0..1 << ERRORS.len()).collect();
    subsets.retain(|errors| errors & impossible == 0);
    subsets.sort_by_key(|errors| errors.count_ones());
    let print = |heap: &HeapStatistics| -> Option<String> {
        let mut text = String::new();
        if handle == 0 {
            let heaps = std::slice::from_ref(heap);
            windbg::all_block_sizes(heaps, bitness, order, rows, &mut text).ok()?;
        } else {
            windbg::block_sizes(handle, Some(heap), bitness, order, rows, &mut text).ok()?;
        }
        Some(text)
    };
    // Of the normal heap behind a page heap the x64 extension finds nothing.
    let mut normal = process.normal_heaps.iter();
    if normal.any(|heap| heap.handle == handle) {
        let mut text = String::new();
        windbg::block_sizes(handle, None, bitness, order, rows, &mut text).ok()?;
        return (text == expected).then_some(ERRORS[3].1);
    }
    // Heap by heap: what is printed of one does not depend on the others.
    let mut rest = expected;
    let mut class = None;
    for (heap, walked) in statistics.iter().zip(&walked) {
        if handle != 0 && heap.handle != handle {
            continue;
        }
        let (errors, tail) = subsets.iter().find_map(|&errors| {
            let text = print(&with_errors(heap, walked, errors, process.bitness))?;
            let tail = rest.strip_prefix(text.as_str())?;
            (handle == 0 || tail.is_empty()).then_some((errors, tail))
        })?;
        rest = tail;
        let made = ERRORS.iter().find(|(error, _)| errors & error != 0);
        class = class.or(made.map(|(_, class)| *class));
    }
    rest.is_empty().then_some(class)?
}

/// The blocks of a heap, and where its front end is.
struct Walked {
    walk: Walk,
    front_end: u64,
}

fn front_end(process: &Process<'_, '_>, reference: &HeapRef) -> u64 {
    match Heap::open(process, reference) {
        Heap::Nt(heap) => heap.header.front_end.address,
        _ => 0,
    }
}

fn with_errors(
    heap: &HeapStatistics,
    walked: &Walked,
    errors: u8,
    bitness: Bitness,
) -> HeapStatistics {
    let mut result = heap.clone();
    result.sizes = SizeCounts::default();
    (result.busy_bytes, result.busy_blocks) = (0, 0);
    if heap.kind == HeapKind::Segment && errors & SEGMENT != 0 {
        return result;
    }
    let walk = &walked.walk;
    let mut listed = walk.blocks.iter();
    let mut in_spite = walk.listed();
    let blocks: &mut dyn Iterator<Item = &Block> = if errors & SLOTS != 0 {
        &mut in_spite
    } else {
        &mut listed
    };
    for block in blocks {
        let mut block = *block;
        if errors & XP != 0 {
            match xp::as_seen(&block, walked.front_end, bitness.unit()) {
                Some(seen) => block = seen,
                None => continue,
            }
        }
        let light =
            errors & LIGHT != 0 && heap.kind == HeapKind::PageHeap && block.kind != Kind::Page;
        if !block.is_user_block() || light {
            continue;
        }
        let in_entry = matches!(block.kind, Kind::Backend | Kind::Lfh);
        let size = if errors & CAPPED != 0 && in_entry {
            let start = (block.address - block.entry, bitness.unit());
            capped(block.block_size, start, block.size)
        } else {
            block.size
        };
        result.sizes.add(size);
        result.busy_bytes += size;
        result.busy_blocks += 1;
    }
    result
}

/// `-stat`: segment heaps are listed as if they were NT heaps, with numbers of no meaning. The rows
/// of the NT heaps in what is left.
pub(crate) fn without_segment_heaps(process: &Process<'_, '_>, text: &str) -> String {
    let segment = |handle| {
        process
            .heaps
            .iter()
            .any(|heap| heap.handle == handle && heap.kind == HeapKind::Segment)
    };
    let mut shown = true;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if let Some(handle) = line.strip_prefix("_HEAP ") {
            shown = !u64::from_str_radix(handle.trim(), 16).is_ok_and(segment);
        }
        if shown {
            kept.push_str(line);
        }
    }
    kept
}

/// `-stat`: as the size of a heap's virtual blocks the debugger prints an address inside the heap, and
/// sorts by it: exactly what our rows become with these numbers and in that order.
pub(crate) fn virtual_bytes(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let theirs = heap_rows(expected)?;
    let mut ours = heap_rows(actual)?;
    // Of equal ones the last comes first.
    let handles = process.heaps.iter().map(|heap| heap.handle);
    let order: Vec<u64> = handles.rev().collect();
    ours.sort_by_key(|row| order.iter().position(|&handle| handle == row.handle));
    for ours in &mut ours {
        let theirs = theirs.iter().find(|row| row.handle == ours.handle)?;
        if theirs.in_virtual != ours.in_virtual {
            is_sum_of_links(process, ours.handle, theirs.in_virtual).then_some(())?;
            ours.in_virtual = theirs.in_virtual;
        }
    }
    let pointer = |value: u64| match process.bitness {
        Bitness::X86 => u64::from(value as u32),
        Bitness::X64 => value,
    };
    let sum = |row: &HeapRow<'_>| pointer(row.committed.wrapping_add(row.in_virtual));
    ours.sort_by_key(|row| std::cmp::Reverse(sum(row)));
    (ours == theirs).then_some("-stat: an address as the size of virtual blocks")
}

#[derive(PartialEq)]
struct HeapRow<'t> {
    handle: u64,
    committed: u64,
    in_virtual: u64,
    /// The lines but for the last.
    lines: Vec<&'t str>,
}

fn heap_rows(text: &str) -> Option<Vec<HeapRow<'_>>> {
    const LINES: usize = 6;
    let lines: Vec<&str> = text.lines().collect();
    let rows = lines.chunks(LINES).map(|lines| {
        let [handle, _, _, committed, _, in_virtual] = lines else {
            return None;
        };
        let number = |line: &str, name| excuse::hex(line.trim_start().strip_prefix(name)?);
        Some(HeapRow {
            handle: number(handle, "_HEAP ")?,
            committed: number(committed, "Committed bytes ")?,
            in_virtual: number(in_virtual, "VirtAlloc bytes ")?,
            lines: lines[..LINES - 1].to_vec(),
        })
    });
    rows.collect()
}

/// Whether a number is the sum of the links of a heap's list of virtual blocks: those of all blocks
/// but one and that of the list's head, which lies in the heap's header.
fn is_sum_of_links(process: &Process<'_, '_>, handle: u64, number: u64) -> bool {
    const HEADER: u64 = 0x1000;
    let Some(heap) = process.heaps.iter().find(|heap| heap.handle == handle) else {
        return false;
    };
    let Heap::Nt(heap) = Heap::open(process, heap) else {
        return false;
    };
    let elements = || heap.virtual_blocks.iter().map(|block| block.element);
    let sum = elements().fold(0u64, u64::wrapping_add);
    let pointer = |value: u64| match heap.bitness().pointer_size() {
        4 => u64::from(value as u32),
        _ => value,
    };
    elements().any(|first| {
        let others = sum.wrapping_sub(first);
        pointer(number.wrapping_sub(others).wrapping_sub(handle)) < HEADER
    })
}
