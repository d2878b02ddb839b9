//! XP and Server 2003: blocks that lie on the heap's lookaside lists. They are busy in their
//! segment but free for the program.

use rustc_hash::FxHashSet;

use super::header::{FrontEndKind, Header};
use crate::{address_space::AddressSpace, layout::Layouts};

/// Lookaside lists of a heap: one a block size in units.
const LISTS: u64 = 128;
/// A list's depth is a 16-bit number.
const MAX_DEPTH: usize = 1 << 16;

/// The blocks on a heap's lists.
#[derive(Debug, Default)]
pub(super) struct Cached {
    /// User addresses, ascending.
    pub(super) blocks: Vec<u64>,
    /// The lists that are not in the dump as a whole: a bit for each size in units.
    pub(super) lost_lists: u128,
}

impl Cached {
    /// Whether a busy block of so many units may be on a list that is lost.
    pub(super) fn may_hold(&self, units: u16) -> bool {
        u64::from(units) < LISTS && self.lost_lists >> units & 1 != 0
    }
}

/// All blocks on the lists of a heap.
pub(super) fn cached_blocks(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    header: &Header,
) -> Cached {
    let mut lost_lists = 0;
    let mut cached = Vec::new();
    if header.front_end.kind != FrontEndKind::Lookaside || header.front_end.address == 0 {
        return Cached::default();
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
        let first = list.pointer(layout.list_head);
        let mut next = first.unwrap_or(0);
        // A record of zeroes is none: each has a largest depth at least.
        let record = memory.slice(list.base, layout.struct_size.into());
        let mut whole = record.is_some_and(|record| record.iter().any(|&byte| byte != 0));
        let mut seen = FxHashSet::default();
        while next != 0 && seen.len() < MAX_DEPTH && seen.insert(next) {
            cached.push(next);
            let after = memory.pointer(next, layouts.bitness);
            whole &= after.is_some();
            next = after.unwrap_or(0);
        }
        if !whole {
            lost_lists |= 1 << index;
        }
    }
    cached.sort_unstable();
    cached.dedup();
    Cached {
        blocks: cached,
        lost_lists,
    }
}
