//! The header in front of every block: decoding it, and the size that the program asked for.

use crate::{
    address_space::{AddressSpace, Numbers},
    layout::{Bitness, Layouts},
};

/// Bits of `_HEAP_ENTRY.Flags`.
pub mod flags {
    /// `HEAP_ENTRY_BUSY`.
    pub const BUSY: u8 = 0x01;
    /// `HEAP_ENTRY_EXTRA_PRESENT`: the block ends with a record of its own.
    pub const EXTRA: u8 = 0x02;
    /// `HEAP_ENTRY_FILL_PATTERN`: behind a busy block, or in a free one, there is a fill.
    pub const FILL: u8 = 0x04;
    /// `HEAP_ENTRY_VIRTUAL_ALLOC`; of an entry in a segment: the heap's own block (Vista and later).
    pub const INTERNAL: u8 = 0x08;
    /// Of a free entry: pages inside it were decommitted.
    pub const DECOMMITTED: u8 = INTERNAL;
    /// `HEAP_ENTRY_LAST_ENTRY`: nothing follows in the segment.
    pub const LAST: u8 = 0x10;
    /// `HEAP_ENTRY_SETTABLE_FLAGS`: the three bits that a program can set for itself.
    pub const USER: u8 = 0xe0;
}

/// `UnusedBytes` of the heap's own blocks.
pub(crate) const UNUSED_OWN: u8 = 1;
/// `UnusedBytes` of the entry in front of an uncommitted range.
pub(crate) const UNUSED_MARKER: u8 = 3;
/// `UnusedBytes` when the count is a 16-bit number in the header.
pub(super) const UNUSED_IN_HEADER: u8 = 5;
/// `UnusedBytes` bits 0-5 when the count did not fit.
const UNUSED_AT_END: u8 = 0x3f;
/// `UnusedBytes` bit of a block whose count is in an extended entry.
const UNUSED_EXTENDED: u8 = 0x40;
/// `UnusedBytes` bit of LFH blocks; alone it means free.
pub(crate) const UNUSED_LFH: u8 = 0x80;
/// `UnusedBytes` of XP when the count did not fit.
const XP_UNUSED_AT_END: u8 = 0xff;
/// `ExtendedBlockSignature`.
const EXTENDED_SIGNATURE: u8 = 5;

/// A decoded `_HEAP_ENTRY`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Size of the block in allocation units; of virtual blocks: unused bytes.
    pub size: u16,
    /// Flags.
    pub flags: u8,
    /// `SmallTagIndex`: checksum of an encoded entry, tag of a heap with tags, cookie on XP.
    pub small_tag: u8,
    /// Size of the block before in allocation units.
    pub previous_size: u16,
    /// `SegmentOffset` / `LFHFlags`.
    pub segment_offset: u8,
    /// `UnusedBytes`.
    pub unused: u8,
}

/// How the entries of one heap are laid out and encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EntryCodec {
    /// XP and Server 2003: other field order, no encoding.
    pub xp: bool,
    /// Width of the process.
    pub bitness: Bitness,
    /// `EncodeFlagMask`: 0 when nothing is encoded (heaps with tags).
    pub mask: u32,
    /// The eight bytes of `Encoding` that entries are XORed with.
    pub key: u64,
}

