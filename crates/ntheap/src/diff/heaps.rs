//! Matching the heaps of two dumps, and counting what changed in each.

use std::sync::Arc;

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::{
    Change, Grouping, Keep, Snapshot,
    groups::{Grouped, Places, group_of},
    merge::{Held, merge_blocks},
    snapshot::key,
};
use crate::{heap::Heap, losses::Losses, process::HeapKind, stats::Count};

/// Whether a heap is in both dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeapStatus {
    /// In both.
    Survived,
    /// Only in the second.
    New,
    /// Only in the first (of a series: in the first, and not in the last).
    Gone,
    /// Of a series: neither in the first nor in the last.
    Between,
}

/// What blocks are counted by.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct GroupKey {
    /// Requested size in bytes, if sizes are told apart.
    pub size: Option<u64>,
    /// Return addresses, innermost first, if stacks are told apart; empty for blocks without one.
    pub stack: Option<Arc<[u64]>>,
}

/// The change of one group of blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupChange {
    /// What the blocks have in common.
    pub key: GroupKey,
    /// Requested bytes and blocks, in the first dump and in the last.
    pub change: Change,
    /// Requested bytes and blocks in each dump, the oldest first.
    pub counts: Vec<Count>,
}

impl GroupChange {
    pub(super) fn new(key: GroupKey, counts: Vec<Count>) -> Self {
        GroupChange {
            key,
            change: Change::of(&counts),
            counts,
        }
    }
}

/// What is free in a heap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FreeBlocks {
    /// Free blocks, by what they could hold.
    pub all: Count,
    /// The largest of them.
    pub largest: u64,
}

impl FreeBlocks {
    pub(super) fn add(&mut self, size: u64) {
        self.all.add(size);
        self.largest = self.largest.max(size);
    }

    pub(super) fn merge(&mut self, other: FreeBlocks) {
        self.all.merge(other.all);
        self.largest = self.largest.max(other.largest);
    }
}

/// A block that is in the last dump and not in the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewBlock {
    /// Address that the program has.
    pub address: u64,
    /// Requested size.
    pub size: u64,
    /// Position of its group in [`HeapChange::groups`].
    pub group: u32,
}

/// Blocks by address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BlockChanges {
    /// Only in the second dump.
    pub new: Count,
    /// Only in the first.
    pub gone: Count,
    /// In both, with the same size and trace.
    pub survived: Count,
}

impl BlockChanges {
    pub(super) fn merge(&mut self, other: BlockChanges) {
        self.new.merge(other.new);
        self.gone.merge(other.gone);
        self.survived.merge(other.survived);
    }
}

/// What changed in one heap.
#[derive(Debug, Clone)]
pub struct HeapChange {
    /// Handle.
    pub handle: u64,
    /// Kind.
    pub kind: HeapKind,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// Position in the heap list of the second dump (of the first, for a heap that is gone).
    pub index: usize,
    /// Whether it is in both dumps.
    pub status: HeapStatus,
    /// Requested bytes and blocks that the program holds, in the first dump and in the last.
    pub busy: Change,
    /// The same in each dump, the oldest first.
    pub counts: Vec<Count>,
    /// By group, in order of growth.
    pub groups: Vec<GroupChange>,
    /// By address, between the first dump and the last.
    pub blocks: BlockChanges,
    /// Blocks that are in every dump.
    pub survivors: Count,
    /// The blocks that are in the last dump alone, by address.
    pub new_blocks: Vec<NewBlock>,
    /// What is free in it, in the first dump and in the last.
    pub free: [FreeBlocks; 2],
    /// Bytes that it has committed, in the first dump and in the last, as the regions tell.
    pub committed: [u64; 2],
    /// What of the first dump's heap and of the second's could not be read or proved.
    pub losses: [Losses; 2],
}

impl HeapChange {
    /// The groups with stacks joined, so that only sizes are told apart, in order of growth.
    #[must_use]
    pub fn by_size(&self) -> Vec<GroupChange> {
        let mut sizes: FxHashMap<Option<u64>, Vec<Count>> = FxHashMap::default();
        for group in &self.groups {
            let counts = sizes.entry(group.key.size).or_default();
            merge_counts(counts, &group.counts);
        }
        let key = |size| GroupKey { size, stack: None };
        sorted(sizes.into_iter().map(|(size, counts)| (key(size), counts)))
    }

    /// The groups of each size, in order of growth: the stacks of all sizes in one pass.
    #[must_use]
    pub fn stacks_by_size(&self) -> FxHashMap<Option<u64>, Vec<&GroupChange>> {
        let mut sizes: FxHashMap<Option<u64>, Vec<&GroupChange>> = FxHashMap::default();
        for group in &self.groups {
            sizes.entry(group.key.size).or_default().push(group);
        }
        sizes
    }

    /// The groups of one size, in order of growth: its stacks.
    pub fn stacks_of(&self, size: Option<u64>) -> impl Iterator<Item = &GroupChange> {
        self.groups
            .iter()
            .filter(move |group| group.key.size == size)
    }

    /// Whether any block of either dump has a stack that was read.
    #[must_use]
    pub fn has_stacks(&self) -> bool {
        let is_stack = |stack: &Arc<[u64]>| !stack.is_empty();
        self.groups
            .iter()
            .any(|group| group.key.stack.as_ref().is_some_and(is_stack))
    }
}

