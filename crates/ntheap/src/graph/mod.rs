//! The graph of references: who holds which block, and which blocks nobody holds.
//!
//! The blocks of all heaps are the nodes. References are the aligned words in their requested bytes
//! and in the roots (registers, stacks, writable memory of images, private and mapped memory) whose
//! value lies in a block. They are read once, in the order of addresses and in parallel, and every
//! analysis works on them alone:
//!
//! * [`Graph::classes`]: lost, possibly lost or reachable, under a chosen set of [`Rules`];
//! * [`Graph::dominators`]: which block alone keeps which others, and how many bytes that are;
//! * [`Graph::ways`]: how the roots lead to a block;
//! * [`Leaks`]: records of lost blocks; [`Selection`]: who keeps chosen ones;
//! * [`Graph::doubt`]: what the dump does not show, and so what none of these can know.
//!
//! A block takes at most 16 bytes (8 for address and size, 4 for its references, and for the index
//! 3 where blocks lie as densely as in real heaps, at most 48 for one that has 4 KiB or more to
//! itself), a reference 6. All loops are bounded by the number of blocks and references; nothing
//! recurses.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, graph::{Graph, Rules}, heap::Heaps, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let graph = Graph::of(&Heaps::of(&process));
//! let classes = graph.classes(Rules::ALL);
//! for (block, class) in classes.iter().filter(|(_, class)| class.is_lost()) {
//!     let (address, size) = graph.index().block(block);
//!     println!("{size} bytes at {address:x} are {}", class.title());
//! }
//! # Ok(())
//! # }
//! ```

mod classes;
mod collect;
mod dominators;
mod doubt;
mod encoded;
mod image;
mod index;
mod judge;
mod leaks;
mod owners;
mod roots;
mod rules;
mod scan;
mod sweep;
mod ways;

pub use classes::{Class, Classes};
pub use dominators::Dominators;
pub use doubt::Doubt;
pub use index::Index;
pub(crate) use index::{Hit, Resolved};
pub use leaks::{LeakRecord, Leaks, TypeOf, newly_lost};
pub use owners::{Accumulation, Keeper, Selection};
pub use roots::{Area, RootKind};
pub use rules::{Rules, UnknownRule};
pub use ways::{Holder, Link, Place, Ways};

use std::sync::{Arc, OnceLock};

use crate::{
    heap::Heaps,
    losses::Losses,
    process::Process,
    usage::{Owner, Usage},
};
use collect::Collected;
use doubt::Held;
use encoded::Encoded;
use judge::Facts;
use roots::Threads;
use scan::{Counts, References, Scan};

/// The references of a process.
pub struct Graph<'p, 'a> {
    process: &'p Process<'p, 'a>,
    data: Arc<GraphData>,
}

/// What was read of the references of a process: to be kept where the same dump is opened again, since
/// it borrows nothing ([`Graph::data`], [`Graph::with_data`]).
pub struct GraphData {
    index: Index,
    areas: Vec<Area>,
    threads: Threads,
    references: References,
    counts: Counts,
    debug_blocks: u64,
    doubt: Doubt,
    losses: Losses,
    encoded: OnceLock<Encoded>,
}

impl std::fmt::Debug for GraphData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GraphData")
            .field("blocks", &self.index.len())
            .finish_non_exhaustive()
    }
}

impl std::ops::Deref for Graph<'_, '_> {
    type Target = GraphData;

    fn deref(&self) -> &GraphData {
        &self.data
    }
}

impl std::fmt::Debug for Graph<'_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Graph")
            .field("blocks", &self.index.len())
            .field("areas", &self.areas.len())
            .field("references", &self.references.targets.len())
            .finish_non_exhaustive()
    }
}

impl<'p, 'a> Graph<'p, 'a> {
    /// Bytes that [`Graph::of`] goes through, about: the heaps are walked, then read word by word.
    #[must_use]
    pub fn bytes_to_read(heaps: &Heaps<'_, '_>) -> u64 {
        heaps.bytes().saturating_mul(2)
    }

    /// Reads the references of a process with all its heaps. (A heap that is left out would be taken
    /// for memory of the program.)
    #[must_use]
    pub fn of(heaps: &Heaps<'p, 'a>) -> Self {
        let process = heaps.process();
        let mut collected = Collected::of(heaps);
        let usage = Usage::of(heaps);
        let threads = Threads::of(process);
        let mut areas = roots::areas(process, &usage.regions, usage.described, &threads);
        for &(heap, start, size) in &collected.damaged {
            areas.push(Area {
                kind: RootKind::Damaged,
                start,
                end: start.saturating_add(size),
                owner: Owner::Heap(heap),
                registers: 0,
            });
        }
        let unit = process.bitness.unit();
        let index = Index::new(collected.blocks(), unit);
        areas.extend(roots::front_ends(heaps, &index));
        areas.sort_by_key(|area| area.start);
        areas.extend(roots::register_areas(&threads));
        let facts = facts(process, &index, &usage, &threads);
        let scan = Scan {
            facts: &facts,
            areas: &areas,
            threads: &threads,
        };
        let (held, (references, counts)) =
            rayon::join(|| Held::of(process.memory(), &index), || scan.run());
        let mut data = GraphData {
            index,
            areas,
            threads,
            references,
            counts,
            debug_blocks: collected.debug_blocks,
            doubt: Doubt::default(),
            losses: Losses::of(process).merged(collected.losses),
            encoded: OnceLock::new(),
        };
        let unread = roots::unread_of_heaps(process, &usage.regions);
        let unread = (collected.unreadable, unread);
        data.doubt = Doubt::of(process, &data, &held, unread, usage.described);
        Graph {
            process,
            data: Arc::new(data),
        }
    }

