//! `!heap -p -all`, `-p -h`, `-p -a` and `-flt` of the 2015 extension: rows of blocks that it misreads,
//! and blocks that its walk misses.

use std::{collections::BTreeMap, ops::RangeInclusive};

use ntheap::{
    blocks::{Block, Kind, State},
    layout::Bitness,
};

use crate::{
    context::{Context, Walk},
    corrections::{Correction, known},
    lines::{Lines, hex},
    regions::{self, LOW_BYTE, Misplaced},
    xp,
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known("UnusedBytes capped at 3f", is_list, |context, theirs| {
        let unit = context.unit();
        misread(context, theirs, |block, _| Some(capped(block, unit)))
            | misread(context, theirs, |block, _| Some(masked(context, block)))
    }),
    known(
        "XP: LFH and lookaside lists not looked into",
        |context| context.is_xp() && is_list(context),
        |context, theirs| {
            let unit = context.unit();
            container_for_slot(context, theirs) == Some(true)
                || misread(context, theirs, |block, walk| {
                    xp::as_seen(block, walk.front_end, unit)
                })
        },
    ),
    known(
        "last slot of an LFH container missed",
        is_list,
        |context, theirs| {
            missed(context, theirs, |walk, block| {
                walk.ends.contains(&block.entry)
            })
        },
    ),
    known(
        "heap lost behind an LFH container with an unused tail",
        is_list,
        |context, theirs| cut(context, theirs, |walk| walk.stop),
    ),
    known(
        "list of a heap ends before its first block with a light prefix",
        |context| is_list(context) && context.process.bitness == Bitness::X64,
        |context, theirs| cut(context, theirs, |walk| walk.light),
    ),
    known(
        "-p and -flt do not walk segment heaps",
        |context| is_list(context) && context.has_segment_heaps(),
        segment_heaps,
    ),
    known(
        LOW_BYTE,
        |context| is_list(context) && regions::decodes_low_byte(context),
        misplaced_slots,
    ),
];

/// What `-p -a` prints where it finds nothing.
const NOTHING: [&str; 2] = ["\r ", ""];

fn is_list(context: &Context<'_, '_>) -> bool {
    let lists = [
        "!heap -p -all",
        "!heap -p -h ",
        "!heap -p -a ",
        "!heap -flt ",
    ];
    lists.iter().any(|list| context.is(list))
}

/// The size of a block if of its unused bytes no more are read than fit six bits. The record of a
/// trace, which lies in front of where the program's part starts, has a count of its own.
pub(crate) fn capped(block: &Block, unit: u64) -> Block {
    const MOST_UNUSED: u64 = 0x3f;
    let mut seen = *block;
    let of_nt_heap = matches!(block.kind, Kind::Backend | Kind::Lfh | Kind::PageLight);
    if of_nt_heap && block.state == State::Busy && block.address - block.entry <= unit {
        seen.size = block.size.max(block.block_size.saturating_sub(MOST_UNUSED));
    }
    seen
}

/// The same where the mark of a trace was no mark to the extension: six bits of the byte itself.
fn masked(context: &Context<'_, '_>, block: &Block) -> Block {
    const BITS: u8 = 0x3f;
    let mut seen = *block;
    let in_entry = matches!(block.kind, Kind::Backend | Kind::Lfh) && !block.internal;
    let byte = context
        .process
        .memory()
        .u8(block.entry + context.unit() - 1);
    if let Some(byte) = byte.filter(|_| in_entry && block.state == State::Busy && !context.is_xp())
    {
        seen.size = block.block_size.saturating_sub((byte & BITS).into());
    }
    seen
}

/// Rows as they would be were the mark of a trace no mark; of lists of all sizes.
pub(crate) fn show_masked(context: &Context<'_, '_>, lines: &mut Lines) -> bool {
    let mut changed = false;
    for line in lines
        .iter_mut()
        .filter(|_| is_list(context) && asked(context).is_none())
    {
        let row = Row::read(line).map(|(row, _)| row);
        let block = row.as_ref().and_then(|row| context.block(row.entry));
        let Some((row, block)) = row.zip(block) else {
            continue;
        };
        let wrong = masked(context, block).size;
        if row == row.clone().with(block) && wrong != block.size {
            let (right, wrong) = (
                format!("    {:05x} - (", row.size),
                format!("    {wrong:05x} - ("),
            );
            *line = line.replacen(&right, &wrong, 1);
            changed = true;
        }
    }
    changed
}

/// The sizes that `-flt` asks for; `None` for all.
fn asked(context: &Context<'_, '_>) -> Option<RangeInclusive<u64>> {
    let criteria: Vec<&str> = context
        .typed
        .strip_prefix("!heap -flt ")?
        .split(' ')
        .collect();
    match criteria[..] {
        ["s", size] => Some(hex(size)?..=hex(size)?),
        ["r", from, to] => Some(hex(from)?..=hex(to)?.checked_sub(1)?),
        _ => None,
    }
}

