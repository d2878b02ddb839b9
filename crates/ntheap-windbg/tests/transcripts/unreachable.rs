//! Proofs about `!heap -l`.
//!
//! The debugger's list is ours with blocks more and blocks less. Each of them must be one that a
//! known error concerns, or one that a block of that kind leads to.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::{Range, RangeInclusive},
};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    heap::{Heap, Heaps},
    layout::Bitness,
    process::Process,
};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, words},
    misplaced, segment_blocks,
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "segment told by the entry alone",
        is_list,
        |context, theirs| {
            let ours = &context.ours;
            ours.rewrite(theirs, |theirs, ours| with_segment(context, theirs, ours))
        },
    ),
    known(
        misplaced::CLASS,
        |context| context.typed == "!heap -l",
        |context, theirs| {
            context.instead(theirs, misplaced::is_proved(context, theirs) == Some(true))
        },
    ),
    known(
        "-l: no pointer counts that leads to another page than a block's entry",
        |context| context.typed == "!heap -l",
        |context, theirs| context.instead(theirs, is_proved(context, theirs) == Some(true)),
    ),
];

fn is_list(context: &Context<'_, '_>) -> bool {
    // Rows of lists are compared one by one with those that -x prints.
    let in_list = context.is("!heap -x") && context.typed != context.command.typed();
    in_list || context.typed == "!heap -l"
}

/// How the line with the number of busy blocks begins.
const SCANNING: &str = "Scanning references from ";

/// What the debugger may take for busy, or not know at all.
#[derive(Default)]
struct Slots {
    busy: BTreeSet<u64>,
    free: BTreeSet<u64>,
    /// Blocks on XP's lookaside lists.
    cached: usize,
    /// Nodes of page heaps' own tables.
    nodes: BTreeSet<u64>,
    /// Size of each block, and whether the program has it.
    blocks: BTreeMap<u64, (u64, bool)>,
    /// Entries of the small blocks whose address is where they end, by this address: what they hold
    /// is lent from the next header. The debugger takes a pointer to it for one to the next block.
    lent: BTreeMap<u64, u64>,
    /// The program's blocks of segment heaps.
    segment: BTreeMap<u64, Block>,
    /// Memory of segment heaps and of NT heaps.
    segment_heaps: Vec<Range<u64>>,
    nt_heaps: Vec<Range<u64>>,
}

impl Visitor for Slots {
    fn block(&mut self, block: &Block) -> Flow {
        if block.kind != Kind::Page {
            let used = block.state == State::Busy && block.is_user_block();
            self.blocks.insert(block.entry, (block.block_size, used));
        }
        let segment = matches!(
            block.kind,
            Kind::Vs | Kind::SegmentLfh | Kind::Segment | Kind::Large
        );
        if block.address == block.entry + block.block_size {
            self.lent.insert(block.address, block.entry);
        }
        if segment && block.is_user_block() {
            self.segment.insert(block.entry, *block);
        }
        match (block.kind, block.state) {
            (Kind::Lfh, State::Busy) => {
                self.busy.insert(block.entry);
            }
            (Kind::Lfh, _) => {
                self.free.insert(block.entry);
            }
            (Kind::Lookaside, _) => self.cached += 1,
            (Kind::Page, _) => {
                self.nodes.insert(block.entry);
            }
            _ => {}
        }
        CONTINUE
    }
}

/// A block of a list: its row, and the stack below.
struct Listed<'t> {
    row: &'t str,
    entry: u64,
    size: u64,
    stack: Vec<&'t str>,
}

