//! Leak records: blocks of one class, type, size and stack, with what hangs on them.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, graph::{Graph, Leaks, Rules}, heap::Heaps, process::Process};
//! use ntheap::traces::Traces;
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let heaps = Heaps::of(&process);
//! let graph = Graph::of(&heaps);
//! let classes = graph.classes(Rules::ALL);
//! let leaks = Leaks::of(&graph, &classes, &heaps, &Traces::of(&process), &|_| None, &|_| true);
//! for record in leaks.records.iter().take(10) {
//!     println!("{} bytes in {} blocks are {}", record.kept(), record.own.blocks, record.class.title());
//! }
//! # Ok(())
//! # }
//! ```

use std::{cmp::Reverse, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Class, Classes, Graph};
use crate::{
    blocks::{Block, CONTINUE, Flow, Trace, Visitor},
    heap::Heaps,
    stats::Count,
    traces::Traces,
};

/// Tells the type of the block that the program has at an address.
pub type TypeOf<'t> = &'t dyn Fn(u64) -> Option<Arc<str>>;

/// Blocks of one class, type, size and stack.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LeakRecord {
    /// Class.
    pub class: Class,
    /// Type, where it is known.
    pub type_name: Option<Arc<str>>,
    /// Size of each block.
    pub size: u64,
    /// Return addresses of the allocations, innermost first; empty where there are none.
    pub stack: Vec<u64>,
    /// The blocks themselves.
    pub own: Count,
    /// The blocks that are lost with them.
    pub indirect: Count,
    /// Number of the block with the lowest address.
    pub example: u32,
}

impl LeakRecord {
    /// Bytes that the record keeps: its own, and those that are lost with them.
    #[must_use]
    pub fn kept(&self) -> u64 {
        self.own.bytes.saturating_add(self.indirect.bytes)
    }
}

/// The records of a process, and their sums.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Leaks {
    /// Blocks and bytes of each class, in the order of [`Class::ALL`].
    pub totals: [Count; 4],
    /// The records: definitely lost ones first, then by class, in each those that keep most first.
    pub records: Vec<LeakRecord>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    class: Class,
    type_name: Option<Arc<str>>,
    size: u64,
    trace: Trace,
}

struct Sum {
    own: Count,
    indirect: Count,
    example: u32,
}

impl Leaks {
    /// Groups the blocks that are wanted.
    #[must_use]
    pub fn of(
        graph: &Graph<'_, '_>,
        classes: &Classes,
        heaps: &Heaps<'_, '_>,
        traces: &Traces<'_, '_>,
        type_of: TypeOf<'_>,
        wanted: &(dyn Fn(u32) -> bool + Sync),
    ) -> Self {
        let traced = traces_of(graph, heaps, traces, &|block| wanted(block));
        let mut hanging: FxHashMap<u32, Count> = FxHashMap::default();
        for &(block, leader) in classes.lost() {
            if block != leader && wanted(block) {
                hanging
                    .entry(leader)
                    .or_default()
                    .add(graph.index.size(block));
            }
        }
        let mut leaks = Leaks::default();
        let mut sums: FxHashMap<Key, Sum> = FxHashMap::default();
        for ((block, class), (address, size)) in classes.iter().zip(graph.index.blocks()) {
            if !wanted(block) {
                continue;
            }
            leaks.totals[class as usize].add(size);
            let key = Key {
                class,
                type_name: type_of(address),
                size,
                trace: trace_of(&traced, block),
            };
            let sum = sums.entry(key).or_insert(Sum {
                own: Count::default(),
                indirect: Count::default(),
                example: block,
            });
            sum.own.add(size);
            sum.indirect
                .merge(hanging.get(&block).copied().unwrap_or_default());
        }
        leaks.records = merged(sums, traces);
        leaks
    }

    /// Blocks and bytes of a class.
    #[must_use]
    pub fn total(&self, class: Class) -> Count {
        self.totals[class as usize]
    }
}

/// What the blocks of a record have in common; of stacks the frames.
type RecordKey = (Class, Option<Arc<str>>, u64, Vec<u64>);