/// The row of a block; `----` stands for the size of the row before.
#[derive(Clone, PartialEq)]
struct Row {
    own: bool,
    entry: u64,
    units: u64,
    flags: String,
    address: u64,
    size: u64,
    state: String,
}

const BEFORE: &str = "----";

impl Row {
    fn read(line: &str) -> Option<(Row, &str)> {
        let (head, state) = line.split_once(" - (")?;
        let own = line.starts_with("      * ");
        let words: Vec<&str> = head
            .get(usize::from(own) * 7..)?
            .split_whitespace()
            .collect();
        let [entry, units, before, flags, address, size] = words[..] else {
            return None;
        };
        let row = Row {
            own,
            entry: hex(entry)?,
            units: hex(units)?,
            flags: flags.to_owned(),
            address: hex(address)?,
            size: hex(size)?,
            state: state.strip_suffix(')')?.to_owned(),
        };
        Some((row, before))
    }

    /// What the row of a block shows of it; the size in units and the flags stay as they are.
    fn with(mut self, block: &Block) -> Row {
        self.own = block.internal;
        (self.entry, self.address, self.size) = (block.entry, block.address, block.size);
        if block.state == State::Busy && !self.state.ends_with("VirtualAlloc") {
            self.state = "busy".to_owned();
        }
        self
    }
}

/// Lines without what follows from others: the caption of the rows in front of the first, and in each
/// row the size of the row before. The lines as they are if one of these is wrong.
pub(crate) fn without_chain(typed: &str, lines: Lines) -> Lines {
    if !typed.starts_with("!heap -p") && !typed.starts_with("!heap -flt") {
        return lines;
    }
    let (mut before, mut captioned) = (0, false);
    let mut kept = Lines::new();
    for (index, line) in lines.iter().enumerate() {
        let first_row = || {
            lines
                .get(index + 1)
                .is_some_and(|line| Row::read(line).is_some())
        };
        if line.contains("  HEAP_ENTRY Size Prev Flags ") && !captioned && first_row() {
            captioned = true;
            continue;
        }
        let Some((row, number)) = Row::read(line) else {
            kept.push(line.clone());
            continue;
        };
        if hex(number) != Some(before & 0xffff) || !captioned {
            return lines;
        }
        before = row.units;
        let at = line.find(&format!(" {number}  [")).unwrap_or_default() + 1;
        kept.push(format!(
            "{}{BEFORE}{}",
            &line[..at],
            &line[at + number.len()..]
        ));
    }
    kept
}

/// A line of a list: the heap that it is of, and its row.
struct Listed {
    handle: u64,
    row: Option<Row>,
}

impl Listed {
    /// The block of the row, and the walk that met it.
    fn block<'c>(&self, context: &Context<'c, '_>) -> Option<(&'c Walk, &'c Block)> {
        let block = context.block(self.row.as_ref()?.entry)?;
        Some((context.walk(self.handle)?, block))
    }
}

fn listed(lines: &[String]) -> Vec<Listed> {
    let mut current = 0;
    let line = |line: &String| {
        let caption = line
            .strip_prefix("    _HEAP @ ")
            .or(line.strip_prefix("    _DPH_HEAP_ROOT @ "));
        current = caption.and_then(hex).unwrap_or(current);
        Listed {
            handle: current,
            row: Row::read(line).map(|(row, _)| row),
        }
    };
    lines.iter().map(line).collect()
}

/// Whether a line belongs to the row before: the guess of a class.
fn is_of_row(line: &str) -> bool {
    line.starts_with("          ")
}

/// Marks the guesses below marked rows.
fn with_guesses(lines: &[String], marks: &mut [bool]) {
    for index in 1..lines.len() {
        marks[index] |= marks[index - 1] && is_of_row(&lines[index]);
    }
}

