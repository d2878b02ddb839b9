//! Segment heaps: their header, segments of pages with chunks and slots, large blocks.

use ntheap::layout::PAGE;

use super::{
    picture::Picture,
    plan::{Area, HEADER_UNITS, PAGE_SEGMENT, Place, field},
    random::{Sizes, Stream},
    truth::HeapTruth,
};

const SIGNATURE: u32 = 0xddee_ddee;
/// What a segment's signature has besides addresses and the key, before 26100.
const SEGMENT_SIGNATURE: u64 = 0xa2e6_4ead_a2e6_4ead;
const TREE_SIGNATURE: u32 = 0xccdd_ccdd;
const VS_SIGNATURE: u16 = 0x2bed;
const FULL_COMMIT: u16 = 0x8000;
const UNIT: u64 = 16;
/// `RangeFlags`: in use, first of its range, and for what.
const ALLOCATED: u8 = 1;
const FIRST: u8 = 2;
const LFH: u8 = 8;
const VS: u8 = 0xc;
/// In the second word of a chunk: its last two bytes count what is not used.
const UNUSED_PRESENT: u32 = 0x100;
const ONE_UNUSED: u8 = 0x80;
const UNITS: u64 = 0x100;
/// The builds whose compatibility mode puts a prefix before each block.
const PREFIXED: std::ops::Range<u32> = 17134..22000;

/// The keys of the process: of headers, and of the offsets of slots.
pub(super) fn keys(place: &Place) -> (u64, u64) {
    let mut stream = Stream::of(place.plan.seed, usize::MAX, 3);
    (stream.next(), stream.next())
}

/// A segment heap while it is written.
pub(super) struct SegmentHeap<'p> {
    place: &'p Place,
    heap: usize,
    sizes: Sizes,
    heap_key: u64,
    lfh_key: u64,
    /// Bytes in front of what the program has.
    prefix: u64,
    pub(super) truth: HeapTruth,
}

impl<'p> SegmentHeap<'p> {
    pub(super) fn new(place: &'p Place, heap: usize) -> Self {
        let (heap_key, lfh_key) = keys(place);
        SegmentHeap {
            place,
            heap,
            sizes: Sizes::of(place.plan.seed.wrapping_add(heap as u64)),
            heap_key,
            lfh_key,
            prefix: if PREFIXED.contains(&place.plan.build) {
                UNIT
            } else {
                0
            },
            truth: HeapTruth {
                handle: place.heaps[heap].handle,
                ..HeapTruth::default()
            },
        }
    }

    fn handle(&self) -> u64 {
        self.place.heaps[self.heap].handle
    }

    fn context(&self, index: u64) -> u64 {
        let size = u64::from(self.place.layouts.seg_context.struct_size);
        self.handle() + field(self.place.layouts.segment_heap.seg_contexts) + index * size
    }

    /// The header, and behind it the records of large blocks.
    pub(super) fn header(&self, area: &Area, picture: &mut Picture) {
        let place = self.place;
        let layout = &place.layouts.segment_heap;
        let parts = &place.heaps[self.heap];
        picture.u32(area.base + field(layout.signature), SIGNATURE);
        picture.u16(
            area.base + field(layout.process_heap_list_index),
            self.heap as u16 + 1,
        );
        let context_layout = &place.layouts.seg_context;
        let link = field(place.layouts.page_segment.list_entry);
        for (index, shift, first) in [(0, 12u8, HEADER_UNITS as u8), (1, 16, 1)] {
            let at = self.context(index);
            let mask = !((UNITS << shift) - 1);
            picture.u64(at + field(context_layout.segment_mask), mask);
            picture.u8(at + field(context_layout.unit_shift), shift);
            picture.u8(at + field(context_layout.pages_per_unit_shift), shift - 12);
            picture.u8(at + field(context_layout.first_descriptor_index), first);
            picture.u64(at + field(context_layout.heap), area.base);
            let head = at + field(context_layout.segment_list_head);
            let ends = parts.segments.first().zip(parts.segments.last());
            let (next, previous) = match (index, ends) {
                (0, Some((first, last))) => (first.0 + link, last.0 + link),
                _ => (head, head),
            };
            picture.links(head, next, previous);
        }
        let stats = area.base + field(layout.mem_stats);
        let stat = &place.layouts.memory_stats;
        let pages = parts.segments.len() as u64 * UNITS;
        picture.u64(stats + field(stat.total_reserved_pages), pages);
        let committed = parts.segments.len() as u64 * place.used_units();
        picture.u64(stats + field(stat.total_committed_pages), committed);
        let large: u64 = parts.large.iter().map(|part| part.1 / PAGE).sum();
        picture.u64(area.base + field(layout.large_reserved_pages), large);
        picture.u64(area.base + field(layout.large_committed_pages), large);
        if let Some(key) = place.layouts.lfh_context.encode_key {
            let context = area.base + field(layout.lfh_context);
            picture.u64(context + u64::from(key), self.lfh_key);
        }
        let root = self.tree(picture, 0, parts.large.len(), 0);
        picture.u64(area.base + field(layout.large_alloc_metadata), root);
    }

