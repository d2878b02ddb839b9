//! Segments of NT heaps: the header, entries, free list, uncommitted ranges.

use ntheap::{
    heap::nt::{Entry, EntryCodec, flags},
    layout::{Bitness, PAGE},
};

use super::{
    lfh::Zones,
    picture::Picture,
    plan::{Area, Place, field},
    random::{Sizes, Stream},
    truth::HeapTruth,
};

/// What the entries of all made heaps are encoded with where they are: `EncodeFlagMask`.
const MASK: u32 = 0x0010_0000;
/// Units of the entry in front of an uncommitted range, which holds the range's descriptor.
const MARKER: u64 = 4;
/// `_HEAP_SEGMENT.SegmentSignature` and `_HEAP.Signature`.
const SEGMENT_SIGNATURE: u32 = 0xffee_ffee;
const HEAP_SIGNATURE: u32 = 0xeeff_eeff;
/// `HEAP_GROWABLE`, and what captured stacks set.
const GROWABLE: u32 = 2;
const CAPTURE_STACKS: u32 = 0x0800_0000;
/// The mark of the heap's own tables where blocks have their unused bytes, and of markers.
const OWN: u8 = 1;
const AT_MARKER: u8 = 3;
/// Of a block whose count is in its extended entry, two units behind.
const EXTENDED: u8 = 0x42;
/// Of a block whose count does not fit.
const AT_END: u8 = 0x3f;

/// A heap while it is written.
pub(super) struct NtHeap<'p> {
    pub(super) place: &'p Place,
    pub(super) heap: usize,
    pub(super) codec: EntryCodec,
    pub(super) lfh_key: u64,
    pub(super) sizes: Sizes,
    pub(super) zones: Zones,
    pub(super) truth: HeapTruth,
    /// Link of the free entry that was written last; 0: none yet.
    last_free: u64,
    /// The descriptor of an uncommitted range that was written last; 0: none yet.
    last_range: u64,
    /// Pointers into what was written before: address and value.
    pub(super) late: Vec<(u64, u64)>,
}

/// Where in its segment an entry is, and what it follows.
pub(super) struct Cursor {
    pub(super) at: u64,
    /// Units of the entry before.
    previous: u16,
    /// Whether that is free.
    free: bool,
}

impl<'p> NtHeap<'p> {
    pub(super) fn new(place: &'p Place, heap: usize) -> Self {
        let mut stream = Stream::of(place.plan.seed, heap, usize::MAX >> 8);
        let key = stream.next() & 0x0000_ffff_ffff_ffff | u64::from(MASK);
        NtHeap {
            place,
            heap,
            codec: EntryCodec {
                xp: false,
                bitness: place.plan.bitness,
                mask: MASK,
                key,
            },
            lfh_key: super::lfh_key(place),
            sizes: Sizes::of(place.plan.seed.wrapping_add(heap as u64)),
            zones: Zones::default(),
            truth: HeapTruth {
                handle: place.heaps[heap].handle,
                ..HeapTruth::default()
            },
            last_free: 0,
            last_range: 0,
            late: Vec::new(),
        }
    }

    pub(super) fn handle(&self) -> u64 {
        self.place.heaps[self.heap].handle
    }

    pub(super) fn traced(&self) -> bool {
        self.place.plan.stacks > 0
    }

    /// Units between an entry and the program's data.
    pub(super) fn prefix(&self) -> u64 {
        if self.traced() { 3 } else { 1 }
    }

    /// Writes a segment; the first with the heap's header.
    pub(super) fn segment(&mut self, area: &Area, index: usize, picture: &mut Picture) {
        let place = self.place;
        let (base, unit) = (area.base, place.unit());
        let first = base + place.first_entry(index);
        let mut stream = Stream::of(place.plan.seed, self.heap, index);
        picture.zero(base, first - base);
        let runs = place.runs(area);
        let mut free: Vec<(u64, u64)> = Vec::new();
        let mut cursor = Cursor {
            at: first,
            previous: ((first - base) / unit) as u16,
            free: false,
        };
        self.entry(picture, base, (first - base) / unit, flags::BUSY, OWN, 0);
        for (number, &(start, size)) in runs.iter().enumerate() {
            let end = base + start + size;
            if number > 0 {
                cursor = Cursor {
                    at: base + start,
                    previous: 0,
                    free: false,
                };
            }
            let limit = end - MARKER * unit;
            if number == 0 {
                self.first_blocks(picture, &mut cursor, index);
            }
            self.fill(picture, &mut stream, &mut cursor, limit, &mut free);
            let entry = cursor.at;
            self.step(picture, &mut cursor, MARKER, flags::BUSY, AT_MARKER);
            let next = runs
                .get(number + 1)
                .map_or(base + area.size, |next| base + next.0);
            self.descriptor(picture, entry, (end, next - end), number, base, &runs);
        }
        self.link_free(picture, free);
        self.segment_header(picture, area, index, first, &runs);
        if index == 0 {
            self.header(picture);
        }
    }

