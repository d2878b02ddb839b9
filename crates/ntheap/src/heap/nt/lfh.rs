//! The low fragmentation heap: containers of user blocks inside the segments.
//!
//! A container is found where it lies, as a busy entry of the heap's own whose user area begins
//! with a `_HEAP_USERDATA_HEADER`. With stack traces the container is itself a traced block (7 to
//! 24H2), so its header lies behind the trace prefix: a walk that looks right behind the entry finds
//! no LFH block at all in a dump of a +ust process.

use std::ops::ControlFlow;

use super::{
    NtHeap,
    entry::{UNUSED_LFH, flags::BUSY, user_area},
    fast::Slots,
};
use crate::{
    address_space::{Numbers, Window},
    blocks::{Block, CONTINUE, Certainty, FindingKind, Flow, Kind, State, Trace, Visitor},
};

/// `_HEAP_USERDATA_HEADER.Signature`.
pub(super) const SIGNATURE: u32 = 0xf0e0_d0c0;
/// Largest offset of the first slot that is tried when it must be guessed.
const MAX_FIRST_OFFSET: u64 = 0x4000;

/// A container with its subsegment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Container {
    /// Address of the `_HEAP_USERDATA_HEADER`.
    pub user_blocks: u64,
    /// Address of the `_HEAP_SUBSEGMENT`.
    pub subsegment: u64,
    /// Size of a slot in bytes.
    pub stride: u64,
    /// Number of slots.
    pub count: u64,
    /// End of the container's own block.
    pub end: u64,
    /// Address of the first slot, where the container was found by its shape.
    pub first: Option<u64>,
    /// What proves its slots.
    pub certainty: Certainty,
}

/// What lies in a user area that may be a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Contents {
    /// No container.
    Other,
    /// A container in the user block cache, without a subsegment: no slot of it is in use.
    Idle,
    /// A container in use.
    Live(Container),
}

impl NtHeap<'_, '_> {
    /// What lies at `user_blocks`, in a block that ends at `end`.
    pub(super) fn lfh_container(
        &self,
        window: &mut Window<'_, '_>,
        user_blocks: u64,
        end: u64,
    ) -> Contents {
        let layout = &self.layouts.user_data_header;
        let signature = field(user_blocks, layout.signature).and_then(|at| window.u32(at));
        if signature != Some(SIGNATURE) {
            return Contents::Other;
        }
        let subsegment = field(user_blocks, layout.sub_segment);
        let subsegment = subsegment.and_then(|at| window.pointer(at, self.bitness()));
        let mut live = || {
            let subsegment = subsegment?;
            let container = self.container_of_subsegment(window, subsegment, end)?;
            (container.user_blocks == user_blocks).then_some(container)
        };
        live()
            .or_else(|| self.container_by_shape(window, user_blocks, end))
            .map_or(Contents::Idle, Contents::Live)
    }

    /// Whether what [`Self::container_of_subsegment`] reads is not in the dump, or a part of it.
    fn lacks_subsegment(&self, subsegment: u64) -> bool {
        let layout = &self.layouts.subsegment;
        [layout.user_blocks, layout.block_size, layout.block_count]
            .into_iter()
            .filter_map(|offset| field(subsegment, offset))
            .any(|at| self.is_absent(at))
    }

    /// The container that a subsegment describes.
    pub(super) fn container_of_subsegment(
        &self,
        window: &mut Window<'_, '_>,
        subsegment: u64,
        end: u64,
    ) -> Option<Container> {
        let layout = &self.layouts.subsegment;
        let user_blocks = field(subsegment, layout.user_blocks)?;
        let container = Container {
            user_blocks: window.pointer(user_blocks, self.bitness())?,
            subsegment,
            stride: u64::from(window.u16(field(subsegment, layout.block_size)?)?) * self.unit(),
            count: u64::from(window.u16(field(subsegment, layout.block_count)?)?),
            end,
            first: None,
            certainty: self.certainty,
        };
        (container.stride != 0 && container.count != 0).then_some(container)
    }