    /// The tree of some large blocks, which are in order: its root.
    fn tree(&self, picture: &mut Picture, from: usize, to: usize, parent: u64) -> u64 {
        if from == to {
            return 0;
        }
        let layout = &self.place.layouts.large_alloc;
        let middle = from + (to - from) / 2;
        let node = self.handle() + PAGE + 0x40 * middle as u64;
        let (start, size) = self.place.heaps[self.heap].large[middle];
        let left = self.tree(picture, from, middle, node);
        let right = self.tree(picture, middle + 1, to, node);
        picture.links(node, left, right);
        picture.u64(node + 16, parent);
        picture.u64(
            node + field(layout.virtual_address),
            start | self.large_unused(middle),
        );
        picture.u64(node + field(layout.allocated_pages), size);
        node
    }

    fn large_unused(&self, index: usize) -> u64 {
        Stream::of(self.place.plan.seed, self.heap, usize::MAX >> 9 ^ index).below(PAGE)
    }

    /// A block with a mapping of its own.
    pub(super) fn large(&mut self, index: usize, picture: &mut Picture) {
        let (start, size) = self.place.heaps[self.heap].large[index];
        self.write_prefix(picture, start);
        let requested = size - self.large_unused(index) - self.prefix;
        self.truth.busy(start + self.prefix, requested, 0);
        self.truth.large.add(size);
    }

    /// What lies before the bytes that the program has.
    fn write_prefix(&self, picture: &mut Picture, start: u64) {
        if self.prefix > 0 {
            picture.u64(start, self.prefix);
            picture.u64(start + 8, 0);
        }
    }

    /// Writes a segment of pages.
    pub(super) fn segment(&mut self, area: &Area, index: usize, picture: &mut Picture) {
        let place = self.place;
        let layout = &place.layouts.page_segment;
        let (base, parts) = (area.base, &place.heaps[self.heap]);
        let mut stream = Stream::of(place.plan.seed, self.heap, index);
        picture.zero(base, HEADER_UNITS * PAGE);
        let link = field(layout.list_entry);
        let head = self.context(0) + field(place.layouts.seg_context.segment_list_head);
        let element = |index: usize| parts.segments.get(index).map_or(head, |part| part.0 + link);
        let before = index.checked_sub(1).map_or(head, element);
        picture.links(base + link, element(index + 1), before);
        let constant = if place.plan.build < 26100 {
            SEGMENT_SIGNATURE
        } else {
            0
        };
        let signature = base ^ self.context(0) ^ self.heap_key ^ constant;
        picture.u64(base + field(layout.signature), signature);
        let mut unit = HEADER_UNITS;
        let mut lfh = 0;
        let mut subsegments = Vec::new();
        let end = place.used_units();
        // Smaller pieces, where there is little room.
        let least = 16.min((end - HEADER_UNITS) / 2);
        while unit < end {
            let left = end - unit;
            let start = base + unit * PAGE;
            let due = (unit - HEADER_UNITS + 16) * place.plan.lfh / 100;
            let units = if lfh < due && left >= 4 {
                let units = (4 << stream.below(3)).min(left).min(least);
                lfh += units;
                self.descriptors(picture, base, unit, (units, ALLOCATED | LFH, 0));
                self.slots(picture, &mut stream, start, units * PAGE);
                subsegments.push(start);
                units
            } else if left >= least {
                let units = (16 + stream.below(17)).min(left);
                self.descriptors(picture, base, unit, (units, ALLOCATED | VS, 0));
                self.chunks(picture, &mut stream, start, units * PAGE);
                units
            } else {
                break;
            };
            unit += units;
        }
        if unit < UNITS {
            self.descriptors(picture, base, unit, (UNITS - unit, 0, 0));
        }
        self.link_subsegments(picture, &subsegments);
    }

    /// The subsegments of slots of a segment, on one list.
    fn link_subsegments(&self, picture: &mut Picture, subsegments: &[u64]) {
        let link = field(self.place.layouts.segment_lfh_subsegment.list_entry);
        let count = subsegments.len();
        for (index, start) in subsegments.iter().enumerate() {
            let next = subsegments[(index + 1) % count];
            let previous = subsegments[(index + count - 1) % count];
            picture.links(start + link, next + link, previous + link);
        }
    }

    /// The descriptors of a range's units.
    fn descriptors(
        &self,
        picture: &mut Picture,
        base: u64,
        first: u64,
        (units, flags, unused): (u64, u8, u32),
    ) {
        let layout = &self.place.layouts.page_range_descriptor;
        let size = u64::from(layout.struct_size);
        let array = base + field(self.place.layouts.page_segment.desc_array);
        for index in 0..units {
            let at = array + (first + index) * size;
            let is_committed = first + index < self.place.used_units();
            picture.u8(at + field(layout.committed_page_count), is_committed.into());
            if index > 0 {
                picture.u8(at + field(layout.range_flags), flags & ALLOCATED);
                picture.u8(at + field(layout.unit_offset), index as u8);
                continue;
            }
            picture.u8(at + field(layout.range_flags), flags | FIRST);
            picture.u8(at + field(layout.unit_size), units as u8);
            if flags & ALLOCATED != 0 {
                picture.u32(at + field(layout.tree_signature), TREE_SIGNATURE);
                picture.u32(at + field(layout.unused_bytes), unused);
            }
        }
    }

