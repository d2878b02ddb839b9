//! Sums over the blocks of each type, and the comparison of two dumps.

use std::{cmp::Reverse, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Retained, Type, TypeKind, Types, table};

/// The blocks of a type together.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeTotal {
    /// Name of the type; of blocks that are unknown, their size.
    pub name: Arc<str>,
    /// What sort of type it is; `None`: unknown.
    pub kind: Option<TypeKind>,
    /// Number of blocks.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Bytes that they keep alive, themselves included, where that was counted.
    pub retained: Option<u64>,
}

/// How much of the blocks has a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Explained {
    /// Blocks.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Blocks with a type.
    pub typed_blocks: u64,
    /// Their requested bytes.
    pub typed_bytes: u64,
}

impl Explained {
    /// The bytes with a type, as a share of all in percent.
    #[must_use]
    pub fn percent(&self) -> f64 {
        if self.bytes == 0 {
            return 0.0;
        }
        self.typed_bytes as f64 * 100.0 / self.bytes as f64
    }
}

impl Types<'_, '_> {
    /// The types with their blocks, largest total first, and the unknown blocks by size.
    #[must_use]
    pub fn totals(&self) -> Vec<TypeTotal> {
        self.totals_where(None, |_| true)
    }

    /// Likewise, of the blocks whose type `wanted` selects, and with what they retain.
    #[must_use]
    pub fn totals_where(
        &self,
        retained: Option<&Retained>,
        wanted: impl Fn(Option<&Type>) -> bool,
    ) -> Vec<TypeTotal> {
        let types = &self.table.types;
        let chosen: Vec<bool> = types.iter().map(|known| wanted(Some(known))).collect();
        let unknown = wanted(None);
        let mut typed = vec![(0u64, 0u64); types.len()];
        let mut sizes: FxHashMap<u64, u64> = FxHashMap::default();
        for (number, &of) in self.table.of.iter().enumerate() {
            let size = self.ground.blocks.block(number as u32).1;
            if of == table::NONE {
                *sizes.entry(size).or_default() += u64::from(unknown);
            } else if of != table::LEFT_OUT && chosen[of as usize] {
                let total = &mut typed[of as usize];
                total.0 += 1;
                total.1 = total.1.saturating_add(size);
            }
        }
        // Several modules can have a class of the same name.
        let mut named: FxHashMap<(TypeKind, &Arc<str>), (u64, u64, u64)> = FxHashMap::default();
        for (index, (known, (blocks, bytes))) in types.iter().zip(typed).enumerate() {
            let kept = retained.map_or(0, |retained| retained.by_type[index]);
            let total = named.entry((known.kind, &known.name)).or_default();
            total.0 += blocks;
            total.1 = total.1.saturating_add(bytes);
            total.2 = total.2.saturating_add(kept);
        }
        let known = named
            .into_iter()
            .map(|((kind, name), (blocks, bytes, kept))| TypeTotal {
                name: name.clone(),
                kind: Some(kind),
                blocks,
                bytes,
                retained: retained.map(|_| kept),
            });
        let others = sizes.into_iter().map(|(size, blocks)| TypeTotal {
            name: format!("unknown, {size:#x} bytes").into(),
            kind: None,
            blocks,
            bytes: size.saturating_mul(blocks),
            retained: retained.map(|retained| retained.unknown.get(&size).copied().unwrap_or(0)),
        });
        let mut totals: Vec<_> = known
            .chain(others)
            .filter(|total| total.blocks > 0)
            .collect();
        totals.sort_unstable_by(|a, b| {
            (Reverse(a.bytes), Reverse(a.blocks), &a.name).cmp(&(
                Reverse(b.bytes),
                Reverse(b.blocks),
                &b.name,
            ))
        });
        totals
    }

    /// How much of the blocks has a type.
    #[must_use]
    pub fn explained(&self) -> Explained {
        let mut explained = Explained::default();
        for (number, &of) in self.table.of.iter().enumerate() {
            if of == table::LEFT_OUT {
                continue;
            }
            let size = self.ground.blocks.block(number as u32).1;
            explained.blocks += 1;
            explained.bytes = explained.bytes.saturating_add(size);
            if of != table::NONE {
                explained.typed_blocks += 1;
                explained.typed_bytes = explained.typed_bytes.saturating_add(size);
            }
        }
        explained
    }
}

/// A type in two dumps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TypeChange {
    /// The type, with the blocks of the newer dump.
    pub after: TypeTotal,
    /// Blocks in the older dump.
    pub blocks_before: u64,
    /// Their bytes.
    pub bytes_before: u64,
}

impl TypeChange {
    /// Growth in blocks.
    #[must_use]
    pub fn blocks(&self) -> i64 {
        self.after.blocks.wrapping_sub(self.blocks_before) as i64
    }

    /// Growth in bytes.
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.after.bytes.wrapping_sub(self.bytes_before) as i64
    }
}

/// The types of two dumps side by side, the largest growth first.
#[must_use]
pub fn changes(before: Vec<TypeTotal>, after: Vec<TypeTotal>) -> Vec<TypeChange> {
    let mut older: FxHashMap<(Option<TypeKind>, Arc<str>), TypeTotal> = before
        .into_iter()
        .map(|total| ((total.kind, total.name.clone()), total))
        .collect();
    let mut changes: Vec<TypeChange> = after
        .into_iter()
        .map(|after| {
            let before = older.remove(&(after.kind, after.name.clone()));
            TypeChange {
                blocks_before: before.as_ref().map_or(0, |total| total.blocks),
                bytes_before: before.as_ref().map_or(0, |total| total.bytes),
                after,
            }
        })
        .collect();
    changes.extend(older.into_values().map(|before| TypeChange {
        blocks_before: before.blocks,
        bytes_before: before.bytes,
        after: TypeTotal {
            blocks: 0,
            bytes: 0,
            retained: before.retained.map(|_| 0),
            ..before
        },
    }));
    changes.sort_unstable_by(|a, b| {
        let key = |change: &TypeChange| (Reverse(change.bytes()), Reverse(change.blocks()));
        (key(a), &a.after.name).cmp(&(key(b), &b.after.name))
    });
    changes
}