/// Different records of the same frames are one stack.
fn merged(sums: FxHashMap<Key, Sum>, traces: &Traces<'_, '_>) -> Vec<LeakRecord> {
    let mut stacks: FxHashMap<Trace, Vec<u64>> = FxHashMap::default();
    let mut records: FxHashMap<RecordKey, Sum> = FxHashMap::default();
    for (key, sum) in sums {
        let stack = stacks
            .entry(key.trace)
            .or_insert_with(|| traces.frames(key.trace).unwrap_or_default());
        let key = (key.class, key.type_name, key.size, stack.clone());
        match records.get_mut(&key) {
            Some(known) => {
                known.own.merge(sum.own);
                known.indirect.merge(sum.indirect);
                known.example = known.example.min(sum.example);
            }
            None => {
                records.insert(key, sum);
            }
        }
    }
    let record = |((class, type_name, size, stack), sum): (RecordKey, Sum)| LeakRecord {
        class,
        type_name,
        size,
        stack,
        own: sum.own,
        indirect: sum.indirect,
        example: sum.example,
    };
    let mut records: Vec<LeakRecord> = records.into_iter().map(record).collect();
    records.sort_by_key(|record| {
        let Count { blocks, .. } = record.own;
        (
            record.class,
            Reverse(record.kept()),
            Reverse(blocks),
            record.example,
        )
    });
    records
}

/// Traces by ascending number of the block.
fn traces_of(
    graph: &Graph<'_, '_>,
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    wanted: &(dyn Fn(u32) -> bool + Sync),
) -> Vec<(u32, Trace)> {
    struct Collector<'c, 'p, 'a> {
        graph: &'c Graph<'p, 'a>,
        wanted: &'c (dyn Fn(u32) -> bool + Sync),
        found: Vec<(u32, Trace)>,
    }
    impl Visitor for Collector<'_, '_, '_> {
        fn block(&mut self, block: &Block) -> Flow {
            if block.is_user_block() && block.trace != Trace::None {
                // The program's block may begin behind the debug C runtime's header.
                let number = self.graph.index.first_from(block.address);
                if (number as usize) < self.graph.index.len() && (self.wanted)(number) {
                    self.found.push((number, block.trace));
                }
            }
            CONTINUE
        }
    }
    if traces.log().is_none() && traces.database().is_none() {
        return Vec::new();
    }
    let new = |_: &_| Collector {
        graph,
        wanted,
        found: Vec::new(),
    };
    let all = heaps.walk_parallel(new, |mut mine, theirs| {
        mine.found.extend(theirs.found);
        mine
    });
    let mut found: Vec<_> = all
        .into_iter()
        .flat_map(|collector| collector.found)
        .collect();
    found.sort_unstable_by_key(|found| found.0);
    found
}

impl Graph<'_, '_> {
    /// The blocks for which something holds that the heaps say of them, ascending.
    #[must_use]
    pub fn blocks_where(
        &self,
        heaps: &Heaps<'_, '_>,
        holds: &(dyn Fn(&Block) -> bool + Sync),
    ) -> Vec<u32> {
        struct Collector<'c, 'p, 'a> {
            graph: &'c Graph<'p, 'a>,
            holds: &'c (dyn Fn(&Block) -> bool + Sync),
            found: Vec<u32>,
        }
        impl Visitor for Collector<'_, '_, '_> {
            fn block(&mut self, block: &Block) -> Flow {
                if block.is_user_block() && (self.holds)(block) {
                    let number = self.graph.index.first_from(block.address);
                    if (number as usize) < self.graph.index.len() {
                        self.found.push(number);
                    }
                }
                CONTINUE
            }
        }
        let new = |_: &_| Collector {
            graph: self,
            holds,
            found: Vec::new(),
        };
        let all = heaps.walk_parallel(new, |mut mine, theirs| {
            mine.found.extend(theirs.found);
            mine
        });
        let mut found: Vec<u32> = all
            .into_iter()
            .flat_map(|collector| collector.found)
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn trace_of(traced: &[(u32, Trace)], block: u32) -> Trace {
    match traced.binary_search_by_key(&block, |traced| traced.0) {
        Ok(found) => traced[found].1,
        Err(_) => Trace::None,
    }
}

/// The blocks of the newer of two dumps that are lost there and were not lost in the older one:
/// those that are in it with the same address and size were held.
#[must_use]
pub fn newly_lost(
    before: (&Graph<'_, '_>, &Classes),
    after: (&Graph<'_, '_>, &Classes),
) -> Vec<bool> {
    let was_lost = |address: u64, size: u64| {
        let (graph, classes) = before;
        graph.index.find(address).is_some_and(|block| {
            graph.index.block(block) == (address, size) && classes.of(block) != Class::Reachable
        })
    };
    let (graph, classes) = after;
    let blocks = classes.iter().zip(graph.index.blocks());
    blocks
        .map(|((_, class), (address, size))| class != Class::Reachable && !was_lost(address, size))
        .collect()
}
