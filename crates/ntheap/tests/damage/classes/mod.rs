//! The classes of damage, one module a level.

mod heaps;
mod process;
mod wild;

use crate::score::Class;

/// All classes, in the order of the table.
pub(crate) fn all() -> Vec<Class> {
    let mut classes = process::classes();
    classes.extend(heaps::classes());
    classes.extend(wild::classes());
    classes
}
