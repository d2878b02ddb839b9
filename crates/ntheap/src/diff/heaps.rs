//! Matching the heaps of two dumps, and counting what changed in each.

use std::{
    hash::{Hash, Hasher},
    sync::Arc,
};

use rustc_hash::{FxHashMap, FxHashSet, FxHasher};

use super::{Change, Grouping, Snapshot, snapshot::key};
use crate::{
    blocks::{Block, CONTINUE, Finding, Flow, Span, Trace, Visitor},
    heap::Heap,
    losses::Losses,
    process::HeapKind,
    stats::Count,
    traces::Traces,
};

/// Whether a heap is in both dumps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeapStatus {
    /// In both.
    Survived,
    /// Only in the second.
    New,
    /// Only in the first.
    Gone,
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
    /// Requested bytes and blocks.
    pub change: Change,
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
    /// Requested bytes and blocks that the program holds.
    pub busy: Change,
    /// By group, in order of growth.
    pub groups: Vec<GroupChange>,
    /// By address.
    pub blocks: BlockChanges,
    /// What of the first dump's heap and of the second's could not be read or proved.
    pub losses: [Losses; 2],
}

impl HeapChange {
    /// The groups with stacks joined, so that only sizes are told apart, in order of growth.
    #[must_use]
    pub fn by_size(&self) -> Vec<GroupChange> {
        let mut sizes: FxHashMap<Option<u64>, Change> = FxHashMap::default();
        for group in &self.groups {
            sizes.entry(group.key.size).or_default().merge(group.change);
        }
        let key = |size| GroupKey { size, stack: None };
        sorted(sizes.into_iter().map(|(size, change)| (key(size), change)))
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

/// Changes in order of growth.
fn sorted(changes: impl Iterator<Item = (GroupKey, Change)>) -> Vec<GroupChange> {
    let mut groups: Vec<GroupChange> = changes
        .map(|(key, change)| GroupChange { key, change })
        .collect();
    groups.sort_unstable_by(|a, b| {
        let order = |group: &GroupChange| (group.change.bytes(), group.change.blocks());
        order(b).cmp(&order(a)).then_with(|| b.key.cmp(&a.key))
    });
    groups
}

/// Compares heap by heap; only one pair of heaps has its blocks in memory at a time.
#[must_use]
pub fn compare_heaps(
    before: &Snapshot<'_, '_>,
    after: &Snapshot<'_, '_>,
    by: Grouping,
) -> Vec<HeapChange> {
    let mut matched = FxHashSet::default();
    let mut changes = Vec::new();
    for new in &after.heaps {
        let old = before.heaps.iter().find(|old| is_same_heap(old, new));
        if let Some(old) = old {
            matched.insert(old.handle());
        }
        changes.push(compare_pair(
            old.map(|old| (before, old)),
            Some((after, new)),
            by,
        ));
    }
    for old in before
        .heaps
        .iter()
        .filter(|old| !matched.contains(&old.handle()))
    {
        changes.push(compare_pair(Some((before, old)), None, by));
    }
    changes
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

type Side<'s, 'p, 'a> = (&'s Snapshot<'p, 'a>, &'s Heap<'p, 'a>);

fn compare_pair(
    before: Option<Side<'_, '_, '_>>,
    after: Option<Side<'_, '_, '_>>,
    by: Grouping,
) -> HeapChange {
    let reference = after.or(before).map(|(_, heap)| *heap.reference());
    let flags = after.or(before).map_or(0, |(_, heap)| heap.flags());
    let collect = |side: Option<Side<'_, '_, '_>>| {
        side.map(|(snapshot, heap)| collect(heap, &snapshot.traces, by))
            .unwrap_or_default()
    };
    let (old, new) = (collect(before), collect(after));
    let blocks = compare_blocks(&old.blocks, &new.blocks);

    let mut groups: FxHashMap<GroupKey, Change> = FxHashMap::default();
    for (key, count) in old.groups {
        groups.entry(key).or_default().before = count;
    }
    for (key, count) in new.groups {
        groups.entry(key).or_default().after = count;
    }
    let groups = sorted(groups.into_iter());
    HeapChange {
        handle: reference.map_or(0, |heap| heap.handle),
        kind: reference.map_or(HeapKind::Nt, |heap| heap.kind),
        flags,
        index: reference.map_or(0, |heap| heap.index),
        status: match (before, after) {
            (Some(_), Some(_)) => HeapStatus::Survived,
            (None, _) => HeapStatus::New,
            (_, None) => HeapStatus::Gone,
        },
        busy: Change {
            before: old.busy,
            after: new.busy,
        },
        groups,
        blocks,
        losses: [old.losses, new.losses],
    }
}

/// The blocks of one heap, as far as they matter to the comparison.
#[derive(Default)]
struct Collected {
    busy: Count,
    /// (address, size, hash of the trace), by ascending address.
    blocks: Vec<(u64, u64, u32)>,
    groups: FxHashMap<GroupKey, Count>,
    losses: Losses,
}

/// Gathers blocks during the walk.
#[derive(Default)]
struct Collector {
    by: Option<Grouping>,
    busy: Count,
    blocks: Vec<(u64, u64, u32)>,
    groups: FxHashMap<(u64, Trace), Count>,
    losses: Losses,
}

impl Visitor for Collector {
    fn block(&mut self, block: &Block) -> Flow {
        if !block.is_user_block() {
            return CONTINUE;
        }
        let by = self.by.unwrap_or(Grouping {
            size: true,
            stack: false,
        });
        self.busy.add(block.size);
        self.blocks
            .push((block.address, block.size, hash(block.trace)));
        let size = if by.size { block.size } else { 0 };
        let trace = if by.stack { block.trace } else { Trace::None };
        self.groups
            .entry((size, trace))
            .or_default()
            .add(block.size);
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.losses.span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.losses.finding(finding)
    }
}

fn hash(trace: Trace) -> u32 {
    let mut hasher = FxHasher::default();
    trace.hash(&mut hasher);
    hasher.finish() as u32
}

fn collect(heap: &Heap<'_, '_>, traces: &Traces<'_, '_>, by: Grouping) -> Collected {
    let merge = |mut a: Collector, b: Collector| {
        a.busy.merge(b.busy);
        a.blocks.extend(b.blocks);
        for (key, count) in b.groups {
            a.groups.entry(key).or_default().merge(count);
        }
        a.losses.merge(b.losses);
        a
    };
    let new = || Collector {
        by: Some(by),
        ..Collector::default()
    };
    let mut walked = heap.walk_parallel(new, merge);
    walked.blocks.sort_unstable();

    // Each distinct trace is decoded once; different records can hold the same frames.
    let mut stacks: FxHashMap<Trace, Arc<[u64]>> = FxHashMap::default();
    let mut groups: FxHashMap<GroupKey, Count> = FxHashMap::default();
    for ((size, trace), count) in walked.groups {
        let stack = by.stack.then(|| {
            let read = || traces.frames(trace).unwrap_or_default().into();
            stacks.entry(trace).or_insert_with(read).clone()
        });
        let key = GroupKey {
            size: by.size.then_some(size),
            stack,
        };
        groups.entry(key).or_default().merge(count);
    }
    Collected {
        busy: walked.busy,
        blocks: walked.blocks,
        groups,
        losses: walked.losses,
    }
}

/// Merges two lists that are sorted by address.
fn compare_blocks(old: &[(u64, u64, u32)], new: &[(u64, u64, u32)]) -> BlockChanges {
    let mut changes = BlockChanges::default();
    let (mut old, mut new) = (old.iter().peekable(), new.iter().peekable());
    loop {
        match (old.peek(), new.peek()) {
            (Some(a), Some(b)) if a == b => {
                changes.survived.add(a.1);
                old.next();
                new.next();
            }
            (Some(a), Some(b)) if a < b => {
                changes.gone.add(a.1);
                old.next();
            }
            (Some(a), None) => {
                changes.gone.add(a.1);
                old.next();
            }
            (_, Some(b)) => {
                changes.new.add(b.1);
                new.next();
            }
            (None, None) => return changes,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn blocks() -> impl Strategy<Value = Vec<(u64, u64, u32)>> {
        proptest::collection::btree_map(0..40u64, (1..4u64, 0..2u32), 0..30).prop_map(|map| {
            map.into_iter()
                .map(|(a, (s, t))| (a * 16, s * 8, t))
                .collect()
        })
    }

    proptest! {
        #[test]
        fn the_reversed_comparison_exchanges_new_and_gone(a in blocks(), b in blocks()) {
            let (forth, back) = (compare_blocks(&a, &b), compare_blocks(&b, &a));
            prop_assert_eq!(forth.new, back.gone);
            prop_assert_eq!(forth.gone, back.new);
            prop_assert_eq!(forth.survived, back.survived);
        }

        #[test]
        fn new_less_gone_is_the_growth(a in blocks(), b in blocks()) {
            let changes = compare_blocks(&a, &b);
            let sum = |list: &[(u64, u64, u32)]| list.iter().map(|block| block.1 as i64).sum::<i64>();
            prop_assert_eq!(changes.new.bytes as i64 - changes.gone.bytes as i64, sum(&b) - sum(&a));
            prop_assert_eq!((changes.survived.blocks + changes.new.blocks) as usize, b.len());
            prop_assert_eq!((changes.survived.blocks + changes.gone.blocks) as usize, a.len());
        }

        #[test]
        fn nothing_changes_between_a_dump_and_itself(a in blocks()) {
            let changes = compare_blocks(&a, &a);
            prop_assert_eq!(changes.new.blocks + changes.gone.blocks, 0);
        }
    }
}
