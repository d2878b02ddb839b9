//! The low fragmentation heap of NT heaps: zones of subsegments, containers and their slots.

use ntheap::heap::nt::flags;

use super::{
    nt::{Cursor, NtHeap},
    picture::Picture,
    plan::{Area, field},
    random::Stream,
};

/// `_HEAP_USERDATA_HEADER.Signature`.
const SIGNATURE: u32 = 0xf0e0_d0c0;
/// The size in bytes of a zone with its entry, and without what is rounded.
const ZONE: u64 = 0x400;
/// Base two logarithms of the sizes of containers.
const CONTAINERS: std::ops::Range<u64> = 11..15;
/// Most slots of a container.
const MOST_SLOTS: u64 = 0x400;
/// The bit of `UnusedBytes` that marks a slot.
const SLOT: u8 = 0x80;

/// The zones of a heap while it is written.
#[derive(Debug, Default)]
pub(super) struct Zones {
    /// Address of the zone that is filled; 0: none yet.
    zone: u64,
    /// Records in it.
    used: u64,
    /// Where the heap's own block of the front end lies (7).
    own: u64,
}

impl NtHeap<'_> {
    /// Address of the `_LFH_HEAP`; 0 without one.
    pub(super) fn front_end(&self) -> u64 {
        match self.place.heaps[self.heap].front_end {
            0 => self.zones.own,
            address => address,
        }
    }

    fn zone_list(&self) -> u64 {
        self.front_end() + field(self.place.layouts.lfh_heap.sub_segment_zones)
    }

    /// The `_LFH_HEAP` in an area of its own (8 and later).
    pub(super) fn front_end_area(&mut self, area: &Area, picture: &mut Picture) {
        let layout = &self.place.layouts.lfh_heap;
        picture.pointer(area.base + field(layout.heap), self.handle());
        for limit in [
            layout.first_uncommitted_address,
            layout.reserved_address_limit,
        ] {
            picture.pointer(area.base + field(limit), area.base + area.size);
        }
        let list = self.zone_list();
        picture.links(list, list, list);
    }

    /// The `_LFH_HEAP` as a block of the heap (7).
    pub(super) fn own_front_end(&mut self, picture: &mut Picture, cursor: &mut Cursor) {
        let unit = self.place.unit();
        let layout = &self.place.layouts.lfh_heap;
        let size = u64::from(layout.struct_size).next_multiple_of(unit);
        let (address, _) = self.own_block(picture, cursor, size);
        picture.zero(address, size);
        self.zones.own = address;
        picture.pointer(address + field(layout.heap), self.handle());
        let list = self.zone_list();
        picture.links(list, list, list);
    }

    /// A block of the heap's own that holds so many bytes: where they are, and their number.
    pub(super) fn own_block(
        &mut self,
        picture: &mut Picture,
        cursor: &mut Cursor,
        size: u64,
    ) -> (u64, u64) {
        let unit = self.place.unit();
        let at = cursor.at;
        let whole = size + self.prefix() * unit;
        let units = whole / unit;
        let mark = if self.traced() { 0x42 } else { unit as u8 };
        self.step(picture, cursor, units, flags::BUSY | flags::INTERNAL, mark);
        let mut stream = Stream::of(at, 0, 0);
        self.prefix_at(picture, &mut stream, at, whole - size, size);
        self.truth.internal.add(whole);
        (at + self.prefix() * unit, size)
    }

    /// Begins another zone.
    pub(super) fn zone(&mut self, picture: &mut Picture, cursor: &mut Cursor) {
        let unit = self.place.unit();
        let (address, size) = self.own_block(picture, cursor, ZONE - unit);
        picture.zero(address, size);
        let list = self.zone_list();
        let before = if self.zones.zone == 0 {
            list
        } else {
            self.zones.zone
        };
        picture.links(address, list, before);
        self.set(picture, before, address);
        self.zones.zone = address;
        self.zones.used = 0;
        self.count_records(picture);
    }

    /// Where the records of a zone begin, and how many there are.
    fn records(&self) -> (u64, u64) {
        let (first, size) = match self.place.unit() {
            8 => (0x10, u64::from(self.place.layouts.subsegment.struct_size)),
            _ => (0x20, u64::from(self.place.layouts.subsegment.struct_size)),
        };
        (first, (ZONE - self.place.unit() - first) / size)
    }

    fn count_records(&self, picture: &mut Picture) {
        let layout = &self.place.layouts.block_zone;
        let (first, _) = self.records();
        let size = u64::from(self.place.layouts.subsegment.struct_size);
        let zone = self.zones.zone;
        if let Some(index) = layout.next_index {
            // One past the last, from 1.
            picture.u32(zone + u64::from(index), self.zones.used as u32 + 1);
        } else {
            let end = zone + first + self.zones.used * size;
            picture.pointer(zone + field(layout.free_pointer), end);
        }
    }

    /// Writes a container with its slots; the bytes that it takes. `None` if it does not fit.
    pub(super) fn container(
        &mut self,
        picture: &mut Picture,
        stream: &mut Stream,
        cursor: &mut Cursor,
        room: u64,
    ) -> Option<u64> {
        let (begin, unit) = (cursor.at, self.place.unit());
        let requested = self.sizes.class(stream);
        let stride = bucket(self.units_of(requested)) * unit;
        // Containers grow with what their bucket takes; here any that holds some slots.
        let large = CONTAINERS.start + stream.below(CONTAINERS.end - CONTAINERS.start);
        let mut shift = large;
        while (1 << shift) < 4 * stride + 0x80 {
            shift += 1;
        }
        let size = 1 << shift;
        if size + 4 * unit + ZONE + 0x100 > room {
            return None;
        }
        if self.zones.used == self.records().1 {
            self.zone(picture, cursor);
        }
        let (blocks, _) = self.own_block(picture, cursor, size);
        let first = self.first_slot(size, stride);
        let count = ((size - first) / stride).min(MOST_SLOTS);
        let record = self.subsegment(picture, blocks, (stride, count));
        self.user_data_header(picture, blocks, record, (shift, first, stride, count));
        self.slots(
            picture,
            stream,
            (blocks, record),
            (first, stride, count),
            requested,
        );
        Some(cursor.at - begin)
    }

    /// Offset of the first slot: behind the header, and the bits of as many slots as would fit.
    fn first_slot(&self, size: u64, stride: u64) -> u64 {
        let layout = &self.place.layouts.user_data_header;
        let Some(bitmap) = layout.bitmap_data else {
            return layout.struct_size.into();
        };
        let bitmap = u64::from(bitmap);
        let word = 8 * self.place.pointer();
        let slots = ((size - bitmap) / stride).min(MOST_SLOTS);
        (bitmap + slots.div_ceil(word) * self.place.pointer()).next_multiple_of(self.place.unit())
    }

    /// Writes the record of a container's subsegment; its address.
    fn subsegment(
        &mut self,
        picture: &mut Picture,
        blocks: u64,
        (stride, count): (u64, u64),
    ) -> u64 {
        let layout = &self.place.layouts.subsegment;
        let (first, _) = self.records();
        let size = u64::from(layout.struct_size);
        let record = self.zones.zone + first + self.zones.used * size;
        self.zones.used += 1;
        self.count_records(picture);
        let units = stride / self.place.unit();
        let index = (units - 1).min(0x7f);
        // Each bucket has a record of its own in the front end.
        picture.pointer(
            record + field(layout.local_info),
            self.front_end() + 0x400 + index * 0x60,
        );
        picture.pointer(record + field(layout.user_blocks), blocks);
        picture.u16(record + field(layout.block_size), units as u16);
        picture.u16(record + field(layout.block_count), count as u16);
        picture.u8(record + field(layout.size_index), index as u8);
        record
    }

    fn user_data_header(
        &self,
        picture: &mut Picture,
        blocks: u64,
        record: u64,
        (shift, first, stride, count): (u64, u64, u64, u64),
    ) {
        let layout = &self.place.layouts.user_data_header;
        picture.zero(blocks, first);
        picture.pointer(blocks + field(layout.sub_segment), record);
        picture.u32(blocks + field(layout.size_index), shift as u32);
        picture.u32(blocks + field(layout.signature), SIGNATURE);
        if let Some(offsets) = layout.encoded_offsets {
            let plain = (stride << 16 | first) as u32;
            let with = blocks as u32 ^ self.front_end() as u32 ^ self.lfh_key as u32;
            picture.u32(blocks + u64::from(offsets), plain ^ with);
        } else if let Some(offset) = layout.first_allocation_offset {
            picture.u16(blocks + u64::from(offset), first as u16);
            picture.u16(blocks + field(layout.block_stride), stride as u16);
        }
        if let Some(bitmap) = layout.busy_bitmap {
            let at = blocks + u64::from(bitmap);
            let data = blocks + field(layout.bitmap_data);
            picture.pointer(at, count);
            picture.pointer(at + self.place.pointer(), data);
        }
    }

    fn slots(
        &mut self,
        picture: &mut Picture,
        stream: &mut Stream,
        (blocks, record): (u64, u64),
        (first, stride, count): (u64, u64, u64),
        requested: u64,
    ) {
        let unit = self.place.unit();
        let layouts = &self.place.layouts;
        let header = self.codec.header_offset();
        // Mostly one size a bucket, now and then a smaller one that belongs to it as well.
        let smaller = requested.saturating_sub(unit / 2).max(1);
        let smaller = match bucket(self.units_of(smaller)) * unit == stride {
            true => smaller,
            false => requested,
        };
        let free = self.place.plan.free;
        let (mut bits, mut depth) = (vec![0u8; count.div_ceil(8) as usize], 0u64);
        let mut chain: Option<u64> = None;
        let mut first_free = 0;
        for index in 0..count {
            let at = blocks + first + index * stride;
            let code = self.slot_code(at, blocks, record);
            // The number of the slot is in the second and third byte behind the code.
            let number = if layouts.user_data_header.encoded_offsets.is_some() {
                index << 40
            } else {
                // What follows the key in memory (7).
                self.lfh_key & 0xffff << 32
            };
            if stream.percent(free) {
                picture.u64(at + header, code | number | u64::from(SLOT) << 56);
                self.truth.lfh_free.add(stride);
                depth += 1;
                let offset = (at - blocks) / unit;
                match chain {
                    None => first_free = offset,
                    Some(last) => picture.u16(last + unit, offset as u16),
                }
                chain = Some(at);
                continue;
            }
            bits[index as usize / 8] |= 1 << (index % 8);
            let size = if stream.below(8) == 0 {
                smaller
            } else {
                requested
            };
            let unused = stride - size;
            let mark = self.unused(picture, at, stride, unused) | SLOT;
            picture.u64(at + header, code | number | u64::from(mark) << 56);
            let trace = self.prefix_at(picture, stream, at, unused, size);
            self.truth.busy(at + self.prefix() * unit, size, trace);
            self.truth.lfh_busy.add(stride);
        }
        if let Some(last) = chain {
            picture.u16(last + unit, 0xffff);
        }
        if layouts.user_data_header.busy_bitmap.is_some() {
            let data = field(layouts.user_data_header.bitmap_data);
            // Bits behind the last slot are set.
            let word = self.place.pointer() as usize;
            bits.resize(bits.len().next_multiple_of(word), 0xff);
            if count % 8 != 0 {
                bits[count as usize / 8] |= 0xff << (count % 8);
            }
            picture.put(blocks + data, &bits);
        }
        let exchange = record + field(layouts.subsegment.aggregate_exchg);
        picture.u16(exchange, depth as u16);
        picture.u16(exchange + 2, first_free as u16);
    }

    /// `SubSegmentCode`: the slot's place, its heap and what it belongs to, with the key.
    fn slot_code(&self, at: u64, blocks: u64, record: u64) -> u64 {
        let x64 = self.place.unit() == 16;
        let shift = if x64 { 4 } else { 3 };
        let heap = self.handle();
        let code = if self
            .place
            .layouts
            .user_data_header
            .encoded_offsets
            .is_some()
        {
            let distance = (at - blocks) << if x64 { 12 } else { 13 };
            at >> shift ^ self.lfh_key ^ heap ^ distance
        } else if x64 {
            (at ^ record ^ heap) >> shift ^ self.lfh_key
        } else {
            at >> shift ^ heap ^ record ^ self.lfh_key
        };
        u64::from(code as u32)
    }

    /// What the list of zones needs when all is written.
    pub(super) fn last_zone_of_list(&self) -> Option<(u64, u64)> {
        let back = self.zone_list() + self.place.pointer();
        (self.zones.zone != 0).then_some((back, self.zones.zone))
    }
}

/// Units of the bucket for blocks of so many units: every unit up to 32, then every second, fourth,
/// and so on.
fn bucket(units: u64) -> u64 {
    let step = match units {
        0..=32 => 1,
        33..=64 => 2,
        65..=128 => 4,
        129..=256 => 8,
        257..=512 => 16,
        _ => 32,
    };
    units.next_multiple_of(step)
}
