//! Dominators: which block alone keeps which others alive.
//!
//! A block dominates another if every way from the roots to that one leads through it; freeing it
//! would take the other along. Each block has one immediate dominator, the nearest, and so the blocks
//! form a tree, whose root stands for all roots together. What a block *retains* are its bytes and
//! those of all below it.
//!
//! The tree is found by the algorithm of Lengauer and Tarjan with path compression, whose time has a
//! bound whatever the dump holds (m·log n), without recursion and on numbers of depth-first order
//! alone. Of what leads to a block from before it in that order only the first counts, so only
//! references backwards are listed: 57 bytes a block and at most 8 a reference, half of it while the
//! lists are made.

use super::Graph;

/// No block: of the roots, and of what they don't lead to.
const NONE: u32 = u32::MAX;

/// The tree of dominators over all pointers, whatever rules hold for them, from the roots that count
/// without any rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dominators {
    /// By number of the block; [`NONE`] if no block dominates it.
    immediate: Vec<u32>,
    /// Bytes that each block retains; 0 if no root leads to it.
    retained: Vec<u64>,
    /// Whether a root leads to the block.
    reached: Vec<bool>,
}

impl Dominators {
    /// The immediate dominator of a block; `None` if that are the roots, or if none leads to it.
    #[must_use]
    pub fn of(&self, block: u32) -> Option<u32> {
        let immediate = self.immediate[block as usize];
        (immediate != NONE).then_some(immediate)
    }

    /// Whether a root leads to the block, by whatever pointers.
    #[must_use]
    pub fn is_reached(&self, block: u32) -> bool {
        self.reached[block as usize]
    }

    /// Bytes that a block retains, its own among them; `None` if no root leads to it.
    #[must_use]
    pub fn retained(&self, block: u32) -> Option<u64> {
        let block = block as usize;
        self.reached[block].then_some(self.retained[block])
    }

    /// The dominators of a block, the nearest first.
    pub fn above(&self, block: u32) -> impl Iterator<Item = u32> + '_ {
        std::iter::successors(self.of(block), |&block| self.of(block))
    }
}

