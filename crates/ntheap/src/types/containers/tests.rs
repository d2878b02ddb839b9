//! Containers made by hand, whole and damaged.

use super::*;
use crate::{
    address_space::AddressSpace,
    graph::Index,
    layout::Bitness,
    types::{TypeKind, ground::Area},
    usage::Owner,
};

const BASE: u64 = 0x10_0000;
/// Where variables lie.
const GLOBALS: u64 = 0x1000;

/// A heap, and variables before it.
struct Memory {
    bytes: Vec<u8>,
    blocks: Vec<(u64, u64)>,
    bitness: Bitness,
    word: u64,
    globals: u64,
}

impl Memory {
    fn new(bitness: Bitness) -> Self {
        Memory {
            bytes: vec![0; GLOBALS as usize],
            blocks: Vec::new(),
            bitness,
            word: bitness.pointer_size(),
            globals: BASE,
        }
    }

    fn allocate(&mut self, size: u64) -> u64 {
        let at = BASE + self.bytes.len() as u64;
        let room = (size as usize).next_multiple_of(16) + 16;
        self.bytes.resize(self.bytes.len() + room, 0);
        self.blocks.push((at, size));
        at
    }

    /// A variable of so many words.
    fn variable(&mut self, words: u64) -> u64 {
        let at = self.globals;
        self.globals += words * self.word;
        assert!(self.globals <= BASE + GLOBALS);
        at
    }

    fn put(&mut self, at: u64, bytes: &[u8]) {
        self.bytes[(at - BASE) as usize..][..bytes.len()].copy_from_slice(bytes);
    }

    fn words(&mut self, at: u64, words: &[u64]) {
        let width = self.word as usize;
        for (index, word) in words.iter().enumerate() {
            self.put(at + index as u64 * self.word, &word.to_le_bytes()[..width]);
        }
    }

    fn find(&self) -> Vec<Container> {
        self.find_with_types().0
    }

    fn find_with_types(&self) -> (Vec<Container>, Vec<Option<String>>) {
        let memory = AddressSpace::new(&self.bytes, [(BASE, 0, self.bytes.len() as u64)]);
        let index = Index::new(self.blocks.clone(), 16);
        let area = Area {
            start: BASE,
            end: BASE + GLOBALS,
            owner: Owner::Image(BASE),
        };
        let ground = Ground::by_hand(&memory, self.bitness, &index, vec![area]);
        let mut table = Table::new(self.blocks.len());
        let name = |address: u64| format!("app+{:#x}", address - BASE);
        let mut found = find(&ground, &Rtti::default(), (None, None), &name, &mut table);
        found.sort_by_key(|container| container.owner);
        let types = (0..self.blocks.len() as u32)
            .map(|block| table.get(block).map(|known| known.name.to_string()))
            .collect();
        assert!(
            table
                .types
                .iter()
                .all(|known| known.kind != TypeKind::Class)
        );
        (found, types)
    }

    /// A list of `count` nodes, its owner a variable.
    fn list(&mut self, count: u64) -> u64 {
        let size = 4 * self.word;
        let head = self.allocate(size);
        let nodes: Vec<u64> = (0..count).map(|_| self.allocate(size)).collect();
        let ring: Vec<u64> = [head].into_iter().chain(nodes).collect();
        for (index, &at) in ring.iter().enumerate() {
            let next = ring[(index + 1) % ring.len()];
            let previous = ring[(index + ring.len() - 1) % ring.len()];
            self.words(at, &[next, previous, index as u64]);
        }
        let owner = self.variable(2);
        self.words(owner, &[head, count]);
        owner
    }

    /// A balanced tree of `count` nodes, its owner a variable; gives the nodes too.
    fn tree(&mut self, count: u64) -> (u64, Vec<u64>) {
        let size = 5 * self.word;
        let head = self.allocate(size);
        let nodes: Vec<u64> = (0..count).map(|_| self.allocate(size)).collect();
        let child = |index: usize| nodes.get(index).copied().unwrap_or(head);
        for (index, &at) in nodes.clone().iter().enumerate() {
            let parent = if index == 0 {
                head
            } else {
                nodes[(index - 1) / 2]
            };
            self.words(at, &[child(2 * index + 1), parent, child(2 * index + 2)]);
        }
        let (mut left, mut right) = (0, 0);
        while 2 * left + 1 < nodes.len() {
            left = 2 * left + 1;
        }
        while 2 * right + 2 < nodes.len() {
            right = 2 * right + 2;
        }
        self.words(head, &[child(left), child(0), child(right)]);
        self.put(head + 3 * self.word, &[1, 1]);
        let owner = self.variable(2);
        self.words(owner, &[head, count]);
        (owner, nodes)
    }