    pub(super) fn walk_container<V: Visitor + ?Sized>(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        visitor: &mut V,
    ) -> Flow {
        let skipped = |reason| {
            let bytes = container.end.saturating_sub(container.user_blocks);
            let whole = self.memory.readable(container.user_blocks, bytes) == bytes;
            let kind = match whole {
                true => FindingKind::LfhContainer { reason },
                false => FindingKind::Unreadable,
            };
            self.finding(container.user_blocks, bytes, kind)
        };
        let Some(first) = self.first_slot(window, container) else {
            return visitor.finding(skipped("the place of its first slot could not be proved"));
        };
        let fitting = container.end.saturating_sub(first) / container.stride;
        if fitting < container.count {
            visitor.finding(skipped("its slots do not fit into its block"))?;
        }
        if container.certainty == Certainty::Shape {
            let kind = if self.lacks_subsegment(container.subsegment) {
                let structure = "_HEAP_SUBSEGMENT";
                FindingKind::MissingStructure { structure }
            } else {
                let reason = "its subsegment is wrong; its slots were found by its own header";
                FindingKind::LfhContainer { reason }
            };
            visitor.finding(self.finding(container.user_blocks, 0, kind))?;
        }
        let bitmap = self.busy_bitmap(window, container);
        let count = container.count.min(fitting);
        let (first_slow, mut disagreeing) = if visitor.only_counts() {
            self.count_slots(window, container, (first, count, bitmap), visitor)?
        } else {
            (0, 0)
        };
        let stride = container.stride;
        // The count of unused bytes of the last slot may lie behind it.
        let mut run = window.run(
            first,
            count.saturating_mul(stride).saturating_add(self.unit()),
        );
        let map = bitmap.map(|at| window.run(at, count.div_ceil(8)).bytes);
        let whole = match bitmap {
            Some(_) => map.filter(|map| map.len() as u64 >= count.div_ceil(8)),
            None => Some(&[][..]),
        };
        let mut index = first_slow;
        while index < count {
            if let Some(map) = whole {
                let slots = Slots { first, count, map };
                let disagreeing = &mut disagreeing;
                self.walk_plain_slots(
                    &mut run,
                    container,
                    &slots,
                    (&mut index, disagreeing),
                    visitor,
                )?;
                if index >= count {
                    break;
                }
            }
            let at = first + index * stride;
            let slot = match self.slot(&mut run, container, at, visitor)? {
                Some(block) => Some(block),
                None => self.slot(window, container, at, visitor)?,
            };
            match slot {
                Some(block) => {
                    let busy = block.state == State::Busy;
                    let marked = match map.and_then(|map| map.get(index as usize / 8)) {
                        Some(byte) => Some(byte & 1 << (index % 8) != 0),
                        None => bitmap.and_then(|bitmap| self.bit(window, bitmap, index)),
                    };
                    disagreeing += u32::from(marked.is_some_and(|marked| marked != busy));
                    visitor.block(&block)?;
                }
                None => {
                    visitor.finding(self.finding(at, container.stride, FindingKind::Unreadable))?;
                }
            }
            index += 1;
        }
        if disagreeing > 0 {
            let kind = FindingKind::LfhBitmap { slots: disagreeing };
            visitor.finding(self.finding(container.user_blocks, 0, kind))?;
        }
        CONTINUE
    }

    /// Whether a slot with these eight header bytes is in use.
    #[inline]
    pub(super) fn is_busy_slot(&self, raw: u64) -> bool {
        if self.header.codec.xp {
            return self.header.codec.decode(raw).flags & BUSY != 0;
        }
        // Free slots have 80; slots that were never handed out can hold anything.
        let unused = (raw >> 56) as u8;
        unused & UNUSED_LFH != 0 && unused != UNUSED_LFH
    }