/// Whether the debugger's list differs from ours by its known errors alone.
fn is_proved(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    let (process, newer) = (context.process, context.newer);
    let mut slots = Slots::of(context.model.heaps);
    let segments = segment_blocks::Segments::of(context.model.heaps, newer);
    let (expected, their_blocks) = segments.take(&theirs.join("\n"), true)?;
    let (actual, our_blocks) = segments.take(&context.ours.lines.join("\n"), false)?;
    if !newer {
        slots.leave_out_segment_heaps();
    }
    let (theirs, their_head) = parse(&expected)?;
    let (ours, our_head) = parse(&actual)?;
    let found: BTreeMap<u64, &Listed<'_>> = theirs.iter().map(|b| (b.entry, b)).collect();
    let kept: BTreeSet<u64> = ours.iter().map(|b| b.entry).collect();
    // The debugger lists no slot of this build's LFH, and takes their containers for in use.
    let no_slots = !slots.busy.is_empty() && !expected.contains("LFH;");
    let uncounted = if newer { 0 } else { segments.counted };
    if !heads_agree(&slots, no_slots, uncounted, &their_head, &our_head) {
        return None;
    }
    let mut lost = Vec::new();
    for ours in &ours {
        let Some(theirs) = found.get(&ours.entry) else {
            let slot = no_slots && slots.busy.contains(&ours.entry);
            // What lies in a segment heap is in use for 2015, which knows none.
            let proved = slot
                || is_named_by_segment(context, ours.entry)
                || slots.lent.contains_key(&ours.entry) && is_pointed_to(process, ours.entry)
                || !newer && segments.point_to(process, ours.entry, ours.size);
            lost.push((ours, proved));
            continue;
        };
        if theirs.row != ours.row || !stacks_agree(process.bitness, theirs, ours) {
            return None;
        }
    }
    if newer && !our_blocks.is_subset(&their_blocks) {
        return None;
    }
    let mut targets = Targets::new();
    for block in theirs.iter().filter(|b| !kept.contains(&b.entry)) {
        context.is_row_of(block.entry, block.row)?.then_some(())?;
        targets.extend(target(process, &slots, block));
    }
    for entry in their_blocks.difference(&our_blocks) {
        targets.insert(*entry, segment_blocks::target(slots.segment.get(entry)?));
    }
    let listed: BTreeSet<u64> = found.keys().chain(&their_blocks).copied().collect();
    let kept: BTreeSet<u64> = kept.union(&our_blocks).copied().collect();
    Some(nothing_counts(process, &slots, &listed, &kept, &targets) && led_to(process, &lost))
}

/// A block that the debugger alone lists: where pointers to it lead, for the debugger and for us.
pub(crate) struct Target {
    pub(crate) theirs: Range<u64>,
    pub(crate) ours: RangeInclusive<u64>,
}

/// By entry.
type Targets = BTreeMap<u64, Target>;

/// A block of an NT heap. Of free slots that the debugger takes for busy it is enough that they are
/// such, and blocks shorter than a pointer it never finds.
fn target(process: &Process<'_, '_>, slots: &Slots, block: &Listed<'_>) -> Option<(u64, Target)> {
    let words: Vec<&str> = block.row.split_whitespace().collect();
    let unused = words.get(6..)?.iter().find_map(|word| hex(word));
    let short = block.size.saturating_sub(unused.unwrap_or(0)) < process.bitness.pointer_size();
    let free = block.row.contains("LFH;busy") && slots.free.contains(&block.entry);
    let end = block.entry + block.size;
    let target = Target {
        theirs: block.entry..if short { block.entry } else { end },
        ours: match slots.lent.get(&end) {
            Some(entry) if *entry == block.entry => block.entry..=end,
            _ => block.entry..=end - 1,
        },
    };
    (!free).then_some((block.entry, target))
}

/// Whether the debugger counts no pointer to any of these blocks, though there is one to each. It
/// takes for a reference only what points into the page of the block's entry, and what lies outside
/// the heaps or in the part behind the header of a busy block that is not on its list itself.
fn nothing_counts(
    process: &Process<'_, '_>,
    slots: &Slots,
    listed: &BTreeSet<u64>,
    ours: &BTreeSet<u64>,
    targets: &Targets,
) -> bool {
    let mut pointed = BTreeSet::new();
    for range in process.memory().ranges() {
        let size = process.bitness.pointer_size();
        let mut at = range.start.next_multiple_of(size);
        while at < range.start + range.bytes.len() as u64 {
            let value = process.memory().pointer(at, process.bitness).unwrap_or(0);
            let here = at;
            at += size;
            // A pointer to where a block ends can lead to it as well as to the next one.
            for (&entry, target) in targets.range(..=value).rev().take(2) {
                if !target.ours.contains(&value) && !target.theirs.contains(&value) {
                    continue;
                }
                let from = slots.blocks.range(..=here).next_back();
                let from = from.filter(|(start, (size, _))| here - **start < *size);
                let used = from.filter(|(_, (_, used))| *used).map(|(start, _)| *start);
                let outside = from.is_none() && !slots.in_heap(here);
                // On x64 what lies in a header can be the end of the block before.
                let header = used.is_some_and(|from| here < from + slots.header(process, from));
                if target.ours.contains(&value)
                    && (outside || header || used.is_some_and(|from| !ours.contains(&from)))
                {
                    pointed.insert(entry);
                }
                // What a page heap's table holds, a user value say, is none to it.
                let node = slots.nodes.range(..=here).next_back();
                let node_size = process.layouts.dph_block.struct_size.into();
                let in_node = node.is_some_and(|node| here - node < node_size);
                let by_block = used.is_some_and(|from| !header && !listed.contains(&from));
                if target.theirs.contains(&value)
                    && !in_node
                    && value >> 12 == entry >> 12
                    && (outside || by_block)
                {
                    return false;
                }
            }
        }
    }
    targets.keys().all(|entry| pointed.contains(entry))
}