/// Adds the counts of each dump to others.
pub(super) fn merge_counts(into: &mut Vec<Count>, counts: &[Count]) {
    if into.len() < counts.len() {
        into.resize(counts.len(), Count::default());
    }
    for (sum, count) in into.iter_mut().zip(counts) {
        sum.merge(*count);
    }
}

/// Changes in order of growth.
fn sorted(groups: impl Iterator<Item = (GroupKey, Vec<Count>)>) -> Vec<GroupChange> {
    let mut groups: Vec<GroupChange> = groups
        .map(|(key, counts)| GroupChange::new(key, counts))
        .collect();
    groups.sort_unstable_by(|a, b| {
        let order = |group: &GroupChange| (group.change.bytes(), group.change.blocks());
        order(b).cmp(&order(a)).then_with(|| b.key.cmp(&a.key))
    });
    groups
}

/// A heap through all dumps: for each the heap, where it is there.
pub(super) type Chain<'s, 'p, 'a> = Vec<Option<&'s Heap<'p, 'a>>>;

/// Compares heap by heap, the oldest dump first; of each heap only a few segments have their blocks in
/// memory at a time.
#[must_use]
pub fn compare_heaps(snapshots: &[&Snapshot<'_, '_>], by: Grouping, keep: Keep) -> Vec<HeapChange> {
    let mut chains: Vec<Chain<'_, '_, '_>> = Vec::new();
    for (moment, snapshot) in snapshots.iter().enumerate() {
        for heap in &snapshot.heaps {
            let continues = |chain: &&mut Chain<'_, '_, '_>| {
                let last = moment.checked_sub(1).and_then(|last| chain[last]);
                chain.len() == moment && last.is_some_and(|old| is_same_heap(old, heap))
            };
            match chains.iter_mut().find(continues) {
                Some(chain) => chain.push(Some(heap)),
                None => {
                    let mut chain = vec![None; moment];
                    chain.push(Some(heap));
                    chains.push(chain);
                }
            }
        }
        for chain in &mut chains {
            chain.resize(moment + 1, None);
        }
    }
    let chains = chains.into_par_iter();
    chains
        .map(|chain| compare_chain(&chain, snapshots, by, keep))
        .collect()
}

/// The same address and flags can still be another heap, created where the first one was: then its
/// random key is another. Without keys (XP, tags) the position in the list must not have grown: heaps
/// are listed in the order of their creation, and only the end of others moves one forward.
fn is_same_heap(old: &Heap<'_, '_>, new: &Heap<'_, '_>) -> bool {
    let (a, b) = (old.reference(), new.reference());
    let (old_key, new_key) = (key(old), key(new));
    a.handle == b.handle
        && a.kind == b.kind
        && old.flags() == new.flags()
        && old_key == new_key
        && (old_key != 0 || b.index <= a.index)
}

fn compare_chain(
    chain: &Chain<'_, '_, '_>,
    snapshots: &[&Snapshot<'_, '_>],
    by: Grouping,
    keep: Keep,
) -> HeapChange {
    let mut merged = merge_blocks(chain, by, keep);
    let mut groups = Grouped::new(by, chain.len());
    let mut newest_keys = Places::default();
    let mut losses = [Losses::default(), Losses::default()];
    let last = chain.len().saturating_sub(1);
    let counts: Vec<Count> = merged.moments.iter().map(|moment| moment.busy).collect();
    let free = [merged.moments.first(), merged.moments.last()]
        .map(|moment| moment.map_or_else(FreeBlocks::default, |moment| moment.free));
    for (moment, (walked, snapshot)) in merged.moments.iter_mut().zip(snapshots).enumerate() {
        // What a dump between the two lost is said with the last one.
        losses[usize::from(moment != 0)].merge(std::mem::take(&mut walked.losses));
        let wanted = moment == last && !merged.fresh.is_empty();
        groups.add(moment, walked, &snapshot.traces, |key, group| {
            if wanted {
                newest_keys.insert(key, group);
            }
        });
    }
    let (groups, positions) = groups.into_changes();
    let first = chain.first().copied().flatten();
    let newer = chain.last().copied().flatten();
    let any = newer.or_else(|| chain.iter().rev().copied().flatten().next());
    let reference = any.map(|heap| *heap.reference());
    HeapChange {
        handle: reference.map_or(0, |heap| heap.handle),
        kind: reference.map_or(HeapKind::Nt, |heap| heap.kind),
        flags: any.map_or(0, Heap::flags),
        index: reference.map_or(0, |heap| heap.index),
        status: match (first, newer) {
            (Some(_), Some(_)) => HeapStatus::Survived,
            (None, Some(_)) => HeapStatus::New,
            (Some(_), None) => HeapStatus::Gone,
            (None, None) => HeapStatus::Between,
        },
        busy: Change::of(&counts),
        counts,
        new_blocks: new_blocks(&merged.fresh, &newest_keys, &positions, by),
        groups,
        blocks: merged.changes,
        survivors: merged.survivors,
        free,
        committed: [0; 2],
        losses,
    }
}

/// The new blocks with the places of their groups.
fn new_blocks(fresh: &[Held], keys: &Places, positions: &[u32], by: Grouping) -> Vec<NewBlock> {
    let place = |block: &Held| {
        let group = group_of(keys, by, block)?;
        Some(NewBlock {
            address: block.0,
            size: block.1,
            group: *positions.get(group as usize)?,
        })
    };
    fresh.iter().filter_map(place).collect()
}
