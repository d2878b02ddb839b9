//! Damages that are none: an operation on the heap was not finished.

use super::{Check, Damage};
use crate::heap::Operation;

/// Something that contradicts itself because a thread was in the middle of changing it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unfinished {
    /// What would be a damage without that.
    pub damage: Damage,
    /// The threads that were at work on the heap: the owner of its lock first.
    pub threads: Vec<Operation>,
}

/// Places that one operation leaves half done at most: an entry, its neighbours, a list, a count.
const PLACES: usize = 4;

/// Takes the damages out of `damages` that the operations on the heap explain.
pub(super) fn take(damages: &mut Vec<Damage>, operations: &[Operation]) -> Vec<Unfinished> {
    let explained = |damage: &Damage| {
        matches!(
            damage.check,
            Check::HalfDone
                | Check::PreviousSize
                | Check::FreeList
                | Check::Total
                | Check::Bitmap
                | Check::Depth
        ) && damage.extent <= operations.len() as u64
    };
    let count = damages.iter().filter(|damage| explained(damage)).count();
    if operations.is_empty() || count > PLACES * operations.len() {
        return Vec::new();
    }
    let (unfinished, left): (Vec<Damage>, Vec<Damage>) =
        damages.drain(..).partition(|damage| explained(damage));
    *damages = left;
    unfinished
        .into_iter()
        .map(|damage| Unfinished {
            damage,
            threads: operations.to_vec(),
        })
        .collect()
}