impl Slots {
    fn of(heaps: &Heaps<'_, '_>) -> Self {
        let mut slots = Slots::default();
        for heap in heaps.iter().chain(heaps.normal()) {
            let _ = heap.walk(&mut slots);
            match heap {
                Heap::Segment(heap) => {
                    let segments = heap.segments.iter().map(|s| s.base..s.base + s.size);
                    slots.segment_heaps.extend(segments);
                    let (handle, size) = (heap.handle(), heap.reserved_bytes().min(0x1000));
                    slots.segment_heaps.push(handle..handle + size);
                }
                Heap::Nt(heap) => {
                    let segments = heap.segments.iter().map(|s| s.base..s.end);
                    slots.nt_heaps.extend(segments);
                }
                _ => {}
            }
        }
        slots
    }

    /// For the 2015 extension the memory of segment heaps is like any other.
    fn leave_out_segment_heaps(&mut self) {
        for entry in self.segment.keys() {
            self.blocks.remove(entry);
        }
        self.segment_heaps.clear();
    }

    /// Bytes in front of what a block holds.
    fn header(&self, process: &Process<'_, '_>, entry: u64) -> u64 {
        match self.segment.get(&entry) {
            Some(block) if block.kind != Kind::Vs => 0,
            _ => process.bitness.unit(),
        }
    }

    /// Whether an address lies in memory that a heap reserved.
    fn in_heap(&self, at: u64) -> bool {
        let mut ranges = self.segment_heaps.iter().chain(&self.nt_heaps);
        ranges.any(|range| range.contains(&at))
    }
}

/// Whether the dump holds this very address.
fn is_pointed_to(process: &Process<'_, '_>, address: u64) -> bool {
    let size = process.bitness.pointer_size();
    process.memory().ranges().iter().any(|range| {
        let first = range.start.next_multiple_of(size);
        let mut places = (first..range.start + range.bytes.len() as u64).step_by(size as usize);
        places.any(|at| process.memory().pointer(at, process.bitness) == Some(address))
    })
}

