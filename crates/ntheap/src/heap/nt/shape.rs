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
        let key = self.lfh_key?;
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
        let first = if layout.encoded_offsets.is_some() {
            let plain =
                header.u32(layout.encoded_offsets)? ^ user_blocks as u32 ^ self.offsets_key?;
            container.stride = (plain >> 16).into();
            u64::from(plain & 0xffff)
        } else if layout.first_allocation_offset.is_some() {
            container.stride = header.u16(layout.block_stride)?.into();
            u64::from(header.u16(layout.first_allocation_offset)?)
        } else {
            let first = u64::from(layout.struct_size);
            container.stride = self.stride_by_codes(window, &container, first, key)?;
            first
        };
        container.first = Some(user_blocks.checked_add(first)?);
        container.count = match layout.busy_bitmap {
            // The number of bits is the first member of the bitmap.
            Some(_) => header.pointer(layout.busy_bitmap)?,
            None => (end.checked_sub(user_blocks + first)? / container.stride).min(u16::MAX.into()),
        };
        self.shape_holds(window, &mut container, first, key)
            .then_some(container)
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
