//! Dominators of all blocks at once, from semidominators (Lengauer and Tarjan, with path compression)
//! and the nearest common ancestor of each with the node's parent (Georgiadis): its time has a bound
//! whatever the dump holds (m·log n), without recursion and on numbers of depth-first order alone. Of
//! what leads to a block from before it in that order only the first counts, so only references
//! backwards are listed.

use super::{
    super::{scan::References, sweep::Marks},
    NONE,
};

/// A block that a head leads to, and its immediate dominator: `Err` with the head from which the
/// search reached it, if that are the roots of all heads.
pub(super) type Dominated = (u32, Result<u32, u32>);

/// The immediate dominators of what these heads, to which roots lead, lead to through blocks that are
/// not settled. Each comes behind its dominator.
pub(super) fn dominated(references: &References, heads: &Marks, settled: &Marks) -> Vec<Dominated> {
    /// Steps upwards for each node, on average, before it goes on in leaps.
    const STEPS: usize = 16;
    let order = Order::of(references, heads, settled);
    let predecessors = Predecessors::of(references, &order);
    let semis = semidominators(&order.parents, predecessors);
    let is_head: Vec<bool> = order.parents.iter().map(|&parent| parent == 0).collect();
    let by_node = immediate(order.parents, &semis, STEPS * semis.len());
    let mut head = NONE;
    let mut found = Vec::new();
    for (number, &block) in order.blocks.iter().enumerate().skip(1) {
        if is_head[number] {
            head = block;
            continue;
        }
        let dominator = match by_node[number] {
            0 => Err(head),
            dominator => Ok(order.blocks[dominator as usize]),
        };
        found.push((block, dominator));
    }
    found
}

/// What is kept of a block while semidominators are looked for, by its number in depth-first order.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// A node above it in the depth-first tree: the parent, or what its way was shortened to.
    ancestor: u32,
    /// The lowest semidominator of the nodes on the way there, its own among them.
    key: u32,
}

/// Blocks in depth-first order; 0 is the root of all.
struct Order {
    /// The block of each node.
    blocks: Vec<u32>,
    /// The node from which each was first reached.
    parents: Vec<u32>,
    /// The node of each block, 0 of those that are not reached.
    numbers: Vec<u32>,
    /// Bit by bit, which blocks were reached: what is asked of every reference stays in the cache.
    reached: Vec<u64>,
}

impl Order {
    /// The order from these heads on, through blocks that are not settled.
    fn of(references: &References, heads: &Marks, settled: &Marks) -> Self {
        let reached = settled.words();
        let mut order = Order {
            blocks: vec![NONE],
            parents: vec![0],
            numbers: vec![0; reached.len() * 64],
            reached,
        };
        let mut path = Vec::new();
        for head in heads.iter() {
            order.descend(references, head, &mut path);
        }
        order
    }

    #[inline]
    fn is_reached(&self, block: u32) -> bool {
        self.reached[block as usize / 64] >> (block % 64) & 1 != 0
    }

    fn visit(&mut self, block: u32, parent: u32) -> u32 {
        let number = self.blocks.len() as u32;
        self.blocks.push(block);
        self.parents.push(parent);
        self.numbers[block as usize] = number;
        self.reached[block as usize / 64] |= 1 << (block % 64);
        number
    }

    /// Visits a block and all that it leads to and was not visited yet.
    fn descend(&mut self, references: &References, block: u32, path: &mut Vec<(u32, u32, u32)>) {
        let span = |block: u32| {
            let start = references.start(block as usize);
            (start, references.ends[block as usize])
        };
        // Each node with the references that are left to follow.
        let (start, end) = span(block);
        path.push((self.visit(block, 0), start, end));
        while let Some((number, start, end)) = path.last_mut() {
            let rest = &references.targets[*start as usize..*end as usize];
            let Some(skipped) = rest.iter().position(|&target| !self.is_reached(target)) else {
                path.pop();
                continue;
            };
            let (target, parent) = (rest[skipped], *number);
            *start += skipped as u32 + 1;
            let (start, end) = span(target);
            path.push((self.visit(target, parent), start, end));
        }
    }
}

/// Who leads to each node. Of those that come before it in the order only the first matters; those
/// that come behind it are listed.
struct Predecessors {
    /// The first node that leads to each.
    first: Vec<u32>,
    /// Where the list of each node ends; it begins where that of the node before ends.
    ends: Vec<u32>,
    sources: Vec<u32>,
}

