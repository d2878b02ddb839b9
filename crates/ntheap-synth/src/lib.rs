//! Dumps made by hand: a minidump writer, and NT heaps of Windows 10 (19041, x64) to put into it.

pub mod fleet;
pub mod oracle;
pub mod stream;

use ntheap::{
    heap::nt::{Entry, EntryCodec},
    layout::{Bitness, Layouts},
};

/// Build whose layouts the made heaps have.
pub const BUILD: u32 = 19041;
const TEB: u64 = 0x10_0000;
const PEB: u64 = 0x10_1000;
const HEAP_ARRAY: u64 = 0x10_2000;
const KEY: u64 = 0x0011_2233_4455_6677 | 0x0010_0000;
const UNIT: u64 = 16;
/// `UnusedBytes` of a block whose count stands in the prefix of its trace, two units behind its entry.
const EXTENDED: u8 = 0x42;

/// Where the heap of [`small_dump`] lies.
pub const HEAP: u64 = 0x20_0000;

/// A dump of one heap with blocks of many sizes, and the blocks' addresses and sizes.
pub fn small_dump() -> (Vec<u8>, Vec<(u64, u64)>) {
    let (memory, blocks) = heap(HEAP, 0x2000, 2, |number| 8 + number * 13 % 300);
    (dump(&[HEAP], memory), blocks)
}

/// Numbers that look random and are the same in every run (xorshift).
#[derive(Debug, Clone)]
pub struct Random(pub u64);

impl Random {
    /// The next number below `limit`.
    pub fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Writes little-endian numbers at offsets of a byte array.
#[derive(Debug)]
pub struct Image(pub Vec<u8>);

impl Image {
    pub fn new(size: usize) -> Self {
        Image(vec![0; size])
    }

    pub fn put(&mut self, at: u64, bytes: &[u8]) {
        self.0[at as usize..at as usize + bytes.len()].copy_from_slice(bytes);
    }

    pub fn u32(&mut self, at: u64, value: u32) {
        self.put(at, &value.to_le_bytes());
    }

    pub fn u64(&mut self, at: u64, value: u64) {
        self.put(at, &value.to_le_bytes());
    }
}

/// Ranges of memory: address and bytes.
pub type Memory = Vec<(u64, Vec<u8>)>;

/// A module of a made dump.
#[derive(Debug, Clone)]
pub struct Module {
    pub base: u64,
    pub size: u32,
    pub timestamp: u32,
    pub path: String,
    pub version: [u16; 4],
}

/// What a made dump says beside its memory.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// When it was taken: seconds since 1970, UTC.
    pub timestamp: u32,
    pub nt_global_flag: u32,
    pub modules: Vec<Module>,
}

/// A minidump with full memory of a process with these heaps.
pub fn dump(heaps: &[u64], memory: Memory) -> Vec<u8> {
    dump_about(heaps, memory, &About::default())
}

