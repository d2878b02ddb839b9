//! The stacks as a tree for a flame graph, with what is too small to see folded.

use ntheap::{
    diff::{Change, Comparison},
    names::NameSource,
};
use rustc_hash::FxHashMap;
use serde::Serialize;

use crate::text::stacks::function_name;

/// Nodes that the page holds at most.
const NODES: usize = 8000;
/// The part of the whole below which a node is folded at first.
const FOLDED: u64 = 2000;

/// The tree: nodes in depth-first order.
#[derive(Debug, Serialize)]
pub(super) struct Flame {
    names: Vec<String>,
    /// Depth, name, bytes before and after, blocks before and after.
    nodes: Vec<(u32, u32, u64, u64, u64, u64)>,
}

#[derive(Default)]
struct Node {
    name: u32,
    change: Change,
    children: Vec<u32>,
}

impl Node {
    /// What decides of its being seen.
    fn weight(&self) -> u64 {
        self.change.before.bytes.max(self.change.after.bytes)
    }
}

struct Tree {
    nodes: Vec<Node>,
    names: Vec<String>,
    numbers: FxHashMap<String, u32>,
}

impl Tree {
    fn name(&mut self, text: &str) -> u32 {
        if let Some(&known) = self.numbers.get(text) {
            return known;
        }
        let number = self.names.len() as u32;
        self.names.push(text.to_owned());
        self.numbers.insert(text.to_owned(), number);
        number
    }

    fn of(comparison: &Comparison, names: &dyn NameSource) -> Self {
        let mut tree = Tree {
            nodes: vec![Node::default()],
            names: Vec::new(),
            numbers: FxHashMap::default(),
        };
        tree.name("all");
        let mut of_address: FxHashMap<u64, Vec<u32>> = FxHashMap::default();
        let mut children: FxHashMap<(u32, u32), u32> = FxHashMap::default();
        for group in comparison.heaps.iter().flat_map(|heap| &heap.groups) {
            let stack = group.key.stack.as_deref().unwrap_or(&[]);
            let mut path: Vec<u32> = Vec::new();
            for &address in stack.iter().rev() {
                if let Some(known) = of_address.get(&address) {
                    path.extend_from_slice(known);
                    continue;
                }
                let frames = names.frames(address);
                let texts: Vec<String> = match frames.is_empty() {
                    true => vec![format!("{address:#x}")],
                    false => frames.iter().rev().map(function_name).collect(),
                };
                let numbers: Vec<u32> = texts.iter().map(|text| tree.name(text)).collect();
                path.extend_from_slice(&numbers);
                of_address.insert(address, numbers);
            }
            if stack.is_empty() {
                let size = group
                    .key
                    .size
                    .map_or("all".to_owned(), |size| format!("{size:#x}"));
                path.push(tree.name("[no stack]"));
                path.push(tree.name(&format!("blocks of {size} bytes")));
            }
            let mut at = 0u32;
            tree.nodes[0].change.merge(group.change);
            for name in path {
                let nodes = &mut tree.nodes;
                at = *children.entry((at, name)).or_insert_with(|| {
                    let next = nodes.len() as u32;
                    nodes[at as usize].children.push(next);
                    nodes.push(Node {
                        name,
                        ..Node::default()
                    });
                    next
                });
                tree.nodes[at as usize].change.merge(group.change);
            }
        }
        tree
    }
}

impl Flame {
    pub(super) fn of(comparison: &Comparison, names: &dyn NameSource) -> Self {
        let mut tree = Tree::of(comparison, names);
        let small = tree.name("(small)");
        let whole = tree.nodes[0].weight();
        let mut part = FOLDED;
        loop {
            let nodes = tree.flatten(whole / part, small);
            if nodes.len() <= NODES || part <= 4 {
                return Flame {
                    nodes,
                    names: tree.names,
                }
                .with_used_names();
            }
            part /= 2;
        }
    }

    /// Nodes in depth-first order name few of the functions once much is folded.
    fn with_used_names(mut self) -> Self {
        let mut places: FxHashMap<u32, u32> = FxHashMap::default();
        let mut used = Vec::new();
        for node in &mut self.nodes {
            node.1 = *places.entry(node.1).or_insert_with(|| {
                used.push(std::mem::take(&mut self.names[node.1 as usize]));
                used.len() as u32 - 1
            });
        }
        self.names = used;
        self
    }
}

impl Tree {
    fn flatten(&self, least: u64, small: u32) -> Vec<(u32, u32, u64, u64, u64, u64)> {
        let row = |depth: u32, name: u32, change: Change| {
            let Change { before, after } = change;
            (
                depth,
                name,
                before.bytes,
                after.bytes,
                before.blocks,
                after.blocks,
            )
        };
        let mut rows = Vec::new();
        let mut open: Vec<(u32, u32)> = vec![(0, 0)];
        while let Some((number, depth)) = open.pop() {
            let node = &self.nodes[number as usize];
            rows.push(row(depth, node.name, node.change));
            let weight = |child: &u32| self.nodes[*child as usize].weight();
            let (mut shown, folded): (Vec<u32>, Vec<u32>) = node
                .children
                .iter()
                .partition(|child| weight(child) >= least.max(1));
            let mut rest = Change::default();
            folded
                .iter()
                .for_each(|child| rest.merge(self.nodes[*child as usize].change));
            if !rest.is_zero() || rest.after.bytes > 0 {
                rows.push(row(depth + 1, small, rest));
            }
            shown.sort_by_key(weight);
            open.extend(shown.into_iter().map(|child| (child, depth + 1)));
        }
        rows
    }
}