    #[inline(always)]
    pub(super) fn slot<V: Visitor + ?Sized>(
        &self,
        window: &mut impl Numbers,
        container: &Container,
        at: u64,
        visitor: &mut V,
    ) -> ControlFlow<(), Option<Block>> {
        let unit = self.unit();
        let codec = &self.header.codec;
        let Some(raw) = window.u64(at + codec.header_offset()) else {
            return ControlFlow::Continue(None);
        };
        let busy = self.is_busy_slot(raw);
        let mut block = Block {
            heap: self.handle(),
            container: container.subsegment,
            entry: at,
            address: at + unit,
            size: container.stride - unit,
            block_size: container.stride,
            state: State::Free,
            kind: Kind::Lfh,
            internal: false,
            flags: u8::from(busy),
            tag: 0,
            trace: Trace::None,
            certainty: container.certainty,
        };
        if busy {
            let Some(area) = user_area(window, codec, at, container.stride, raw, true) else {
                return ControlFlow::Continue(None);
            };
            block.state = State::Busy;
            block.address = area.address;
            block.size = self.requested(at, container.stride, area.unused, visitor)?;
            if area.trace != 0 {
                block.trace = Trace::Record(area.trace);
            }
        }
        ControlFlow::Continue(Some(block))
    }

    /// Address of a container's first slot.
    pub(super) fn first_slot(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
    ) -> Option<u64> {
        if container.first.is_some() {
            return container.first;
        }
        let layout = &self.layouts.user_data_header;
        let offset = if layout.encoded_offsets.is_some() {
            let encoded = window.u32(field(container.user_blocks, layout.encoded_offsets)?)?;
            self.decoded_offset(encoded, container).or_else(|| {
                self.proved_offset(window, encoded, container)
                    .map(|(first, _)| first)
            })?
        } else if layout.first_allocation_offset.is_some() {
            // Windows 8: plain.
            let at = field(container.user_blocks, layout.first_allocation_offset)?;
            u64::from(window.u16(at)?)
        } else {
            // XP to 7: right behind the header.
            u64::from(layout.struct_size)
        };
        container.user_blocks.checked_add(offset)
    }

    /// The first slot's offset by the heap's LFH key, if the stride that comes with it is right.
    fn decoded_offset(&self, encoded: u32, container: &Container) -> Option<u64> {
        let plain = encoded ^ container.user_blocks as u32 ^ self.offsets_key?;
        (u64::from(plain >> 16) == container.stride & 0xffff).then_some(u64::from(plain & 0xffff))
    }

    /// The first slot's offset and the LFH key, proved by this container alone: for the right
    /// offset, the key that `EncodedOffsets` then implies is the one that the slots' headers imply.
    ///
    /// The offset is normally the end of the bitmap rounded up, but can be more (it is computed for
    /// more slots than are kept).
    pub(super) fn proved_offset(
        &self,
        window: &mut Window<'_, '_>,
        encoded: u32,
        container: &Container,
    ) -> Option<(u64, u32)> {
        const STEP: u64 = 8;
        let layout = &self.layouts.user_data_header;
        let bitmap = container.count.div_ceil(8);
        let lowest = (u64::from(layout.bitmap_data?) + bitmap).next_multiple_of(STEP);
        let last = container.end.saturating_sub(container.user_blocks);
        let front_end = self.header.front_end.address as u32;
        (lowest..last.min(lowest + MAX_FIRST_OFFSET))
            .step_by(STEP as usize)
            .find_map(|first| {
                let key = if front_end != 0 {
                    encoded ^ front_end ^ implied_by_offsets(container, first)
                } else if let Some(key) = self.lfh_key {
                    key
                } else {
                    // Without the address of the `_LFH_HEAP` the slots have to agree with each other.
                    let at = container.user_blocks + first;
                    let key = self.key_of_slot(window, container, at);
                    key.filter(|_| container.count > 1)?
                };
                self.slots_imply(window, container, first, key)
                    .then_some((first, key))
            })
    }

