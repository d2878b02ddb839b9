//! What could be one leak: groups of blocks put together by where they come from, or by their size.

use rustc_hash::FxHashMap;

use super::{Comparison, Course, Options, SizeChange, Trend, heaps::merge_counts};
use crate::{
    names::{FunctionId, Functions, NameSource, Wrappers},
    stats::Count,
};

/// A function that growth parts under more callees than this is the answer itself: none of them is.
const PARTS: usize = 16;
/// The part of the growth, in per cent, from which on one size stands for a candidate.
const ONE_SIZE_PERCENT: i64 = 80;

/// One group of one heap.
#[derive(Debug, Clone, Copy)]
struct Leaf {
    heap: usize,
    group: usize,
    /// Position of its chain.
    chain: Option<usize>,
}

/// Which of the new blocks of its groups are a candidate's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// All.
    All,
    /// The lost ones.
    Lost,
    /// The others.
    Held,
}

/// Groups that are looked at as one.
#[derive(Debug, Clone)]
pub(super) struct Candidate {
    /// What all its stacks have in common, innermost first; empty without stacks.
    pub(super) path: Vec<FunctionId>,
    /// What was passed over in front of it, in the first of its stacks.
    pub(super) passed_over: Vec<FunctionId>,
    /// Every group: positions of the heap and of the group in it.
    pub(super) groups: Vec<(usize, usize)>,
    pub(super) takes: Takes,
    /// Distinct chains of functions.
    pub(super) stacks: usize,
    pub(super) counts: Vec<Count>,
    pub(super) sizes: Vec<SizeChange>,
    pub(super) course: Course,
    /// The heap that has most of it.
    pub(super) heap: usize,
}

impl Candidate {
    pub(super) fn bytes(&self) -> i64 {
        super::Change::of(&self.counts).bytes()
    }

    pub(super) fn blocks(&self) -> i64 {
        super::Change::of(&self.counts).blocks()
    }

    /// Takes another in.
    pub(super) fn absorb(&mut self, other: Candidate, times: &[u32]) {
        let common = common_suffix(&self.path, &other.path);
        if !common.is_empty() {
            self.path = common;
        }
        self.groups.extend(other.groups);
        self.stacks += other.stacks;
        merge_counts(&mut self.counts, &other.counts);
        for size in other.sizes {
            match self.sizes.iter_mut().find(|mine| mine.size == size.size) {
                Some(mine) => mine.change.merge(size.change),
                None => self.sizes.push(size),
            }
        }
        self.sizes
            .sort_by_key(|size| (std::cmp::Reverse(size.change.bytes()), size.size));
        self.course = Course::of(times, &self.counts);
    }
}

/// The frames that two chains end with.
fn common_suffix(a: &[FunctionId], b: &[FunctionId]) -> Vec<FunctionId> {
    let common = a.iter().rev().zip(b.iter().rev());
    let length = common.take_while(|(a, b)| a == b).count();
    a[a.len() - length..].to_vec()
}

/// All candidates of a comparison, those that grew and those that did not.
pub(super) struct Candidates<'n> {
    pub(super) all: Vec<Candidate>,
    pub(super) functions: Functions<'n>,
    pub(super) wrappers: Wrappers,
}

/// `lost` has for each group, by the positions of its heap and of itself, the number of its new blocks
/// that are lost, and of all.
pub(super) fn find<'n>(
    comparison: &Comparison,
    names: &'n dyn NameSource,
    options: &Options,
    lost: &FxHashMap<(usize, usize), (u64, u64)>,
) -> Candidates<'n> {
    let mut functions = Functions::new(names);
    let mut chains: Vec<Vec<FunctionId>> = Vec::new();
    let mut known: FxHashMap<&[u64], usize> = FxHashMap::default();
    let mut leaves: Vec<Leaf> = Vec::new();
    for (heap, change) in comparison.heaps.iter().enumerate() {
        for (group, row) in change.groups.iter().enumerate() {
            let stack = row.key.stack.as_deref().filter(|stack| !stack.is_empty());
            let chain = stack.map(|stack| {
                *known.entry(stack).or_insert_with(|| {
                    chains.push(functions.chain(stack));
                    chains.len() - 1
                })
            });
            leaves.push(Leaf { heap, group, chain });
        }
    }
    let wrappers = Wrappers::find(&functions, &chains);
    let essences: Vec<&[FunctionId]> = chains
        .iter()
        .map(|chain| wrappers.essence(&functions, chain))
        .collect();
    let grouper = Grouper {
        comparison,
        whole: &chains,
        chains: &essences,
        lost,
        times: comparison.moments.iter().map(|m| m.timestamp).collect(),
    };
    let mut all = Vec::new();
    let (with_stack, without): (Vec<Leaf>, Vec<Leaf>) =
        leaves.into_iter().partition(|leaf| leaf.chain.is_some());
    match options.depth {
        Some(depth) => all.extend(grouper.at_depth(with_stack, depth.max(1))),
        None => grouper.split(with_stack, 0, &mut all),
    }
    let mut sizes: FxHashMap<(usize, Option<u64>), Vec<Leaf>> = FxHashMap::default();
    for leaf in without {
        let size = grouper.group(&leaf).key.size;
        sizes.entry((leaf.heap, size)).or_default().push(leaf);
    }
    for ((_, size), leaves) in sizes {
        let candidate = grouper.candidate(leaves);
        all.extend(apart(candidate, size, lost));
    }
    Candidates {
        all,
        functions,
        wrappers,
    }
}