impl Predecessors {
    fn of(references: &References, order: &Order) -> Self {
        let count = order.blocks.len();
        // The root leads to the heads; what has no number was settled before.
        let first = |&parent: &u32| if parent == 0 { 0 } else { NONE };
        let mut first: Vec<u32> = order.parents.iter().map(first).collect();
        let mut ends = vec![0u32; count + 1];
        // The nodes that references backwards lead to, in the order of those that hold them.
        let mut backwards: Vec<u32> = Vec::new();
        let mut marks = vec![0u32; count];
        // Neither what a block holds nor what is known of where it leads lies near: looks that
        // depend on nothing go on together, some nodes at a time.
        let mut batch: Vec<(u32, u32)> = Vec::new();
        for start in (1..count).step_by(BATCH) {
            let numbers = start..count.min(start + BATCH);
            let blocks = &order.blocks[numbers.clone()];
            let ahead = &order.blocks[numbers.end..count.min(numbers.end + BATCH)];
            let looks = ahead.iter().map(|&block| {
                let start = references.start(block as usize) as usize;
                references.targets.get(start).copied().unwrap_or(0)
            });
            std::hint::black_box(looks.fold(0, |looks, target| looks ^ target));
            batch.clear();
            for (number, &block) in (start as u32..).zip(blocks) {
                let (targets, _) = references.of(block as usize);
                batch.extend(targets.iter().map(|&t| (number, order.numbers[t as usize])));
            }
            let looks = batch.iter().map(|&(_, target)| first[target as usize]);
            std::hint::black_box(looks.fold(0, |looks, first| looks ^ first));
            for &(number, target) in &batch {
                let first = &mut first[target as usize];
                if target > number {
                    *first = (*first).min(number);
                } else if *first != 0 {
                    // Where the roots lead to, nothing else matters.
                    ends[target as usize + 1] += 1;
                    backwards.push(target);
                    marks[number as usize] += 1;
                }
            }
        }
        for index in 1..ends.len() {
            ends[index] += ends[index - 1];
        }
        let mut sources = vec![0u32; backwards.len()];
        let mut rest = backwards.as_slice();
        // Each list is filled from its start, which thereby becomes its end.
        for (number, &held) in (0..).zip(&marks) {
            let (mine, others) = rest.split_at(held as usize);
            for &target in mine {
                let at = &mut ends[target as usize];
                sources[*at as usize] = number;
                *at += 1;
            }
            rest = others;
        }
        ends.pop();
        Predecessors {
            first,
            ends,
            sources,
        }
    }
}

/// Nodes whose references are looked at together.
const BATCH: usize = 64;

/// The lowest semidominator of a node and of those above it that come behind `root`, which are those
/// that were dealt with; shortens the way.
#[inline]
fn evaluate(nodes: &mut [Node], number: u32, root: u32, path: &mut Vec<u32>) -> u32 {
    let (mut at, mut node) = (number, nodes[number as usize]);
    while node.ancestor > root {
        path.push(at);
        at = node.ancestor;
        node = nodes[at as usize];
    }
    // The topmost stays; each below it takes over what is better above.
    let mut above = node;
    while let Some(below) = path.pop() {
        let node = &mut nodes[below as usize];
        node.key = node.key.min(above.key);
        node.ancestor = above.ancestor;
        above = *node;
    }
    above.key
}

/// The semidominator of each node.
fn semidominators(parents: &[u32], predecessors: Predecessors) -> Vec<u32> {
    let node = |(key, &ancestor): (u32, &u32)| Node { ancestor, key };
    let mut nodes: Vec<Node> = (0..).zip(parents).map(node).collect();
    let mut path = Vec::new();
    let mut semis = predecessors.first;
    let (ends, sources) = (predecessors.ends, predecessors.sources);
    for number in (1..parents.len()).rev() {
        let mut semi = semis[number];
        if semi != 0 {
            let listed = &sources[ends[number - 1] as usize..ends[number] as usize];
            // The nodes lie anywhere: looks at them that depend on nothing go on together.
            let looks = listed.iter().map(|&source| nodes[source as usize].ancestor);
            std::hint::black_box(looks.fold(0, |sum, ancestor| sum ^ ancestor));
            for &source in listed {
                semi = semi.min(evaluate(&mut nodes, source, number as u32, &mut path));
            }
        }
        nodes[number].key = semi;
        semis[number] = semi;
    }
    semis
}

/// The immediate dominators of the nodes: of those above the parent in the tree of dominators, the
/// first that does not come behind the semidominator. `steps` is how many may be looked at one
/// after the other; a tree that is made for it takes as many as the square of the nodes.
fn immediate(parents: Vec<u32>, semis: &[u32], mut steps: usize) -> Vec<u32> {
    let mut immediate = parents;
    for number in 1..immediate.len() {
        let (mut at, semi) = (immediate[number], semis[number]);
        while at > semi {
            if steps == 0 {
                leap(&mut immediate, semis, number);
                return immediate;
            }
            steps -= 1;
            at = immediate[at as usize];
        }
        immediate[number] = at;
    }
    immediate
}

/// Goes on from a node in leaps: each node knows one far above it, so that as many looks do as its
/// depth has digits (Myers).
fn leap(immediate: &mut [u32], semis: &[u32], from: usize) {
    let mut depths = vec![0u32; immediate.len()];
    let mut far = vec![0u32; immediate.len()];
    for number in 1..immediate.len() {
        if number >= from {
            let (mut at, semi) = (immediate[number], semis[number]);
            while at > semi {
                let leap = far[at as usize];
                at = if leap > semi {
                    leap
                } else {
                    immediate[at as usize]
                };
            }
            immediate[number] = at;
        }
        let above = immediate[number];
        depths[number] = depths[above as usize] + 1;
        let near = far[above as usize];
        let next = far[near as usize];
        let depth = |node: u32| depths[node as usize];
        far[number] = match depth(above) - depth(near) == depth(near) - depth(next) {
            true => next,
            false => above,
        };
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn leaps_lead_where_steps_do(
            nodes in proptest::collection::vec((0u32..1000, 0u32..1000), 0..200),
            steps in 0usize..400,
        ) {
            let (mut parents, mut semis) = (vec![0], vec![0]);
            for (number, (parent, semi)) in (1..).zip(nodes) {
                let parent = parent % number;
                parents.push(parent);
                semis.push(semi % (parent + 1));
            }
            let stepwise = immediate(parents.clone(), &semis, usize::MAX);
            prop_assert_eq!(immediate(parents, &semis, steps), stepwise);
        }
    }
}
