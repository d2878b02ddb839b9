//! Types of blocks, each name kept once.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::{Type, TypeKind};

/// What tells types apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct TypeKey {
    pub(super) kind: TypeKind,
    pub(super) name: Arc<str>,
    pub(super) class: Option<u32>,
}

impl TypeKey {
    pub(super) fn new(kind: TypeKind, name: impl Into<Arc<str>>) -> Self {
        TypeKey {
            kind,
            name: name.into(),
            class: None,
        }
    }

    pub(super) fn classed(kind: TypeKind, name: impl Into<Arc<str>>, class: u32) -> Self {
        TypeKey {
            kind,
            name: name.into(),
            class: Some(class),
        }
    }
}

/// No type.
pub(super) const NONE: u32 = u32::MAX;

/// Left out, as a block of a heap that was not asked for.
pub(super) const LEFT_OUT: u32 = u32::MAX - 1;

/// The types, and which block has which.
#[derive(Debug, Default)]
pub(super) struct Table {
    pub(super) types: Vec<Type>,
    pub(super) of: Vec<u32>,
    known: FxHashMap<TypeKey, u32>,
}

impl Table {
    pub(super) fn new(blocks: usize) -> Self {
        Table {
            types: Vec::new(),
            of: vec![NONE; blocks],
            known: FxHashMap::default(),
        }
    }

    pub(super) fn intern(&mut self, key: TypeKey) -> u32 {
        if let Some(&known) = self.known.get(&key) {
            return known;
        }
        let number = self.types.len() as u32;
        self.types.push(Type {
            name: key.name.clone(),
            kind: key.kind,
            class: key.class,
        });
        self.known.insert(key, number);
        number
    }

    pub(super) fn set(&mut self, block: u32, key: TypeKey) {
        let number = self.intern(key);
        self.of[block as usize] = number;
    }

    pub(super) fn is_set(&self, block: u32) -> bool {
        self.of[block as usize] != NONE
    }

    pub(super) fn get(&self, block: u32) -> Option<&Type> {
        self.types.get(self.of[block as usize] as usize)
    }
}
