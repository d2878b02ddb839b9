//! `!heap -p -all`, `-p -h`, `-p -a` and `-flt`: what the 2015 extension is bound to list, made again
//! with the errors of its walk.
//!
//! Heap by heap, the rows are made from ours with one or more of the errors; a difference is proved if
//! exactly the extension's rows come out.

use std::{collections::BTreeMap, ops::RangeInclusive};

use ntheap::{
    blocks::{Block, Kind},
    heap::Heap,
    layout::Bitness,
    process::{HeapKind, Process},
};
use ntheap_windbg::Session;

use crate::{
    excuse::{self, hex},
    rows::{Line, Row, Section, sections},
    slots::Walk,
    xp,
};

/// The size of a block if of its unused bytes no more are read than fit six bits. The record of a
/// trace, which lies in front of where the program's part starts, has a count of its own.
pub(crate) fn capped(block_size: u64, (start, header): (u64, u64), size: u64) -> u64 {
    const MOST_UNUSED: u64 = 0x3f;
    if start > header {
        return size;
    }
    size.max(block_size.saturating_sub(MOST_UNUSED))
}

const SLOTS: u8 = 1;
const CAPPED: u8 = 2;
const LIGHT: u8 = 4;
const XP: u8 = 8;
const ERRORS: &[(u8, &str)] = &[
    (SLOTS, LOST),
    (CAPPED, "UnusedBytes capped at 3f"),
    (LIGHT, BEFORE_LIGHT),
    (XP, "XP: LFH and lookaside lists not looked into"),
];
const LOST: &str = "heap lost behind an LFH container with an unused tail";
const END: &str = "last slot of an LFH container missed";
const BEFORE_LIGHT: &str = "list of a heap ends before its first block with a light prefix";
const SEGMENT: &str = "-p and -flt do not walk segment heaps";

/// The class, if the output is what the errors of the walk make of ours.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    session: &mut Session<'_, '_>,
    typed: &str,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    const ALL: &str = "!heap -p -all";
    let heaps = Heaps::of(process);
    if typed.starts_with("!heap -p -a ") {
        return heaps.address(expected, actual);
    }
    let sizes = match typed.strip_prefix("!heap -flt ") {
        Some(criteria) => Some(range(criteria)?),
        None => None,
    };
    if sizes.is_none() && typed != ALL && !typed.starts_with("!heap -p -h ") {
        return None;
    }
    let mut full = String::new();
    match sizes {
        Some(_) => {
            session.execute(ALL, &mut full).ok()?;
        }
        None => full.push_str(actual),
    }
    let of_segment_heap = |section: &Section| heaps.is_segment(section.handle);
    let parts = |text: &str| -> Option<(Vec<Section>, Vec<Section>)> {
        Some(sections(text)?.into_iter().partition(of_segment_heap))
    };
    let (no_walks, theirs) = parts(expected)?;
    let (segment_heaps, ours) = parts(actual)?;
    let (_, full) = parts(&full)?;
    // Theirs have no row, ours those of all blocks that are asked for.
    let empty = |section: &Section| section.lines.iter().all(|line| line.row().is_none());
    let right = |section: &Section| heaps.lists_segment_heap(section, sizes.as_ref());
    if !no_walks.iter().all(empty) || !segment_heaps.iter().all(right) {
        return None;
    }
    let mut class = (!no_walks.is_empty()).then_some(SEGMENT);
    let same = theirs.iter().zip(&ours).all(|(a, b)| a.handle == b.handle);
    if theirs.len() != ours.len() || !same {
        return None;
    }
    for (theirs, ours) in theirs.iter().zip(&ours) {
        if theirs.is_page_heap {
            class = class.or(differing(&theirs.lines, &ours.lines)?);
            continue;
        }
        let full = full.iter().find(|full| full.handle == ours.handle)?;
        // What is filtered are the rows of all blocks.
        let rows = made(&full.lines, &heaps, ours.handle, 0, sizes.as_ref());
        differing(&rows, &ours.lines)?;
        let found = subsets(process).into_iter().find_map(|errors| {
            let rows = made(&full.lines, &heaps, ours.handle, errors, sizes.as_ref());
            let named = differing(&theirs.lines, &rows)?;
            Some(heaps.class(ours.handle, errors).or(named))
        })?;
        class = found.or(class);
    }
    class
}

