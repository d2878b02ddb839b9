//! How many bytes the blocks of a type keep alive.

use rustc_hash::FxHashMap;

use super::{Types, table};
use crate::graph::Dominators;

/// Bytes that the blocks of each type retain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retained {
    /// By type.
    pub(super) by_type: Vec<u64>,
    /// By size of blocks without a type.
    pub(super) unknown: FxHashMap<u64, u64>,
}

impl Types<'_, '_> {
    /// What the blocks of each type retain together. A block that another of the same type keeps alive
    /// does not count again; what is lost retains itself.
    #[must_use]
    pub fn retained(&self, dominators: &Dominators) -> Retained {
        let of = &self.table.of;
        let children = Children::of(of.len(), dominators);
        let mut retained = Retained {
            by_type: vec![0; self.table.types.len()],
            unknown: FxHashMap::default(),
        };
        // How many blocks of each type are above the one that is looked at.
        let mut above = vec![0u32; self.table.types.len()];
        let mut sizes_above: FxHashMap<u64, u32> = FxHashMap::default();
        let mut open: Vec<(u32, bool)> = Vec::new();
        for top in 0..of.len() as u32 {
            if dominators.of(top).is_some() {
                continue;
            }
            open.push((top, false));
            while let Some((block, left)) = open.pop() {
                let known = of[block as usize];
                let own = self.ground.blocks.block(block).1;
                let (above, sum) = match above.get_mut(known as usize) {
                    Some(above) => (above, &mut retained.by_type[known as usize]),
                    None if known == table::NONE => (
                        sizes_above.entry(own).or_default(),
                        retained.unknown.entry(own).or_default(),
                    ),
                    // Of another heap than was asked for.
                    None => (&mut 1, &mut 0),
                };
                if left {
                    *above -= 1;
                    continue;
                }
                if *above == 0 {
                    *sum = sum.saturating_add(dominators.retained(block).unwrap_or(own));
                }
                *above += 1;
                open.push((block, true));
                open.extend(children.of_block(block).iter().map(|&child| (child, false)));
            }
        }
        retained
    }
}

/// The tree of dominators downwards.
struct Children {
    ends: Vec<u32>,
    blocks: Vec<u32>,
}

impl Children {
    fn of(count: usize, dominators: &Dominators) -> Self {
        let mut ends = vec![0u32; count + 1];
        for block in 0..count as u32 {
            if let Some(above) = dominators.of(block) {
                ends[above as usize + 1] += 1;
            }
        }
        for index in 0..count {
            ends[index + 1] += ends[index];
        }
        let mut next = ends.clone();
        let mut blocks = vec![0; ends[count] as usize];
        for block in 0..count as u32 {
            if let Some(above) = dominators.of(block) {
                let place = &mut next[above as usize];
                blocks[*place as usize] = block;
                *place += 1;
            }
        }
        Children { ends, blocks }
    }

    fn of_block(&self, block: u32) -> &[u32] {
        let (from, to) = (self.ends[block as usize], self.ends[block as usize + 1]);
        &self.blocks[from as usize..to as usize]
    }
}
