//! Follows candidates through their nodes, and names what is found.

use super::{Container, ContainerKind, Role, elements, nodes::Nodes, shapes::Candidate};
use crate::{
    names::NameSource,
    types::{
        Rtti, TypeKind,
        ground::Ground,
        table::{Table, TypeKey},
    },
    usage::Owner,
};

/// Belongs to no container.
const FREE: u32 = u32::MAX;
/// Containers inside of each other that a name tells.
const MAX_NESTING: u32 = 3;

/// What was proved.
pub(super) struct Resolved {
    containers: Vec<Proved>,
    /// By block: the container that it belongs to.
    claims: Vec<u32>,
}

impl Resolved {
    /// The address and the kind of each container.
    pub(super) fn kinds(&mut self) -> impl Iterator<Item = (u64, &mut ContainerKind)> {
        let candidates = self
            .containers
            .iter_mut()
            .map(|proved| &mut proved.candidate);
        candidates.map(|candidate| (candidate.owner, &mut candidate.kind))
    }
}

struct Proved {
    candidate: Candidate,
    elements: u64,
    spare: u64,
    bytes: u64,
    parts: Vec<(u32, Role)>,
}

/// The rank of an owner among the variables of an image.
const VARIABLE: u8 = 1;

/// Number of values of [`order`].
const ORDERS: usize = 5;

/// What proves most comes first.
const fn order(kind: ContainerKind) -> u8 {
    match kind {
        ContainerKind::UnorderedMapOrSet
        | ContainerKind::UnorderedMap
        | ContainerKind::UnorderedSet
        | ContainerKind::Deque => 0,
        ContainerKind::MapOrSet | ContainerKind::Map | ContainerKind::Set => 1,
        ContainerKind::List => 2,
        ContainerKind::Vector | ContainerKind::VectorBool => 3,
        ContainerKind::String | ContainerKind::WString => 4,
    }
}

pub(super) fn resolve(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    table: &Table,
    candidates: Vec<Candidate>,
) -> Resolved {
    let mut orders: [Vec<Candidate>; ORDERS] = Default::default();
    for candidate in candidates {
        orders[usize::from(order(candidate.kind))].push(candidate);
    }
    let mut prover = Prover {
        ground,
        rtti,
        table,
        nodes: Nodes::new(ground),
        claims: vec![FREE; ground.blocks.len()],
    };
    let mut containers: Vec<Proved> = Vec::new();
    for mut candidates in orders {
        // Owners among the elements of what was found so far are known as such by now.
        candidates.sort_by_cached_key(|candidate| {
            (prover.rank(candidate), candidate.owner, candidate.anchor)
        });
        for candidate in candidates {
            let Some(proved) = prover.prove(candidate) else {
                continue;
            };
            let number = containers.len() as u32;
            for &(block, _) in &proved.parts {
                prover.claims[block as usize] = number;
            }
            containers.push(proved);
        }
    }
    Resolved {
        containers,
        claims: prover.claims,
    }
}

struct Prover<'g, 'p, 'a> {
    ground: &'g Ground<'p, 'a>,
    rtti: &'g Rtti,
    table: &'g Table,
    nodes: Nodes<'g, 'p, 'a>,
    claims: Vec<u32>,
}

