//! Blocks as the objects of a viewer that knows objects, classes and references.

use std::{collections::BTreeMap, sync::Arc};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Visitor},
    graph::{Classes, Graph, Holder, Place, RootKind, Rules},
    heap::Heaps,
    names::NameSource,
    traces::Traces,
    types::Types,
};
use rustc_hash::FxHashMap;

/// A block.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Object {
    /// Its address.
    pub address: u64,
    /// Its size.
    pub size: u64,
    /// Position of its class's name in [`Objects::classes`].
    pub class: u32,
    /// Position of its stack in [`Objects::stacks`]; 0 for none.
    pub stack: u32,
    /// Pointers to other blocks: offset in this block, position of the other, and whether the pointer
    /// is one that a rule drops.
    pub references: Vec<(u64, u32, bool)>,
}

/// What holds blocks from outside the heaps.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Root {
    /// In words: `stack of thread 1c94`, `app.exe`.
    pub name: String,
    /// The blocks it points to, with where the pointer lies in words.
    pub references: Vec<(String, u32)>,
}

/// The blocks of a dump as objects.
#[derive(Debug)]
#[non_exhaustive]
pub struct Objects {
    /// The blocks by ascending address.
    pub objects: Vec<Object>,
    /// Names of classes: types where they are known, else sizes.
    pub classes: Vec<Arc<str>>,
    /// Distinct stacks, innermost frame first; the first is empty.
    pub stacks: Vec<Vec<u64>>,
    /// The roots.
    pub roots: Vec<Root>,
    /// Lost blocks that no other lost block leads to.
    pub leaks: Vec<u32>,
}

/// The blocks of a dump with their stacks.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Allocations {
    /// Address, size and position of the stack, by ascending address.
    pub blocks: Vec<(u64, u64, u32)>,
    /// Distinct stacks, innermost frame first; the first is empty.
    pub stacks: Vec<Vec<u64>>,
}

/// Collects the stack of each block.
#[derive(Default)]
struct Collector(Vec<(u64, u64, ntheap::blocks::Trace)>);

impl Visitor for Collector {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.0.push((block.address, block.size, block.trace));
        }
        CONTINUE
    }
}

/// Most places of one root that are listed.
const ROOT_REFERENCES: usize = 1 << 20;

impl Objects {
    /// Bytes of heaps that [`Objects::of`] goes through, about: the references, then the stacks.
    #[must_use]
    pub fn bytes_to_read(heaps: &Heaps<'_, '_>) -> u64 {
        Graph::bytes_to_read(heaps).saturating_add(heaps.bytes())
    }

    /// Reads blocks, references, types and stacks.
    #[must_use]
    pub fn of(heaps: &Heaps<'_, '_>, names: &dyn NameSource) -> Self {
        let graph = Graph::of(heaps);
        let types = Types::of(&graph, Some(names));
        let rules = Rules::ALL;
        let classes = graph.classes(rules);
        let mut objects = Objects {
            objects: Vec::with_capacity(graph.index().len()),
            classes: Vec::new(),
            stacks: Vec::new(),
            roots: Vec::new(),
            leaks: leaks(&classes),
        };
        let allocations = Allocations::of(heaps);
        objects.stacks = allocations.stacks;
        let traces = allocations.blocks;
        let mut numbers: FxHashMap<Arc<str>, u32> = FxHashMap::default();
        let mut sizes: FxHashMap<u64, u32> = FxHashMap::default();
        for (number, (address, size)) in (0..).zip(graph.index().blocks()) {
            let class = match types.type_of(address) {
                Some(of) => intern(&mut numbers, &mut objects.classes, &of.name),
                None => *sizes.entry(size).or_insert_with(|| {
                    let name = format!("block of {size:#x}").into();
                    intern(&mut numbers, &mut objects.classes, &name)
                }),
            };
            let mut references = Vec::new();
            graph.each_link(Holder::Block(number), &mut |link| {
                let dropped = link.rules.intersects(Rules::DROPS);
                references.push((link.at.unwrap_or(0), link.target, dropped));
            });
            objects.objects.push(Object {
                address,
                size,
                class,
                stack: stack_of(&traces, address),
                references,
            });
        }
        objects.roots = roots(&graph, names);
        objects
    }

