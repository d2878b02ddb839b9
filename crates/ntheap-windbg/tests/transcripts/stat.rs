//! `!heap -stat`: the tables of the 2015 extension, made again from the blocks with its errors.

use ntheap::{
    blocks::{Block, Kind},
    layout::Bitness,
    process::HeapKind,
    stats::{self, HeapStatistics, Order, SizeCounts},
};
use ntheap_windbg as windbg;

use crate::{
    context::{Context, Walk},
    corrections::{Correction, known},
    lines::{Lines, hex, split, words},
    lists::capped,
    xp,
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "-stat: segment heaps listed as NT heaps",
        |context| context.typed == "!heap -stat",
        without_segment_heaps,
    ),
    known(
        "-stat: an address as the size of virtual blocks",
        |context| context.typed == "!heap -stat",
        |context, theirs| context.instead(theirs, virtual_bytes(context, theirs) == Some(true)),
    ),
    known(
        "-stat: LFH slots missed, or the heap lost behind them",
        is_table,
        |context, theirs| without(context, theirs, SLOTS),
    ),
    known(
        "UnusedBytes capped at 3f",
        |context| is_table(context) && !context.is_xp(),
        |context, theirs| without(context, theirs, CAPPED),
    ),
    known(
        "XP: LFH and lookaside lists not looked into",
        |context| is_table(context) && context.is_xp(),
        |context, theirs| without(context, theirs, XP),
    ),
    known(
        "-stat: only the full blocks of a page heap",
        is_table,
        |context, theirs| without(context, theirs, LIGHT),
    ),
    known(
        "-stat: segment heaps not walked",
        is_table,
        |context, theirs| without(context, theirs, SEGMENT),
    ),
];

/// The errors of the walk; a set of them is a sum.
const SLOTS: u8 = 1;
const CAPPED: u8 = 2;
const XP: u8 = 4;
const LIGHT: u8 = 8;
const SEGMENT: u8 = 16;
const ALL: u8 = 31;

fn is_table(context: &Context<'_, '_>) -> bool {
    context.is("!heap -stat -h ")
}

/// What the table of a command is to show.
struct Table {
    handle: u64,
    order: Order,
    rows: usize,
    bitness: Bitness,
}

impl Table {
    fn of(context: &Context<'_, '_>) -> Option<Self> {
        let words = words(context.typed.strip_prefix("!heap -stat -h ")?);
        Some(Table {
            handle: hex(words.first()?)?,
            order: match words.get(2) {
                Some(&"A") => Order::Size,
                Some(&"B") => Order::Blocks,
                _ => Order::Total,
            },
            rows: match words.get(3) {
                Some(text) => match text.strip_prefix("0n") {
                    Some(decimal) => decimal.parse().ok()?,
                    None => usize::from_str_radix(text, 16).ok()?,
                },
                None => windbg::DEFAULT_ROWS,
            },
            bitness: context.process.bitness,
        })
    }

    /// The table of one heap.
    fn print(&self, heap: Option<&HeapStatistics>) -> Option<String> {
        let (bitness, order, rows) = (self.bitness, self.order, self.rows);
        let mut text = String::new();
        match heap {
            Some(heap) if self.handle == 0 => {
                let heaps = std::slice::from_ref(heap);
                windbg::all_block_sizes(heaps, bitness, order, rows, &mut text).ok()?;
            }
            _ => windbg::block_sizes(self.handle, heap, bitness, order, rows, &mut text).ok()?,
        }
        Some(text)
    }
}

/// Takes one error out of the tables, each of which is ours with that and perhaps other errors.
fn without(context: &Context<'_, '_>, theirs: &mut Lines, error: u8) -> bool {
    let made = Table::of(context).and_then(|table| made_without(context, &table, theirs, error));
    let changed = made.as_ref().is_some_and(|made| made != theirs);
    if let Some(made) = made {
        *theirs = made;
    }
    changed
}

fn made_without(
    context: &Context<'_, '_>,
    table: &Table,
    theirs: &Lines,
    error: u8,
) -> Option<Lines> {
    let theirs = theirs.join("\n");
    // Of the normal heap behind a page heap the x64 extension finds nothing.
    let mut normal = context.process.normal_heaps.iter();
    if normal.any(|heap| heap.handle == table.handle) {
        let nothing = error == LIGHT && theirs == table.print(None)?;
        return nothing.then(|| context.ours.lines.clone());
    }
    // XP's count of unused bytes is part of what is made of its blocks.
    let impossible = if context.is_xp() { CAPPED } else { XP };
    let mut sets: Vec<u8> = (0..=ALL)
        .filter(|errors| errors & impossible == 0)
        .collect();
    sets.sort_by_key(|errors| errors.count_ones());
    // Heap by heap: what is printed of one does not depend on the others.
    let (mut rest, mut made) = (theirs.as_str(), String::new());
    for (heap, walk) in stats::collect(context.model.heaps)
        .iter()
        .zip(context.model.walks())
    {
        if table.handle != 0 && heap.handle != table.handle {
            continue;
        }
        let with = |errors| table.print(Some(&with_errors(heap, walk, errors, table.bitness)));
        let errors = sets.iter().copied().find(|&errors| {
            with(errors).is_some_and(|text| {
                let tail = rest.strip_prefix(text.as_str());
                tail.is_some_and(|tail| table.handle == 0 || tail.is_empty())
            })
        })?;
        rest = rest.strip_prefix(with(errors)?.as_str())?;
        made += &with(errors & !error)?;
    }
    rest.is_empty().then(|| split(&made))
}

