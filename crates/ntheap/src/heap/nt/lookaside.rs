//! XP and Server 2003: blocks that lie on the heap's lookaside lists. They are busy in their
//! segment but free for the program.

use rustc_hash::FxHashSet;

use super::header::{FrontEndKind, Header};
use crate::{address_space::AddressSpace, layout::Layouts};

/// Lookaside lists of a heap: one a block size in units.
const LISTS: u64 = 128;
/// A list's depth is a 16-bit number.
const MAX_DEPTH: usize = 1 << 16;

/// User addresses of all cached blocks, ascending.
pub(super) fn cached_blocks(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    header: &Header,
) -> Vec<u64> {
    let mut cached = Vec::new();
    if header.front_end.kind != FrontEndKind::Lookaside || header.front_end.address == 0 {
        return cached;
    }
    let layout = &layouts.lookaside;
    for index in 0..LISTS {
        let Some(list) = header
            .front_end
            .address
            .checked_add(index * u64::from(layout.struct_size))
        else {
            break;
        };
        let list = memory.at(list, layouts.bitness);
        let mut next = list.pointer(layout.list_head).unwrap_or(0);
        let mut seen = FxHashSet::default();
        while next != 0 && seen.len() < MAX_DEPTH && seen.insert(next) {
            cached.push(next);
            next = memory.pointer(next, layouts.bitness).unwrap_or(0);
        }
    }
    cached.sort_unstable();
    cached.dedup();
    cached
}