    fn vector(&mut self, size: u64, used: u64) -> u64 {
        let data = self.allocate(size);
        let owner = self.variable(3);
        self.words(owner, &[data, data + used, data + size]);
        owner
    }
}

fn both(test: impl Fn(Bitness)) {
    test(Bitness::X86);
    test(Bitness::X64);
}

#[test]
fn each_kind_is_found_with_its_elements() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let word = memory.word;
        let list = memory.list(5);
        let (map, _) = memory.tree(12);
        let vector = memory.vector(9 * 4, 7 * 4);
        for index in 0..7 {
            let data = memory.blocks.last().expect("the data").0;
            memory.put(data + index * 4, &(index as u32 + 7).to_le_bytes());
        }
        let string = memory.variable(4 + 16 / word);
        let text = memory.allocate(0x20);
        memory.put(text, b"a text of this length\0");
        memory.words(string, &[text]);
        memory.words(string + 16, &[21, 31]);
        let (found, types) = memory.find_with_types();
        let kinds: Vec<_> = found
            .iter()
            .map(|found| (found.owner, found.kind.name(), found.elements))
            .collect();
        assert_eq!(
            kinds,
            [
                (list, "list", 5),
                (map, "map", 12),
                (vector, "vector", 7),
                (string, "string", 21)
            ]
        );
        assert_eq!(found[0].bytes, 6 * 4 * word);
        assert_eq!(found[2].spare, 8);
        assert!(types.iter().all(Option::is_some));
        let node = format!("std::list node of app+{:#x}", list - BASE);
        assert_eq!(types[1].as_deref(), Some(&*node));
    });
}

#[test]
fn a_hash_table_is_neither_a_list_nor_a_vector() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let word = memory.word;
        let owner = memory.variable(1);
        memory.put(owner, &1f32.to_le_bytes());
        let list = memory.list(9);
        assert_eq!(list, owner + word);
        let vector = memory.vector(16 * word, 16 * word);
        assert_eq!(vector, owner + 3 * word);
        let rest = memory.variable(2);
        memory.words(rest, &[7, 8]);
        let found = memory.find();
        assert_eq!(found.len(), 1, "{found:x?}");
        assert_eq!(
            (found[0].owner, found[0].kind.name()),
            (owner, "unordered_map")
        );
        assert_eq!(found[0].elements, 9);
        // With a mask that does not fit it is what its parts are.
        memory.words(rest, &[6, 8]);
        let kinds: Vec<_> = memory
            .find()
            .iter()
            .map(|found| found.kind.name())
            .collect();
        assert_eq!(kinds, ["list", "vector"]);
    });
}

#[test]
fn a_deque_is_known_by_its_proxy() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let word = memory.word;
        let owner = memory.variable(5);
        let proxy = memory.allocate(2 * word);
        memory.words(proxy, &[owner]);
        let map = memory.allocate(8 * word);
        let blocks: Vec<u64> = (0..3).map(|_| memory.allocate(16)).collect();
        for (place, &block) in blocks.iter().enumerate() {
            memory.words(map + (place as u64 + 1) * word, &[block]);
        }
        // Four elements of 4 bytes a block, from the last of the first on.
        memory.words(owner, &[proxy, map, 8, 7, 7]);
        let found = memory.find();
        assert_eq!(found.len(), 1, "{found:x?}");
        let deque = &found[0];
        assert_eq!(
            (deque.kind.name(), deque.elements, deque.spare),
            ("deque", 7, 20)
        );
        assert_eq!(deque.blocks, 5);
        memory.words(proxy, &[owner + word]);
        assert_eq!(memory.find(), []);
    });
}

#[test]
fn large_memory_remembers_its_beginning() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let word = memory.word;
        let block = memory.allocate(0x2000 + word + 31);
        let data = (block + word + 31) & !31;
        memory.words(data - word, &[block]);
        let owner = memory.variable(3);
        memory.words(owner, &[data, data + 0x1800, data + 0x2000]);
        let found = memory.find();
        assert_eq!(found.len(), 1);
        assert_eq!((found[0].kind.name(), found[0].spare), ("vector", 0x800));
        memory.words(data - word, &[block + 16]);
        assert_eq!(memory.find(), []);
    });
}