    /// The graph of a process whose references were read before: of the same dump, opened again with
    /// the same options.
    #[must_use]
    pub fn with_data(process: &'p Process<'p, 'a>, data: Arc<GraphData>) -> Self {
        Graph { process, data }
    }

    /// What was read, to be kept.
    #[must_use]
    pub fn data(&self) -> Arc<GraphData> {
        Arc::clone(&self.data)
    }

    /// The process.
    #[must_use]
    pub fn process(&self) -> &'p Process<'p, 'a> {
        self.process
    }

    /// What the dump does not show.
    #[must_use]
    pub fn doubt(&self) -> &Doubt {
        &self.doubt
    }

    /// What of the dump, the process and the heaps could not be read or proved.
    #[must_use]
    pub fn losses(&self) -> &Losses {
        &self.losses
    }

    /// Blocks with a header of the debug C runtime, of which the part behind the header counts.
    #[must_use]
    pub fn debug_blocks(&self) -> u64 {
        self.debug_blocks
    }

    /// The blocks by address.
    #[must_use]
    pub fn index(&self) -> &Index {
        &self.index
    }

    /// Where pointers were looked for outside the blocks.
    #[must_use]
    pub fn areas(&self) -> &[Area] {
        &self.areas
    }

    /// Number of references that blocks hold, to other blocks.
    #[must_use]
    pub fn reference_count(&self) -> usize {
        let blocks = self.index.len();
        blocks
            .checked_sub(1)
            .map_or(0, |last| self.references.ends[last] as usize)
    }

    /// Number of pointers of blocks to themselves, which are no references: they hold nothing.
    #[must_use]
    pub fn self_pointers(&self) -> u64 {
        self.counts.selves
    }

    /// Number of references that an area holds.
    #[must_use]
    pub fn area_references(&self, area: usize) -> usize {
        self.references.of(self.index.len() + area).0.len()
    }

    /// Bytes of memory that the graph takes.
    #[must_use]
    pub fn memory(&self) -> usize {
        self.index.memory() + self.references.memory() + self.areas.len() * size_of::<Area>()
    }

    /// The class of every block.
    #[must_use]
    pub fn classes(&self, rules: Rules) -> Classes {
        classes::classify(self, rules)
    }

    /// How the roots lead to each block under these rules.
    #[must_use]
    pub fn ways(&self, rules: Rules) -> Ways {
        Ways::of(self, rules)
    }

    /// For each block the rules that hold for pointers into its middle, its own
    /// pointers among them.
    #[must_use]
    pub fn interior_rules(&self) -> Vec<Rules> {
        let mut all = vec![Rules::NONE; self.index.len()];
        let own = self.references.own_rules.iter().copied();
        let targets = self.references.targets.iter().copied();
        let references = targets.zip(self.references.rules.iter().copied());
        for (target, bits) in references.chain(own) {
            if bits & judge::START == 0 {
                let rules = &mut all[target as usize];
                *rules = rules.or(Rules::from_bits(bits).and(Rules::STARTS));
            }
        }
        all
    }

    /// The tree of dominators, and the bytes that each block retains.
    #[must_use]
    pub fn dominators(&self) -> Dominators {
        dominators::dominators(self)
    }

    /// The holders that are roots under these rules.
    fn root_holders(&self, rules: Rules) -> impl Iterator<Item = usize> + '_ {
        let sealed = rules.contains(Rules::SEALED);
        let areas = self.areas.iter().enumerate();
        areas
            .filter(move |(_, area)| sealed || !area.kind.is_sealed())
            .map(|(position, _)| self.index.len() + position)
    }
}

fn facts<'g, 'a>(
    process: &'g Process<'_, 'a>,
    index: &'g Index,
    usage: &Usage,
    threads: &Threads,
) -> Facts<'g, 'a> {
    let mut images: Vec<(u64, u64)> = Vec::new();
    let modules = process.dump.modules.iter().map(|m| (m.base, m.end()));
    let regions = usage.regions.iter();
    let regions = regions
        .filter(|used| matches!(used.owner, Owner::Image(_)))
        .map(|used| (used.region.base, used.region.end()));
    let mut all: Vec<(u64, u64)> = modules.chain(regions).collect();
    all.sort_unstable();
    for (start, end) in all {
        match images.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => images.push((start, end)),
        }
    }
    let mut tls_places: Vec<u64> = threads.sides.iter().filter_map(|side| side.tls).collect();
    tls_places.sort_unstable();
    let vectors = threads.sides.iter().filter_map(|side| side.tls_vector);
    let mut tls_vectors: Vec<u32> = vectors.filter_map(|vector| index.find(vector)).collect();
    tls_vectors.sort_unstable();
    Facts {
        memory: process.memory(),
        bitness: process.bitness,
        index,
        bodies: Facts::bodies(process.memory(), index),
        images,
        tls_places,
        tls_vectors,
    }
}