impl EntryCodec {
    /// The codec of the heap at `handle`.
    #[must_use]
    pub fn of_heap(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Self {
        let bitness = layouts.bitness;
        let layout = &layouts.heap;
        let heap = memory.at(handle, bitness);
        let encoding = layout.encoding.map(|at| at + header_offset(bitness) as u32);
        EntryCodec {
            xp: layout.encoding.is_none(),
            bitness,
            mask: heap.u32(layout.encode_flag_mask).unwrap_or(0),
            key: heap.u64(encoding).unwrap_or(0),
        }
    }

    /// Decodes the eight bytes of an entry's header.
    #[inline]
    #[must_use]
    pub fn decode(&self, raw: u64) -> Entry {
        let plain = if raw as u32 & self.mask != 0 {
            raw ^ self.key
        } else {
            raw
        };
        let byte = |index: u32| (plain >> (8 * index)) as u8;
        let half = |index: u32| (plain >> (8 * index)) as u16;
        if self.xp {
            Entry {
                size: half(0),
                previous_size: half(2),
                small_tag: byte(4),
                flags: byte(5),
                unused: byte(6),
                segment_offset: byte(7),
            }
        } else {
            Entry {
                size: half(0),
                flags: byte(2),
                small_tag: byte(3),
                previous_size: half(4),
                segment_offset: byte(6),
                // Test the raw byte: that of the key is 0 in every build seen.
                unused: (raw >> 56) as u8,
            }
        }
    }

    /// The eight bytes of an entry's header, with the checksum that goes with them.
    #[must_use]
    pub fn encode(&self, entry: &Entry) -> u64 {
        let place = |value: u64, index: u32| value << (8 * index);
        if self.xp {
            return u64::from(entry.size)
                | place(entry.previous_size.into(), 2)
                | place(entry.small_tag.into(), 4)
                | place(entry.flags.into(), 5)
                | place(entry.unused.into(), 6)
                | place(entry.segment_offset.into(), 7);
        }
        let [low, high] = entry.size.to_le_bytes();
        let tag = if self.mask == 0 {
            entry.small_tag
        } else {
            low ^ high ^ entry.flags
        };
        let plain = u64::from(entry.size)
            | place(entry.flags.into(), 2)
            | place(tag.into(), 3)
            | place(entry.previous_size.into(), 4)
            | place(entry.segment_offset.into(), 6)
            | place(entry.unused.into(), 7);
        if self.mask == 0 {
            plain
        } else {
            plain ^ self.key
        }
    }

    /// Whether the checksum of a decoded entry is right. Always, where entries have none.
    #[inline]
    #[must_use]
    pub fn checksum_holds(&self, entry: &Entry) -> bool {
        let [low, high] = entry.size.to_le_bytes();
        self.mask == 0 || entry.small_tag == low ^ high ^ entry.flags
    }

    /// Offset of the eight header bytes from the entry's address: 8 on x64, where the first eight
    /// bytes belong to the block before.
    #[inline]
    #[must_use]
    pub fn header_offset(&self) -> u64 {
        header_offset(self.bitness)
    }
}

const fn header_offset(bitness: Bitness) -> u64 {
    match bitness {
        Bitness::X86 => 0,
        Bitness::X64 => 8,
    }
}

/// Where the program's data are in a busy block, and its trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UserArea {
    /// Address that the program has.
    pub address: u64,
    /// Unused bytes of the block, header included as the heap counts it.
    pub unused: u64,
    /// Address of the trace record, 0 if none.
    pub trace: u64,
}

/// Reads the user area of a busy block in a segment or an LFH container.
///
/// `size` is the block's size in bytes, `raw` its eight header bytes. `None` when the bytes that
/// hold the unused count are not in the dump.
#[inline(always)]
pub(super) fn user_area(
    window: &mut impl Numbers,
    codec: &EntryCodec,
    entry: u64,
    size: u64,
    raw: u64,
    lfh: bool,
) -> Option<UserArea> {
    let unit = codec.bitness.unit();
    let plain = |unused| {
        Some(UserArea {
            address: entry + unit,
            unused,
            trace: 0,
        })
    };
    if codec.xp {
        let unused = (raw >> 48) as u8;
        // XP's own RtlWalkHeap takes the byte for the count here; RtlSizeHeap reads the real one.
        if unused == XP_UNUSED_AT_END {
            return plain(u64::from(window.u32(entry + size - 4)?));
        }
        return plain(unused.into());
    }
    let unused = (raw >> 56) as u8;
    let count = unused & !UNUSED_LFH;
    if count & UNUSED_EXTENDED != 0 {
        let units = u64::from(count & 0x3f);
        // It lies in its block: what reaches further is as wrong as too large a count.
        let prefix = (units + 1) * unit;
        if prefix > size {
            return plain(prefix);
        }
        let extended = entry + units * unit;
        let fields = match codec.bitness {
            Bitness::X86 => extended,
            Bitness::X64 => extended + 8,
        };
        let trace = match codec.bitness {
            Bitness::X86 => window.u32(entry + unit)?.into(),
            Bitness::X64 => window.u64(entry + unit)?,
        };
        let fields = window.u64(fields)?;
        let is_trace = is_extended_entry(fields) && is_stack_trace_interceptor(fields);
        return Some(UserArea {
            address: extended + unit,
            unused: (fields >> 32) & 0xffff,
            trace: if is_trace && !is_placeholder(trace, codec.bitness) {
                trace
            } else {
                0
            },
        });
    }
    if count == UNUSED_AT_END {
        return plain(match codec.bitness {
            Bitness::X86 => window.u32(entry + size - 4)?.into(),
            Bitness::X64 => window.u64(entry + size)?,
        });
    }
    if count == UNUSED_IN_HEADER && !lfh {
        return plain(((raw ^ codec.key) >> 32) & 0xffff);
    }
    plain(count.into())
}

