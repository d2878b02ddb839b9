//! Full blocks of which page heap's records are lost, by the information in front of their data.

use rustc_hash::FxHashSet;

use super::{BlockInformation, PageBlock, PageHeap, information::information_size};
use crate::{
    address_space::AddressSpace,
    blocks::{Certainty, State},
    layout::Layouts,
};

const PAGE: u64 = 0x1000;
/// More blocks than a search is for.
const MAX_FOUND: usize = 1 << 24;

/// What page heap left in front of blocks, wherever in memory, whole and in use.
pub(crate) fn informations<'m>(
    memory: &'m AddressSpace<'_>,
    layouts: &'m Layouts,
) -> impl Iterator<Item = BlockInformation> + use<'m> {
    let step = layouts.bitness.unit() as usize;
    memory.ranges().iter().flat_map(move |range| {
        let first = range.start.next_multiple_of(step as u64);
        let skipped = (first - range.start) as usize;
        let bytes = range.bytes.get(skipped..).unwrap_or(&[]);
        bytes
            .chunks_exact(step)
            .zip(0u64..)
            .filter(|(chunk, _)| is_stamp(chunk))
            .filter_map(move |(_, index)| {
                BlockInformation::read(memory, layouts, first + index * step as u64)
            })
            .filter(|found| found.intact && found.stamp.state == State::Busy)
    })
}

/// Whether the first stamp of a busy block is here.
fn is_stamp(chunk: &[u8]) -> bool {
    const FULL: u32 = 0xabcd_bbbb;
    const LIGHT: u32 = 0xabcd_aaaa;
    let start = chunk.first_chunk().copied().map(u32::from_le_bytes);
    matches!(start, Some(FULL | LIGHT))
}

impl PageHeap<'_, '_> {
    /// Adds the busy blocks that the heap's records do not lead to.
    pub(super) fn search_blocks(&mut self) {
        let known: FxHashSet<u64> = self.busy.iter().map(|block| block.address).collect();
        let prefix = information_size(self.layouts);
        let found: Vec<PageBlock> = informations(self.memory, self.layouts)
            .filter(|found| found.stamp.full && found.root == self.root.address)
            .filter_map(|found| {
                let address = found.address.checked_add(prefix)?;
                let virtual_block = found.address & !(PAGE - 1);
                let end = address
                    .checked_add(found.requested)?
                    .checked_next_multiple_of(PAGE)?
                    .checked_add(PAGE)?;
                // The data begin in the pages that the information lies in.
                let held = self.memory.readable(address, found.requested) == found.requested;
                (held && !known.contains(&address)).then_some(PageBlock {
                    node: found.address,
                    address,
                    requested: found.requested,
                    actual: None,
                    virtual_block,
                    virtual_size: end - virtual_block,
                    state: State::Busy,
                    trace: found.trace,
                    thread: None,
                    certainty: Certainty::Stamps,
                })
            })
            .take(MAX_FOUND)
            .collect();
        self.busy.extend(found);
        self.busy.sort_by_key(|block| block.address);
    }
}
