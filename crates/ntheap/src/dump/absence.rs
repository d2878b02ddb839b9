//! What the process had and the dump does not hold.

use super::{Region, RegionState};
use crate::address_space::{AddressSpace, END};

const PAGE: u64 = 0x1000;
/// Where the dump does not describe its regions, memory this near to what it holds counts as the
/// process's: what `VirtualAlloc` rounds addresses to.
const GRANULARITY: u64 = 0x10000;

/// Whether the process had memory at `address` that the dump does not hold.
///
/// `regions` are sorted by address. Without any, the memory that is there tells: an address in the
/// same 64 KiB as a page of the dump, or next to one, is taken for memory that was left out.
pub(crate) fn is_absent(memory: &AddressSpace<'_>, regions: &[Region], address: u64) -> bool {
    if address >= END || memory.range_of(address).is_some() {
        return false;
    }
    if regions.is_empty() {
        let first = (address - address % GRANULARITY).min(address.saturating_sub(PAGE));
        let last = (first + GRANULARITY).max(address.saturating_add(PAGE));
        return memory.next_readable(first).is_some_and(|next| next < last);
    }
    let index = regions.partition_point(|region| region.base <= address);
    index
        .checked_sub(1)
        .and_then(|index| regions.get(index))
        .is_some_and(|region| address < region.end() && region.state == RegionState::Commit)
}
