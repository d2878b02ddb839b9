//! The data regions of the LFH, of which the debugger lists none for some builds, and for Windows 8.1
//! others than there are.

use std::{collections::BTreeMap, ops::Range};

use ntheap::blocks::{Block, Kind};

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::hex,
};

/// The class of what Windows 8.1's LFH is taken for: the first that encodes the offset of the first
/// slot, of which the debugger decodes the low byte alone.
pub(crate) const LOW_BYTE: &str =
    "Windows 8.1: offset of the first LFH slot decoded in its low byte alone";

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "-hl lists no slots of this build's LFH",
        |context| matches!(context.process.build, ..6000 | 9200..9600),
        |context, theirs| {
            if theirs.iter().any(|line| region(line).is_some()) {
                return false;
            }
            let regions = regions(&context.ours.lines);
            let lost = |index: usize| regions.iter().any(|region| region.contains(&index));
            context.ours.put_back(theirs, lost)
        },
    ),
    known(LOW_BYTE, decodes_low_byte, |context, theirs| {
        let ours = &context.ours.lines;
        let known = unused_bytes(ours);
        let mut changed = false;
        for region in regions(ours) {
            let right = &ours[region];
            let caption = theirs.iter().position(|line| *line == right[1]);
            let Some(at) = caption.and_then(|at| at.checked_sub(1)) else {
                continue;
            };
            let wrong = at..at + right.len();
            let proved = theirs.get(wrong.clone()).is_some_and(|lines| {
                lines != right && is_misplaced(context, &known, right, lines) == Some(true)
            });
            if proved {
                theirs.splice(wrong, right.iter().cloned());
                changed = true;
            }
        }
        changed
    }),
];

/// Whether the build encodes the offset of the first slot in a way that the debugger half knows.
pub(crate) fn decodes_low_byte(context: &Context<'_, '_>) -> bool {
    (9600..10240).contains(&context.process.build)
}

/// Address of the region that a caption names.
fn region(line: &str) -> Option<u64> {
    hex(line
        .strip_prefix("        LFH data region at ")?
        .split(' ')
        .next()?)
}

/// The address, size and state of a slot.
fn slot(line: &str) -> Option<(u64, u64, &str)> {
    let (address, rest) = line.strip_prefix("            ")?.split_once(": ")?;
    let (size, state) = rest.split_once(" - ")?;
    Some((hex(address)?, hex(size)?, state))
}

/// Where regions are listed, each with the empty lines around it.
fn regions(lines: &[String]) -> Vec<Range<usize>> {
    let captions = (1..lines.len()).filter(|index| region(&lines[*index]).is_some());
    captions
        .map(|caption| {
            let slots = lines[caption + 1..].iter();
            caption - 1..caption + 2 + slots.take_while(|line| slot(line).is_some()).count()
        })
        .collect()
}

/// Every block and slot that is shown as busy, with its unused bytes.
fn unused_bytes(lines: &[String]) -> BTreeMap<u64, u64> {
    let row = |line: &String| {
        let (address, rest) = line.trim_start().split_once(": ")?;
        let size = rest.split([' ', '[']).take(3).filter_map(hex).last()?;
        let requested = rest.split_once("- busy (")?.1.split(')').next()?;
        Some((hex(address)?, size.checked_sub(hex(requested)?)?))
    };
    lines.iter().filter_map(row).collect()
}

/// The last byte of an entry: of a free slot, and what is set where more bytes are unused than it can
/// tell.
const FREE: u8 = 0x80;
const TRACED: u8 = 0x40;

/// Whether a region is ours as the debugger lists it whose offset of the first slot it decodes
/// wrongly: as many slots of the same size, and what the bytes at the wrong places say.
fn is_misplaced(
    context: &Context<'_, '_>,
    known: &BTreeMap<u64, u64>,
    right: &[String],
    wrong: &[String],
) -> Option<bool> {
    let start = region(&right[1])?;
    let (first, size, _) = slot(right.get(2)?)?;
    let offset = wrong_offset(context, start, first)?;
    let width = context.digits();
    let slots = 2..right.len() - 1;
    let frame = [0, 1, slots.end]
        .iter()
        .all(|index| wrong[*index] == right[*index]);
    let rows = slots.zip(0u64..).all(|(line, index)| {
        let at = start + offset + index * size;
        let states = states(context, known, at, size);
        let row = |state: &String| format!("            {at:0width$x}: {size:05x} - {state}");
        states.iter().any(|state| wrong[line] == row(state))
    });
    Some(frame && rows)
}

/// What the debugger can make of the byte at the end of what it takes for an entry.
fn states(
    context: &Context<'_, '_>,
    known: &BTreeMap<u64, u64>,
    at: u64,
    size: u64,
) -> Vec<String> {
    let busy = |unused: u64| Some(format!("busy ({:x})", size.checked_sub(unused)?));
    let states = match context.process.memory().u8(at + context.unit() - 1) {
        Some(FREE) => [Some("free".to_owned()), None],
        Some(unused) if unused & TRACED != 0 => {
            [known.get(&at).and_then(|unused| busy(*unused)), None]
        }
        byte => {
            let counted = byte.filter(|byte| byte & FREE != 0);
            let unused = counted.and_then(|byte| busy((byte & !FREE).into()));
            [Some("busy (metadata)".to_owned()), unused]
        }
    };
    states.into_iter().flatten().collect()
}

/// The offset of the first slot with its low byte alone decoded.
fn wrong_offset(context: &Context<'_, '_>, start: u64, first: u64) -> Option<u64> {
    let field = context.process.layouts.user_data_header.encoded_offsets?;
    let encoded = context.process.memory().u32(start + u64::from(field))? as u16;
    Some((encoded & 0xff00 | (first - start) as u16 & 0xff).into())
}

/// A container whose slots the debugger looks for in the wrong places.
pub(crate) struct Misplaced {
    pub(crate) container: Block,
    /// Entry of the first right slot, and of the first wrong one.
    pub(crate) first: u64,
    pub(crate) wrong: u64,
    pub(crate) slot: Block,
    pub(crate) count: u64,
}

impl Misplaced {
    /// The wrong slot that an address is the entry of, or lies in.
    pub(crate) fn wrong_slot(&self, address: u64) -> Option<u64> {
        let size = self.slot.block_size;
        let index = address.checked_sub(self.wrong)?.checked_div(size)?;
        (index < self.count).then(|| self.wrong + index * size)
    }

    pub(crate) fn has_slot(&self, entry: u64) -> bool {
        let end = self.first + self.count * self.slot.block_size;
        (self.first..end).contains(&entry)
    }
}

/// The containers of all heaps whose slots are looked for in the wrong places.
pub(crate) fn misplaced(context: &Context<'_, '_>) -> Vec<Misplaced> {
    let mut found = Vec::<Misplaced>::new();
    if !decodes_low_byte(context) {
        return found;
    }
    for walk in context.model.walks() {
        let mut container = None;
        for block in &walk.blocks {
            if block.kind != Kind::Lfh {
                container = Some(*block);
                continue;
            }
            if let Some(last) = found.last_mut()
                && Some(last.container) == container
            {
                last.count += 1;
            } else if let Some(container) = container
                && let Some(offset) = wrong_offset(context, container.address, block.entry)
            {
                found.push(Misplaced {
                    container,
                    first: block.entry,
                    wrong: container.address + offset,
                    slot: *block,
                    count: 1,
                });
            }
        }
    }
    found.retain(|misplaced| misplaced.wrong != misplaced.first);
    found
}
