//! The graph of references over memory that is made by hand: what is held, lost and dominated is
//! known from how it was made.

use ntheap::{
    dump::{Dump, DumpFile},
    graph::{Class, Graph, Holder, RootKind, Rules},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::{HEAP, dump, heap, oracle::testdata};

/// Where the only roots lie that point to blocks.
const ROOTS: u64 = 0x80_0000;

/// A process whose blocks point to each other as told.
struct Made {
    memory: Vec<(u64, Vec<u8>)>,
    /// Address and size of each block.
    blocks: Vec<(u64, u64)>,
    roots: u64,
}

impl Made {
    fn new(segments: u64, size: impl FnMut(u64) -> u64) -> Self {
        let (mut memory, blocks) = heap(HEAP, 0x10_0000, segments, size);
        for &(address, size) in &blocks {
            fill(&mut memory, address, &vec![0; size as usize]);
        }
        memory.push((ROOTS, vec![0; 0x1000]));
        Made {
            memory,
            blocks,
            roots: 0,
        }
    }

    fn put(&mut self, place: u64, value: u64) {
        fill(&mut self.memory, place, &value.to_le_bytes());
    }

    /// Makes a block point to another, at an offset of each.
    fn link(&mut self, (from, at): (usize, u64), (to, offset): (usize, u64)) {
        let (place, value) = (self.blocks[from].0 + at, self.blocks[to].0 + offset);
        self.put(place, value);
    }

    fn root(&mut self, (to, offset): (usize, u64)) {
        let value = self.blocks[to].0 + offset;
        self.put(ROOTS + self.roots * 8, value);
        self.roots += 1;
    }

    /// Shows the graph.
    fn with(self, look: impl FnOnce(&Graph<'_, '_>, &[u32])) {
        let file = dump(&[HEAP], self.memory);
        let parsed = Dump::parse(&file).expect("a dump");
        let process = Process::of(&parsed).expect("a process");
        let graph = Graph::of(&Heaps::of(&process));
        // Behind a debug runtime's header the program has another address.
        let find = |block: &(u64, u64)| graph.index().first_from(block.0);
        let numbers: Vec<u32> = self.blocks.iter().map(find).collect();
        look(&graph, &numbers);
    }
}

fn fill(memory: &mut [(u64, Vec<u8>)], place: u64, bytes: &[u8]) {
    let (start, range) = memory
        .iter_mut()
        .find(|(start, range)| (*start..*start + range.len() as u64).contains(&place))
        .expect("the place is in memory");
    let at = (place - *start) as usize;
    range[at..at + bytes.len()].copy_from_slice(bytes);
}

#[test]
fn what_starts_and_middles_lead_to() {
    let mut made = Made::new(1, |_| 0x40);
    made.root((0, 0)); // 0 reachable, and so 1
    made.link((0, 8), (1, 0));
    made.link((1, 8), (2, 0x18)); // 2 by its middle alone, 3 by its start from there
    made.link((2, 0), (3, 0));
    made.link((4, 0), (5, 0)); // 4 lost, 5 on it, 6 on it by its middle
    made.link((5, 0), (6, 0x10));
    made.link((8, 0), (7, 0)); // a ring of lost blocks, and one that hangs on it
    made.link((7, 0), (8, 0));
    made.link((8, 8), (9, 0));
    made.link((10, 0x10), (10, 0)); // points to itself
    made.link((11, 0), (0, 0)); // lost, whatever it points to
    made.root((12, 0x40)); // one past the end is not in it
    made.with(|graph, blocks| {
        let classes = graph.classes(Rules::NONE);
        use Class::{Definite, Indirect, Possible, Reachable};
        let expected = [
            Reachable, Reachable, Possible, Possible, Definite, Indirect, Indirect, Definite,
            Indirect, Indirect, Definite, Definite, Definite,
        ];
        for (number, (&block, class)) in blocks.iter().zip(expected).enumerate() {
            assert_eq!(classes.of(block), class, "block {number}");
        }
        let leaders = [(5, 4), (6, 4), (8, 7), (9, 7), (10, 10)];
        for (block, leader) in leaders {
            assert_eq!(classes.leader(blocks[block]), Some(blocks[leader]));
        }
        assert_eq!(classes.leader(blocks[0]), None);
        assert_eq!(graph.self_pointers(), 1);
    });
}

#[test]
fn a_way_leads_from_a_root_and_dominators_keep_it() {
    let mut made = Made::new(1, |_| 0x40);
    made.root((0, 0));
    made.link((0, 0), (1, 0)); // 0 leads by 1 and by 2 to 3, and 3 alone to 4
    made.link((0, 8), (2, 0));
    made.link((1, 0x20), (3, 0));
    made.link((2, 0x28), (3, 0));
    made.link((3, 0x30), (4, 0));
    made.with(|graph, blocks| {
        let dominators = graph.dominators();
        let above = |block: usize| dominators.of(blocks[block]);
        assert_eq!(above(0), None);
        assert_eq!(above(3), Some(blocks[0]));
        assert_eq!(above(4), Some(blocks[3]));
        let retained = [0, 1, 2, 3, 4].map(|block| dominators.retained(blocks[block]));
        assert_eq!(retained, [0x140, 0x40, 0x40, 0x80, 0x40].map(Some));
        assert_eq!(dominators.retained(blocks[5]), None);
        let way = graph.ways(Rules::NONE).to(graph, blocks[4]);
        let ats: Vec<Option<u64>> = way.iter().map(|link| link.at).collect();
        assert_eq!(ats, [None, Some(0), Some(0x20), Some(0x30)]);
        assert!(matches!(way[0].holder, Holder::Root(_)));
    });
}

#[test]
fn rules_decide_over_middles() {
    let mut made = Made::new(1, |number| if number == 2 { 0x1027 } else { 0x48 });
    let word = |made: &mut Made, block: usize, at: u64, value: u64| {
        let place = made.blocks[block].0 + at;
        made.put(place, value);
    };
    word(&mut made, 0, 0, 8); // an array of 8 elements behind its count
    made.root((0, 8));
    word(&mut made, 1, 0, 6 << 32); // a BSTR of 3 characters
    word(&mut made, 1, 8, 0x0041_0041_0041);
    made.root((1, 8));
    let start = made.blocks[2].0; // memory of the C++ library
    let inner = (start + 8).next_multiple_of(32) - start;
    word(&mut made, 2, inner - 8, start);
    made.root((2, inner));
    made.root((3, 1)); // flags in the lowest bits
    made.root((4, 0x20)); // none of these
    made.with(|graph, blocks| {
        let (strict, default, all) = (
            graph.classes(Rules::NONE),
            graph.classes(Rules::DEFAULT),
            graph.classes(Rules::ALL),
        );
        for &block in &blocks[..5] {
            assert_eq!(strict.of(block), Class::Possible, "block {block}");
        }
        let interior = graph.interior_rules();
        for (block, rule) in [(0, "array"), (1, "bstr"), (2, "large")] {
            assert_eq!(default.of(blocks[block]), Class::Reachable, "block {block}");
            assert_eq!(interior[blocks[block] as usize].name(), Some(rule));
        }
        assert_eq!(default.of(blocks[3]), Class::Possible);
        assert_eq!(all.of(blocks[3]), Class::Reachable);
        assert_eq!(all.of(blocks[4]), Class::Possible);
        let ways = graph.ways(Rules::ALL);
        let link = ways.doubtful(graph, blocks[4]).expect("a reason");
        assert_eq!(link.offset, 0x20);
    });
}

#[test]
fn the_spare_room_of_a_vector_holds_nothing() {
    let mut made = Made::new(1, |_| 0x48);
    made.root((0, 0)); // the vector's block, with 2 of 9 places in use
    made.root((0, 0x10));
    made.root((0, 0x48));
    made.link((0, 0x8), (1, 0));
    made.link((0, 0x10), (2, 0));
    made.with(|graph, blocks| {
        let (strict, all) = (graph.classes(Rules::NONE), graph.classes(Rules::ALL));
        assert_eq!(all.of(blocks[1]), Class::Reachable);
        assert_eq!(strict.of(blocks[2]), Class::Reachable);
        assert_eq!(all.of(blocks[2]), Class::Definite);
    });
}

#[test]
fn the_list_of_a_debug_runtime_holds_nothing() {
    const SIZE: u64 = 0x20;
    let mut made = Made::new(1, |_| 0x30 + SIZE + 4);
    for block in 0..3 {
        let start = made.blocks[block].0;
        fill(&mut made.memory, start + 0x1c, &1u32.to_le_bytes()); // its use
        made.put(start + 0x20, SIZE);
        fill(&mut made.memory, start + 0x2c, &[0xfd; 4]);
        fill(&mut made.memory, start + 0x30 + SIZE, &[0xfd; 4]);
    }
    made.link((0, 0), (1, 0));
    made.link((1, 0), (2, 0));
    made.link((2, 8), (1, 0));
    made.root((0, 0)); // the runtime's own pointer to the first header
    made.root((1, 0x30));
    made.with(|graph, blocks| {
        let classes = graph.classes(Rules::DEFAULT);
        assert_eq!(graph.debug_blocks(), 3);
        use Class::{Definite, Reachable};
        let found = [0, 1, 2].map(|block| classes.of(blocks[block]));
        assert_eq!(found, [Definite, Reachable, Definite]);
    });
}

/// Nothing recurses: a list, each with a pointer to the first and to the one before; and a lost one.
#[test]
fn long_lists_need_no_stack() {
    let mut made = Made::new(6, |_| 0x20);
    let count = made.blocks.len();
    let half = count / 2;
    made.root((0, 0));
    for (first, end) in [(0, half), (half, count)] {
        for block in first..end - 1 {
            made.link((block, 0), (block + 1, 0));
            made.link((block + 1, 8), (block, 0));
            made.link((block + 1, 0x10), (first, 0));
        }
    }
    made.with(|graph, blocks| {
        let thread = std::thread::scope(|scope| {
            let work = || {
                let classes = graph.classes(Rules::ALL);
                let dominators = graph.dominators();
                let ways = graph.ways(Rules::NONE);
                (classes, dominators, ways.to(graph, blocks[half - 1]).len())
            };
            // Less than a frame a block would take.
            let small = std::thread::Builder::new().stack_size(256 << 10);
            small.spawn_scoped(scope, work).expect("a thread").join()
        });
        let (classes, dominators, length) = thread.expect("no overflow");
        assert_eq!(length, half);
        assert_eq!(classes.of(blocks[half - 1]), Class::Reachable);
        assert_eq!(dominators.retained(blocks[0]), Some(half as u64 * 0x20));
        assert_eq!(dominators.above(blocks[half - 1]).count(), half - 1);
        assert_eq!(classes.of(blocks[half]), Class::Definite);
        assert_eq!(classes.leader(blocks[count - 1]), Some(blocks[half]));
    });
}

/// XP's low fragmentation heap lies in a block of its heap, which the heap alone need hold.
#[test]
fn the_front_end_of_an_xp_heap_is_held_by_its_heap() {
    let path = testdata().join("x86-2600.5512-smalllfh.snap1.dmp.zst");
    let file = DumpFile::open(&path).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let graph = Graph::of(&Heaps::of(&process));
    let areas = graph.areas().iter();
    let front_ends: Vec<u32> = areas
        .filter(|area| area.kind == RootKind::FrontEnd)
        .map(|area| {
            let address = process.memory().u32(area.start).expect("in the dump");
            graph.index().find(address.into()).expect("a block")
        })
        .collect();
    assert!(!front_ends.is_empty());
    for rules in [Rules::NONE, Rules::DEFAULT, Rules::ALL] {
        let classes = graph.classes(rules);
        for &block in &front_ends {
            assert_eq!(classes.of(block), Class::Reachable, "{rules}");
        }
    }
}
