//! Containers of the C++ library, found by their owners: the words of a container object say what
//! its blocks must look like, down to the number of elements.
//!
//! Every aligned word of the blocks and of the memory outside that points to the beginning of a block
//! is looked at, with the words round it. What has the shape of a container is then followed through
//! all its nodes; only where links, sizes and counts agree is it one. A block belongs to one
//! container at most.

mod elements;
mod exact;
mod nodes;
mod resolve;
mod shapes;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use super::{Rtti, ground::Ground, table::Table};
use crate::{dump::Dump, names::NameSource};

/// What a container is, as far as memory can tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum ContainerKind {
    /// `std::vector`.
    Vector,
    /// `std::vector<bool>`.
    VectorBool,
    /// `std::string`.
    String,
    /// `std::wstring` (or `std::u16string`).
    WString,
    /// `std::list`.
    List,
    /// `std::map`, `std::set` or one of their forms with equal keys.
    MapOrSet,
    /// `std::map` or `std::multimap`, as a PDB tells.
    Map,
    /// `std::set` or `std::multiset`, as a PDB tells.
    Set,
    /// `std::unordered_map`, `std::unordered_set` or one of their forms with equal keys.
    UnorderedMapOrSet,
    /// `std::unordered_map` or `std::unordered_multimap`, as a PDB tells.
    UnorderedMap,
    /// `std::unordered_set` or `std::unordered_multiset`, as a PDB tells.
    UnorderedSet,
    /// `std::deque`, also inside a `std::queue` or `std::stack`.
    Deque,
}

impl ContainerKind {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            ContainerKind::Vector => "vector",
            ContainerKind::VectorBool => "vector<bool>",
            ContainerKind::String => "string",
            ContainerKind::WString => "wstring",
            ContainerKind::List => "list",
            ContainerKind::MapOrSet | ContainerKind::Map => "map",
            ContainerKind::Set => "set",
            ContainerKind::UnorderedMapOrSet | ContainerKind::UnorderedMap => "unordered_map",
            ContainerKind::UnorderedSet => "unordered_set",
            ContainerKind::Deque => "deque",
        }
    }

    /// The name used in text, which says what memory can't tell apart.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            ContainerKind::Vector => "std::vector",
            ContainerKind::VectorBool => "std::vector<bool>",
            ContainerKind::String => "std::string",
            ContainerKind::WString => "std::wstring",
            ContainerKind::List => "std::list",
            ContainerKind::MapOrSet => "std::map/set",
            ContainerKind::Map => "std::map",
            ContainerKind::Set => "std::set",
            ContainerKind::UnorderedMapOrSet => "std::unordered_map/set",
            ContainerKind::UnorderedMap => "std::unordered_map",
            ContainerKind::UnorderedSet => "std::unordered_set",
            ContainerKind::Deque => "std::deque",
        }
    }
}

impl fmt::Display for ContainerKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A container that holds blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Container {
    /// Address of the container object.
    pub owner: u64,
    /// What it is.
    pub kind: ContainerKind,
    /// Number of elements; of a string characters.
    pub elements: u64,
    /// Number of blocks that it holds.
    pub blocks: u32,
    /// Bytes of these blocks.
    pub bytes: u64,
    /// Bytes among them that are room for further elements.
    pub spare: u64,
    /// Address of its first block: of a tree or list the head.
    pub data: u64,
    /// What the container object lies in: a class and the offset in it, a variable, a stack.
    pub holder: Arc<str>,
}

/// What a block is to its container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Body,
    Text,
    Node,
    Head,
    Buckets,
    Map,
    Block,
    Proxy,
}

impl Role {
    const fn name(self) -> &'static str {
        match self {
            Role::Body => "elements",
            Role::Text => "text",
            Role::Node => "node",
            Role::Head => "head",
            Role::Buckets => "buckets",
            Role::Map => "map",
            Role::Block => "block",
            Role::Proxy => "debug proxy",
        }
    }
}

/// Finds the containers, and gives their blocks types.
pub(super) fn find(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    (names, dump): (Option<&dyn NameSource>, Option<&Dump<'_>>),
    module_name: &dyn Fn(u64) -> String,
    table: &mut Table,
) -> Vec<Container> {
    let candidates = shapes::scan(ground);
    let mut found = resolve::resolve(ground, rtti, table, candidates);
    if let (Some(names), Some(dump)) = (names, dump) {
        exact::decide(ground, names, dump, table, &mut found);
    }
    resolve::name(ground, names, module_name, table, found)
}
