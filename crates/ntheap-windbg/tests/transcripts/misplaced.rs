//! `!heap -l` of Windows 8.1, whose LFH slots the debugger looks for in the wrong places.
//!
//! See `regions` for where it looks. What it makes of the bytes there decides what it takes for in
//! use, block by block, so that its list has little to do with ours. What can be proved is that it
//! lists blocks that there are and slots at wrong places, and no more others than it complains of,
//! and that it counts all blocks outside the LFH.

use std::collections::BTreeSet;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::Heap,
    process::Process,
};
use ntheap_windbg::Session;

use crate::{excuse::hex, regions};

const CLASS: &str = "-l: slots of Windows 8.1's LFH looked for in the wrong places";

#[derive(Default)]
struct Blocks {
    busy_slots: usize,
    blocks: Vec<Block>,
}

impl Visitor for Blocks {
    fn block(&mut self, block: &Block) -> Flow {
        if block.kind != Kind::Lfh {
            self.blocks.push(*block);
        } else if block.is_user_block() {
            self.busy_slots += 1;
        }
        CONTINUE
    }
}

/// The class, if the list is one of blocks and misplaced slots, and counts all blocks outside the LFH.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    session: &mut Session<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    // Slots overlap with what does lie in their places.
    expected
        .contains("\nConflicting descriptors ")
        .then_some(())?;
    let mut all = Blocks::default();
    let mut misplaced = BTreeSet::new();
    for reference in &process.heaps {
        let _ = Heap::open(process, reference).walk(&mut all);
        let mut listed = String::new();
        let command = format!("!heap -hl {:x}", reference.handle);
        session.execute(&command, &mut listed).ok()?;
        if let Some((_, listed)) = regions::as_listed(process, &listed, &listed) {
            misplaced.extend(regions::slots(&listed));
        }
    }
    let count = |text: &str| -> Option<usize> {
        let rest = text.split_once("\nScanning references from ")?.1;
        rest.split(' ').next()?.parse().ok()
    };
    // What lies in the wrong places can be a free slot or a busy one.
    let others = count(actual)? - all.busy_slots;
    (others..=others + misplaced.len())
        .contains(&count(expected)?)
        .then_some(())?;
    let heaps = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("Heap "));
        lines.map(str::to_owned).collect()
    };
    (heaps(expected) == heaps(actual)).then_some(())?;
    let blocks: BTreeSet<(u64, u64, u64)> = all
        .blocks
        .iter()
        .map(|block| (block.entry, block.address, block.block_size))
        .collect();
    let rows = expected.lines().filter_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let row = words.len() >= 7 && line.len() > 60 && hex(words[0]).is_some();
        row.then_some(words)
    });
    let (mut any, mut garbage) = (false, 0);
    for words in rows {
        any = true;
        let (entry, user, size) = (hex(words[0])?, hex(words[1])?, hex(words[4])?);
        let known = match words.last()?.starts_with("LFH;") {
            true => misplaced.contains(&(entry, size)),
            false => blocks.contains(&(entry, user, size)),
        };
        garbage += usize::from(!known);
    }
    // What is no entry was read from the bytes of one, which the complaints are about.
    let complaints = expected.matches("\nConflicting descriptors ").count();
    (any && garbage <= complaints).then_some(CLASS)
}