impl Prover<'_, '_, '_> {
    /// How little the place of an owner is to be trusted: live owners lie in objects, elements and
    /// variables; copies of their words lie on stacks, and what a freed object left in other blocks.
    fn rank(&self, candidate: &Candidate) -> u8 {
        // A proxy points back: nothing is more certain.
        if candidate.proxied {
            return 0;
        }
        let owner = candidate.owner;
        if let Some(home) = self.ground.blocks.around(owner) {
            let known = self.table.is_set(home) || !self.is_free(home);
            return if known { 0 } else { 2 };
        }
        let areas = &self.ground.areas;
        let before = areas.partition_point(|area| area.start <= owner);
        let area = before.checked_sub(1).and_then(|index| areas.get(index));
        match area.map(|area| area.owner) {
            Some(Owner::Image(_)) => VARIABLE,
            Some(Owner::Stack(_)) => 4,
            _ => 3,
        }
    }

    fn prove(&mut self, candidate: Candidate) -> Option<Proved> {
        let mut proved = Proved {
            candidate,
            elements: 0,
            spare: 0,
            bytes: 0,
            parts: Vec::new(),
        };
        match candidate.kind {
            ContainerKind::Vector | ContainerKind::VectorBool => self.vector(&mut proved),
            ContainerKind::String => self.string(&mut proved, 1),
            ContainerKind::WString => self.string(&mut proved, 2),
            ContainerKind::List => self.list(&mut proved),
            ContainerKind::MapOrSet | ContainerKind::Map | ContainerKind::Set => {
                self.tree(&mut proved)
            }
            ContainerKind::UnorderedMapOrSet
            | ContainerKind::UnorderedMap
            | ContainerKind::UnorderedSet => self.hash(&mut proved),
            ContainerKind::Deque => self.deque(&mut proved),
        }?;
        self.proxies(&mut proved);
        let taken = |&(block, _): &(u32, Role)| !self.is_free(block);
        if proved.parts.iter().any(taken) {
            // They stay taken.
            self.nodes.forget(&proved.parts);
            return None;
        }
        // A container does not lie in what it holds.
        let home = self.ground.blocks.around(proved.candidate.owner);
        if home.is_some_and(|home| proved.parts.iter().any(|&(block, _)| block == home)) {
            return None;
        }
        let size = |&(block, _): &(u32, Role)| self.ground.blocks.block(block).1;
        proved.bytes = proved.parts.iter().map(size).fold(0, u64::saturating_add);
        Some(proved)
    }

    fn is_free(&self, block: u32) -> bool {
        self.claims[block as usize] == FREE
    }

    /// Whether what lies at `owner` is known to be one of the nodes that hang together with `head`.
    fn lies_among(&self, owner: u64, head: u32) -> bool {
        let home = self.ground.blocks.around(owner);
        home.is_some_and(|home| home == head || self.nodes.are_together(home, head))
    }

    /// The blocks that the iterators of the debug library are linked to.
    fn proxies(&self, proved: &mut Proved) {
        let Candidate { owner, anchor, .. } = proved.candidate;
        let ground = self.ground;
        let mut places = vec![];
        match proved.candidate.kind {
            ContainerKind::Deque => places.push(owner),
            ContainerKind::UnorderedMapOrSet if anchor - owner > ground.word => {
                places.push(owner + ground.word);
                places.push(anchor + 2 * ground.word);
            }
            ContainerKind::UnorderedMapOrSet => {}
            _ if proved.candidate.proxied => {
                places.extend((owner..anchor).step_by(ground.word as usize));
            }
            _ => {}
        }
        for place in places {
            let proxy = ground.proxy(place).map(|proxy| (proxy, Role::Proxy));
            proved.parts.extend(proxy);
        }
    }

    fn vector(&self, proved: &mut Proved) -> Option<()> {
        let ground = self.ground;
        let at = proved.candidate.anchor;
        let [first, last, end] = [0, 1, 2].map(|index| ground.nth(at, index));
        let (first, last, end) = (first?, last?, end?);
        let block = ground.holds(first, end.checked_sub(first)?)?;
        let used = last.checked_sub(first)?;
        proved.spare = end.checked_sub(last)?;
        proved.parts.push((block, Role::Body));
        if let Some(bits) = self.bits(proved, used) {
            proved.elements = bits;
            proved.candidate.kind = ContainerKind::VectorBool;
        } else {
            let size = elements::size(ground, self.rtti, first, used, end - first);
            proved.elements = used.checked_div(size)?;
        }
        Some(())
    }

    /// Of a `vector<bool>` the number of bits, which comes behind the vector of the words.
    fn bits(&self, proved: &mut Proved, used: u64) -> Option<u64> {
        const BITS: u64 = 32;
        let ground = self.ground;
        let Candidate {
            owner,
            anchor,
            proxied,
            ..
        } = proved.candidate;
        let bits = ground.nth(anchor, 3)?;
        let fits =
            used > 0 && used.is_multiple_of(4) && bits.div_ceil(BITS).checked_mul(4)? == used;
        if !fits {
            return None;
        }
        if proxied {
            // Both of its parts have proxies.
            let outer = owner.checked_sub(ground.word)?;
            ground.is_proxied(outer).then_some(())?;
            proved.candidate.owner = outer;
        } else if used < 8 || self.home_ends_before(anchor + 3 * ground.word) {
            // A count of what a small vector holds can look the same.
            return None;
        }
        Some(bits)
    }

    /// Whether the word at `place` is not part of what lies just before it.
    fn home_ends_before(&self, place: u64) -> bool {
        let home = |at| self.ground.blocks.around(at);
        home(place) != home(place - self.ground.word)
    }

    fn string(&self, proved: &mut Proved, width: u64) -> Option<()> {
        let ground = self.ground;
        let at = proved.candidate.anchor;
        let size = ground.word(at + 16)?;
        let capacity = ground.word(at + 16 + ground.word)?;
        let bytes = capacity.checked_add(1)?.checked_mul(width)?;
        let text = ground.word(at)?;
        let block = ground.holds(text, bytes)?;
        if !proved.candidate.proxied && !self.is_text(proved, text, size.checked_mul(width)?) {
            return None;
        }
        proved.elements = size;
        proved.spare = capacity.checked_sub(size)?.checked_mul(width)?;
        proved.parts.push((block, Role::Text));
        Some(())
    }

    /// Whether what a string says is text. A count, and a number that is just the size of a block, are
    /// too little to go by: bytes in strings are left out where no proxy proves the string.
    fn is_text(&self, proved: &Proved, text: u64, bytes: u64) -> bool {
        let known = self.rank(&proved.candidate) <= VARIABLE;
        if bytes == 0 {
            return known;
        }
        let Some(content) = self.ground.memory.slice(text, bytes) else {
            return false;
        };
        match proved.candidate.kind {
            ContainerKind::String => content
                .iter()
                .all(|&byte| matches!(byte, 9 | 10 | 13 | 0x20..) || known && byte != 0),
            _ => {
                let (units, _) = content.as_chunks::<2>();
                let mut units = units.iter().map(|unit| u16::from_le_bytes(*unit));
                units.all(|unit| matches!(unit, 9 | 10 | 13 | 0x20..) || known && unit != 0)
            }
        }
    }

    fn list(&mut self, proved: &mut Proved) -> Option<()> {
        let Candidate {
            owner, anchor: at, ..
        } = proved.candidate;
        let head = self.ground.blocks.at(self.ground.word(at)?)?;
        let count = self.ground.nth(at, 1)?;
        if !self.is_free(head) || self.lies_among(owner, head) {
            return None;
        }
        // A pointer to an empty list of another sort looks the same: only an object or a variable is
        // believed.
        if count == 0
            && proved.candidate.kind == ContainerKind::List
            && self.rank(&proved.candidate) > VARIABLE
        {
            return None;
        }
        let ring = self.nodes.ring(head, count)?;
        proved.elements = count;
        proved.parts.push((head, Role::Head));
        proved
            .parts
            .extend(ring[1..].iter().map(|&node| (node, Role::Node)));
        Some(())
    }

    fn tree(&mut self, proved: &mut Proved) -> Option<()> {
        let Candidate {
            owner, anchor: at, ..
        } = proved.candidate;
        let head = self.ground.blocks.at(self.ground.word(at)?)?;
        let count = self.ground.nth(at, 1)?;
        if !self.is_free(head) || self.lies_among(owner, head) {
            return None;
        }
        let nodes = self.nodes.tree(head, count)?;
        proved.elements = count;
        proved.parts.push((head, Role::Head));
        proved
            .parts
            .extend(nodes.into_iter().map(|node| (node, Role::Node)));
        Some(())
    }

    fn hash(&mut self, proved: &mut Proved) -> Option<()> {
        self.list(proved)?;
        let Candidate { owner, anchor, .. } = proved.candidate;
        let vector = anchor + (anchor - owner) + self.ground.word;
        let [first, last, end] = [0, 1, 2].map(|index| self.ground.nth(vector, index));
        let (first, last, end) = (first?, last?, end?);
        let buckets = self.ground.holds(first, end.checked_sub(first)?)?;
        proved.spare = end.checked_sub(last)?;
        proved.parts.push((buckets, Role::Buckets));
        Some(())
    }

    fn deque(&self, proved: &mut Proved) -> Option<()> {
        let ground = self.ground;
        let at = proved.candidate.anchor;
        let [map, places, first, count] = [1, 2, 3, 4].map(|index| ground.nth(at, index));
        let (map, places, first, count) = (map?, places?, first?, count?);
        let table = ground.holds(map, places.checked_mul(ground.word)?)?;
        let mut blocks = Vec::new();
        let mut size = None;
        // The table lies in a block, so that its size is one that the dump can hold.
        let mut used = Vec::new();
        for place in 0..places {
            let block = ground.nth(map, place)?;
            used.push(block != 0);
            if block == 0 {
                continue;
            }
            let number = ground.blocks.at(block)?;
            let bytes = ground.blocks.block(number).1;
            if *size.get_or_insert(bytes) != bytes {
                return None;
            }
            blocks.push(number);
        }
        let mut distinct = blocks.clone();
        distinct.sort_unstable();
        distinct.dedup();
        if distinct.len() != blocks.len() {
            return None;
        }
        let size = size.unwrap_or(0);
        let per_block = per_block(&used, size, first, count)?;
        let room = (blocks.len() as u64).checked_mul(per_block)?;
        proved.elements = count;
        proved.spare = room.saturating_sub(count).saturating_mul(size / per_block);
        proved.parts.push((table, Role::Map));
        proved
            .parts
            .extend(blocks.into_iter().map(|block| (block, Role::Block)));
        Some(())
    }
}