    /// All bytes.
    #[must_use]
    pub fn bytes(&self) -> u64 {
        let sizes = self.objects.iter().map(|object| object.size);
        sizes.fold(0, u64::saturating_add)
    }
}

fn intern(
    numbers: &mut FxHashMap<Arc<str>, u32>,
    names: &mut Vec<Arc<str>>,
    name: &Arc<str>,
) -> u32 {
    *numbers.entry(name.clone()).or_insert_with(|| {
        names.push(name.clone());
        names.len() as u32 - 1
    })
}

fn leaks(classes: &Classes) -> Vec<u32> {
    let heads = classes
        .lost()
        .iter()
        .filter(|(block, leader)| block == leader);
    heads.map(|&(block, _)| block).collect()
}

impl Allocations {
    /// Reads the blocks of these heaps.
    #[must_use]
    pub fn of(heaps: &Heaps<'_, '_>) -> Self {
        let merge = |mut a: Collector, b: Collector| {
            a.0.extend(b.0);
            a
        };
        let walked = heaps.walk_parallel(|_| Collector::default(), merge);
        let traces = Traces::of(heaps.process());
        let mut known: FxHashMap<ntheap::blocks::Trace, u32> = FxHashMap::default();
        let mut numbers: FxHashMap<Vec<u64>, u32> = FxHashMap::default();
        numbers.insert(Vec::new(), 0);
        let mut all = Allocations {
            blocks: Vec::new(),
            stacks: vec![Vec::new()],
        };
        for (address, size, trace) in walked.into_iter().flat_map(|heap| heap.0) {
            let stack = *known.entry(trace).or_insert_with(|| {
                let frames = traces.frames(trace).unwrap_or_default();
                *numbers.entry(frames).or_insert_with_key(|frames| {
                    all.stacks.push(frames.clone());
                    all.stacks.len() as u32 - 1
                })
            });
            all.blocks.push((address, size, stack));
        }
        all.blocks.sort_unstable();
        all
    }
}

/// The stack of the allocation that an address lies in: a block begins behind the debug C runtime's
/// header, where there is one.
fn stack_of(allocations: &[(u64, u64, u32)], address: u64) -> u32 {
    let place = allocations.partition_point(|allocation| allocation.0 <= address);
    let Some(&(start, size, stack)) = place.checked_sub(1).map(|place| &allocations[place]) else {
        return 0;
    };
    match address - start < size.max(1) {
        true => stack,
        false => 0,
    }
}

fn roots(graph: &Graph<'_, '_>, names: &dyn NameSource) -> Vec<Root> {
    let dump = graph.process().dump;
    let mut roots: BTreeMap<String, Vec<(String, u32)>> = BTreeMap::new();
    for (number, area) in graph.areas().iter().enumerate() {
        if graph.area_references(number) == 0 {
            continue;
        }
        let name = match area.kind {
            RootKind::Register => format!("registers, {}", area.owner.describe(dump)),
            _ => area.owner.describe(dump),
        };
        let references = roots.entry(name).or_default();
        graph.each_link(Holder::Root(number), &mut |link| {
            if references.len() >= ROOT_REFERENCES || link.rules.intersects(Rules::DROPS) {
                return;
            }
            let place = match link.place {
                Place::Register(register) => register.to_owned(),
                Place::Memory(at) if matches!(area.kind, RootKind::Image) => match names.name(at) {
                    Some(name) => name.to_string(),
                    None => format!("{at:x}"),
                },
                Place::Memory(at) => format!("{at:x}"),
            };
            references.push((place, link.target));
        });
    }
    let roots = roots
        .into_iter()
        .filter(|(_, references)| !references.is_empty());
    roots
        .map(|(name, references)| Root { name, references })
        .collect()
}

/// Numbers that the same block has in the files of several dumps: by its address and size, and the
/// stack that allocated it.
#[derive(Debug, Default)]
pub struct Identities {
    known: FxHashMap<(u64, u64, Vec<u64>), u32>,
}

impl Identities {
    /// None yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of a block, from 0; the same whenever it is asked for.
    pub fn of(&mut self, objects: &Objects, object: &Object) -> u32 {
        let stack = objects.stacks.get(object.stack as usize);
        let key = (
            object.address,
            object.size,
            stack.cloned().unwrap_or_default(),
        );
        let next = self.known.len() as u32;
        *self.known.entry(key).or_insert(next)
    }
}
