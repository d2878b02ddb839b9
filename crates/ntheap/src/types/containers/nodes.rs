//! Rings and trees of nodes, followed link by link.

use rustc_hash::FxHashMap;

use super::Role;
use crate::types::ground::Ground;

/// Follows rings and trees. What was seen once is not followed again, so that all of it together
/// costs no more than the blocks there are.
pub(super) struct Nodes<'g, 'p, 'a> {
    ground: &'g Ground<'p, 'a>,
    /// By block: the block that its ring was followed from, and the number of blocks of the ring; 0
    /// where it is none.
    rings: FxHashMap<u32, (u32, u32)>,
    /// By head: the number of nodes of its tree; `None` where it is none.
    trees: FxHashMap<u32, Option<u64>>,
    /// By node of a tree: the head.
    heads: FxHashMap<u32, u32>,
}

impl<'g, 'p, 'a> Nodes<'g, 'p, 'a> {
    pub(super) fn new(ground: &'g Ground<'p, 'a>) -> Self {
        Nodes {
            ground,
            rings: FxHashMap::default(),
            trees: FxHashMap::default(),
            heads: FxHashMap::default(),
        }
    }

    /// Whether both blocks were found in one ring or tree.
    pub(super) fn are_together(&self, one: u32, other: u32) -> bool {
        let ring = |block| self.rings.get(&block).map(|ring| ring.0);
        let tree = |block| self.heads.get(&block);
        ring(one).is_some_and(|from| ring(other) == Some(from))
            || tree(one).is_some_and(|head| tree(other) == Some(head))
    }

    /// These blocks are no container, whoever claims them.
    pub(super) fn forget(&mut self, parts: &[(u32, Role)]) {
        for (block, _) in parts {
            if let Some(ring) = self.rings.get_mut(block) {
                ring.1 = 0;
            }
            if let Some(tree) = self.trees.get_mut(block) {
                *tree = None;
            }
        }
    }

    /// The blocks of the ring of equally large blocks that begins with `head`, the head first, if
    /// there are `count` besides it.
    pub(super) fn ring(&mut self, head: u32, count: u64) -> Option<Vec<u32>> {
        if let Some(&(_, known)) = self.rings.get(&head)
            && u64::from(known) != count + 1
        {
            return None;
        }
        let mut blocks = vec![head];
        let whole = self.follow_ring(head, &mut blocks);
        let length = if whole { blocks.len() as u32 } else { 0 };
        for &block in &blocks {
            self.rings.insert(block, (head, length));
        }
        (u64::from(length) == count + 1).then_some(blocks)
    }

    fn follow_ring(&self, head: u32, blocks: &mut Vec<u32>) -> bool {
        let ground = self.ground;
        let (mut at, size) = ground.blocks.block(head);
        let first = at;
        // Each block's link back is checked: only the first can be met again.
        loop {
            let Some(next) = ground.word(at) else {
                return false;
            };
            let Some(number) = ground.blocks.at(next) else {
                return false;
            };
            if ground.nth(next, 1) != Some(at) || ground.blocks.block(number).1 != size {
                return false;
            }
            if next == first {
                return true;
            }
            blocks.push(number);
            at = next;
        }
    }

    /// The nodes of the tree with this head, if there are `count`.
    pub(super) fn tree(&mut self, head: u32, count: u64) -> Option<Vec<u32>> {
        if let Some(&known) = self.trees.get(&head)
            && known != Some(count)
        {
            return None;
        }
        let nodes = self.follow_tree(head);
        let found = nodes.as_ref().map(|nodes| nodes.len() as u64);
        self.trees.insert(head, found);
        if found != Some(count) {
            return None;
        }
        let members = nodes.iter().flatten().chain([&head]);
        self.heads.extend(members.map(|&node| (node, head)));
        nodes
    }

    fn follow_tree(&self, head: u32) -> Option<Vec<u32>> {
        let ground = self.ground;
        let word = ground.word;
        let (head, size) = ground.blocks.block(head);
        let [left, root, right] = [0, 1, 2].map(|link| ground.nth(head, link));
        let (left, root, right) = (left?, root?, right?);
        let mut nodes = Vec::new();
        if root == head {
            return (left == head && right == head).then_some(nodes);
        }
        // Each node's link to its parent is checked, so that none is reached twice.
        let mut open = vec![(root, head)];
        let (mut leftmost, mut rightmost) = (false, false);
        while let Some((at, parent)) = open.pop() {
            let number = ground.blocks.at(at)?;
            let color = ground.memory.u8(at + 3 * word)?;
            let is_nil = ground.memory.u8(at + 3 * word + 1)?;
            if ground.blocks.block(number).1 != size
                || ground.nth(at, 1)? != parent
                || color > 1
                || is_nil != 0
            {
                return None;
            }
            nodes.push(number);
            let (below, above) = (ground.word(at)?, ground.nth(at, 2)?);
            if below != head {
                if below == above {
                    return None;
                }
                open.push((below, at));
            }
            if above != head {
                open.push((above, at));
            }
            leftmost |= at == left && below == head;
            rightmost |= at == right && above == head;
        }
        (leftmost && rightmost).then_some(nodes)
    }
}