/// How many elements a block of a deque has: so many that the ones in use have all their blocks, and
/// as few blocks as can be are left over. Blocks of 16 bytes have several elements, others one.
fn per_block(used: &[bool], size: u64, first: u64, count: u64) -> Option<u64> {
    let places = used.len() as u64;
    if count == 0 {
        return Some(1);
    }
    let held = used.iter().filter(|&&used| used).count() as u64;
    let choices: &[u64] = if size == 16 { &[1, 2, 4, 8, 16] } else { &[1] };
    let fits = |&per: &u64| {
        let from = (first / per) % places;
        let needed = (first % per).checked_add(count)?.div_ceil(per);
        // The first and the last element can share a block, at its two ends.
        let all = needed <= places + 1
            && (0..needed.min(places)).all(|index| used[((from + index) % places) as usize]);
        all.then(|| held.saturating_sub(needed))
    };
    choices
        .iter()
        .copied()
        .filter_map(|per| Some((fits(&per)?, per)))
        .min()
        .map(|(_, per)| per)
}

/// Names the containers, and gives their blocks types.
pub(super) fn name(
    ground: &Ground<'_, '_>,
    names: Option<&dyn NameSource>,
    module_name: &dyn Fn(u64) -> String,
    table: &mut Table,
    resolved: Resolved,
) -> Vec<Container> {
    // Objects by themselves first: what they hold is named without them.
    for proved in &resolved.containers {
        let candidate = &proved.candidate;
        if let Some(home) = ground.blocks.at(candidate.owner)
            && ground.blocks.block(home).1 == object_size(ground, candidate)
            && !table.is_set(home)
            && resolved.claims[home as usize] == FREE
        {
            let title = candidate.kind.title();
            table.set(home, TypeKey::new(TypeKind::Container, title));
        }
    }
    let namer = Namer {
        ground,
        names,
        module_name,
        resolved: &resolved,
    };
    let holders: Vec<String> = resolved
        .containers
        .iter()
        .map(|proved| namer.holder(table, proved.candidate.owner, 0))
        .collect();
    let mut containers = Vec::with_capacity(holders.len());
    for (proved, holder) in resolved.containers.iter().zip(holders) {
        let kind = proved.candidate.kind;
        let mut roles: Vec<(Role, u32)> = Vec::new();
        for &(block, role) in &proved.parts {
            let known = roles.iter().find(|known| known.0 == role);
            let number = known.map_or_else(
                || {
                    let name = part(kind, role, &holder);
                    table.intern(TypeKey::new(TypeKind::ContainerPart, name))
                },
                |known| known.1,
            );
            if known.is_none() {
                roles.push((role, number));
            }
            table.of[block as usize] = number;
        }
        containers.push(Container {
            owner: proved.candidate.owner,
            kind,
            elements: proved.elements,
            blocks: proved.parts.len() as u32,
            bytes: proved.bytes,
            spare: proved.spare,
            data: proved
                .parts
                .first()
                .map_or(0, |part| ground.blocks.block(part.0).0),
            holder: holder.into(),
        });
    }
    containers
}

