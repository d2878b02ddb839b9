//! `!heap -l` of Windows 8.1, whose LFH slots the debugger looks for in the wrong places.
//!
//! See `regions` for where it looks. What it makes of the bytes there decides what it takes for in
//! use, block by block, so that its list has little to do with ours. What can be proved is that it
//! lists blocks that there are and slots at wrong places, and no more others than it complains of,
//! and that it counts all blocks outside the LFH.

use std::collections::BTreeSet;

use ntheap::blocks::Kind;

use crate::{
    context::Context,
    lines::{Lines, hex, words},
    regions,
};

pub(crate) const CLASS: &str = "-l: slots of Windows 8.1's LFH looked for in the wrong places";

/// Whether the list is one of blocks and misplaced slots, and counts all blocks outside the LFH.
pub(crate) fn is_proved(context: &Context<'_, '_>, theirs: &Lines) -> Option<bool> {
    // Slots overlap with what does lie in their places.
    let complaints = theirs
        .iter()
        .filter(|line| line.starts_with("Conflicting descriptors "));
    let complaints = complaints.count();
    let containers = regions::misplaced(context);
    let walks = || context.model.walks().iter().flat_map(|walk| &walk.blocks);
    let slots = walks()
        .filter(|block| block.kind == Kind::Lfh && block.is_user_block())
        .count();
    let count = |lines: &[String]| -> Option<usize> {
        let mut lines = lines.iter();
        let rest = lines.find_map(|line| line.strip_prefix("Scanning references from "))?;
        rest.split(' ').next()?.parse().ok()
    };
    // What lies in the wrong places can be a free slot or a busy one.
    let others = count(&context.ours.lines)? - slots;
    let misplaced = containers
        .iter()
        .map(|container| container.count as usize)
        .sum::<usize>();
    let counted = (others..=others + misplaced).contains(&count(theirs)?);
    let heaps = |lines: &[String]| -> Vec<String> {
        lines
            .iter()
            .filter(|line| line.starts_with("Heap "))
            .cloned()
            .collect()
    };
    let blocks: BTreeSet<(u64, u64, u64)> = walks()
        .filter(|block| block.kind != Kind::Lfh)
        .map(|block| (block.entry, block.address, block.block_size))
        .collect();
    let rows = theirs.iter().map(|line| words(line)).filter(|words| {
        words.len() >= 7 && words[0].len() == context.digits() && hex(words[0]).is_some()
    });
    let (mut any, mut garbage) = (false, 0);
    for words in rows {
        any = true;
        let (entry, user, size) = (hex(words[0])?, hex(words[1])?, hex(words[4])?);
        let slot = words.iter().any(|word| word.starts_with("LFH;"));
        let known = match slot {
            true => containers.iter().any(|container| {
                container.wrong_slot(entry) == Some(entry) && container.slot.block_size == size
            }),
            false => blocks.contains(&(entry, user, size)),
        };
        garbage += usize::from(!known);
    }
    // What is no entry was read from the bytes of one, which the complaints are about.
    let same = heaps(theirs) == heaps(&context.ours.lines);
    Some(any && counted && same && complaints > 0 && garbage <= complaints)
}
