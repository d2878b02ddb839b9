//! Proofs about the data regions of the LFH that `-hl` lists.

use std::collections::BTreeMap;

use ntheap::process::Process;

use crate::excuse::hex;

/// Builds whose regions the debugger does not list: XP's, and Windows 8's.
const NOT_LISTED: [std::ops::Range<u32>; 2] = [0..6000, 9200..9600];
/// Windows 8.1, the first that encodes the offset of the first slot.
const LOW_BYTE: std::ops::Range<u32> = 9600..10240;

/// Our output as the debugger is bound to print it, and the class of its error; `None` if it lists
/// the regions of this build, or if there are none.
pub(crate) fn as_listed(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<(&'static str, String)> {
    let any = |text: &str| text.lines().any(|line| region(line).is_some());
    if !any(actual) {
        return None;
    }
    let (class, ours) = if NOT_LISTED
        .iter()
        .any(|builds| builds.contains(&process.build))
    {
        if any(expected) {
            return None;
        }
        let ours = rewritten(actual, &mut |_, _| Some(String::new()))?;
        ("-hl lists no slots of this build's LFH", ours)
    } else if LOW_BYTE.contains(&process.build) {
        let known = rows(actual);
        let ours = rewritten(actual, &mut |caption, rows| {
            misplaced(process, &known, caption, rows)
        })?;
        (
            "Windows 8.1: offset of the first LFH slot decoded in its low byte alone",
            ours,
        )
    } else {
        return None;
    };
    Some((class, ours))
}

/// Address of the region that a caption names.
fn region(line: &str) -> Option<u64> {
    hex(line
        .strip_prefix("        LFH data region at ")?
        .split(' ')
        .next()?)
}

/// Addresses and sizes of the slots that are listed.
pub(crate) fn slots(listed: &str) -> impl Iterator<Item = (u64, u64)> {
    let slots = listed.lines().filter_map(slot);
    slots.map(|(address, size, _)| (address, size))
}

/// The address, size and state of a slot.
fn slot(line: &str) -> Option<(u64, u64, &str)> {
    let (address, rest) = line.strip_prefix("            ")?.split_once(": ")?;
    let (size, state) = rest.split_once(" - ")?;
    Some((hex(address)?, hex(size)?, state))
}

/// Every block and slot that is shown as busy, with its unused bytes.
fn rows(text: &str) -> BTreeMap<u64, u64> {
    let row = |line: &str| {
        let (address, rest) = line.trim_start().split_once(": ")?;
        let size = rest.split([' ', '[']).take(3).filter_map(hex).last()?;
        let requested = rest.split_once("- busy (")?.1.split(')').next()?;
        Some((hex(address)?, size.checked_sub(hex(requested)?)?))
    };
    text.lines().filter_map(row).collect()
}

/// The text with each region, empty lines around it included, as `region` makes it of its caption
/// and slots.
fn rewritten(
    text: &str,
    region_text: &mut dyn FnMut(&str, &[&str]) -> Option<String>,
) -> Option<String> {
    let lines: Vec<&str> = text.lines().collect();
    let mut kept = String::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(caption) = lines.get(at + 1).filter(|line| region(line).is_some()) else {
            kept += lines[at];
            kept.push('\n');
            at += 1;
            continue;
        };
        let slots = &lines[at + 2..];
        let count = slots.iter().take_while(|line| slot(line).is_some()).count();
        kept += &region_text(caption, &slots[..count])?;
        // The empty line behind.
        at += 2 + count + 1;
    }
    Some(kept)
}

/// A region as the debugger lists it whose offset of the first slot it decodes wrongly: as many
/// slots of the same size, and what the bytes at the wrong places say.
fn misplaced(
    process: &Process<'_, '_>,
    known: &BTreeMap<u64, u64>,
    caption: &str,
    slots: &[&str],
) -> Option<String> {
    /// The last byte of an entry: of a free slot, and what is set where more bytes are unused than
    /// it can tell.
    const FREE: u8 = 0x80;
    const TRACED: u8 = 0x40;
    let start = region(caption)?;
    let memory = process.memory();
    let encoded = process.layouts.user_data_header.encoded_offsets?;
    let encoded = memory.u32(start + u64::from(encoded))? as u16;
    let (first, size, _) = slot(slots.first()?)?;
    let offset = encoded & 0xff00 | (first - start) as u16 & 0xff;
    let width = 2 * process.bitness.pointer_size() as usize;
    let mut text = format!("\n{caption}\n");
    for index in 0..slots.len() as u64 {
        let at = start + u64::from(offset) + index * size;
        let state = match memory.u8(at + process.bitness.unit() - 1) {
            Some(FREE) => "free".to_owned(),
            Some(unused) if unused & TRACED != 0 => {
                format!("busy ({:x})", size.checked_sub(*known.get(&at)?)?)
            }
            _ => "busy (metadata)".to_owned(),
        };
        text += &format!("            {at:0width$x}: {size:05x} - {state}\n");
    }
    text.push('\n');
    Some(text)
}