    /// The heap's own blocks that come first: of the first segment the tables of the front end, of
    /// each the zone of the subsegments.
    fn first_blocks(&mut self, picture: &mut Picture, cursor: &mut Cursor, index: usize) {
        let unit = self.place.unit();
        if index == 0 {
            for bytes in [0x810, 0x1cb0] {
                let at = cursor.at;
                if self.place.plan.build < 9200 {
                    // Blocks like any other of the heap's own; a mark for tables is new in 8.
                    let (table, size) = self.own_block(picture, cursor, bytes - unit);
                    picture.zero(table, size);
                    continue;
                }
                picture.zero(at + unit, bytes - unit);
                let own = flags::BUSY | flags::INTERNAL;
                self.step(picture, cursor, bytes / unit, own, OWN);
                self.truth.internal.add(bytes);
            }
        }
        if self.place.plan.lfh > 0 {
            if index == 0 && self.place.heaps[self.heap].front_end == 0 {
                self.own_front_end(picture, cursor);
            }
            self.zone(picture, cursor);
        }
    }

    /// Fills a run with blocks.
    fn fill(
        &mut self,
        picture: &mut Picture,
        stream: &mut Stream,
        cursor: &mut Cursor,
        limit: u64,
        free: &mut Vec<(u64, u64)>,
    ) {
        let place = self.place;
        let unit = place.unit();
        let least = (2 + self.prefix()) * unit;
        // Slots stand for many blocks, so that a container is drawn by the bytes written so far.
        let begin = cursor.at;
        let mut slots = 0;
        while limit - cursor.at > 0 {
            let room = limit - cursor.at;
            let due = (cursor.at - begin + room.min(0x4000)) * place.plan.lfh / 100;
            if slots < due && room > 0x2000 {
                match self.container(picture, stream, cursor, room) {
                    Some(bytes) => slots += bytes,
                    // What is left is for other blocks.
                    None => slots = u64::MAX / 2,
                }
                continue;
            }
            let requested = self.sizes.any(stream);
            let mut units = self.units_of(requested);
            let rest = (room / unit).saturating_sub(units);
            if units * unit > room || rest * unit < least {
                self.last(picture, stream, cursor, room, free);
                continue;
            }
            if !cursor.free && stream.percent(place.plan.free) {
                self.free(picture, cursor, units, free);
                continue;
            }
            // Now and then what is left would be too small for a block, and stays with this one.
            units += u64::from(stream.below(32) == 0);
            self.busy(picture, stream, cursor, (units, requested));
        }
    }

    /// What is left of a run: a free block, or a busy one behind a free one.
    fn last(
        &mut self,
        picture: &mut Picture,
        stream: &mut Stream,
        cursor: &mut Cursor,
        room: u64,
        free: &mut Vec<(u64, u64)>,
    ) {
        let unit = self.place.unit();
        let units = room / unit;
        if !cursor.free && units >= 2 {
            return self.free(picture, cursor, units, free);
        }
        let requested = room - self.overhead();
        self.busy(picture, stream, cursor, (units, requested));
    }

    /// Bytes of a block that the program can't have.
    fn overhead(&self) -> u64 {
        8 + (self.prefix() - 1) * self.place.unit()
    }

    /// Units of the smallest block that holds so many bytes.
    pub(super) fn units_of(&self, requested: u64) -> u64 {
        let unit = self.place.unit();
        (requested + self.overhead()).div_ceil(unit).max(2)
    }

