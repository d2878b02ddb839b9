//! `!heap -x`: the entry at an address.
//!
//! Of segment heaps the 2015 extension prints nothing. The 2023 one reports on the block, with three
//! errors: it calls the size of a slot or chunk that of its subsegment, takes the prefix of a block
//! for a part of what the program asked for, and reads a null pointer where pages are free.

use ntheap::{
    blocks::{Kind, State, Trace},
    heap::{
        Heap,
        segment::{Range, RangeKind},
    },
};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, key, words},
    regions::{LOW_BYTE, decodes_low_byte, misplaced},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "-x: a virtual block's trace told from case to case",
        |_| true,
        |context, theirs| {
            context.ours.rewrite_alone(theirs, |line| {
                let row = line.strip_suffix(" stack_trace")?;
                let block = context.block(hex(key(row))?)?;
                let traced = block.kind == Kind::Virtual && block.trace != Trace::None;
                traced.then(|| row.to_owned())
            })
        },
    ),
    known(
        "state of LFH slots not told for this build",
        |_| true,
        |context, theirs| {
            context.ours.rewrite_alone(theirs, |line| {
                let row = line.strip_suffix("LFH;busy")?;
                let block = context.block(hex(key(row))?)?;
                let state = match block.state {
                    State::Busy => "busy",
                    _ => "free",
                };
                let right = format!("{row}LFH;{state} ");
                (block.kind == Kind::Lfh && context.ours.has(&right)).then_some(right)
            })
        },
    ),
    known(
        "-x finds no LFH slot in heaps with traces",
        no_slots,
        |context, theirs| {
            let nothing = theirs.iter().all(|line| line.is_empty() || is_search(line));
            nothing && in_slot(context) && instead(context, theirs)
        },
    ),
    known(
        "-x finds the container of an LFH slot in heaps with traces",
        no_slots,
        |context, theirs| {
            let found = finds_container(context, theirs) == Some(true);
            found && instead(context, theirs)
        },
    ),
    known(
        LOW_BYTE,
        |context| context.is("!heap -x") && decodes_low_byte(context),
        |context, theirs| {
            let nothing = theirs.iter().all(|line| line.is_empty() || is_search(line));
            let found = nothing
                || finds_container(context, theirs) == Some(true)
                || finds_wrong_slot(context, theirs) == Some(true);
            found && in_slot(context) && instead(context, theirs)
        },
    ),
    known(
        "-x finds nothing in segment heaps",
        |context| context.is("!heap -x") && !context.newer,
        |context, theirs| {
            let nothing = theirs.iter().all(|line| line.is_empty() || is_search(line));
            nothing && in_segment_heap(context) && instead(context, theirs)
        },
    ),
    known(
        "-x fails on free pages of a segment heap",
        |context| context.is("!heap -x") && context.newer,
        |context, theirs| {
            let crashed = crashes(context, theirs) == Some(true);
            crashed && instead(context, theirs)
        },
    ),
    known(
        "-x: the size of a block given for its subsegment's",
        |context| context.is("!heap -x") && context.newer,
        |context, theirs| {
            let size = block_size(theirs);
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| {
                let (wrong, right) = (bytes(theirs, SIZE)?, bytes(ours, SIZE)?);
                let address = searched(context)?;
                let proved = size == Some(wrong)
                    && wrong == context.block_at(address)?.block_size
                    && right == range_at(context, address)?.size;
                proved.then(|| ours.to_owned())
            })
        },
    ),
    known(
        "-x: the prefix of a block counted as requested",
        |context| context.is("!heap -x") && context.newer,
        |context, theirs| {
            context.ours.rewrite(theirs, |theirs, ours| {
                let (wrong, right) = (bytes(theirs, REQUESTED)?, bytes(ours, REQUESTED)?);
                let block = context.block_at(searched(context)?)?;
                let proved = right == block.size && wrong == right + (block.address - block.entry);
                proved.then(|| ours.to_owned())
            })
        },
    ),
    known(
        "-x -v: one pointer fewer",
        |context| context.is("!heap -x -v"),
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite_alone(theirs, |line| {
                let mut lines = ours.lines.iter().filter(|ours| is_search(ours));
                lines
                    .find(|ours| is_one_fewer(line, ours) == Some(true))
                    .cloned()
            })
        },
    ),
    known(
        "-x -v leaves out a search of memory",
        |context| context.is("!heap -x"),
        |context, theirs| {
            let ours = &context.ours;
            let back = ours.put_back(theirs, |index| is_search(&ours.lines[index]));
            // Empty lines end what is left out.
            let text = |lines: &Lines| -> Lines {
                lines
                    .iter()
                    .filter(|line| !line.is_empty())
                    .cloned()
                    .collect()
            };
            let same = *theirs != ours.lines && text(theirs) == text(&ours.lines);
            if same {
                theirs.clone_from(&ours.lines);
            }
            back || same
        },
    ),
];

const START: &str = "Search was performed for the following Address: 0x";
const SIZE: &str = "Subsegment Size          : ";
const REQUESTED: &str = "User requested size      : ";

fn is_search(line: &str) -> bool {
    line.starts_with("Search VM for address range")
}