/// What is kept of a block while the tree is built, by its number in depth-first order.
#[derive(Debug, Clone, Copy)]
struct Node {
    /// The next node above in the forest of those that were dealt with; [`NONE`] of others.
    ancestor: u32,
    /// The node with the lowest semidominator on the way there, and that semidominator.
    label: u32,
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
    fn of(graph: &Graph<'_, '_>) -> Self {
        let count = graph.index.len();
        let mut order = Order {
            blocks: vec![NONE],
            parents: vec![0],
            numbers: vec![0; count],
            reached: vec![0; count.div_ceil(64)],
        };
        let mut path = Vec::new();
        for root in graph.root_holders(super::Rules::NONE) {
            let (targets, _) = graph.references.of(root);
            for &target in targets {
                order.descend(graph, target, &mut path);
            }
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
    fn descend(&mut self, graph: &Graph<'_, '_>, block: u32, path: &mut Vec<(u32, u32, u32)>) {
        if self.is_reached(block) {
            return;
        }
        let references = &graph.references;
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
    fn of(graph: &Graph<'_, '_>, order: &Order) -> Self {
        let count = order.blocks.len();
        let mut first = vec![NONE; count];
        let mut ends = vec![0u32; count + 1];
        for root in graph.root_holders(super::Rules::NONE) {
            for &target in graph.references.of(root).0 {
                first[order.numbers[target as usize] as usize] = 0;
            }
        }
        // The nodes that references backwards lead to, in the order of those that hold them.
        let mut backwards: Vec<u32> = Vec::new();
        let mut marks = vec![0u32; count];
        for number in 1..count as u32 {
            let block = order.blocks[number as usize];
            for &target in graph.references.of(block as usize).0 {
                let target = order.numbers[target as usize];
                if target > number {
                    let first = &mut first[target as usize];
                    *first = (*first).min(number);
                } else if first[target as usize] != 0 {
                    // Where the roots lead to, nothing else matters.
                    ends[target as usize + 1] += 1;
                    backwards.push(target);
                }
            }
            marks[number as usize] = backwards.len() as u32;
        }
        for index in 1..ends.len() {
            ends[index] += ends[index - 1];
        }
        let mut sources = vec![0u32; backwards.len()];
        let mut start = 0;
        // Each list is filled from its start, which thereby becomes its end.
        for (number, &end) in (0..).zip(&marks) {
            for &target in &backwards[start..end as usize] {
                let at = &mut ends[target as usize];
                sources[*at as usize] = number;
                *at += 1;
            }
            start = end as usize;
        }
        ends.pop();
        Predecessors {
            first,
            ends,
            sources,
        }
    }

    fn listed(&self, number: usize) -> &[u32] {
        let start = self.ends[number - 1] as usize;
        &self.sources[start..self.ends[number] as usize]
    }
}

/// The node with the lowest semidominator on the way up to a root of the forest, and that; shortens
/// the way.
fn evaluate(nodes: &mut [Node], number: u32, path: &mut Vec<u32>) -> (u32, u32) {
    let mut at = number;
    let mut node = nodes[at as usize];
    if node.ancestor == NONE {
        return (number, node.key);
    }
    loop {
        let above = nodes[node.ancestor as usize];
        if above.ancestor == NONE {
            break;
        }
        path.push(at);
        (at, node) = (node.ancestor, above);
    }
    // The topmost stays; each below it takes over what is better above.
    let mut above = node;
    while let Some(below) = path.pop() {
        let node = &mut nodes[below as usize];
        if above.key < node.key {
            (node.label, node.key) = (above.label, above.key);
        }
        node.ancestor = above.ancestor;
        above = *node;
    }
    (above.label, above.key)
}

/// The immediate dominators by node.
fn immediate(order: &Order, mut predecessors: Predecessors) -> Vec<u32> {
    let count = order.blocks.len();
    let node = |number: u32| Node {
        ancestor: NONE,
        label: number,
        key: number,
    };
    let mut nodes: Vec<Node> = (0..count as u32).map(node).collect();
    let mut immediate = vec![0u32; count];
    // Nodes by semidominator: the first of each list, and the next of each node.
    let mut first = vec![0u32; count];
    let mut next = vec![0u32; count];
    let mut path = Vec::new();
    for number in (1..count).rev() {
        let mut semi = predecessors.first[number];
        let listed = predecessors.listed(number);
        if semi != 0 {
            // The nodes lie anywhere: looks at them that depend on nothing go on together.
            let looks = listed.iter().map(|&source| nodes[source as usize].ancestor);
            std::hint::black_box(looks.fold(0, |sum, ancestor| sum ^ ancestor));
            for &source in listed {
                semi = semi.min(evaluate(&mut nodes, source, &mut path).1);
            }
        }
        let parent = order.parents[number];
        nodes[number].key = semi;
        if semi == parent {
            // It would be the first to be looked at, and its own lowest.
            immediate[number] = parent;
        } else {
            next[number] = first[semi as usize];
            first[semi as usize] = number as u32;
        }
        nodes[number].ancestor = parent;
        let mut waiting = std::mem::take(&mut first[parent as usize]);
        while waiting != 0 {
            let (lowest, key) = evaluate(&mut nodes, waiting, &mut path);
            immediate[waiting as usize] = if key < parent { lowest } else { parent };
            waiting = next[waiting as usize];
        }
        // What led to the node first is known no longer, but its semidominator is.
        predecessors.first[number] = semi;
    }
    for number in 1..count {
        if immediate[number] != predecessors.first[number] {
            immediate[number] = immediate[immediate[number] as usize];
        }
    }
    immediate
}

/// The tree of dominators of a graph.
pub(super) fn dominators(graph: &Graph<'_, '_>) -> Dominators {
    let order = Order::of(graph);
    let predecessors = Predecessors::of(graph, &order);
    let by_node = immediate(&order, predecessors);
    let count = graph.index.len();
    let mut found = Dominators {
        immediate: vec![NONE; count],
        retained: vec![0; count],
        reached: vec![false; count],
    };
    // A node comes before those that it dominates, so that going back each sum is whole when it is
    // added to that of its dominator.
    for number in (1..by_node.len()).rev() {
        let block = order.blocks[number] as usize;
        let dominator = by_node[number];
        let retained = found.retained[block].saturating_add(graph.index.size(block as u32));
        found.retained[block] = retained;
        found.reached[block] = true;
        if dominator != 0 {
            let above = order.blocks[dominator as usize];
            found.immediate[block] = above;
            let sum = &mut found.retained[above as usize];
            *sum = sum.saturating_add(retained);
        }
    }
    found
}