fn part(kind: ContainerKind, role: Role, holder: &str) -> String {
    let (title, role) = (kind.title(), role.name());
    match holder == kind.title() {
        // An object by itself.
        true => format!("{title} {role}"),
        false => format!("{title} {role} of {holder}"),
    }
}

/// The size of a container object.
fn object_size(ground: &Ground<'_, '_>, candidate: &Candidate) -> u64 {
    let word = ground.word;
    let front = candidate.anchor - candidate.owner;
    match candidate.kind {
        ContainerKind::UnorderedMapOrSet
        | ContainerKind::UnorderedMap
        | ContainerKind::UnorderedSet => match front > word {
            true => 10 * word,
            false => 8 * word,
        },
        ContainerKind::Vector => front + 3 * word,
        ContainerKind::VectorBool => front + 4 * word,
        ContainerKind::String | ContainerKind::WString => front + 16 + 2 * word,
        ContainerKind::List | ContainerKind::MapOrSet | ContainerKind::Map | ContainerKind::Set => {
            front + 2 * word
        }
        ContainerKind::Deque => 5 * word,
    }
}

struct Namer<'n, 'g, 'p, 'a> {
    ground: &'g Ground<'p, 'a>,
    names: Option<&'n dyn NameSource>,
    module_name: &'n dyn Fn(u64) -> String,
    resolved: &'n Resolved,
}