/// A right table as it is with no more than six bits of each count of unused bytes.
pub(crate) fn show_capped(context: &Context<'_, '_>, lines: &mut Lines) -> bool {
    let right = *lines == context.ours.lines && is_table(context) && !context.is_xp();
    let table = Table::of(context).filter(|table| right && table.handle != 0);
    let Some(table) = table else { return false };
    let statistics = stats::collect(context.model.heaps);
    let mut heaps = statistics.iter().zip(context.model.walks());
    let heap = heaps.find(|(heap, _)| heap.handle == table.handle);
    let capped = heap.map(|(heap, walk)| with_errors(heap, walk, CAPPED, table.bitness));
    let wrong = capped
        .and_then(|heap| table.print(Some(&heap)))
        .map(|text| split(&text));
    let changed = wrong.filter(|wrong| wrong != lines);
    changed.map(|wrong| *lines = wrong).is_some()
}

fn with_errors(heap: &HeapStatistics, walk: &Walk, errors: u8, bitness: Bitness) -> HeapStatistics {
    let mut result = heap.clone();
    result.sizes = SizeCounts::default();
    (result.busy_bytes, result.busy_blocks) = (0, 0);
    let has = |error| errors & error != 0;
    if heap.kind == HeapKind::Segment && has(SEGMENT) {
        return result;
    }
    let end = walk.stop.filter(|_| has(SLOTS)).unwrap_or(usize::MAX);
    for block in walk.blocks.iter().take(end) {
        let light = has(LIGHT) && heap.kind == HeapKind::PageHeap && block.kind != Kind::Page;
        if light || has(SLOTS) && walk.ends.contains(&block.entry) {
            continue;
        }
        let seen: Option<Block> = match has(XP) {
            true => xp::as_seen(block, walk.front_end, bitness.unit()),
            false => Some(*block),
        };
        let Some(mut block) = seen.filter(Block::is_user_block) else {
            continue;
        };
        if has(CAPPED) && matches!(block.kind, Kind::Backend | Kind::Lfh) {
            block = capped(&block, bitness.unit());
        }
        result.sizes.add(block.size);
        result.busy_bytes += block.size;
        result.busy_blocks += 1;
    }
    result
}

/// `-stat`: segment heaps are listed as if they were NT heaps, with numbers of no meaning.
fn without_segment_heaps(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let before = theirs.len();
    let mut segment = false;
    theirs.retain(|line| {
        if let Some(handle) = line.strip_prefix("_HEAP ") {
            segment = hex(handle.trim()).is_some_and(|handle| context.is_segment_heap(handle));
        }
        // The end of the text is of no heap.
        !segment || line.is_empty()
    });
    theirs.len() < before
}

/// `-stat`: as the size of a heap's virtual blocks the debugger prints an address inside the heap, and
/// sorts by it: exactly what our rows become with these numbers and in that order.
fn virtual_bytes(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    let theirs = heap_rows(theirs)?;
    let mut ours = heap_rows(&context.ours.lines)?;
    // Of equal ones the last comes first.
    let handles = context.process.heaps.iter().map(|heap| heap.handle);
    let order: Vec<u64> = handles.rev().collect();
    ours.sort_by_key(|row| order.iter().position(|&handle| handle == row.handle));
    for ours in &mut ours {
        let theirs = theirs.iter().find(|row| row.handle == ours.handle)?;
        if theirs.in_virtual != ours.in_virtual {
            is_sum_of_links(context, ours.handle, theirs.in_virtual)?.then_some(())?;
            ours.in_virtual = theirs.in_virtual;
        }
    }
    let sum = |row: &HeapRow<'_>| pointer(context, row.committed.wrapping_add(row.in_virtual));
    ours.sort_by_key(|row| std::cmp::Reverse(sum(row)));
    Some(ours == theirs)
}

fn pointer(context: &Context<'_, '_>, value: u64) -> u64 {
    match context.process.bitness {
        Bitness::X86 => u64::from(value as u32),
        Bitness::X64 => value,
    }
}

#[derive(PartialEq)]
struct HeapRow<'t> {
    handle: u64,
    committed: u64,
    in_virtual: u64,
    /// The lines but for the last.
    lines: &'t [String],
}

fn heap_rows(text: &[String]) -> Option<Vec<HeapRow<'_>>> {
    const LINES: usize = 6;
    let (_, text) = text.split_last()?;
    let rows = text.chunks(LINES).map(|lines| {
        let [handle, _, _, committed, _, in_virtual] = lines else {
            return None;
        };
        let number = |line: &str, name| hex(line.trim_start().strip_prefix(name)?);
        Some(HeapRow {
            handle: number(handle, "_HEAP ")?,
            committed: number(committed, "Committed bytes ")?,
            in_virtual: number(in_virtual, "VirtAlloc bytes ")?,
            lines: &lines[..LINES - 1],
        })
    });
    rows.collect()
}

/// Whether a number is the sum of the links of a heap's list of virtual blocks: those of all blocks
/// but one and that of the list's head, which lies in the heap's header.
fn is_sum_of_links(context: &Context<'_, '_>, handle: u64, number: u64) -> Option<bool> {
    let head = u64::from(context.process.layouts.heap.virtual_allocd_blocks?);
    let elements = || {
        context
            .nt(handle)
            .into_iter()
            .flat_map(|heap| &heap.virtual_blocks)
    };
    let sum = elements().fold(handle + head, |sum, block| sum.wrapping_add(block.element));
    let wrong = |first: u64| pointer(context, sum.wrapping_sub(first));
    Some(elements().any(|block| wrong(block.element) == number))
}
