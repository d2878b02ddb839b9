//! Blocks of the debug C runtime: its header in front of the program's data, and its fences.
//!
//! The debug runtime asks the heap for a block, puts a header with file, line and size in front of
//! the data and four bytes of a fence on each side of them. The old runtime (up to Visual Studio
//! 2013) and the Universal one order two fields differently on x86; on x64 they agree. The layouts
//! do not depend on the Windows build, so both are tried.
//!
//! ```
//! use ntheap::{address_space::AddressSpace, heap::crt::CrtBlock, layout::Bitness};
//!
//! // An x86 block of the Universal runtime: 3 bytes, line 7, request 42.
//! let mut bytes = vec![0u8; 0x20 + 3 + 4];
//! bytes[0x0c] = 7;
//! bytes[0x10] = 1;
//! bytes[0x14] = 3;
//! bytes[0x18] = 42;
//! bytes[0x1c..0x20].fill(0xfd);
//! bytes[0x23..].fill(0xfd);
//! let space = AddressSpace::new(&bytes, [(0x1000, 0, 0x27)]);
//! let block = CrtBlock::read(&space, Bitness::X86, 0x1000, 0x27).expect("a block");
//! assert_eq!((block.address, block.size), (0x1020, 3));
//! assert_eq!((block.line, block.request), (7, 42));
//! ```

use crate::{
    address_space::{AddressSpace, Window},
    layout::Bitness,
};

/// Which runtime's header it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrtKind {
    /// The C runtimes up to that of Visual Studio 2013 (x86).
    Old,
    /// The Universal C runtime (x86).
    Universal,
    /// Either: on x64 their headers are the same, and on x86 these values fit both.
    Either,
}

/// The use of a block: the low half of `_block_use`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CrtUse {
    /// Freed by the program, kept by the runtime to find late writes.
    Free,
    /// Allocated by the program.
    Normal,
    /// Allocated by the runtime for itself.
    Runtime,
    /// Not in the runtime's list.
    Ignored,
    /// A client block, of the program's own sort (MFC's objects are such).
    Client,
}

/// A block of the debug runtime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CrtBlock {
    /// Which runtime's header it has.
    pub kind: CrtKind,
    /// Address of the data that the program has.
    pub address: u64,
    /// Bytes that the program asked for.
    pub size: u64,
    /// Address of the name of the source file, 0 if none.
    pub file_name: u64,
    /// Line in that file, 0 if none.
    pub line: u32,
    /// Number of the allocation.
    pub request: u32,
    /// Use of the block.
    pub block_use: CrtUse,
    /// Sort of a client block, 0 otherwise: the high half of `_block_use`.
    pub subtype: u16,
    /// Whether the fence behind the data is whole, `None` if it is not in the dump.
    pub fence_holds: Option<bool>,
}

/// Offsets of the header's fields.
struct Layout {
    kind: CrtKind,
    next: u64,
    previous: u64,
    file_name: u64,
    line: u64,
    block_use: u64,
    size: u64,
    request: u64,
    fence: u64,
    data: u64,
}

const X86: [Layout; 2] = [
    Layout {
        kind: CrtKind::Universal,
        next: 0x0,
        previous: 0x4,
        file_name: 0x8,
        line: 0xc,
        block_use: 0x10,
        size: 0x14,
        request: 0x18,
        fence: 0x1c,
        data: 0x20,
    },
    Layout {
        kind: CrtKind::Old,
        next: 0x0,
        previous: 0x4,
        file_name: 0x8,
        line: 0xc,
        block_use: 0x14,
        size: 0x10,
        request: 0x18,
        fence: 0x1c,
        data: 0x20,
    },
];
const X64: [Layout; 1] = [Layout {
    kind: CrtKind::Either,
    next: 0x0,
    previous: 0x8,
    file_name: 0x10,
    line: 0x18,
    block_use: 0x1c,
    size: 0x20,
    request: 0x28,
    fence: 0x2c,
    data: 0x30,
}];

