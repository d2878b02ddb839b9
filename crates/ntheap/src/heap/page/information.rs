//! `_DPH_BLOCK_INFORMATION`: what page heap keeps in front of the program's data.

use super::trace_at;
use crate::{
    address_space::AddressSpace,
    blocks::{State, Trace},
    layout::{Bitness, Layouts},
};

/// Which sort of block an information belongs to, by its stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    /// Whether the block has pages of its own.
    pub full: bool,
    /// Busy, or freed and kept in the queue.
    pub state: State,
}

const fn stamp(full: bool, state: State) -> Stamp {
    Stamp { full, state }
}

/// `StartStamp` and `EndStamp`.
const STAMPS: [(u32, u32, Stamp); 4] = [
    (0xabcd_aaaa, 0xdcba_aaaa, stamp(false, State::Busy)),
    (0xabcd_aaa9, 0xdcba_aaa9, stamp(false, State::Freed)),
    (0xabcd_bbbb, 0xdcba_bbbb, stamp(true, State::Busy)),
    (0xabcd_bbba, 0xdcba_bbba, stamp(true, State::Freed)),
];

/// The information in front of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockInformation {
    /// Address of the information.
    pub address: u64,
    /// What the stamps say.
    pub stamp: Stamp,
    /// Whether both stamps agree: if not, one was overwritten.
    pub intact: bool,
    /// Address of the root of the page heap that the block belongs to.
    pub root: u64,
    /// Bytes that the program asked for.
    pub requested: u64,
    /// Bytes of the whole block, this information included.
    pub actual: u64,
    /// Trace of the allocation; of a freed block, that of the call that freed it.
    pub trace: Trace,
}

/// Size of an information in bytes: the distance from it to the program's data.
pub(super) fn information_size(layouts: &Layouts) -> u64 {
    layouts.dph_block_information.struct_size.into()
}

impl BlockInformation {
    /// The information at `address`; `None` if it is not in the dump, or is none by both stamps.
    #[must_use]
    pub fn read(memory: &AddressSpace<'_>, layouts: &Layouts, address: u64) -> Option<Self> {
        let layout = &layouts.dph_block_information;
        let information = memory.at(address, layouts.bitness);
        let start = information.u32(layout.start_stamp)?;
        let end = information.u32(layout.end_stamp)?;
        let whole = STAMPS
            .iter()
            .find(|stamp| (stamp.0, stamp.1) == (start, end));
        let half = || {
            STAMPS
                .iter()
                .find(|stamp| stamp.0 == start || stamp.1 == end)
        };
        let stamp = whole.or_else(half)?.2;
        let heap = information.pointer(layout.heap)?;
        // The highest bit tells light blocks from full ones.
        let light = match layouts.bitness {
            Bitness::X86 => 1 << 31,
            Bitness::X64 => 1 << 63,
        };
        let xp = layouts.dph_root.busy_nodes_table.is_none();
        Some(BlockInformation {
            address,
            stamp,
            intact: whole.is_some(),
            root: if stamp.full { heap } else { heap ^ light },
            requested: information.pointer(layout.requested_size)?,
            actual: information.pointer(layout.actual_size)?,
            trace: trace_at(information.pointer(layout.stack_trace), xp),
        })
    }
}
