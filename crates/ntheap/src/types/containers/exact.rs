//! Which of the kinds that memory can't tell apart a container is, where a PDB describes the object or
//! the variable that it is a part of.

use super::{ContainerKind, resolve::Resolved};
use crate::{
    dump::Dump,
    names::{NameSource, Part, part_of_object, part_of_variable},
    types::{TypeKind, ground::Ground, table::Table},
};

/// Tells maps from sets.
pub(super) fn decide(
    ground: &Ground<'_, '_>,
    names: &dyn NameSource,
    dump: &Dump<'_>,
    table: &Table,
    found: &mut Resolved,
) {
    for (owner, kind) in found.kinds() {
        if matches!(
            kind,
            ContainerKind::MapOrSet | ContainerKind::UnorderedMapOrSet
        ) && let Some(part) = part(ground, names, dump, table, owner)
        {
            *kind = told(*kind, &part.type_name);
        }
    }
}

/// What a PDB says of the place of a container object.
fn part(
    ground: &Ground<'_, '_>,
    names: &dyn NameSource,
    dump: &Dump<'_>,
    table: &Table,
    owner: u64,
) -> Option<Part> {
    let Some(home) = ground.blocks.around(owner) else {
        return part_of_variable(names, dump, owner);
    };
    let class = table
        .get(home)
        .filter(|class| class.kind == TypeKind::Class)?;
    let (start, _) = ground.blocks.block(home);
    let process = (dump, ground.bitness);
    part_of_object(names, process, (&class.name, start), owner - start)
}

/// The kind that a type has, if it is one of those that a container could be.
fn told(kind: ContainerKind, type_name: &str) -> ContainerKind {
    let template = type_name.split('<').next().unwrap_or(type_name);
    match (kind, template) {
        (ContainerKind::MapOrSet, "std::map" | "std::multimap") => ContainerKind::Map,
        (ContainerKind::MapOrSet, "std::set" | "std::multiset") => ContainerKind::Set,
        (ContainerKind::UnorderedMapOrSet, "std::unordered_map" | "std::unordered_multimap") => {
            ContainerKind::UnorderedMap
        }
        (ContainerKind::UnorderedMapOrSet, "std::unordered_set" | "std::unordered_multiset") => {
            ContainerKind::UnorderedSet
        }
        _ => kind,
    }
}