/// Puts rows right that show blocks as `seen` has them. With sizes asked for, rows can stand there
/// only for what was seen, and rows be missing for it.
fn misread(
    context: &Context<'_, '_>,
    theirs: &mut Lines,
    seen: impl Fn(&Block, &Walk) -> Option<Block>,
) -> bool {
    let ours = &context.ours;
    let sizes = asked(context);
    let shown = |block: &Block| {
        let asked = |sizes: &RangeInclusive<u64>| sizes.contains(&block.size) && !block.internal;
        sizes.as_ref().is_none_or(asked)
    };
    let right: BTreeMap<u64, usize> = listed(&ours.lines)
        .iter()
        .zip(0..)
        .filter_map(|(listed, index)| Some((listed.row.as_ref()?.entry, index)))
        .collect();
    let mut changed = false;
    let mut dropped = vec![false; theirs.len()];
    let rows = listed(theirs);
    for (index, listed) in rows.iter().enumerate() {
        let Some((row, (walk, block))) = listed.row.as_ref().zip(listed.block(context)) else {
            continue;
        };
        let Some(wrong) = seen(block, walk).filter(|wrong| wrong != block) else {
            continue;
        };
        let units = block.block_size / context.unit();
        if *row != row.clone().with(&wrong) || row.units != units {
            continue;
        }
        match right.get(&block.entry) {
            Some(&at) if theirs[index] != ours.lines[at] => {
                theirs[index].clone_from(&ours.lines[at]);
                changed = true;
            }
            // Shown for its wrong size.
            None if sizes.is_some() && !shown(block) => dropped[index] = true,
            _ => {}
        }
    }
    with_guesses(theirs, &mut dropped);
    let before = theirs.len();
    let mut keep = dropped.iter().map(|dropped| !dropped);
    theirs.retain(|_| keep.next().unwrap_or(true));
    changed |= theirs.len() < before;
    let shown_wrong = |walk: &Walk, block: &Block| {
        let wrong = seen(block, walk);
        wrong.as_ref() != Some(block) && !wrong.is_some_and(|wrong| shown(&wrong))
    };
    changed | missed(context, theirs, shown_wrong)
}

/// Puts back the rows of blocks that are bound to be missing.
fn missed(
    context: &Context<'_, '_>,
    theirs: &mut Lines,
    is_missed: impl Fn(&Walk, &Block) -> bool,
) -> bool {
    let ours = &context.ours.lines;
    let mut lost: Vec<bool> = listed(ours)
        .iter()
        .map(|listed| {
            listed
                .block(context)
                .is_some_and(|(walk, block)| is_missed(walk, block))
        })
        .collect();
    if nothing_found(context, theirs) {
        let one = lost.contains(&true);
        if one {
            theirs.clone_from(ours);
        }
        return one;
    }
    with_guesses(ours, &mut lost);
    lost.contains(&true) && context.ours.put_back(theirs, |index| lost[index])
}

/// Whether `-p -a` found nothing where there is a block.
fn nothing_found(context: &Context<'_, '_>, theirs: &Lines) -> bool {
    context.is("!heap -p -a ") && *theirs == NOTHING
}

/// Puts back the end of each heap's list that is cut off before the block at that place of its walk.
fn cut(
    context: &Context<'_, '_>,
    theirs: &mut Lines,
    place: impl Fn(&Walk) -> Option<usize>,
) -> bool {
    let is_behind = |walk: &Walk, block: &Block| {
        let place = place(walk).zip(walk.position(block.entry));
        place.is_some_and(|(place, at)| at >= place)
    };
    if nothing_found(context, theirs) {
        return missed(context, theirs, is_behind);
    }
    let ours = &context.ours.lines;
    let (rows, their_rows) = (listed(ours), listed(theirs));
    let mut lost = vec![false; ours.len()];
    for walk in context.model.walks() {
        let Some(place) = place(walk) else { continue };
        let behind: BTreeMap<u64, ()> = walk.blocks[place.min(walk.blocks.len())..]
            .iter()
            .map(|b| (b.entry, ()))
            .collect();
        let of_heap =
            |listed: &Listed| Some(listed.handle) == walk.nt_handle || listed.handle == walk.handle;
        let is_behind = |listed: &Listed| {
            let row = listed.row.as_ref();
            of_heap(listed) && row.is_some_and(|row| behind.contains_key(&row.entry))
        };
        let Some(mut first) = rows.iter().position(is_behind) else {
            continue;
        };
        if their_rows.iter().any(is_behind) {
            continue;
        }
        let end = rows
            .iter()
            .rposition(of_heap)
            .map_or(first, |last| last + 1);
        // Captions and entries without a block behind the last row go with what follows.
        let follows = |index: usize| {
            let line = &rows[index];
            let block = line.block(context).is_some() || is_of_row(&ours[index]);
            of_heap(line) && !block && !ours[index].starts_with("    _")
        };
        while first > 0 && follows(first - 1) {
            first -= 1;
        }
        lost[first..end].fill(true);
    }
    lost.contains(&true) && context.ours.put_back(theirs, |index| lost[index])
}