/// Whether the extension finds no slot of the LFH: 2023 in heaps with traces, 2015 in those of
/// builds before Windows 10.
fn no_slots(context: &Context<'_, '_>) -> bool {
    let old = context.process.build < 10240;
    context.is("!heap -x") && context.has_traces() && (context.newer || old)
}

/// Puts our output in place of what they print instead, which the caller has proved; what they
/// searched for has to be right.
fn instead(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let ours = &context.ours;
    let searched = theirs.iter().all(|line| !is_search(line) || ours.has(line));
    if searched {
        theirs.clone_from(&ours.lines);
    }
    searched
}

/// The row of an entry.
fn row(lines: &[String]) -> Option<Vec<&str>> {
    let mut rows = lines.iter().map(|line| words(line));
    rows.find(|row| row.len() >= 7 && hex(row[0]).is_some() && hex(row[3]).is_some())
}

fn in_slot(context: &Context<'_, '_>) -> bool {
    context
        .ours
        .lines
        .iter()
        .any(|line| line.contains("  LFH;"))
}

/// Whether they show the container of our slot, as it would be shown for its own address.
fn finds_container(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    let (container, slot) = (row(theirs)?, row(&context.ours.lines)?);
    let inside = hex(slot[0])?.wrapping_sub(hex(container[0])?) < hex(container[4])?;
    let typed = format!("!heap -x {}", container[0]);
    let proved = inside && in_slot(context) && container.last() == Some(&"internal");
    let shown = theirs
        .iter()
        .filter(|line| !is_search(line))
        .cloned()
        .collect();
    Some(proved && context.is_proved_for(typed, shown))
}

/// Whether they show a slot at a wrong place that holds the address.
fn finds_wrong_slot(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    let row = row(theirs)?;
    let [entry, user, heap, size] = [0, 1, 2, 4].map(|column| hex(row[column]));
    let (entry, address) = (entry?, operand(context)?);
    let proved = misplaced(context).iter().any(|container| {
        container.wrong_slot(address) == Some(entry)
            && size == Some(container.slot.block_size)
            && heap == Some(container.container.heap)
            && user.is_some_and(|user| user.wrapping_sub(entry) < container.slot.block_size)
    });
    Some(proved && row.iter().any(|word| word.starts_with("LFH;")))
}

/// The address that was typed.
fn operand(context: &Context<'_, '_>) -> Option<u64> {
    let words = words(&context.typed);
    hex(words.last()?)
}

/// The address that a report on a segment heap is about.
fn searched(context: &Context<'_, '_>) -> Option<u64> {
    let mut lines = context.ours.lines.iter();
    lines.find_map(|line| hex(line.strip_prefix(START)?))
}

fn in_segment_heap(context: &Context<'_, '_>) -> bool {
    searched(context).is_some_and(|address| {
        let large = || {
            context
                .block_at(address)
                .is_some_and(|b| b.kind == Kind::Large)
        };
        range_at(context, address).is_some() || large()
    })
}

fn range_at(context: &Context<'_, '_>, address: u64) -> Option<Range> {
    context.model.heaps.iter().find_map(|heap| match heap {
        Heap::Segment(heap) => heap.page_range_at(address).map(|found| found.range),
        _ => None,
    })
}

/// Whether an exception ends the report of a free range, in front of its size and state.
fn crashes(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    let theirs: Vec<&String> = theirs.iter().filter(|line| !line.is_empty()).collect();
    let crash = theirs.len().checked_sub(2)?;
    let range = range_at(context, searched(context)?)?;
    let mut ours = context
        .ours
        .lines
        .iter()
        .filter(|line| !line.is_empty() && !is_search(line));
    let begins = ours
        .by_ref()
        .take(crash)
        .eq(theirs[..crash].iter().copied());
    let rest = [
        format!("{SIZE}{} Bytes", range.size),
        "Allocation status        : Free".to_owned(),
    ];
    let null = theirs[crash].starts_with("c0000005 Exception in exts23.heap")
        && theirs[crash + 1].starts_with("      PC: ");
    Some(null && begins && range.kind == RangeKind::Free && ours.eq(rest.iter()))
}

fn bytes(line: &str, name: &str) -> Option<u64> {
    line.strip_prefix(name)?
        .strip_suffix(" Bytes")?
        .parse()
        .ok()
}

/// What stands as the block's own size.
fn block_size(theirs: &Lines) -> Option<u64> {
    theirs.iter().find_map(|line| {
        let number = line
            .strip_prefix("Block Size               : ")
            .or_else(|| line.strip_prefix("Chunk size (bytes)       : "))?;
        number.trim_end_matches(" Bytes").parse().ok()
    })
}

/// Whether a search found what ours did, but for one pointer.
fn is_one_fewer(theirs: &str, ours: &str) -> Option<bool> {
    let (range, found) = theirs.split_once(" : ")?;
    let (our_range, our_found) = ours.split_once(" : ")?;
    let (found, our_found): (Vec<&str>, Vec<&str>) = (
        found.split_inclusive(", ").collect(),
        our_found.split_inclusive(", ").collect(),
    );
    let mut left = our_found.iter();
    let among = found.iter().all(|pointer| left.any(|ours| ours == pointer));
    Some(range == our_range && among && found.len() + 1 == our_found.len())
}