/// The blocks of a list, and the lines that are no part of one.
fn parse(text: &str) -> Option<(Vec<Listed<'_>>, Vec<&str>)> {
    let (mut blocks, mut head) = (Vec::<Listed<'_>>::new(), Vec::new());
    for line in text.lines() {
        let entry = hex(line.split(' ').next()?);
        match entry.filter(|_| line.len() > 60) {
            Some(entry) => blocks.push(Listed {
                row: line,
                entry,
                size: hex(line.split_whitespace().nth(4)?)?,
                stack: Vec::new(),
            }),
            None if line.starts_with("\t\t") => blocks.last_mut()?.stack.push(line),
            // Below a stack.
            None if line.is_empty() => {}
            // The caption stands even if all that is counted is not listed.
            None if line.starts_with("Entry  ") || line.starts_with("------") => {}
            // The number counts blocks that are not listed, too.
            None if line.ends_with("blocks were detected.") && !line.starts_with(SCANNING) => {}
            None => {
                head.push(line.trim_end_matches("No potential unreachable blocks were detected."))
            }
        }
    }
    Some((blocks, head))
}

/// Whether what stands above the lists is equal but for the number of busy blocks, and that one
/// counts what the debugger takes for busy.
fn heads_agree(
    slots: &Slots,
    no_slots: bool,
    uncounted: usize,
    theirs: &[&str],
    ours: &[&str],
) -> bool {
    let count = |line: &str| -> Option<(usize, usize)> {
        let rest = line.strip_prefix(SCANNING)?;
        let (blocks, rest) = rest.split_once(" busy blocks (")?;
        let size = rest
            .strip_suffix(" MBytes) ...")
            .or(rest.split(' ').next())?;
        Some((blocks.parse().ok()?, size.parse().ok()?))
    };
    theirs.len() == ours.len()
        && theirs.iter().zip(ours).all(|(theirs, ours)| {
            let (Some((their_count, size)), Some((our_count, our_size))) =
                (count(theirs), count(ours))
            else {
                return theirs == ours;
            };
            // In megabytes: less where segment heaps are not counted.
            let fits = if uncounted > 0 {
                size <= our_size
            } else {
                size == our_size
            };
            if !fits {
                return false;
            }
            let our_count = our_count - uncounted;
            let slots_told = theirs == ours || uncounted > 0 && their_count == our_count;
            let counted = match no_slots {
                true => our_count - slots.busy.len(),
                false => our_count + slots.free.len(),
            };
            slots_told
                || their_count == our_count + slots.cached
                || their_count == counted + slots.cached
        })
}

/// Whether a stack is that of ours, as far as the debugger knows it.
fn stacks_agree(bitness: Bitness, theirs: &Listed<'_>, ours: &Listed<'_>) -> bool {
    /// Frames of a trace of the database that the debugger reads, without the allocation's own.
    const MOST: usize = 14;
    let database = ours.row.contains("extra");
    let marked = ours.row.contains("stack_trace");
    if theirs.stack.is_empty() && !database && !marked {
        // Since Windows 10 an entry does not say that it has a trace.
        return true;
    }
    let known = match bitness {
        _ if database => ours.stack.iter().take(MOST),
        // The first frame is left out.
        Bitness::X64 => ours.stack[1.min(ours.stack.len())..]
            .iter()
            .take(usize::MAX),
        Bitness::X86 => ours.stack.iter().take(usize::MAX),
    };
    known.eq(&theirs.stack)
}

/// Whether each block is proved or has a pointer to it in one that is.
fn led_to(process: &Process<'_, '_>, blocks: &[(&Listed<'_>, bool)]) -> bool {
    let pointer = process.bitness.pointer_size();
    let by_entry: BTreeMap<u64, usize> = blocks
        .iter()
        .enumerate()
        .map(|(index, (block, _))| (block.entry, index))
        .collect();
    let mut proved: Vec<bool> = blocks.iter().map(|(_, proved)| *proved).collect();
    let mut pending: Vec<usize> = (0..blocks.len()).filter(|index| proved[*index]).collect();
    while let Some(index) = pending.pop() {
        let block = blocks[index].0;
        for at in (block.entry..block.entry + block.size).step_by(pointer as usize) {
            let value = process.memory().pointer(at, process.bitness).unwrap_or(0);
            if let Some((entry, target)) = by_entry.range(..=value).next_back()
                && value - entry < blocks[*target].0.size
                && !proved[*target]
            {
                proved[*target] = true;
                pending.push(*target);
            }
        }
    }
    proved.iter().all(|proved| *proved)
}

/// The debugger tells the segment by the entry alone: by its offset in the segment, in multiples of
/// a segment's alignment from the entry's own, or the heap where that is 0. On XP it takes the
/// number of the segment for it. Their row with the segment of ours.
fn with_segment(context: &Context<'_, '_>, theirs: &str, ours: &str) -> Option<String> {
    const ALIGNMENT: u64 = 0x1_0000;
    let ([entry, _, heap, wrong, ..], [_, _, _, right, ..]) =
        (&words(theirs)[..], &words(ours)[..])
    else {
        return None;
    };
    let (entry, handle) = (hex(entry)?, hex(heap)?);
    let offset = u64::from(
        context
            .nt(handle)?
            .raw_entry_at(entry)?
            .entry
            .segment_offset,
    );
    let told = match offset {
        0 => handle,
        _ => (entry / ALIGNMENT * ALIGNMENT).checked_sub(offset * ALIGNMENT)?,
    };
    if hex(wrong)? != told || wrong == right {
        return None;
    }
    // Behind the heap, which can have the same number.
    let at = theirs
        .match_indices(wrong)
        .nth(usize::from(told == handle))?
        .0;
    Some(format!(
        "{}{right}{}",
        &theirs[..at],
        &theirs[at + wrong.len()..]
    ))
}

/// Whether a segment's header points to an entry: to its first, on XP also to its last.
fn is_named_by_segment(context: &Context<'_, '_>, entry: u64) -> bool {
    let process = context.process;
    let mut segments = context.model.nt_heaps().flat_map(|heap| &heap.segments);
    segments.any(|segment| {
        let header = process.memory().at(segment.header, process.bitness);
        let last = header.pointer(process.layouts.segment.last_entry_in_segment);
        segment.first_entry == entry || last == Some(entry)
    })
}