struct Grouper<'c> {
    comparison: &'c Comparison,
    /// The chains with everything.
    whole: &'c [Vec<FunctionId>],
    chains: &'c [&'c [FunctionId]],
    lost: &'c FxHashMap<(usize, usize), (u64, u64)>,
    times: Vec<u32>,
}

impl Grouper<'_> {
    fn group(&self, leaf: &Leaf) -> &super::GroupChange {
        &self.comparison.heaps[leaf.heap].groups[leaf.group]
    }

    fn chain(&self, leaf: &Leaf) -> &[FunctionId] {
        leaf.chain.map_or(&[], |chain| self.chains[chain])
    }

    /// One candidate for each beginning of this length.
    fn at_depth(&self, leaves: Vec<Leaf>, depth: usize) -> Vec<Candidate> {
        let mut parts: FxHashMap<&[FunctionId], Vec<Leaf>> = FxHashMap::default();
        for leaf in leaves {
            let chain = self.chain(&leaf);
            let part = parts.entry(&chain[..depth.min(chain.len())]);
            part.or_default().push(leaf);
        }
        parts
            .into_values()
            .map(|part| self.candidate(part))
            .collect()
    }

    /// Candidates by the innermost function; what comes through it from few callers is told apart by
    /// these where it is not of one kind: of several sizes, or lost from one and held from another, or
    /// steady from one and once from another. The depth is that of a stack at most.
    fn split(&self, leaves: Vec<Leaf>, depth: usize, out: &mut Vec<Candidate>) {
        for (function, part) in self.parts(&leaves, depth) {
            let whole = function.is_none() || self.is_one_path(&part) || {
                let callers = self.parts(&part, depth + 1);
                let alike = self.is_one_size(&part) && self.are_alike(&callers);
                callers.len() > PARTS || alike
            };
            match whole {
                true => out.push(self.candidate(part)),
                false => self.split(part, depth + 1, out),
            }
        }
    }

    /// The leaves by the function at this depth.
    fn parts(&self, leaves: &[Leaf], depth: usize) -> Vec<(Option<FunctionId>, Vec<Leaf>)> {
        let mut parts: FxHashMap<Option<FunctionId>, Vec<Leaf>> = FxHashMap::default();
        for leaf in leaves {
            let function = self.chain(leaf).get(depth).copied();
            parts.entry(function).or_default().push(*leaf);
        }
        let mut parts: Vec<_> = parts.into_iter().collect();
        parts.sort_unstable_by_key(|part| part.0);
        parts
    }

    /// Whether all parts that changed went the same way, and are lost or held alike.
    fn are_alike(&self, parts: &[(Option<FunctionId>, Vec<Leaf>)]) -> bool {
        let way = |part: &Vec<Leaf>| {
            let mut counts = Vec::new();
            let (mut lost, mut of) = (0u64, 0u64);
            for leaf in part {
                merge_counts(&mut counts, &self.group(leaf).counts);
                if let Some(seen) = self.lost.get(&(leaf.heap, leaf.group)) {
                    (lost, of) = (lost + seen.0, of + seen.1);
                }
            }
            let trend = Course::of(&self.times, &counts).trend;
            (trend != Trend::Same).then_some((trend, lost * 2 >= of && of > 0))
        };
        let mut ways = parts.iter().filter_map(|(_, part)| way(part));
        let first = ways.next();
        ways.all(|way| Some(way) == first)
    }

    fn is_one_path(&self, part: &[Leaf]) -> bool {
        let first = part.first().map(|leaf| self.chain(leaf));
        part.iter().all(|leaf| Some(self.chain(leaf)) == first)
    }

    fn is_one_size(&self, part: &[Leaf]) -> bool {
        let mut sizes: FxHashMap<Option<u64>, i64> = FxHashMap::default();
        let mut all = 0i64;
        for leaf in part {
            let group = self.group(leaf);
            let grown = group.change.bytes().max(0);
            all = all.saturating_add(grown);
            let sum = sizes.entry(group.key.size).or_default();
            *sum = sum.saturating_add(grown);
        }
        let most = sizes.into_values().max().unwrap_or(0);
        most.saturating_mul(100) >= all.saturating_mul(ONE_SIZE_PERCENT)
    }

    fn candidate(&self, leaves: Vec<Leaf>) -> Candidate {
        let mut counts = Vec::new();
        let mut sizes: FxHashMap<Option<u64>, Vec<Count>> = FxHashMap::default();
        let mut heaps: FxHashMap<usize, i64> = FxHashMap::default();
        let mut chains: Vec<&[FunctionId]> = Vec::new();
        for leaf in &leaves {
            let group = self.group(leaf);
            merge_counts(&mut counts, &group.counts);
            merge_counts(sizes.entry(group.key.size).or_default(), &group.counts);
            let sum = heaps.entry(leaf.heap).or_default();
            *sum = sum.saturating_add(group.change.bytes());
            chains.push(self.chain(leaf));
        }
        chains.sort_unstable();
        chains.dedup();
        let first = chains.first().copied().unwrap_or(&[]);
        let common = chains.iter().fold(first.len(), |length, chain| {
            let same = first.iter().zip(*chain).take_while(|(a, b)| a == b);
            length.min(same.count())
        });
        let mut sizes: Vec<SizeChange> = sizes
            .into_iter()
            .filter_map(|(size, counts)| {
                let change = super::Change::of(&counts);
                Some(SizeChange {
                    size: size?,
                    change,
                })
            })
            .filter(|size| !size.change.is_zero())
            .collect();
        sizes.sort_by_key(|size| (std::cmp::Reverse(size.change.bytes()), size.size));
        Candidate {
            path: first[..common].to_vec(),
            passed_over: leaves
                .iter()
                .find_map(|leaf| leaf.chain)
                .map_or_else(Vec::new, |chain| {
                    let whole = &self.whole[chain];
                    whole[..whole.len() - self.chains[chain].len()].to_vec()
                }),
            stacks: chains.iter().filter(|chain| !chain.is_empty()).count(),
            course: Course::of(&self.times, &counts),
            heap: heaps
                .into_iter()
                .max_by_key(|&(heap, bytes)| (bytes, std::cmp::Reverse(heap)))
                .map_or(0, |(heap, _)| heap),
            groups: leaves.iter().map(|leaf| (leaf.heap, leaf.group)).collect(),
            takes: Takes::All,
            counts,
            sizes,
        }
    }
}