    /// What a container's offsets are combined with besides its address, if its first slot is there.
    pub(super) fn offsets_key_of(&self, container: &Container, first: u64) -> Option<u32> {
        let header = self.memory.at(container.user_blocks, self.bitness());
        let encoded = header.u32(self.layouts.user_data_header.encoded_offsets)?;
        Some(encoded ^ implied_by_offsets(container, first))
    }

    /// Whether the first slots' headers imply this key. One is enough where there is only one:
    /// 32 bits agree.
    fn slots_imply(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        first: u64,
        key: u32,
    ) -> bool {
        const SLOTS: u64 = 3;
        (0..container.count.min(SLOTS)).all(|index| {
            let at = container.user_blocks + first + index * container.stride;
            self.key_of_slot(window, container, at) == Some(key)
        })
    }

    /// The LFH key that a slot's `SubSegmentCode` implies.
    pub(super) fn key_of_slot(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        at: u64,
    ) -> Option<u32> {
        let x64 = self.unit() == 16;
        let shift = if x64 { 4 } else { 3 };
        let code = window.u32(at + self.header.codec.header_offset())?;
        let heap = self.handle();
        if self.layouts.user_data_header.encoded_offsets.is_some() {
            // 8.1 and later: the distance from the container.
            let distance = (at - container.user_blocks) << if x64 { 12 } else { 13 };
            return Some(code ^ (at >> shift) as u32 ^ heap as u32 ^ distance as u32);
        }
        // XP to 8: the subsegment. On x64 the heap and the subsegment are shifted too (7600, 7601).
        Some(if x64 {
            code ^ ((at ^ container.subsegment ^ heap) >> shift) as u32
        } else {
            code ^ (at >> shift) as u32 ^ heap as u32 ^ container.subsegment as u32
        })
    }

    /// The code that the header of an LFH slot should have by the heap's key, and the one it has.
    /// `None` where the key is not known.
    pub(crate) fn slot_code(&self, slot: &Block) -> Option<(u32, u32)> {
        if !slot.certainty.is_certain() {
            return None;
        }
        let key = self.lfh_key?;
        let record = self.memory.at(slot.container, self.bitness());
        let container = Container {
            user_blocks: record.pointer(self.layouts.subsegment.user_blocks)?,
            subsegment: slot.container,
            stride: slot.block_size,
            count: 0,
            end: 0,
            first: None,
            certainty: slot.certainty,
        };
        if slot.entry < container.user_blocks {
            return None;
        }
        let header = slot.entry + self.header.codec.header_offset();
        let found = self.memory.u32(header)?;
        let implied = self.key_of_slot(&mut self.memory.window(), &container, slot.entry)?;
        // The key and the place are combined bit by bit.
        Some((found ^ implied ^ key, found))
    }

    /// Address of the bitmap's bits (8 and later).
    fn busy_bitmap(&self, window: &mut Window<'_, '_>, container: &Container) -> Option<u64> {
        let bitmap = u64::from(self.layouts.user_data_header.busy_bitmap?);
        let size = self.bitness().pointer_size();
        // RTL_BITMAP and RTL_BITMAP_EX: the number of bits, then the address of the bits.
        window.pointer(container.user_blocks + bitmap + size, self.bitness())
    }

    fn bit(&self, window: &mut Window<'_, '_>, bitmap: u64, index: u64) -> Option<bool> {
        let byte = window.u8(bitmap.checked_add(index / 8)?)?;
        Some(byte & (1 << (index % 8)) != 0)
    }
}

/// Address of a field of the structure at `base`.
fn field(base: u64, offset: Option<u32>) -> Option<u64> {
    base.checked_add(u64::from(offset?))
}

/// What `EncodedOffsets` would be with neither key nor `_LFH_HEAP`.
fn implied_by_offsets(container: &Container, first: u64) -> u32 {
    container.user_blocks as u32 ^ ((container.stride as u32) << 16 | first as u32)
}