/// Every combination of errors that a process can show, those with few of them first.
fn subsets(process: &Process<'_, '_>) -> Vec<u8> {
    // XP's count of unused bytes is part of what is made of its blocks.
    let impossible = if xp::is_xp(process) { CAPPED } else { XP };
    let mut subsets: Vec<u8> = (0..1 << ERRORS.len()).collect();
    subsets.retain(|errors| errors & impossible == 0);
    subsets.sort_by_key(|errors| errors.count_ones());
    subsets
}

fn range(criteria: &str) -> Option<RangeInclusive<u64>> {
    let words: Vec<&str> = criteria.split(' ').collect();
    match words[..] {
        ["s", size] => Some(hex(size)?..=hex(size)?),
        ["r", from, to] => Some(hex(from)?..=hex(to)?.checked_sub(1)?),
        _ => None,
    }
}

/// Whether lines are equal but for proved names: `None` if not, else the class of the names.
fn differing(theirs: &[Line], ours: &[Line]) -> Option<Option<&'static str>> {
    let mut class = None;
    if theirs.len() != ours.len() {
        return None;
    }
    for (theirs, ours) in theirs.iter().zip(ours) {
        match (theirs, ours) {
            (theirs, ours) if theirs == ours => {}
            (Line::Text(theirs), Line::Text(ours)) => class = Some(excuse::symbol(theirs, ours)?),
            _ => return None,
        }
    }
    Some(class)
}

/// The NT heaps of a process by handle, the normal ones behind page heaps among them.
struct Heaps<'p, 'd, 'a> {
    process: &'p Process<'d, 'a>,
    walks: BTreeMap<u64, (Walk, u64)>,
}

impl<'p, 'd, 'a> Heaps<'p, 'd, 'a> {
    fn of(process: &'p Process<'d, 'a>) -> Self {
        let walks = process.heaps.iter().filter_map(|reference| {
            let opened = Heap::open(process, reference);
            let heap = opened.nt()?;
            let mut walk = Walk::of(process, reference);
            walk.blocks.retain(|block| block.kind != Kind::Page);
            Some((heap.handle(), (walk, heap.header.front_end.address)))
        });
        Heaps {
            process,
            walks: walks.collect(),
        }
    }

    fn is_segment(&self, handle: u64) -> bool {
        let mut heaps = self.process.heaps.iter();
        heaps.any(|heap| heap.handle == handle && heap.kind == HeapKind::Segment)
    }

    /// Whether the rows of a segment heap are those of its blocks: all, or those of some sizes.
    fn lists_segment_heap(&self, section: &Section, sizes: Option<&RangeInclusive<u64>>) -> bool {
        let mut heaps = self.process.heaps.iter();
        let Some(reference) = heaps.find(|heap| heap.handle == section.handle) else {
            return false;
        };
        let walk = Walk::of(self.process, reference);
        let asked = walk.blocks.iter().filter(|block| {
            sizes.is_none_or(|sizes| sizes.contains(&block.size) && !block.internal)
        });
        let shown = |row: &Row| (row.own, row.entry, row.address, row.size, row.state.clone());
        let rows = section.lines.iter().filter_map(Line::row).map(shown);
        rows.eq(asked.map(|block| shown(&Row::of(block))))
    }

