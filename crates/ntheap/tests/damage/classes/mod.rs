//! The classes of damage, one module a level.

mod heaps;
mod process;
mod wild;

use crate::score::{Class, Damage};

/// Of untouched blocks 99 per cent have to be found.
const FLOOR: u64 = 990;

/// A class that has to reach the floor.
fn class(name: &'static str, damage: Damage) -> Class {
    Class {
        name,
        floor: Some(FLOOR),
        damage,
    }
}

/// All classes, in the order of the table.
pub(crate) fn all() -> Vec<Class> {
    let mut classes = process::classes();
    classes.extend(heaps::classes());
    classes.extend(wild::classes());
    classes
}
