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
            tree.path(stack, names, &mut of_address, &mut path);
            if stack.is_empty() {
                let size = group
                    .key
                    .size
                    .map_or("all".to_owned(), |size| format!("{size:#x}"));
                path.push(tree.name("[no stack]"));
                path.push(tree.name(&format!("blocks of {size} bytes")));
            }
            tree.add(&path, group.change, &mut children);
        }
        tree
    }

    /// The names of a stack, outermost first.
    fn path(
        &mut self,
        stack: &[u64],
        names: &dyn NameSource,
        known: &mut FxHashMap<u64, Vec<u32>>,
        path: &mut Vec<u32>,
    ) {
        for &address in stack.iter().rev() {
            if let Some(known) = known.get(&address) {
                path.extend_from_slice(known);
                continue;
            }
            let frames = names.frames(address);
            let texts: Vec<String> = match frames.is_empty() {
                true => vec![format!("{address:#x}")],
                false => frames.iter().rev().map(function_name).collect(),
            };
            let numbers: Vec<u32> = texts.iter().map(|text| self.name(text)).collect();
            path.extend_from_slice(&numbers);
            known.insert(address, numbers);
        }
    }

    /// Adds a change to all nodes of a path.
    fn add(&mut self, path: &[u32], change: Change, children: &mut FxHashMap<(u32, u32), u32>) {
        let mut at = 0u32;
        self.nodes[0].change.merge(change);
        for &name in path {
            let nodes = &mut self.nodes;
            at = *children.entry((at, name)).or_insert_with(|| {
                let next = nodes.len() as u32;
                nodes[at as usize].children.push(next);
                nodes.push(Node {
                    name,
                    ..Node::default()
                });
                next
            });
            self.nodes[at as usize].change.merge(change);
        }
    }
}

impl Flame {
    pub(super) fn of(comparison: &Comparison, names: &dyn NameSource) -> Self {
        Self::folded(Tree::of(comparison, names))
    }

    fn folded(mut tree: Tree) -> Self {
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

#[cfg(test)]
mod tests {
    use super::*;
    use ntheap::{names::Name, stats::Count};

    struct Numbers;

    impl NameSource for Numbers {
        fn name(&self, address: u64) -> Option<Name> {
            Some(Name {
                module: "app".into(),
                symbol: Some(format!("Function{address:x}")),
                ..Name::default()
            })
        }
    }

    fn tree(stacks: &[(Vec<u64>, u64)]) -> Tree {
        let mut tree = Tree {
            nodes: vec![Node::default()],
            names: Vec::new(),
            numbers: FxHashMap::default(),
        };
        tree.name("all");
        let mut children = FxHashMap::default();
        for (stack, bytes) in stacks {
            let change = Change {
                before: Count::default(),
                after: Count {
                    blocks: 1,
                    bytes: *bytes,
                },
            };
            let mut path = Vec::new();
            tree.path(stack, &Numbers, &mut FxHashMap::default(), &mut path);
            tree.add(&path, change, &mut children);
        }
        tree
    }

    #[test]
    fn a_hundred_thousand_stacks_make_a_small_page() {
        let stacks: Vec<(Vec<u64>, u64)> = (0..100_000u64)
            .map(|n| {
                (
                    vec![n * 7, n / 10 + 1_000_000, n / 1000 + 2_000_000, 1],
                    48 + n % 5,
                )
            })
            .collect();
        let flame = Flame::folded(tree(&stacks));
        let json = serde_json::to_string(&flame).unwrap();
        assert!(json.len() < 1 << 20, "{}", json.len());
        assert!(flame.nodes.len() > 50 && flame.nodes.len() <= NODES);
        let whole: u64 = stacks.iter().map(|stack| stack.1).sum();
        assert_eq!(flame.nodes[0].3, whole);
        // Nothing is lost by folding: the second level sums to the whole.
        let second: u64 = flame.nodes.iter().filter(|n| n.0 == 1).map(|n| n.3).sum();
        assert_eq!(second, whole);
    }

    #[test]
    fn nodes_come_outermost_first_with_their_sums() {
        let flame = Flame::folded(tree(&[(vec![3, 2, 1], 10), (vec![4, 2, 1], 5)]));
        let shown: Vec<(u32, &str, u64)> = flame
            .nodes
            .iter()
            .map(|node| (node.0, flame.names[node.1 as usize].as_str(), node.3))
            .collect();
        assert_eq!(
            shown,
            [
                (0, "all", 15),
                (1, "app!Function1", 15),
                (2, "app!Function2", 15),
                (3, "app!Function3", 10),
                (3, "app!Function4", 5),
            ]
        );
    }
}
