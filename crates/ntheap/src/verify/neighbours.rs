//! The blocks around a damage.

use crate::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::Heap,
};

use super::Damage;

/// First address of a block, and one past its last.
fn extent(block: &Block) -> (u64, u64) {
    let start = match block.kind {
        // What a page heap calls its entry is a record elsewhere.
        Kind::Page => block.container,
        _ => block.entry,
    };
    (start, start.saturating_add(block.block_size))
}

/// Walks the heap once more, and gives each damage the block that holds it, the one before and the
/// one behind. `damages` is sorted by address.
pub(super) fn find(heap: &Heap<'_, '_>, damages: &mut [Damage]) {
    let mut finder = Finder { damages };
    let _ = heap.walk(&mut finder);
    // A block was noted at the nearest damage alone; it is the neighbour of further ones as well
    // where nothing lies nearer to them.
    for index in 1..damages.len() {
        let (head, tail) = damages.split_at_mut(index);
        let (previous, damage) = (&head[index - 1], &mut tail[0]);
        for candidate in [previous.before, previous.block].into_iter().flatten() {
            nearer_before(damage, &candidate);
        }
    }
    for index in (0..damages.len().saturating_sub(1)).rev() {
        let (head, tail) = damages.split_at_mut(index + 1);
        let (damage, next) = (&mut head[index], &tail[0]);
        for candidate in [next.after, next.block].into_iter().flatten() {
            nearer_after(damage, &candidate);
        }
    }
}

fn nearer_before(damage: &mut Damage, block: &Block) {
    let (_, end) = extent(block);
    let nearer = damage.before.as_ref().is_none_or(|b| extent(b).1 < end);
    if end <= damage.address && nearer {
        damage.before = Some(*block);
    }
}

fn nearer_after(damage: &mut Damage, block: &Block) {
    let (start, _) = extent(block);
    let nearer = damage.after.as_ref().is_none_or(|b| extent(b).0 > start);
    if start > damage.address && nearer {
        damage.after = Some(*block);
    }
}

struct Finder<'d> {
    damages: &'d mut [Damage],
}

impl Visitor for Finder<'_> {
    fn block(&mut self, block: &Block) -> Flow {
        let (start, end) = extent(block);
        let first = self.damages.partition_point(|d| d.address < start);
        let behind = self.damages.partition_point(|d| d.address < end);
        for damage in &mut self.damages[first..behind] {
            // A slot comes after the container that it lies in.
            let smaller = damage
                .block
                .is_none_or(|known| known.block_size >= block.block_size);
            if smaller {
                damage.block = Some(*block);
            }
        }
        if let Some(damage) = self.damages.get_mut(behind) {
            nearer_before(damage, block);
        }
        if let Some(damage) = first.checked_sub(1).and_then(|i| self.damages.get_mut(i)) {
            nearer_after(damage, block);
        }
        CONTINUE
    }
}
