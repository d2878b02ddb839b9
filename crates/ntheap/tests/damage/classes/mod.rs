//! The classes of damage, one module a level.

mod process;

use crate::score::Class;

/// All classes, in the order of the table.
pub(crate) fn all() -> Vec<Class> {
    process::classes()
}
