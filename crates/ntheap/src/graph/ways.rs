//! How the roots lead to a block.

use super::{
    Area, Graph, RootKind, Rules,
    classes::{Strength, strength},
    encoded::pointers,
};

/// Of a block that no root leads to.
const NONE: u32 = u32::MAX;
/// Places of one holder that are listed at most.
const MAX_PLACES: usize = 1000;

/// Who holds a pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Holder {
    /// An area of roots, by its position in [`Graph::areas`].
    Root(usize),
    /// A block, by its number.
    Block(u32),
}

impl Holder {
    /// The holder with this position among blocks and areas.
    fn at(position: usize, blocks: usize) -> Self {
        match position.checked_sub(blocks) {
            Some(area) => Holder::Root(area),
            None => Holder::Block(position as u32),
        }
    }
}

/// Where a pointer lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// In memory, at this address.
    Memory(u64),
    /// In the register of this name.
    Register(&'static str),
}

/// A pointer from a holder to a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Link {
    /// Who holds it.
    pub holder: Holder,
    /// Where it lies.
    pub place: Place,
    /// Distance of the place from the beginning of the holder, if that is a block.
    pub at: Option<u64>,
    /// The block that it leads to.
    pub target: u32,
    /// Where in that block.
    pub offset: u64,
    /// The rules that hold for it.
    pub rules: Rules,
}

/// For each block the last holder of a shortest way to it from the roots. A way by pointers to the
/// starts of blocks goes before any other; variables of modules go before memory, and that before
/// stacks and registers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ways {
    rules: Rules,
    /// By block: a block, or behind them an area.
    from: Vec<u32>,
}

impl Ways {
    pub(super) fn of(graph: &Graph<'_, '_>, rules: Rules) -> Self {
        let count = graph.index.len();
        let mut search = Search {
            graph,
            rules,
            from: vec![NONE; count],
            queue: Vec::new(),
        };
        let mut roots: Vec<usize> = graph.root_holders(rules).collect();
        let area = |root: &usize| preference(graph.areas[root - count].kind);
        roots.sort_by_key(area);
        for &root in &roots {
            search.follow(root, Strength::Start);
        }
        search.run(0, Strength::Start);
        // Everything that a pointer into the middle leads to, from all that was reached.
        let reached = search.queue.len();
        for &root in &roots {
            search.follow(root, Strength::Interior);
        }
        for position in 0..reached {
            search.follow(search.queue[position] as usize, Strength::Interior);
        }
        search.run(reached, Strength::Interior);
        Ways {
            rules,
            from: search.from,
        }
    }

    /// The pointers that lead from a root to a block, the root's first; empty if none do.
    #[must_use]
    pub fn to(&self, graph: &Graph<'_, '_>, block: u32) -> Vec<Link> {
        let mut links = Vec::new();
        let mut target = block;
        while let Some(link) = self.last(graph, target) {
            links.push(link);
            match link.holder {
                Holder::Block(holder) => target = holder,
                Holder::Root(_) => break,
            }
        }
        links.reverse();
        links
    }

    /// Who holds the last pointer of the way to a block.
    #[must_use]
    pub fn before(&self, block: u32) -> Option<Holder> {
        match self.from[block as usize] {
            NONE => None,
            holder => Some(Holder::at(holder as usize, self.from.len())),
        }
    }

    /// The last pointer of the way to a block.
    #[must_use]
    pub fn last(&self, graph: &Graph<'_, '_>, block: u32) -> Option<Link> {
        let holder = self.before(block)?;
        let counts = |link: &&Link| strength(graph.bits(link), self.rules).is_some();
        let mut links = graph.links(holder, block);
        links.extend(graph.encoded_links(holder, block, self.rules));
        let best = links.iter().filter(counts).min_by_key(|link| {
            let start = strength(graph.bits(link), self.rules) == Some(Strength::Start);
            (!start, link.offset != 0)
        });
        best.copied()
    }

    /// The pointer into the middle of a block for which a block is but possibly reachable: the
    /// nearest one on the way to it.
    #[must_use]
    pub fn doubtful(&self, graph: &Graph<'_, '_>, block: u32) -> Option<Link> {
        let mut target = block;
        loop {
            let link = self.last(graph, target)?;
            if strength(graph.bits(&link), self.rules) == Some(Strength::Interior) {
                return Some(link);
            }
            match link.holder {
                Holder::Block(holder) => target = holder,
                Holder::Root(_) => return None,
            }
        }
    }
}

/// Which roots say most of who holds a block, the best first.
fn preference(kind: RootKind) -> u8 {
    match kind {
        RootKind::Image => 0,
        RootKind::SealedImage => 1,
        RootKind::Private => 2,
        RootKind::Mapped => 3,
        RootKind::Sealed => 4,
        RootKind::Stack => 5,
        RootKind::Register => 6,
        RootKind::FrontEnd => 7,
        RootKind::Unknown => 8,
        RootKind::Damaged => 9,
    }
}

/// A search in breadth.
struct Search<'s, 'p, 'a> {
    graph: &'s Graph<'p, 'a>,
    rules: Rules,
    from: Vec<u32>,
    queue: Vec<u32>,
}