    /// A subsegment of chunks of any size.
    fn chunks(&mut self, picture: &mut Picture, stream: &mut Stream, start: u64, bytes: u64) {
        const LEAST: u64 = 3 * UNIT;
        let layout = &self.place.layouts.vs_subsegment;
        let header = u64::from(layout.struct_size).next_multiple_of(UNIT);
        let size = ((bytes - header) / UNIT) as u16;
        picture.zero(start, header);
        picture.u16(start + field(layout.size), size);
        picture.u16(
            start + field(layout.signature),
            (size ^ VS_SIGNATURE) & !FULL_COMMIT | FULL_COMMIT,
        );
        let end = start + bytes;
        let (mut at, mut previous, mut after_free) = (start + header, 0, false);
        while at < end {
            let requested = self.sizes.any(stream);
            let room = end - at;
            let mut block = (UNIT + self.prefix + requested)
                .next_multiple_of(UNIT)
                .max(2 * UNIT);
            let mut free = !after_free && stream.percent(self.place.plan.free);
            let mut requested = requested;
            if block + LEAST > room {
                (block, requested) = (room, room - UNIT - self.prefix);
                free = !after_free;
            }
            let unused = block - UNIT - self.prefix - requested;
            let plain = (block / UNIT) << 16 | previous << 32 | u64::from(!free) << 48;
            picture.u64(at, plain ^ at ^ self.heap_key);
            let present = !free && unused > 0;
            picture.u64(at + 8, u64::from(if present { UNUSED_PRESENT } else { 0 }));
            if free {
                self.truth.free.add(block);
            } else {
                if present {
                    self.write_unused(picture, at + block, unused);
                }
                self.write_prefix(picture, at + UNIT);
                self.truth.busy(at + UNIT + self.prefix, requested, 0);
            }
            (at, previous, after_free) = (at + block, block / UNIT, free);
        }
    }

    /// The count of unused bytes in the last two bytes of a block, or the last one of a single byte.
    fn write_unused(&self, picture: &mut Picture, end: u64, unused: u64) {
        match unused {
            1 => picture.u8(end - 1, ONE_UNUSED),
            _ => picture.u16(end - 2, unused as u16),
        }
    }

    /// A subsegment of slots of one size.
    fn slots(&mut self, picture: &mut Picture, stream: &mut Stream, start: u64, bytes: u64) {
        let place = self.place;
        let layout = &place.layouts.segment_lfh_subsegment;
        let requested = self.sizes.class(stream);
        let size = bucket(requested + self.prefix);
        let bitmap = field(layout.block_bitmap);
        let words = |count: u64| (count * 2).div_ceil(64);
        let mut count = (bytes - bitmap) / size;
        while (bitmap + 8 * words(count)).next_multiple_of(UNIT) + count * size > bytes {
            count -= 1;
        }
        let first = (bitmap + 8 * words(count)).next_multiple_of(UNIT);
        picture.zero(start, first);
        picture.u16(start + field(layout.block_count), count as u16);
        let page = match layout.state {
            Some(_) => (start >> 12) as u32,
            None => start as u32 >> 12,
        };
        let offsets = (first << 16 | size) as u32 ^ page ^ self.lfh_key as u32;
        picture.u32(start + field(layout.block_offsets), offsets);
        let mut map = vec![0u64; words(count) as usize];
        let mut free_slots = 0;
        for index in 0..count {
            let at = start + first + index * size;
            if stream.percent(place.plan.free) {
                self.truth.lfh_free.add(size);
                free_slots += 1;
                continue;
            }
            let asked = requested - u64::from(stream.below(8) == 0 && requested > 1);
            let asked = if bucket(asked + self.prefix) == size {
                asked
            } else {
                requested
            };
            let unused = size - self.prefix - asked;
            let bits = 1 | u64::from(unused > 0) << 1;
            // From 26100 on each word has the busy bits of 32 slots, then their other bits.
            map[index as usize / 32] |= match layout.state {
                Some(_) => (bits & 1) << (index % 32) | (bits >> 1) << (32 + index % 32),
                None => bits << (index % 32 * 2),
            };
            if unused > 0 {
                self.write_unused(picture, at + size, unused);
            }
            self.write_prefix(picture, at);
            self.truth.busy(at + self.prefix, asked, 0);
            self.truth.lfh_busy.add(size);
        }
        picture.u16(start + field(layout.free_count), free_slots);
        for (index, word) in (0..).zip(map) {
            picture.u64(start + bitmap + 8 * index, word);
        }
    }
}

/// The slot size of the bucket for so many bytes.
fn bucket(bytes: u64) -> u64 {
    let step = match bytes {
        0..=0x400 => 0x10,
        0x401..=0x800 => 0x40,
        0x801..=0x1000 => 0x80,
        _ => 0x100,
    };
    bytes.next_multiple_of(step).max(UNIT)
}

const _: () = assert!(PAGE_SEGMENT == UNITS * PAGE);