/// Without stacks a size has blocks of many origins: those that were lost since the first dump are a
/// candidate of their own, however many others of that size came or went.
fn apart(
    mut held: Candidate,
    size: Option<u64>,
    lost: &FxHashMap<(usize, usize), (u64, u64)>,
) -> Vec<Candidate> {
    /// A single lost block tells nothing of what comes again.
    const FEWEST: u64 = 2;
    let blocks = held.groups.iter().filter_map(|group| lost.get(group));
    let blocks: u64 = blocks.map(|seen| seen.0).sum();
    let (Some(size), true) = (size, blocks >= FEWEST) else {
        return vec![held];
    };
    let count = Count {
        blocks,
        bytes: size.saturating_mul(blocks),
    };
    let counts = vec![Count::default(), count];
    let change = super::Change::of(&counts);
    let own = Candidate {
        takes: Takes::Lost,
        counts,
        sizes: vec![SizeChange { size, change }],
        course: Course {
            trend: Trend::EveryInterval,
            steadiness: None,
        },
        ..held.clone()
    };
    held.takes = Takes::Held;
    if let Some(last) = held.counts.last_mut() {
        last.blocks = last.blocks.saturating_sub(count.blocks);
        last.bytes = last.bytes.saturating_sub(count.bytes);
    }
    let change = super::Change::of(&held.counts);
    held.sizes = vec![SizeChange { size, change }];
    vec![own, held]
}

/// Whether two candidates grew in step, in a way that is no accident: their curves have the same
/// shape, and the shape is not the straight line that every steady growth has.
pub(super) fn in_lock_step(a: &Candidate, b: &Candidate) -> bool {
    /// Farthest that two curves, each from 0 to 1, may lie apart.
    const APART: f64 = 0.02;
    /// Nearer to the straight line than this all curves are alike.
    const STRAIGHT: f64 = 0.85;
    let several = |candidate: &Candidate| {
        matches!(
            candidate.course.trend,
            Trend::EveryInterval | Trend::Sometimes
        ) && candidate.course.steadiness.is_some_and(|s| s < STRAIGHT)
    };
    if a.counts.len() < 4 || !several(a) || !several(b) {
        return false;
    }
    let curve = |candidate: &Candidate| -> Vec<f64> {
        let value = |count: &Count| count.blocks as f64;
        let first = candidate.counts.first().map_or(0.0, value);
        let growth = candidate.counts.last().map_or(0.0, value) - first;
        let counts = candidate.counts.iter();
        counts
            .map(|count| (value(count) - first) / growth)
            .collect()
    };
    let apart = |(a, b): (f64, f64)| (a - b).abs() <= APART;
    a.blocks() > 0 && b.blocks() > 0 && curve(a).into_iter().zip(curve(b)).all(apart)
}
