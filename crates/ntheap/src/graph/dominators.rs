//! Dominators: which block alone keeps which others alive.
//!
//! A block dominates another if every way from the roots to that one leads through it; freeing it
//! would take the other along. Each block has one immediate dominator, the nearest, and so the blocks
//! form a tree, whose root stands for all roots together. What a block *retains* are its bytes and
//! those of all below it.
//!
//! The tree is found by the algorithm of Lengauer and Tarjan with path compression, whose time has a
//! bound whatever the dump holds (n·log n), without recursion and on numbers of depth-first order
//! alone: 36 bytes a block and 4 a reference.

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
    /// The node with the lowest semidominator on the way there.
    label: u32,
    semi: u32,
    parent: u32,
}

/// Blocks in depth-first order; 0 is the root of all.
struct Order {
    nodes: Vec<Node>,
    /// The block of each node.
    blocks: Vec<u32>,
    /// The node of each block, 0 of those that are not reached.
    numbers: Vec<u32>,
}

impl Order {
    fn of(graph: &Graph<'_, '_>) -> Self {
        let count = graph.index.len();
        let mut order = Order {
            nodes: vec![Node::new(0, 0)],
            blocks: vec![NONE],
            numbers: vec![0; count],
        };
        for root in graph.root_holders(super::Rules::NONE) {
            let (targets, _) = graph.references.of(root);
            for &target in targets {
                order.descend(graph, target);
            }
        }
        order
    }

    fn visit(&mut self, block: u32, parent: u32) -> u32 {
        let number = self.nodes.len() as u32;
        self.nodes.push(Node::new(number, parent));
        self.blocks.push(block);
        self.numbers[block as usize] = number;
        number
    }

    /// Visits a block and all that it leads to and was not visited yet.
    fn descend(&mut self, graph: &Graph<'_, '_>, block: u32) {
        if self.numbers[block as usize] != 0 {
            return;
        }
        // Each node with the position of the reference to follow next.
        let start = graph.references.start(block as usize);
        let mut path = vec![(self.visit(block, 0), start)];
        while let Some((number, position)) = path.last_mut() {
            let end = graph.references.ends[self.blocks[*number as usize] as usize];
            if *position == end {
                path.pop();
                continue;
            }
            let target = graph.references.targets[*position as usize];
            *position += 1;
            if self.numbers[target as usize] == 0 {
                let parent = *number;
                let start = graph.references.start(target as usize);
                path.push((self.visit(target, parent), start));
            }
        }
    }

    /// Who leads to each node: the ends of their lists, and the nodes.
    fn predecessors(&self, graph: &Graph<'_, '_>) -> (Vec<u32>, Vec<u32>) {
        let mut ends = vec![0u32; self.nodes.len() + 1];
        let targets = |number: usize| {
            let block = self.blocks[number];
            graph.references.of(block as usize).0
        };
        let roots = || {
            let holders = graph.root_holders(super::Rules::NONE);
            holders.flat_map(|root| graph.references.of(root).0)
        };
        let each = |take: &mut dyn FnMut(u32, u32)| {
            for &target in roots() {
                take(0, self.numbers[target as usize]);
            }
            for number in 1..self.nodes.len() {
                for &target in targets(number) {
                    take(number as u32, self.numbers[target as usize]);
                }
            }
        };
        each(&mut |_, target| ends[target as usize + 1] += 1);
        for index in 1..ends.len() {
            ends[index] += ends[index - 1];
        }
        let mut sources = vec![0u32; ends.last().copied().unwrap_or(0) as usize];
        // Each list is filled from its start, which thereby becomes its end.
        each(&mut |source, target| {
            let at = &mut ends[target as usize];
            sources[*at as usize] = source;
            *at += 1;
        });
        ends.pop();
        (ends, sources)
    }
}

impl Node {
    fn new(number: u32, parent: u32) -> Self {
        Node {
            ancestor: NONE,
            label: number,
            semi: number,
            parent,
        }
    }
}

/// The node with the lowest semidominator on the way up to a root of the forest; shortens the way.
fn evaluate(nodes: &mut [Node], number: u32, path: &mut Vec<u32>) -> u32 {
    let mut at = number;
    if nodes[at as usize].ancestor == NONE {
        return number;
    }
    while nodes[nodes[at as usize].ancestor as usize].ancestor != NONE {
        path.push(at);
        at = nodes[at as usize].ancestor;
    }
    while let Some(number) = path.pop() {
        let above = nodes[nodes[number as usize].ancestor as usize];
        let mine = nodes[nodes[number as usize].label as usize].semi;
        if nodes[above.label as usize].semi < mine {
            nodes[number as usize].label = above.label;
        }
        nodes[number as usize].ancestor = above.ancestor;
    }
    nodes[number as usize].label
}

/// The immediate dominators by node.
fn immediate(order: &mut Order, ends: &[u32], sources: &[u32]) -> Vec<u32> {
    let nodes = &mut order.nodes;
    let count = nodes.len();
    let mut immediate = vec![0u32; count];
    // Nodes by semidominator: the first of each list, and the next of each node.
    let mut first = vec![0u32; count];
    let mut next = vec![0u32; count];
    let mut path = Vec::new();
    for number in (1..count).rev() {
        let start = ends[number - 1] as usize;
        let mut semi = nodes[number].semi;
        for &source in &sources[start..ends[number] as usize] {
            // Whoever comes earlier was not dealt with yet, and stands for itself.
            let candidate = if source < number as u32 {
                source
            } else {
                let lowest = evaluate(nodes, source, &mut path);
                nodes[lowest as usize].semi
            };
            semi = semi.min(candidate);
        }
        nodes[number].semi = semi;
        next[number] = first[semi as usize];
        first[semi as usize] = number as u32;
        let parent = nodes[number].parent;
        nodes[number].ancestor = parent;
        let mut waiting = std::mem::take(&mut first[parent as usize]);
        while waiting != 0 {
            let lowest = evaluate(nodes, waiting, &mut path);
            let below = nodes[lowest as usize].semi < nodes[waiting as usize].semi;
            immediate[waiting as usize] = if below { lowest } else { parent };
            waiting = next[waiting as usize];
        }
    }
    for number in 1..count {
        if immediate[number] != nodes[number].semi {
            immediate[number] = immediate[immediate[number] as usize];
        }
    }
    immediate
}

/// The tree of dominators of a graph.
pub(super) fn dominators(graph: &Graph<'_, '_>) -> Dominators {
    let mut order = Order::of(graph);
    let (ends, sources) = order.predecessors(graph);
    let by_node = immediate(&mut order, &ends, &sources);
    drop((ends, sources));
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
