//! Containers of the low fragmentation heap whose subsegment is lost: their own header says where
//! their slots are, and the code in the slots' headers proves it.

use super::{NtHeap, lfh::Container};
use crate::{address_space::Window, blocks::Certainty};

/// Slots whose code is checked.
const CHECKED: u64 = 8;

impl NtHeap<'_, '_> {
    /// The container at `user_blocks`, in a block that ends at `end`, by its own shape.
    pub(super) fn container_by_shape(
        &self,
        window: &mut Window<'_, '_>,
        user_blocks: u64,
        end: u64,
    ) -> Option<Container> {
        let layout = &self.layouts.user_data_header;
        let header = self.memory.at(user_blocks, self.bitness());
        let subsegment = header.pointer(layout.sub_segment)?;
        let mut container = Container {
            user_blocks,
            subsegment,
            stride: 0,
            count: 0,
            end,
            first: None,
            certainty: Certainty::Shape,
        };
        if layout.busy_bitmap.is_some() {
            // The number of bits is the first member of the bitmap.
            container.count = header.pointer(layout.busy_bitmap)?;
        }
        let first = if layout.encoded_offsets.is_some() {
            let encoded = header.u32(layout.encoded_offsets)? ^ user_blocks as u32;
            let plain = match self.offsets_key {
                Some(key) => encoded ^ key,
                None => self.plain_offsets(window, &container, encoded)?,
            };
            container.stride = (plain >> 16).into();
            u64::from(plain & 0xffff)
        } else if layout.first_allocation_offset.is_some() {
            container.stride = header.u16(layout.block_stride)?.into();
            u64::from(header.u16(layout.first_allocation_offset)?)
        } else {
            u64::from(layout.struct_size)
        };
        let start = user_blocks.checked_add(first)?;
        let key = match self.lfh_key {
            Some(key) => key,
            None => self.key_of_slot(window, &container, start)?,
        };
        if container.stride == 0 {
            container.stride = self.stride_by_codes(window, &container, first, key)?;
        }
        if layout.busy_bitmap.is_none() {
            container.count = (end.checked_sub(start)? / container.stride).min(u16::MAX.into());
        }
        container.first = Some(start);
        // One without a slot in use is kept for later: its subsegment is not lost, it has none.
        (self.shape_holds(window, &mut container, first, key)
            && self.has_busy_slot(window, &container, start))
        .then_some(container)
    }

    /// Stride and offset of the first slot, by an offset for which the key that the slot there implies
    /// gives just that offset. The address of the `_LFH_HEAP` has to be known.
    fn plain_offsets(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        encoded: u32,
    ) -> Option<u32> {
        const STEP: usize = 8;
        const FARTHEST: u64 = 0x4000;
        let front_end = self.header.front_end.address as u32;
        if front_end == 0 || container.count > u16::MAX.into() {
            return None;
        }
        let lowest = u64::from(self.layouts.user_data_header.bitmap_data?)
            + container.count.div_ceil(STEP as u64);
        (lowest.next_multiple_of(STEP as u64)..lowest + FARTHEST)
            .step_by(STEP)
            .find_map(|first| {
                let at = container.user_blocks + first;
                let key = self.key_of_slot(window, container, at)?;
                let plain = encoded ^ front_end ^ key;
                let second = at.checked_add((plain >> 16).into())?;
                let agrees = u64::from(plain & 0xffff) == first
                    && (container.count == 1
                        || self.key_of_slot(window, container, second) == Some(key));
                agrees.then_some(plain)
            })
    }

    fn has_busy_slot(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        start: u64,
    ) -> bool {
        let codec = &self.header.codec;
        (0..container.count).any(|index| {
            let at = start + index * container.stride + codec.header_offset();
            window.u64(at).is_some_and(|raw| self.is_busy_slot(raw))
        })
    }

    fn shape_holds(
        &self,
        window: &mut Window<'_, '_>,
        container: &mut Container,
        first: u64,
        key: u32,
    ) -> bool {
        let layout = &self.layouts.user_data_header;
        let bitmap = layout
            .bitmap_data
            .map(|at| u64::from(at) + container.count.div_ceil(8));
        let header = bitmap.unwrap_or(layout.struct_size.into());
        let room = container.end.saturating_sub(container.user_blocks);
        if container.stride == 0
            || !container.stride.is_multiple_of(self.unit())
            || container.count == 0
            || container.count > u16::MAX.into()
            || first < header
            || first > room
        {
            return false;
        }
        let slots = (room - first) / container.stride;
        if bitmap.is_some() && slots < container.count {
            return false;
        }
        let start = container.user_blocks + first;
        let mut proved = 0;
        for index in 0..container.count.min(slots) {
            let at = start + index * container.stride;
            match self.key_of_slot(window, container, at) {
                Some(found) if found == key => proved += 1,
                // Without a count the slots end where their codes do.
                Some(_) if bitmap.is_none() => {
                    container.count = index;
                    break;
                }
                Some(_) => return false,
                None => {}
            }
            if bitmap.is_some() && proved >= CHECKED {
                break;
            }
        }
        proved > 0
    }

    /// The distance between slots, where nothing but their codes tells it (XP to 7).
    fn stride_by_codes(
        &self,
        window: &mut Window<'_, '_>,
        container: &Container,
        first: u64,
        key: u32,
    ) -> Option<u64> {
        let unit = self.unit();
        let start = container.user_blocks.checked_add(first)?;
        let mut has_code = |at: u64| self.key_of_slot(window, container, at) == Some(key);
        if !has_code(start) {
            return None;
        }
        let room = container.end.checked_sub(start)?;
        let strides = (2 * unit..=room).step_by(unit as usize);
        strides
            .into_iter()
            .find(|stride| stride + unit <= room && has_code(start + stride))
            // A container of one slot.
            .or((room >= 2 * unit).then_some(room))
    }
}