/// Whether the eight header bytes are those of an extended entry that lies two units behind its
/// block's entry, as the stack trace prefix does.
pub(super) fn is_extended_entry(fields: u64) -> bool {
    (fields >> 56) as u8 == EXTENDED_SIGNATURE && (fields >> 48) as u8 == 2
}

/// `FunctionIndex` of the stack trace prefix: 1 on Windows 10 and later, 2 on Windows 7 and 8.
pub(super) fn is_stack_trace_interceptor(fields: u64) -> bool {
    matches!(fields as u16, 1 | 2)
}

/// The values that stand for "no trace" in a prefix.
fn is_placeholder(trace: u64, bitness: Bitness) -> bool {
    match bitness {
        Bitness::X86 => trace == 0 || trace == 0x0101_0000,
        Bitness::X64 => trace == 0 || trace == 0x0101_0000_0000_0000,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    prop_compose! {
        fn any_entry()(
            size: u16, flags: u8, previous_size: u16, segment_offset: u8, unused: u8, small_tag: u8,
        ) -> Entry {
            Entry { size, flags, small_tag, previous_size, segment_offset, unused }
        }
    }

    #[test]
    fn an_extended_entry_lies_in_its_block() {
        let codec = EntryCodec {
            xp: false,
            bitness: Bitness::X64,
            mask: 0,
            key: 0,
        };
        let bytes = [0; 0x1000];
        let memory = AddressSpace::new(&bytes, [(0x10_0000, 0, 0x1000)]);
        let area = |units: u64| {
            let raw = (u64::from(UNUSED_EXTENDED) | units) << 56;
            let mut window = memory.window();
            user_area(&mut window, &codec, 0x10_0000, 0x30, raw, false).expect("readable")
        };
        assert_eq!(area(2).address, 0x10_0030);
        let outside = area(3);
        assert_eq!((outside.address, outside.unused), (0x10_0010, 0x40));
    }

    proptest! {
        #[test]
        fn decode_is_the_inverse_of_encode(
            mut entry in any_entry(),
            key in 0..1u64 << 56,
            encoded: bool,
            xp: bool,
        ) {
            // The key has the mask's bit set, and plain entries do not (busy flags, no 0x10).
            let mask = if encoded && !xp { 0x0010_0000 } else { 0 };
            entry.flags &= !0x10;
            let key = (key & 0x00ff_ffff_ffff_ffff) | u64::from(mask);
            let codec = EntryCodec { xp, bitness: Bitness::X64, mask, key };
            if mask != 0 {
                let [low, high] = entry.size.to_le_bytes();
                entry.small_tag = low ^ high ^ entry.flags;
            }
            let decoded = codec.decode(codec.encode(&entry));
            prop_assert_eq!(decoded, entry);
            prop_assert!(codec.checksum_holds(&decoded));
        }

        #[test]
        fn a_flipped_bit_breaks_the_checksum(entry in any_entry(), bit in 0..32u32) {
            let codec = EntryCodec { xp: false, bitness: Bitness::X86, mask: 0x10_0000, key: 0x10_0000 };
            let entry = Entry { flags: entry.flags & !0x10, ..entry };
            // The mask's own bit decides whether the entry counts as encoded at all.
            prop_assume!(bit != 20);
            let raw = codec.encode(&entry) ^ (1 << bit);
            prop_assert!(!codec.checksum_holds(&codec.decode(raw)));
        }
    }
}