/// The same of a process of which more is told.
pub fn dump_about(heaps: &[u64], mut memory: Memory, about: &About) -> Vec<u8> {
    let layouts = Layouts::for_build(BUILD, Bitness::X64);
    let field = |offset: Option<u32>| u64::from(offset.expect("the layout has the field"));
    let mut teb = Image::new(0x1000);
    teb.u64(field(layouts.teb.process_environment_block), PEB);
    let mut peb = Image::new(0x1000);
    peb.u64(
        field(layouts.peb.process_heap),
        heaps.first().copied().unwrap_or(0),
    );
    peb.u32(field(layouts.peb.number_of_heaps), heaps.len() as u32);
    peb.u32(
        field(layouts.peb.maximum_number_of_heaps),
        16.max(heaps.len() as u32),
    );
    peb.u64(field(layouts.peb.process_heaps), HEAP_ARRAY);
    peb.u32(field(layouts.peb.nt_global_flag), about.nt_global_flag);
    peb.put(
        field(layouts.peb.os_build_number),
        &(BUILD as u16).to_le_bytes(),
    );
    let mut array = Image::new((heaps.len() * 8).next_multiple_of(0x1000).max(0x1000));
    for (index, heap) in heaps.iter().enumerate() {
        array.u64(index as u64 * 8, *heap);
    }
    memory.extend([(TEB, teb.0), (PEB, peb.0), (HEAP_ARRAY, array.0)]);
    memory.sort_by_key(|range| range.0);

    let mut system_info = Image::new(56);
    system_info.put(0, &9u16.to_le_bytes());
    system_info.put(6, &[2, 1]);
    system_info.u32(8, 10);
    system_info.u32(16, BUILD);
    system_info.u32(20, 2);
    let mut threads = Image::new(4 + 48);
    threads.u32(0, 1);
    threads.u32(4, 77);
    threads.u64(4 + 16, TEB);
    let directory = 32;
    // Names are told by their places in the file: the list comes third.
    let before = directory + 12 * 4 + system_info.0.len() as u64 + threads.0.len() as u64;
    let modules = module_list(&about.modules, before);

    let streams: [(u32, &[u8]); 3] = [(7, &system_info.0), (3, &threads.0), (4, &modules.0)];
    let mut at = directory + 12 * (streams.len() as u64 + 1);
    let mut file = Image::new(0);
    file.0.extend(b"MDMP");
    file.0.extend(0xa793u32.to_le_bytes());
    file.0.extend((streams.len() as u32 + 1).to_le_bytes());
    file.0.extend((directory as u32).to_le_bytes());
    file.0.extend([0; 4]);
    file.0.extend(about.timestamp.to_le_bytes());
    file.0.extend(2u64.to_le_bytes());
    for (kind, bytes) in streams {
        for value in [kind, bytes.len() as u32, at as u32] {
            file.0.extend(value.to_le_bytes());
        }
        at += bytes.len() as u64;
    }
    let list_size = 16 + 16 * memory.len() as u64;
    for value in [9, list_size as u32, at as u32] {
        file.0.extend(value.to_le_bytes());
    }
    streams.iter().for_each(|(_, bytes)| file.0.extend(*bytes));
    file.0.extend((memory.len() as u64).to_le_bytes());
    file.0.extend((at + list_size).to_le_bytes());
    for (address, bytes) in &memory {
        file.0.extend(address.to_le_bytes());
        file.0.extend((bytes.len() as u64).to_le_bytes());
    }
    memory
        .into_iter()
        .for_each(|(_, bytes)| file.0.extend(bytes));
    file.0
}

/// The list of modules, which lies at `place` in the file, with their names behind it.
fn module_list(modules: &[Module], place: u64) -> Image {
    const RECORD: u64 = 0x6c;
    let mut list = Image::new(4 + modules.len() * RECORD as usize);
    list.u32(0, modules.len() as u32);
    for (number, module) in (0..).zip(modules) {
        let at = 4 + number * RECORD;
        let name = place + list.0.len() as u64;
        list.u64(at, module.base);
        list.u32(at + 8, module.size);
        list.u32(at + 0x10, module.timestamp);
        list.u32(at + 0x14, name as u32);
        list.u32(at + 0x18, 0xfeef_04bd);
        let [major, minor, build, revision] = module.version.map(u32::from);
        list.u32(at + 0x20, major << 16 | minor);
        list.u32(at + 0x24, build << 16 | revision);
        let units: Vec<u16> = module.path.encode_utf16().collect();
        list.0.extend((units.len() as u32 * 2).to_le_bytes());
        list.0
            .extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        list.0.extend([0; 2]);
    }
    list
}

/// An NT heap of one or more segments, all committed and full of busy blocks of the sizes that
/// `size` gives for their running numbers. Returns its memory and the blocks as (address, size).
pub fn heap(
    base: u64,
    segment_size: u64,
    segments: u64,
    mut size: impl FnMut(u64) -> u64,
) -> (Memory, Vec<(u64, u64)>) {
    traced_heap(base, segment_size, segments, |number| {
        Some((size(number), None))
    })
}