    /// A block of the program.
    fn busy(
        &mut self,
        picture: &mut Picture,
        stream: &mut Stream,
        cursor: &mut Cursor,
        (units, requested): (u64, u64),
    ) {
        let at = cursor.at;
        let unit = self.place.unit();
        let unused = units * unit - requested;
        let mark = self.unused(picture, at, units * unit, unused);
        self.step(picture, cursor, units, flags::BUSY, mark);
        let trace = self.prefix_at(picture, stream, at, unused, requested);
        self.truth.busy(at + self.prefix() * unit, requested, trace);
    }

    /// Where a block's count of unused bytes goes: into its header, its extended entry, or its end.
    pub(super) fn unused(&self, picture: &mut Picture, at: u64, size: u64, unused: u64) -> u8 {
        if self.traced() {
            return EXTENDED;
        }
        if unused < AT_END.into() {
            return unused as u8;
        }
        match self.place.plan.bitness {
            Bitness::X86 => picture.u32(at + size - 4, unused as u32),
            Bitness::X64 => picture.u64(at + size, unused),
        }
        AT_END
    }

    /// The prefix with the trace, where there are traces; the address of the trace's record.
    pub(super) fn prefix_at(
        &self,
        picture: &mut Picture,
        stream: &mut Stream,
        at: u64,
        unused: u64,
        requested: u64,
    ) -> u64 {
        if !self.traced() {
            return 0;
        }
        let unit = self.place.unit();
        // Some stacks ask for each size: more where there are many, as there are only so many sizes.
        let stacks = self.place.plan.stacks;
        let number = (requested * 7 + stream.below((stacks / 2500).max(4))) % stacks;
        let record = super::traces::record(self.place, number);
        picture.pointer(at + unit, record);
        let extended = at + 2 * unit + self.codec.header_offset();
        let function = if self.place.plan.build >= 10240 { 1 } else { 2 };
        picture.u64(extended, 0x0502 << 48 | (unused & 0xffff) << 32 | function);
        record
    }

    /// A free block.
    fn free(
        &mut self,
        picture: &mut Picture,
        cursor: &mut Cursor,
        units: u64,
        free: &mut Vec<(u64, u64)>,
    ) {
        // Larger than the size field can say does not exist.
        let units = units.min(0xf000);
        free.push((units, cursor.at));
        self.step(picture, cursor, units, 0, 0);
        cursor.free = true;
        self.truth.free.add(units * self.place.unit());
    }

    /// Writes the next entry.
    pub(super) fn step(
        &self,
        picture: &mut Picture,
        cursor: &mut Cursor,
        units: u64,
        flags: u8,
        unused: u8,
    ) {
        self.entry(picture, cursor.at, units, flags, unused, cursor.previous);
        cursor.previous = units as u16;
        cursor.at += units * self.place.unit();
        cursor.free = false;
    }

    fn entry(
        &self,
        picture: &mut Picture,
        at: u64,
        units: u64,
        flags: u8,
        unused: u8,
        previous_size: u16,
    ) {
        // 64 KiB pieces of the segment, from 1; nothing in the first segment.
        let segment_offset = if picture.base == self.handle() {
            0
        } else {
            ((at - picture.base) >> 16) as u8 + 1
        };
        let raw = self.codec.encode(&Entry {
            size: units as u16,
            flags,
            small_tag: 0,
            previous_size,
            segment_offset,
            unused,
        });
        picture.u64(at + self.codec.header_offset(), raw);
    }

    /// Links a segment's free blocks, the smallest first, behind those of the segments before.
    fn link_free(&mut self, picture: &mut Picture, mut free: Vec<(u64, u64)>) {
        free.sort_unstable();
        let unit = self.place.unit();
        let head = self.handle() + field(self.place.layouts.heap.free_lists);
        for (_, at) in free {
            let link = at + unit;
            let before = if self.last_free == 0 {
                head
            } else {
                self.last_free
            };
            picture.links(link, head, before);
            self.set(picture, before, link);
            self.last_free = link;
        }
    }

    /// Sets a pointer, now or, where it was written already, later.
    pub(super) fn set(&mut self, picture: &mut Picture, at: u64, value: u64) {
        if picture.holds(at) {
            picture.pointer(at, value);
        } else {
            self.late.push((at, value));
        }
    }