impl Namer<'_, '_, '_, '_> {
    /// What the container at `owner` lies in.
    fn holder(&self, table: &Table, owner: u64, depth: u32) -> String {
        let Some(home) = self.ground.blocks.around(owner) else {
            return self.outside(owner);
        };
        let (start, size) = self.ground.blocks.block(home);
        let claim = self.resolved.claims[home as usize];
        if let Some(outer) = self.resolved.containers.get(claim as usize) {
            let title = outer.candidate.kind.title();
            if depth >= MAX_NESTING {
                return title.to_owned();
            }
            let holder = self.holder(table, outer.candidate.owner, depth + 1);
            return match holder == title {
                true => holder,
                false => format!("{title} of {holder}"),
            };
        }
        match table.get(home) {
            Some(known) if known.kind == TypeKind::Container => known.name.to_string(),
            Some(known) => format!("{}+{:#x}", known.name, owner - start),
            None => format!("unknown {size:#x}+{:#x}", owner - start),
        }
    }

    fn outside(&self, owner: u64) -> String {
        let areas = &self.ground.areas;
        let before = areas.partition_point(|area| area.start <= owner);
        let area = before.checked_sub(1).and_then(|index| areas.get(index));
        match area.map(|area| area.owner) {
            Some(Owner::Image(_)) => match self.names.and_then(|names| names.name(owner)) {
                Some(name) => name.to_string(),
                None => (self.module_name)(owner),
            },
            Some(Owner::Stack(thread)) => format!("stack of thread {thread:x}"),
            Some(Owner::Private(base)) => format!("VirtualAlloc {base:x}"),
            _ => format!("{owner:x}"),
        }
    }
}