    fn class(&self, handle: u64, errors: u8) -> Option<&'static str> {
        let (_, class) = ERRORS.iter().find(|(error, _)| errors & error != 0)?;
        let stops = self.walks.get(&handle).is_some_and(|w| w.0.stop.is_some());
        Some(if *class == LOST && !stops { END } else { class })
    }

    /// How many blocks of a heap come before its first with a light prefix, which ends the list of
    /// the x64 extension.
    fn before_light(&self, walk: &Walk) -> Option<usize> {
        let mut blocks = walk.blocks.iter();
        let light = blocks.position(|block| block.kind == Kind::PageLight);
        light.filter(|_| self.process.bitness == Bitness::X64)
    }

    /// `-p -a`: nothing was found though there is a block, or what holds the block was.
    fn address(&self, expected: &str, actual: &str) -> Option<&'static str> {
        let ours = sections(actual)?;
        let [section] = &ours[..] else { return None };
        let row = section.lines.iter().find_map(Line::row)?;
        if expected == "\r \n" && self.is_segment(section.handle) {
            return Some(SEGMENT);
        }
        let (walk, front_end) = self.walks.get(&section.handle)?;
        let index = walk.blocks.iter().position(|b| b.entry == row.entry)?;
        if expected == "\r \n" {
            return if walk.ends.contains(&row.entry) {
                Some(END)
            } else if walk.is_behind(row.entry) {
                Some(LOST)
            } else {
                (index >= self.before_light(walk)?).then_some(BEFORE_LIGHT)
            };
        }
        // XP: the container is shown for the slot.
        let block = walk.blocks[..=index].iter().rev();
        let container = block.clone().find(|block| block.kind != Kind::Lfh)?;
        let theirs = sections(expected)?;
        let [found] = &theirs[..] else { return None };
        let shown = Row::of(&xp::as_seen(container, *front_end, self.unit())?);
        let proved = xp::is_xp(self.process)
            && walk.blocks[index].kind == Kind::Lfh
            && found.handle == section.handle
            && found.lines.iter().find_map(Line::row)?.same_block(&shown)
            && expected.lines().count() == actual.lines().count();
        proved.then_some(ERRORS[3].1)
    }

    fn unit(&self) -> u64 {
        self.process.bitness.unit()
    }
}

/// The lines of a heap as the extension would have them with these errors.
fn made(
    full: &[Line],
    heaps: &Heaps<'_, '_, '_>,
    handle: u64,
    errors: u8,
    sizes: Option<&RangeInclusive<u64>>,
) -> Vec<Line> {
    let unit = heaps.unit();
    let walk = heaps.walks.get(&handle);
    let blocks: BTreeMap<u64, &Block> = walk
        .iter()
        .flat_map(|(walk, _)| &walk.blocks)
        .map(|block| (block.entry, block))
        .collect();
    let entry_at = |index: Option<usize>| {
        let (walk, _) = walk?;
        walk.blocks.get(index?).map(|block| block.entry)
    };
    let stop = entry_at(walk.and_then(|(walk, _)| walk.stop)).filter(|_| errors & SLOTS != 0);
    let light = entry_at(walk.and_then(|(walk, _)| heaps.before_light(walk)))
        .filter(|_| errors & LIGHT != 0);
    let mut lines = Vec::new();
    // A line that belongs to a row goes with it.
    let mut kept = true;
    for line in full {
        let Line::Row(row) = line else {
            if !line.is_of_row() {
                kept = sizes.is_none();
            }
            if kept {
                lines.push(line.clone());
            }
            continue;
        };
        if Some(row.entry) == stop {
            // The captions behind the last row go with what follows.
            while lines.last().is_some_and(|line| line.is_caption()) {
                lines.pop();
            }
            break;
        }
        if Some(row.entry) == light {
            break;
        }
        let mut row = row.clone();
        let block = blocks.get(&row.entry).copied();
        let lost = errors & SLOTS != 0 && walk.is_some_and(|(w, _)| w.ends.contains(&row.entry));
        let mut shown = !lost;
        if errors & XP != 0
            && let (Some(block), Some((_, front_end))) = (block, walk)
        {
            match xp::as_seen(block, *front_end, unit) {
                Some(seen) => row.set(&seen),
                None => shown = false,
            }
        }
        if errors & CAPPED != 0 && row.state == "busy" {
            let start = (row.address - row.entry, unit);
            row.size = capped(row.units * unit, start, row.size);
        }
        if let Some(sizes) = sizes {
            shown &= !row.own && sizes.contains(&row.size);
        }
        kept = shown;
        if shown {
            lines.push(Line::Row(row));
        }
    }
    lines
}