    /// The descriptor of the uncommitted range behind a marker.
    fn descriptor(
        &mut self,
        picture: &mut Picture,
        marker: u64,
        (address, size): (u64, u64),
        number: usize,
        base: u64,
        runs: &[(u64, u64)],
    ) {
        let place = self.place;
        let (layout, unit) = (&place.layouts.ucr_descriptor, place.unit());
        picture.zero(marker + unit, (MARKER - 1) * unit);
        let at = marker + unit;
        let link = field(layout.segment_entry);
        let head = base + field(self.place.layouts.segment.ucr_segment_list);
        let element = |number: usize| {
            let run = runs.get(number)?;
            Some(base + run.0 + run.1 - MARKER * unit + unit + link)
        };
        let before = number.checked_sub(1).and_then(element).unwrap_or(head);
        picture.links(at + link, element(number + 1).unwrap_or(head), before);
        picture.pointer(at + field(layout.address), address);
        picture.pointer(at + field(layout.size), size);
        // Those with a size are on the heap's own list, too.
        if size > 0 {
            let head = self.handle() + field(self.place.layouts.heap.ucr_list);
            let before = if self.last_range == 0 {
                head
            } else {
                self.last_range
            };
            picture.links(at, head, before);
            self.set(picture, before, at);
            self.last_range = at;
        }
    }

    fn segment_header(
        &self,
        picture: &mut Picture,
        area: &Area,
        index: usize,
        first: u64,
        runs: &[(u64, u64)],
    ) {
        let place = self.place;
        let layout = &place.layouts.segment;
        let (base, unit) = (area.base, place.unit());
        let segments = &place.heaps[self.heap].segments;
        let committed: u64 = runs.iter().map(|run| run.1).sum();
        picture.u32(base + field(layout.segment_signature), SEGMENT_SIGNATURE);
        picture.pointer(base + field(layout.heap), self.handle());
        picture.pointer(base + field(layout.base_address), base);
        let pages = |bytes: u64| (bytes / PAGE) as u32;
        picture.u32(base + field(layout.number_of_pages), pages(area.size));
        picture.pointer(base + field(layout.first_entry), first);
        picture.pointer(base + field(layout.last_valid_entry), base + area.size);
        picture.u32(
            base + field(layout.number_of_un_committed_pages),
            pages(area.size - committed),
        );
        picture.u32(
            base + field(layout.number_of_un_committed_ranges),
            runs.len() as u32,
        );
        let link = field(layout.segment_list_entry);
        let head = self.handle() + field(place.layouts.heap.segment_list);
        let element = |index: usize| segments.get(index).map_or(head, |part| part.0 + link);
        let before = index.checked_sub(1).map_or(head, element);
        picture.links(base + link, element(index + 1), before);
        let marker = |run: &(u64, u64)| {
            let descriptor = base + run.0 + run.1 - MARKER * unit + unit;
            descriptor + field(place.layouts.ucr_descriptor.segment_entry)
        };
        let [first, .., last] = runs else {
            let only = runs.first().map_or(0, marker);
            return picture.links(base + field(layout.ucr_segment_list), only, only);
        };
        picture.links(
            base + field(layout.ucr_segment_list),
            marker(first),
            marker(last),
        );
    }

    /// The heap's header, but for what is known when all is written.
    fn header(&mut self, picture: &mut Picture) {
        let place = self.place;
        let (base, layout) = (self.handle(), &place.layouts.heap);
        let parts = &place.heaps[self.heap];
        let capture = if self.traced() { CAPTURE_STACKS } else { 0 };
        let class = if self.heap == 0 { 0 } else { 0x1000 };
        picture.u32(base + field(layout.signature), HEAP_SIGNATURE);
        picture.u32(base + field(layout.flags), GROWABLE | capture | class);
        picture.u32(base + field(layout.encode_flag_mask), MASK);
        let encoding = base + field(layout.encoding) + self.codec.header_offset();
        picture.u64(encoding, self.codec.key);
        let link = field(place.layouts.segment.segment_list_entry);
        let [first, .., last] = &parts.segments[..] else {
            let only = base + link;
            return self.rest_of_header(picture, (only, only));
        };
        self.rest_of_header(picture, (first.0 + link, last.0 + link));
    }

