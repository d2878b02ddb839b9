//! What the blocks of a dump are, and whose.

use std::collections::BTreeMap;

use ntheap::{
    dump::Dump,
    graph::{Dominators, Graph, Holder, RootKind, Rules, Ways},
    names::NameSource,
    types::{TypeKind, Types},
    usage::Owner,
};

use super::{Known, OwnerRow, Table, TypeRow, identity::bounded};
use crate::json::CountReport;

impl Known {
    /// Looks at the blocks of a process.
    #[must_use]
    pub fn of(graph: &Graph<'_, '_>, names: Option<&dyn NameSource>) -> Self {
        let types = Types::of(graph, names);
        let dominators = graph.dominators();
        let retained = types.retained(&dominators);
        let mut known = Known {
            dumps: 1,
            ..Known::default()
        };
        let mut rows = Vec::new();
        for total in types.totals_where(Some(&retained), |_| true) {
            match total.kind {
                None => known.untyped.add(CountReport {
                    blocks: total.blocks,
                    bytes: total.bytes,
                }),
                Some(kind) => rows.push(TypeRow {
                    name: without_address(&total.name, kind),
                    kind: kind.name().to_owned(),
                    blocks: total.blocks,
                    bytes: total.bytes,
                    retained: total.retained.unwrap_or(total.bytes),
                }),
            }
        }
        known.types = Table::of(rows);
        known.owners = Table::of(Owners::of(graph, &types, &dominators).rows());
        known
    }
}

/// The name of a type without the address that it has where a container lies in no module and no
/// object: that is another in every run.
fn without_address(name: &str, kind: TypeKind) -> String {
    if matches!(kind, TypeKind::Container | TypeKind::ContainerPart)
        && let Some((what, holder)) = name.rsplit_once(" of ")
        && holder.len() > 4
        && holder.bytes().all(|byte| byte.is_ascii_hexdigit())
        && holder.bytes().any(|byte| byte.is_ascii_digit())
    {
        return bounded(what);
    }
    bounded(name)
}

/// A holder without its name: one whose blocks are counted together.
type Key = (Option<String>, String);

/// The nearest object, or else the root, that holds each block.
struct Owners<'o, 'g, 'p, 'a> {
    graph: &'o Graph<'p, 'a>,
    types: &'o Types<'g, 'a>,
    dominators: &'o Dominators,
    ways: Ways,
    /// By block: the position of its owner, where it is known by now, and 0 where not.
    of: Vec<u32>,
    /// Likewise the position of the root that its way begins at.
    roots: Vec<u32>,
    keys: BTreeMap<Key, u32>,
}

impl<'o, 'g, 'p, 'a> Owners<'o, 'g, 'p, 'a> {
    fn of(graph: &'o Graph<'p, 'a>, types: &'o Types<'g, 'a>, dominators: &'o Dominators) -> Self {
        Owners {
            ways: graph.ways(Rules::ALL),
            of: vec![0; graph.index().len()],
            roots: vec![0; graph.index().len()],
            keys: BTreeMap::new(),
            graph,
            types,
            dominators,
        }
    }

    fn rows(mut self) -> Vec<OwnerRow> {
        let mut counts: Vec<CountReport> = Vec::new();
        for block in 0..self.of.len() as u32 {
            let owner = self.owner(block) as usize;
            if counts.len() < owner {
                counts.resize(owner, CountReport::default());
            }
            counts[owner - 1].add(CountReport {
                blocks: 1,
                bytes: self.graph.index().size(block),
            });
        }
        let row = |((owner, kind), position): (Key, u32)| OwnerRow {
            owner,
            kind,
            blocks: counts[position as usize - 1].blocks,
            bytes: counts[position as usize - 1].bytes,
        };
        self.keys.into_iter().map(row).collect()
    }

    fn position(&mut self, key: Key) -> u32 {
        let next = self.keys.len() as u32 + 1;
        *self.keys.entry(key).or_insert(next)
    }

    /// The owner of a block: that of the blocks above it which have none of their own.
    fn owner(&mut self, block: u32) -> u32 {
        let mut path = Vec::new();
        let mut at = block;
        let owner = loop {
            if self.of[at as usize] != 0 {
                break self.of[at as usize];
            }
            path.push(at);
            let Some(above) = self.dominators.of(at) else {
                break self.root(at);
            };
            let object = self.types.of_block(above).filter(|of| {
                matches!(
                    of.kind,
                    TypeKind::Class | TypeKind::Array | TypeKind::ControlBlock
                )
            });
            if let Some(object) = object {
                let key = (Some(bounded(&object.name)), "object".to_owned());
                break self.position(key);
            }
            at = above;
        };
        for block in path {
            self.of[block as usize] = owner;
        }
        owner
    }

    /// The root that leads to a block that no other dominates.
    fn root(&mut self, block: u32) -> u32 {
        let mut path = Vec::new();
        let mut at = block;
        let root = loop {
            if self.roots[at as usize] != 0 {
                break self.roots[at as usize];
            }
            path.push(at);
            let key = match self.ways.before(at) {
                Some(Holder::Block(holder)) if path.len() <= self.roots.len() => {
                    at = holder;
                    continue;
                }
                Some(Holder::Root(area)) => self.area(area),
                _ => (None, "lost".to_owned()),
            };
            break self.position(key);
        };
        for block in path {
            self.roots[block as usize] = root;
        }
        root
    }

    fn area(&self, area: usize) -> Key {
        let dump = self.graph.process().dump;
        match self.graph.areas().get(area) {
            Some(area) => (
                module(dump, area.kind, area.owner),
                area.kind.name().to_owned(),
            ),
            None => (None, "unknown".to_owned()),
        }
    }
}

/// The module whose variables a root is.
fn module(dump: &Dump<'_>, kind: RootKind, owner: Owner) -> Option<String> {
    match (kind, owner) {
        (RootKind::Image | RootKind::SealedImage, Owner::Image(base)) => dump
            .module_at(base)
            .map(|module| bounded(module.file_name())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_address_is_in_a_name() {
        for (name, kept) in [
            ("std::string text of 21ab6d04560", "std::string text"),
            (
                "std::string text of market+0x83d4",
                "std::string text of market+0x83d4",
            ),
            ("std::list node of facade", "std::list node of facade"),
        ] {
            assert_eq!(without_address(name, TypeKind::ContainerPart), kept);
        }
    }
}