/// Of segment heaps the extension prints the caption alone, or numbers read as those of an NT heap,
/// but no row. Ours has exactly the rows of the blocks.
fn segment_heaps(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let ours = &context.ours.lines;
    let rows = listed(ours);
    let of_segment = |listed: &Listed| context.is_segment_heap(listed.handle);
    if nothing_found(context, theirs) {
        let found = rows.iter().any(of_segment);
        if found {
            theirs.clone_from(ours);
        }
        return found;
    }
    let sizes = asked(context);
    let right = context.model.walks().iter().all(|walk| {
        let asked = walk.blocks.iter().filter(|block| {
            sizes
                .as_ref()
                .is_none_or(|sizes| sizes.contains(&block.size) && !block.internal)
        });
        let asked: Vec<&Block> = asked.collect();
        let of_heap = rows.iter().filter(|listed| listed.handle == walk.handle);
        let shown: Vec<&Row> = of_heap.filter_map(|listed| listed.row.as_ref()).collect();
        let mut pairs = shown.iter().zip(&asked);
        let same = pairs.all(|(row, block)| **row == (*row).clone().with(block));
        // Ours does not list them but for sizes.
        let other = sizes.is_none() && shown.is_empty();
        !context.is_segment_heap(walk.handle) || other || same && shown.len() == asked.len()
    });
    let their_rows = listed(theirs);
    let walked = their_rows
        .iter()
        .any(|listed| of_segment(listed) && listed.row.is_some());
    if !right || walked {
        return false;
    }
    let before = theirs.clone();
    let mut handles = their_rows
        .iter()
        .map(|listed| listed.handle)
        .collect::<Vec<_>>();
    handles.dedup();
    for handle in handles
        .into_iter()
        .filter(|handle| context.is_segment_heap(*handle))
    {
        let section = |lines: &[String]| {
            let rows = listed(lines);
            let of_heap = |listed: &Listed| listed.handle == handle;
            let (first, last) = (
                rows.iter().position(of_heap)?,
                rows.iter().rposition(of_heap)?,
            );
            // The empty end of the text belongs to no heap.
            Some(first..last + usize::from(!lines[last].is_empty()))
        };
        if let Some(wrong) = section(theirs) {
            let right = section(ours).map_or(&[][..], |right| &ours[right]);
            theirs.splice(wrong, right.iter().cloned());
        }
    }
    *theirs != before
}

/// XP: `-p -a` shows the container for the slot.
fn container_for_slot(context: &Context<'_, '_>, theirs: &mut Lines) -> Option<bool> {
    if !context.is("!heap -p -a ") {
        return None;
    }
    let row = |lines: &[String]| {
        listed(lines)
            .into_iter()
            .find(|listed| listed.row.is_some())
    };
    let (wrong, right) = (row(theirs)?, row(&context.ours.lines)?);
    let (walk, slot) = right.block(context)?;
    let blocks = &walk.blocks[..=walk.position(slot.entry)?];
    let container = blocks.iter().rev().find(|block| block.kind != Kind::Lfh)?;
    let seen = xp::as_seen(container, walk.front_end, context.unit())?;
    let shown = wrong.row?;
    let proved = slot.kind == Kind::Lfh
        && shown == shown.clone().with(&seen)
        && shown.units == seen.block_size / context.unit()
        && theirs.len() == context.ours.lines.len();
    Some(context.instead(theirs, proved))
}

/// Windows 8.1: slots that are shown at the wrong places of a container, in place of those that are
/// there; what is read at a wrong place can end the list of the heap.
fn misplaced_slots(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let containers = regions::misplaced(context);
    let of = |entry: u64, is: &dyn Fn(&Misplaced, u64) -> bool| {
        containers.iter().any(|container| is(container, entry))
    };
    let right = |entry| of(entry, &|container, entry| container.has_slot(entry));
    let ours = &context.ours;
    if nothing_found(context, theirs) {
        return missed(context, theirs, |_, block| right(block.entry));
    }
    let before = theirs.clone();
    let mut wrong: Vec<bool> = listed(theirs)
        .iter()
        .zip(theirs.iter())
        .map(|(listed, line)| {
            let entry = listed.row.as_ref().map(|row| row.entry);
            !ours.has(line)
                && entry.is_some_and(|entry| {
                    of(entry, &|container, entry| {
                        container.wrong_slot(entry) == Some(entry)
                    })
                })
        })
        .collect();
    with_guesses(theirs, &mut wrong);
    let mut keep = wrong.iter().map(|wrong| !wrong);
    theirs.retain(|_| keep.next().unwrap_or(true));
    missed(context, theirs, |_, block| right(block.entry));
    // Where the last row is of such a container the list may end.
    cut(context, theirs, |walk| {
        let rows = listed(&before);
        let mut rows = rows.iter().rev();
        let last = rows.find(|listed| listed.handle == walk.handle && listed.row.is_some())?;
        let last = last.row.as_ref()?.entry;
        let container = containers.iter().find(|container| {
            container.container.entry == last || container.wrong_slot(last) == Some(last)
        })?;
        let at = walk.position(container.container.entry)?;
        Some(at + 1 + container.count as usize)
    });
    *theirs != before
}