impl Search<'_, '_, '_> {
    fn follow(&mut self, holder: usize, weakest: Strength) {
        let encoded = self.graph.encoded(self.rules);
        pointers(&self.graph.references, encoded, holder).for_each(|(target, bits)| {
            let from = &mut self.from[target as usize];
            let counts = match strength(bits, self.rules) {
                Some(Strength::Start) => true,
                Some(Strength::Interior) => weakest == Strength::Interior,
                None => false,
            };
            if *from == NONE && counts {
                *from = holder as u32;
                self.queue.push(target);
            }
        });
    }

    fn run(&mut self, mut position: usize, weakest: Strength) {
        while let Some(&block) = self.queue.get(position) {
            self.follow(block as usize, weakest);
            position += 1;
        }
    }
}

impl Graph<'_, '_> {
    /// The bits of the rules of a link.
    fn bits(&self, link: &Link) -> u16 {
        match link.offset {
            0 => link.rules.bits() | super::judge::START,
            _ => link.rules.bits(),
        }
    }

    /// The encoded pointers of a holder to a block that count under these rules.
    fn encoded_links(&self, holder: Holder, target: u32, rules: Rules) -> Vec<Link> {
        let (position, base) = match holder {
            Holder::Block(block) => (block as usize, Some(self.index.block(block).0)),
            Holder::Root(area) => (self.index.len() + area, None),
        };
        let encoded = self.encoded(rules).into_iter();
        let encoded = encoded.flat_map(|encoded| encoded.of_holder(position));
        let links = encoded.filter(|reference| reference.target == target);
        let link = |reference: &super::encoded::Reference| Link {
            holder,
            place: Place::Memory(reference.place),
            at: base.map(|base| reference.place - base),
            target,
            offset: 0,
            rules: Rules::ENCODED,
        };
        links.map(link).collect()
    }

    /// The pointers of a holder to a block, by ascending place.
    #[must_use]
    pub fn links(&self, holder: Holder, target: u32) -> Vec<Link> {
        let position = match holder {
            Holder::Block(block) => block as usize,
            Holder::Root(area) => self.index.len() + area,
        };
        let (targets, rules) = self.references.of(position);
        if !targets.contains(&target) {
            return Vec::new();
        }
        // The references lie in the order of places: the holder is read once more.
        let mut links = Vec::new();
        let (start, _) = self.index.block(target);
        let base = match holder {
            Holder::Block(block) => Some(self.index.block(block).0),
            Holder::Root(_) => None,
        };
        let mut at = 0;
        self.pointers(holder, &mut |place, value, block| {
            if block == target && links.len() < MAX_PLACES {
                links.push(Link {
                    holder,
                    place,
                    at: match (base, place) {
                        (Some(base), Place::Memory(place)) => Some(place - base),
                        _ => None,
                    },
                    target,
                    offset: value - start,
                    rules: Rules::from_bits(
                        rules.get(at).map_or(0, |bits| bits & !super::judge::START),
                    ),
                });
            }
            at += 1;
        });
        links
    }

    /// Calls `take` with each pointer of a holder to a block (of a block: to another), by ascending
    /// place.
    pub fn each_link(&self, holder: Holder, take: &mut dyn FnMut(Link)) {
        let (position, base) = match holder {
            Holder::Block(block) => (block as usize, Some(self.index.block(block).0)),
            Holder::Root(area) => (self.index.len() + area, None),
        };
        let rules = self.references.of(position).1;
        let mut number = 0;
        self.pointers(holder, &mut |place, value, target| {
            take(Link {
                holder,
                place,
                at: match (base, place) {
                    (Some(base), Place::Memory(place)) => Some(place.saturating_sub(base)),
                    _ => None,
                },
                target,
                offset: value.saturating_sub(self.index.block(target).0),
                rules: Rules::from_bits(
                    rules
                        .get(number)
                        .map_or(0, |bits| bits & !super::judge::START),
                ),
            });
            number += 1;
        });
    }

    /// Calls `take` with the place and the value of each reference of a holder, and the block that
    /// it leads to.
    fn pointers(&self, holder: Holder, take: &mut dyn FnMut(Place, u64, u32)) {
        let own = match holder {
            Holder::Block(block) => Some(block),
            Holder::Root(_) => None,
        };
        let mut each = |place: Place, value: u64| {
            if let Some(block) = self.index.find(value)
                && own != Some(block)
            {
                take(place, value, block);
            }
        };
        let (start, end) = match holder {
            Holder::Block(block) => {
                let (address, size) = self.index.block(block);
                (address, address.saturating_add(size))
            }
            Holder::Root(area) => {
                let Area {
                    kind,
                    start,
                    end,
                    registers,
                    ..
                } = self.areas[area];
                if kind == RootKind::Register {
                    let context = self.threads.sides[registers].context;
                    for (name, value) in context.iter().flat_map(|context| context.registers()) {
                        each(Place::Register(name), value);
                    }
                    return;
                }
                (start, end)
            }
        };
        let (memory, bitness) = (self.process.memory(), self.process.bitness);
        let span = self.index.span();
        super::scan::words(memory, bitness, (start, end), span, &mut |words| {
            for word in words {
                each(Place::Memory(word.place), word.value);
            }
        });
    }
}