#[test]
fn what_does_not_agree_is_no_container() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let word = memory.word;
        let list = memory.list(5);
        for count in [0, 4, 6, u64::MAX, 1 << 30] {
            memory.words(list + word, &[count]);
            assert_eq!(memory.find(), [], "{count}");
        }
        let mut memory = Memory::new(bitness);
        let (map, nodes) = memory.tree(12);
        for count in [0, 11, 13, u64::MAX] {
            memory.words(map + word, &[count]);
            assert_eq!(memory.find(), [], "{count}");
        }
        memory.words(map + word, &[12]);
        // A node below itself, one below two others, one that is marked as the head.
        let whole = memory.bytes.clone();
        memory.words(nodes[4], &[nodes[4]]);
        assert_eq!(memory.find(), []);
        memory.bytes = whole.clone();
        memory.words(nodes[5], &[nodes[11]]);
        memory.words(nodes[4], &[nodes[11]]);
        assert_eq!(memory.find(), []);
        memory.bytes = whole.clone();
        memory.put(nodes[3] + 3 * word + 1, &[1]);
        assert_eq!(memory.find(), []);
        memory.bytes = whole;
        assert_eq!(memory.find().len(), 1);
        // A vector that ends before its block, or begins behind its end.
        let mut memory = Memory::new(bitness);
        let vector = memory.vector(64, 64);
        let data = memory.blocks[0].0;
        memory.words(vector, &[data, data + 60, data + 60]);
        assert_eq!(memory.find(), []);
        memory.words(vector, &[data, data + 65, data + 64]);
        assert_eq!(memory.find(), []);
    });
}

#[test]
fn of_two_owners_one_is_believed_and_none_in_what_it_owns() {
    let mut memory = Memory::new(Bitness::X64);
    let list = memory.list(3);
    let copy = memory.variable(2);
    let head = memory.blocks[0].0;
    memory.words(copy, &[head, 3]);
    let found = memory.find();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].owner, list);
    // The value of a node that says it owns the list.
    let mut memory = Memory::new(Bitness::X64);
    let list = memory.list(3);
    memory.words(list, &[0, 0]);
    let (head, node) = (memory.blocks[0].0, memory.blocks[1].0);
    memory.words(node + 16, &[head, 3]);
    assert_eq!(memory.find(), []);
}

#[test]
fn an_empty_list_is_believed_in_a_variable_only() {
    both(|bitness| {
        let mut memory = Memory::new(bitness);
        let list = memory.list(0);
        let found = memory.find();
        assert_eq!(
            (found.len(), found[0].owner, found[0].elements),
            (1, list, 0)
        );
        let head = memory.blocks[0].0;
        memory.words(list, &[0]);
        let other = memory.allocate(64);
        memory.words(other, &[head, 0]);
        assert_eq!(memory.find(), []);
    });
}

/// Every node of a long list says that it owns the list, and a tree is as deep as it has nodes.
#[test]
fn long_and_deep_ones_take_no_longer_than_they_are() {
    let count = 100_000;
    let mut memory = Memory::new(Bitness::X64);
    let list = memory.list(count);
    let nodes: Vec<u64> = memory.blocks.iter().map(|block| block.0).collect();
    for (index, &node) in nodes.iter().enumerate() {
        memory.words(node + 16, &[nodes[(index + 7) % nodes.len()], count]);
    }
    let head = memory.allocate(40);
    let chain: Vec<u64> = (0..count).map(|_| memory.allocate(40)).collect();
    for (index, &at) in chain.iter().enumerate() {
        let parent = if index == 0 { head } else { chain[index - 1] };
        let below = chain.get(index + 1).copied().unwrap_or(head);
        memory.words(at, &[head, parent, below]);
    }
    memory.words(head, &[chain[0], chain[0], chain[chain.len() - 1]]);
    memory.put(head + 24, &[1, 1]);
    let map = memory.variable(2);
    memory.words(map, &[head, count]);
    let started = std::time::Instant::now();
    let found = memory.find();
    let owners: Vec<_> = found
        .iter()
        .map(|found| (found.owner, found.elements))
        .collect();
    assert_eq!(owners, [(list, count), (map, count)]);
    assert!(started.elapsed().as_secs() < 20, "{:?}", started.elapsed());
}

proptest::proptest! {
    #[test]
    fn wild_words_do_no_harm(words: Vec<(u16, u16, u8)>, wide: bool) {
        let mut memory = Memory::new(if wide { Bitness::X64 } else { Bitness::X86 });
        memory.list(4);
        memory.tree(6);
        memory.vector(64, 32);
        let (end, word) = (memory.bytes.len() as u64, memory.word);
        for (at, to, kind) in words {
            let at = BASE + u64::from(at) % (end / word - 1) * word;
            let value = match kind % 4 {
                0 => u64::from(to),
                1 => u64::MAX - u64::from(to),
                _ => memory.blocks[usize::from(to) % memory.blocks.len()].0,
            };
            memory.words(at, &[value]);
        }
        for container in memory.find() {
            proptest::prop_assert!(container.blocks as usize <= memory.blocks.len());
        }
    }
}