/// Every byte of a fence.
const FENCE: u32 = 0xfdfd_fdfd;
/// Bytes of a fence.
const FENCE_SIZE: u64 = 4;
/// `_line_number` of a block that the runtime does not list; its request number is 0.
const IGNORED_LINE: u32 = 0xfedc_babc;

impl CrtBlock {
    /// Whether there is a fence where the header of a block of the debug runtime ends: whatever is
    /// no such block mostly fails this.
    #[inline]
    pub(crate) fn may_be(window: &mut Window<'_, '_>, bitness: Bitness, address: u64) -> bool {
        let fence = match bitness {
            Bitness::X86 => X86[0].fence,
            Bitness::X64 => X64[0].fence,
        };
        let place = address.checked_add(fence);
        place.and_then(|place| window.u32(place)) == Some(FENCE)
    }

    /// The block of the debug runtime that fills the heap block with this user area, if it is one:
    /// the fence in front of the data is whole, and header, data and fences take the whole area.
    #[must_use]
    pub fn read(
        memory: &AddressSpace<'_>,
        bitness: Bitness,
        address: u64,
        size: u64,
    ) -> Option<Self> {
        let layouts: &[Layout] = match bitness {
            Bitness::X86 => &X86,
            Bitness::X64 => &X64,
        };
        let mut found = layouts
            .iter()
            .filter_map(|layout| Self::read_as(layout, memory, bitness, address, size));
        let first = found.next()?;
        // Size and use can be the same number in both orders, which then say the same.
        let either = found.next().is_some();
        let kind = if either { CrtKind::Either } else { first.kind };
        Some(CrtBlock { kind, ..first })
    }