/// The same with blocks that have stacks: `next` gives size and trace record of each; when it has no more,
/// the rest is free.
pub fn traced_heap(
    base: u64,
    segment_size: u64,
    segments: u64,
    mut next: impl FnMut(u64) -> Option<(u64, Option<u64>)>,
) -> (Memory, Vec<(u64, u64)>) {
    let layouts = Layouts::for_build(BUILD, Bitness::X64);
    let field = |offset: Option<u32>| u64::from(offset.expect("the layout has the field"));
    let codec = EntryCodec {
        xp: false,
        bitness: Bitness::X64,
        mask: 0x0010_0000,
        key: KEY,
    };
    let link = field(layouts.segment.segment_list_entry);
    let head = base + field(layouts.heap.segment_list);
    let segment_base = |index: u64| base + index * segment_size;
    let element = |index: u64| segment_base(index) + link;
    let (mut memory, mut blocks) = (Vec::new(), Vec::new());
    let mut number = 0;
    for index in 0..segments {
        let start = segment_base(index);
        let mut image = Image::new(segment_size as usize);
        let header = if index == 0 {
            layouts.heap.struct_size
        } else {
            layouts.segment.struct_size
        };
        let first = u64::from(header).next_multiple_of(UNIT);
        image.u32(field(layouts.segment.segment_signature), 0xffee_ffee);
        image.u64(field(layouts.segment.heap), base);
        image.u64(field(layouts.segment.base_address), start);
        image.u32(
            field(layouts.segment.number_of_pages),
            (segment_size / 0x1000) as u32,
        );
        image.u64(field(layouts.segment.first_entry), start + first);
        image.u64(
            field(layouts.segment.last_valid_entry),
            start + segment_size,
        );
        let ranges = field(layouts.segment.ucr_segment_list);
        image.u64(ranges, start + ranges);
        image.u64(ranges + 8, start + ranges);
        image.u64(
            link,
            if index + 1 == segments {
                head
            } else {
                element(index + 1)
            },
        );
        image.u64(link + 8, if index == 0 { head } else { element(index - 1) });
        if index == 0 {
            let layout = &layouts.heap;
            image.u32(field(layout.signature), 0xeeff_eeff);
            image.u32(field(layout.flags), 2);
            image.u32(field(layout.encode_flag_mask), codec.mask);
            image.u64(field(layout.encoding) + 8, KEY);
            image.u64(field(layout.segment_list), element(0));
            image.u64(field(layout.segment_list) + 8, element(segments - 1));
            let blocks = field(layout.virtual_allocd_blocks);
            image.u64(blocks, base + blocks);
            image.u64(blocks + 8, base + blocks);
            let counters = field(layout.counters);
            image.u32(
                counters + field(layouts.counters.total_segments),
                segments as u32,
            );
        }
        let mut at = first;
        let mut previous_size = 0;
        while at < segment_size {
            let block = next(number);
            let (requested, trace) = block.unwrap_or((0, None));
            let prefix = if trace.is_some() { 2 * UNIT } else { 0 };
            let whole = (requested + prefix + 8)
                .next_multiple_of(UNIT)
                .max(2 * UNIT);
            // What is too small for another block belongs to the last one.
            let whole = if block.is_none() || segment_size - at < whole + 64 * UNIT {
                segment_size - at
            } else {
                whole
            };
            let unused = whole - requested.min(whole);
            let free = block.is_none() || unused >= 0x3f + prefix;
            let entry = Entry {
                size: (whole / UNIT) as u16,
                flags: u8::from(!free),
                small_tag: 0,
                previous_size,
                segment_offset: 0,
                unused: match (free, trace) {
                    (true, _) => 0,
                    (false, Some(_)) => EXTENDED,
                    (false, None) => unused as u8,
                },
            };
            image.u64(at + 8, codec.encode(&entry));
            if let Some(trace) = trace.filter(|_| !free) {
                image.u64(at + UNIT, trace);
                image.u64(at + prefix + 8, 0x0502 << 48 | unused << 32 | 1);
            }
            if !free {
                blocks.push((start + at + UNIT + prefix, requested));
            }
            previous_size = entry.size;
            number += 1;
            at += whole;
        }
        memory.push((start, image.0));
    }
    (memory, blocks)
}