    fn rest_of_header(&mut self, picture: &mut Picture, segments: (u64, u64)) {
        let place = self.place;
        let (base, layout) = (self.handle(), &place.layouts.heap);
        let parts = &place.heaps[self.heap];
        picture.links(base + field(layout.segment_list), segments.0, segments.1);
        let head = base + field(layout.virtual_allocd_blocks);
        let first = parts.large.first().map_or(head, |large| large.0);
        let last = parts.large.last().map_or(head, |large| large.0);
        picture.links(head, first, last);
        let free = base + field(layout.free_lists);
        if self.last_free == 0 {
            picture.links(free, free, free);
        }
        let ranges = base + field(layout.ucr_list);
        if self.last_range == 0 {
            picture.links(ranges, ranges, ranges);
        }
        let front_end = self.front_end();
        if front_end != 0 {
            picture.pointer(base + field(layout.front_end_heap), front_end);
            picture.u8(base + field(layout.front_end_heap_type), 2);
        }
        let counters = base + field(layout.counters);
        let counter = &place.layouts.counters;
        let reserved: u64 = parts.segments.iter().map(|part| part.1).sum();
        picture.pointer(counters + field(counter.total_memory_reserved), reserved);
        let committed: u64 = place
            .areas
            .iter()
            .filter(|area| parts.segments.iter().any(|part| part.0 == area.base))
            .flat_map(|area| place.runs(area))
            .map(|run| run.1)
            .sum();
        picture.pointer(counters + field(counter.total_memory_committed), committed);
        picture.u32(
            counters + field(counter.total_segments),
            parts.segments.len() as u32,
        );
        let large: u64 = parts.large.iter().map(|part| part.1).sum();
        picture.pointer(
            counters + field(counter.total_size_in_virtual_blocks),
            large,
        );
    }

    /// A block with a mapping of its own.
    pub(super) fn large(&mut self, area: &Area, index: usize, picture: &mut Picture) {
        let place = self.place;
        let layout = &place.layouts.virtual_alloc;
        let mut stream = Stream::of(place.plan.seed, self.heap, usize::MAX >> 9 ^ index);
        let entry = field(layout.busy_block);
        let address = area.base + entry + self.prefix() * place.unit();
        let requested = area.base + area.size - address - stream.below(PAGE);
        let unused = area.size - requested;
        picture.zero(area.base, address - area.base);
        let head = self.handle() + field(place.layouts.heap.virtual_allocd_blocks);
        let parts = &place.heaps[self.heap].large;
        let element = |index: usize| parts.get(index).map_or(head, |part| part.0);
        let before = index.checked_sub(1).map_or(head, element);
        picture.links(area.base, element(index + 1), before);
        picture.pointer(area.base + field(layout.commit_size), area.size);
        picture.pointer(area.base + field(layout.reserve_size), area.size);
        let block = area.base + entry;
        let raw = self.codec.encode(&Entry {
            size: unused as u16,
            flags: flags::BUSY | flags::EXTRA,
            small_tag: 0,
            previous_size: 0,
            segment_offset: if self.traced() { 2 } else { 0 },
            unused: 4,
        });
        // The heap encodes the first half of this header alone.
        let plain = self.codec.key & !u64::from(u32::MAX);
        picture.u64(block + self.codec.header_offset(), raw ^ plain);
        let trace = self.prefix_at(picture, &mut stream, block, 0xec2, requested);
        self.truth.busy(address, requested, trace);
        self.truth.large.add(area.size);
    }

    /// What of the header is known when all is written.
    pub(super) fn finish(&mut self) -> Vec<(u64, u64)> {
        let layout = &self.place.layouts;
        let (base, size) = (self.handle(), self.place.pointer());
        let mut late = std::mem::take(&mut self.late);
        if self.last_free != 0 {
            late.push((base + field(layout.heap.free_lists) + size, self.last_free));
        }
        if self.last_range != 0 {
            late.push((base + field(layout.heap.ucr_list) + size, self.last_range));
        }
        let units = self.truth.free.bytes / self.place.unit();
        late.push((base + field(layout.heap.total_free_size), units));
        late.extend(self.last_zone_of_list());
        late
    }
}