    fn read_as(
        layout: &Layout,
        memory: &AddressSpace<'_>,
        bitness: Bitness,
        address: u64,
        size: u64,
    ) -> Option<Self> {
        let at = |offset: u64| address.checked_add(offset);
        let word = |offset: u64| memory.u32(at(offset)?);
        let pointer = |offset: u64| memory.pointer(at(offset)?, bitness);
        let room = size.checked_sub(layout.data + FENCE_SIZE)?;
        if word(layout.fence)? != FENCE || pointer(layout.size)? != room {
            return None;
        }
        let block_use = word(layout.block_use)?;
        let (use_of, subtype) = (block_use as u16, (block_use >> 16) as u16);
        let use_of = match use_of {
            0 => CrtUse::Free,
            1 => CrtUse::Normal,
            2 => CrtUse::Runtime,
            3 => CrtUse::Ignored,
            4 => CrtUse::Client,
            _ => return None,
        };
        // The runtime's own blocks have sorts as well; the others have none.
        let has_sorts = matches!(use_of, CrtUse::Client | CrtUse::Runtime);
        let line = word(layout.line)?;
        let request = word(layout.request)?;
        let aligned = |link: u64| link.is_multiple_of(bitness.pointer_size());
        let (next, previous) = (pointer(layout.next)?, pointer(layout.previous)?);
        let ignored = use_of == CrtUse::Ignored;
        let unlisted = next == 0 && previous == 0 && line == IGNORED_LINE && request == 0;
        if (subtype != 0 && !has_sorts) || !aligned(next) || !aligned(previous) {
            return None;
        }
        if ignored && !unlisted {
            return None;
        }
        let data = at(layout.data)?;
        let fence = data.checked_add(room).and_then(|end| memory.u32(end));
        Some(CrtBlock {
            kind: layout.kind,
            address: data,
            size: room,
            file_name: pointer(layout.file_name)?,
            line: if ignored { 0 } else { line },
            request,
            block_use: use_of,
            subtype,
            fence_holds: fence.map(|fence| fence == FENCE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A block of `size` bytes of data with the values that a test looks at.
    fn bytes(layout: &Layout, bitness: Bitness, size: u64, block_use: u32) -> Vec<u8> {
        let mut bytes = vec![0xcd; (layout.data + size + FENCE_SIZE) as usize];
        let mut put = |offset: u64, value: &[u8]| {
            bytes[offset as usize..][..value.len()].copy_from_slice(value);
        };
        let width = bitness.pointer_size() as usize;
        put(layout.next, &0x2000u64.to_le_bytes()[..width]);
        put(layout.previous, &0x3000u64.to_le_bytes()[..width]);
        put(layout.file_name, &0x40_1234u64.to_le_bytes()[..width]);
        put(layout.line, &77u32.to_le_bytes());
        put(layout.block_use, &block_use.to_le_bytes());
        put(layout.size, &size.to_le_bytes()[..width]);
        put(layout.request, &1234u32.to_le_bytes());
        put(layout.fence, &FENCE.to_le_bytes());
        put(layout.data + size, &FENCE.to_le_bytes());
        bytes
    }

    fn read(bytes: &[u8], bitness: Bitness) -> Option<CrtBlock> {
        let size = bytes.len() as u64;
        let space = AddressSpace::new(bytes, [(0x1000, 0, size)]);
        CrtBlock::read(&space, bitness, 0x1000, size)
    }

    #[test]
    fn each_layout_is_told() {
        for (layout, bitness) in [
            (&X86[0], Bitness::X86),
            (&X86[1], Bitness::X86),
            (&X64[0], Bitness::X64),
        ] {
            let block = read(&bytes(layout, bitness, 100, 0x0007_0004), bitness).expect("a block");
            assert_eq!(
                block,
                CrtBlock {
                    kind: layout.kind,
                    address: 0x1000 + layout.data,
                    size: 100,
                    file_name: 0x40_1234,
                    line: 77,
                    request: 1234,
                    block_use: CrtUse::Client,
                    subtype: 7,
                    fence_holds: Some(true),
                }
            );
        }
    }

    #[test]
    fn ambiguous_values_say_the_same_in_both_orders() {
        let block = read(&bytes(&X86[0], Bitness::X86, 1, 1), Bitness::X86).expect("a block");
        assert_eq!(block.kind, CrtKind::Either);
        assert_eq!((block.size, block.block_use), (1, CrtUse::Normal));
    }

    #[test]
    fn an_overrun_is_seen_and_an_underrun_hides_the_block() {
        let good = bytes(&X64[0], Bitness::X64, 20, 1);
        let mut over = good.clone();
        over[0x30 + 20] = 0;
        assert_eq!(
            read(&over, Bitness::X64).and_then(|b| b.fence_holds),
            Some(false)
        );
        let mut under = good.clone();
        under[0x2f] = 0;
        assert_eq!(read(&under, Bitness::X64), None);
        // A block whose end is not in the dump.
        let space = AddressSpace::new(&good, [(0x1000, 0, 0x30)]);
        let cut = CrtBlock::read(&space, Bitness::X64, 0x1000, good.len() as u64);
        assert_eq!(cut.map(|block| block.fence_holds), Some(None));
    }

    #[test]
    fn ignored_blocks_have_no_line() {
        let mut ignored = bytes(&X64[0], Bitness::X64, 20, 3);
        assert_eq!(read(&ignored, Bitness::X64), None);
        ignored[..0x10].fill(0);
        ignored[0x18..0x1c].copy_from_slice(&IGNORED_LINE.to_le_bytes());
        ignored[0x28..0x2c].fill(0);
        let block = read(&ignored, Bitness::X64).expect("a block");
        assert_eq!(
            (block.block_use, block.line, block.request),
            (CrtUse::Ignored, 0, 0)
        );
    }

    proptest! {
        #[test]
        fn nothing_else_is_taken_for_one(
            data: Vec<u8>, address: u64, size: u64, wide: bool,
        ) {
            let bitness = if wide { Bitness::X64 } else { Bitness::X86 };
            let space = AddressSpace::new(&data, [(address, 0, data.len() as u64)]);
            prop_assert_eq!(CrtBlock::read(&space, bitness, address, size), None);
            prop_assert_eq!(CrtBlock::read(&space, bitness, address, data.len() as u64), None);
        }
    }
}
