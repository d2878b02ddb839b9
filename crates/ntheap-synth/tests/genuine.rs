//! What the generator writes looks like what the genuine ntdll wrote: the same flags, marks and shapes
//! of entries, containers, slots and ranges, in shares of the same order. Without the oracle there is
//! nothing to compare with.

use std::{collections::BTreeMap, io::Cursor, path::Path};

use ntheap::{
    dump::{Dump, DumpFile},
    heap::{
        Heap, Heaps,
        nt::{NtHeap, Piece, RawEntry, flags},
    },
    layout::{Bitness, Layouts},
    process::Process,
};
use ntheap_synth::{
    oracle,
    stream::{Manager, Plan, write},
};

/// How often each kind of thing was seen, by what is looked at.
#[derive(Debug, Default)]
struct Shapes(BTreeMap<&'static str, BTreeMap<String, u64>>);

impl Shapes {
    fn add(&mut self, of: &'static str, shape: String) {
        *self.0.entry(of).or_default().entry(shape).or_default() += 1;
    }
}

/// A mark of unused bytes: a count, or what stands for one.
fn mark(unused: u8) -> String {
    match unused {
        0..=5 | 0x3f | 0x42 | 0x80 | 0xbf | 0xc2 => format!("{unused:02x}"),
        0x81..=0xbe => "slot, count".to_owned(),
        _ => "count".to_owned(),
    }
}

struct Looker<'s> {
    shapes: &'s mut Shapes,
}

impl Looker<'_> {
    fn look(&mut self, process: &Process<'_, '_>) {
        for heap in &Heaps::of(process) {
            match heap {
                Heap::Nt(heap) => self.nt(process, heap),
                Heap::Segment(heap) => self.segment_heap(process, heap),
                Heap::Page(_) => {}
            }
        }
    }

    fn nt(&mut self, process: &Process<'_, '_>, heap: &NtHeap<'_, '_>) {
        for (index, segment) in heap.segments.iter().enumerate() {
            let visit = &mut |piece: Piece| {
                if let Piece::Entry(entry) = piece {
                    self.entry(&entry, index, segment.base);
                    if entry.entry.flags == flags::BUSY | flags::INTERNAL {
                        self.container(process, heap, &entry);
                    }
                }
                Ok::<(), ()>(())
            };
            heap.pieces(segment, visit).expect("nothing ends the walk");
            let ranges = segment.uncommitted_ranges as usize;
            let tail = if ranges == segment.ranges.len() {
                "with"
            } else {
                "and an empty one"
            };
            self.shapes.add("uncommitted ranges", tail.to_owned());
        }
        for block in &heap.virtual_blocks {
            let header = block.entry + heap.header.codec.header_offset();
            let raw = process.memory().u64(header).unwrap_or(0);
            let decoded = heap.header.codec.decode(raw);
            let upper = raw >> 32 & 0xffff;
            self.shapes.add(
                "virtual blocks",
                format!(
                    "flags {:02x} upper {upper:x} mark {:x}",
                    decoded.flags,
                    raw >> 48
                ),
            );
        }
    }

    fn entry(&mut self, entry: &RawEntry, segment: usize, base: u64) {
        let expected = match segment {
            0 => 0,
            _ => ((entry.address - base) >> 16) + 1,
        };
        let place = if u64::from(entry.entry.segment_offset) == expected {
            "right"
        } else {
            "other"
        };
        self.shapes.add(
            "entries",
            format!(
                "flags {:02x} mark {} encoded {} offset {place}",
                entry.entry.flags,
                mark(entry.entry.unused),
                entry.encoded,
            ),
        );
    }

    /// A block of the heap's own, if it is a container.
    fn container(&mut self, process: &Process<'_, '_>, heap: &NtHeap<'_, '_>, entry: &RawEntry) {
        let (memory, layouts, bitness) = (process.memory(), &process.layouts, process.bitness);
        let unit = bitness.unit();
        let prefix = if entry.entry.unused == 0x42 { 3 } else { 1 };
        let blocks = entry.address + prefix * unit;
        let header = memory.at(blocks, bitness);
        let layout = &layouts.user_data_header;
        if header.u32(layout.signature) != Some(0xf0e0_d0c0) {
            return;
        }
        let record = header.pointer(layout.sub_segment).unwrap_or(0);
        let subsegment = memory.at(record, bitness);
        let of = &layouts.subsegment;
        if subsegment.pointer(of.user_blocks) != Some(blocks) {
            return;
        }
        let shift = header.u8(layout.size_index).unwrap_or(0);
        let room = entry.size - prefix * unit;
        let stride = u64::from(subsegment.u16(of.block_size).unwrap_or(0)) * unit;
        let count = u64::from(subsegment.u16(of.block_count).unwrap_or(0));
        let bitmap = layout.busy_bitmap.map(|at| blocks + u64::from(at));
        let bits = bitmap.and_then(|at| memory.pointer(at, bitness));
        let data = bitmap.and_then(|at| memory.pointer(at + bitness.pointer_size(), bitness));
        let data_is_behind = data == layout.bitmap_data.map(|at| blocks + u64::from(at));
        self.shapes.add(
            "containers",
            format!(
                "mark {} power {} bits {} data {data_is_behind} fits {}",
                mark(entry.entry.unused),
                room.next_power_of_two() == 1 << shift,
                bits == bitmap.map(|_| count),
                count * stride <= room && room - count * stride < 0x100 + 2 * stride,
            ),
        );
        // Slots, from the end: where the last one ends depends on nothing that is encoded.
        let codec = &heap.header.codec;
        let find = |at: u64| {
            let raw = memory.u64(at + codec.header_offset())?;
            Some((raw, (raw >> 56) as u8))
        };
        let lowest = layout
            .bitmap_data
            .map(u64::from)
            .map_or(u64::from(layout.struct_size), |at| {
                at + count.div_ceil(8 * bitness.pointer_size()) * bitness.pointer_size()
            });
        let first = (lowest.next_multiple_of(8)..lowest + 0x200)
            .step_by(8)
            .map(|at| blocks + at)
            .find(|&at| {
                let slot =
                    |index: u64| find(at + index * stride).is_some_and(|(_, m)| m & 0x80 != 0);
                at + count * stride <= entry.address + entry.size + unit && (0..count).all(slot)
            });
        let Some(first) = first else { return };
        let distance = (first - blocks).saturating_sub(lowest.next_multiple_of(unit));
        let distance = if distance == 0 { "at once" } else { "later" };
        self.shapes.add("first slots", distance.to_owned());
        for index in 0..count {
            let Some((raw, unused)) = find(first + index * stride) else {
                return;
            };
            let numbered = layout.encoded_offsets.is_none() || (raw >> 40) as u16 == index as u16;
            self.shapes.add(
                "slots",
                format!("mark {} numbered {numbered}", mark(unused)),
            );
        }
    }

    fn segment_heap(
        &mut self,
        process: &Process<'_, '_>,
        heap: &ntheap::heap::segment::SegmentHeap<'_, '_>,
    ) {
        let memory = process.memory();
        let layout = &process.layouts.page_range_descriptor;
        for segment in heap.segments.iter().filter(|segment| segment.context == 0) {
            for range in heap.ranges(segment) {
                let descriptor = |unit: u64| {
                    let at = segment.base + unit * u64::from(layout.struct_size);
                    let record = memory.at(at, process.bitness);
                    (
                        record.u8(layout.range_flags),
                        record.u32(layout.tree_signature),
                    )
                };
                let first = (range.start - segment.base) >> 12;
                let (flags, signature) = descriptor(first);
                self.shapes.add(
                    "ranges",
                    format!(
                        "{:?} flags {flags:x?} signed {}",
                        range.kind,
                        signature == Some(0xccdd_ccdd)
                    ),
                );
                if range.size > 0x1000 {
                    let (flags, _) = descriptor(first + 1);
                    let shape = format!("{:?} flags {flags:x?}", range.kind);
                    self.shapes.add("second units", shape);
                }
            }
        }
    }
}

fn look(bytes: &[u8], shapes: &mut Shapes) {
    let dump = Dump::parse(bytes).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    Looker { shapes }.look(&process);
}

fn made(plan: &Plan) -> Shapes {
    let mut file = Cursor::new(Vec::new());
    write(plan, &mut file).expect("memory takes it");
    let mut shapes = Shapes::default();
    look(&file.into_inner(), &mut shapes);
    shapes
}

/// Everything that was made is something that the genuine code made as well, and what it made often
/// was made, too.
fn compare(name: &str, made: &Shapes, genuine: &Shapes) -> Vec<String> {
    /// Percent of all from which on a shape has to be made.
    const OFTEN: u64 = 10;
    let mut wrong = Vec::new();
    for (of, shapes) in &made.0 {
        let theirs = genuine.0.get(of);
        for shape in shapes.keys() {
            if !theirs.is_some_and(|theirs| theirs.contains_key(shape)) {
                wrong.push(format!("{name}: {of}: made, never seen: {shape}"));
            }
        }
    }
    // A heap of another kind is beside the ones that are compared.
    let of_the_kind = |of: &&'static str| made.0.contains_key(*of);
    for (of, shapes) in genuine.0.iter().filter(|(of, _)| of_the_kind(of)) {
        let all: u64 = shapes.values().sum();
        let mine = made.0.get(of);
        for (shape, count) in shapes {
            if count * 100 >= all * OFTEN && !mine.is_some_and(|mine| mine.contains_key(shape)) {
                wrong.push(format!(
                    "{name}: {of}: {count} of {all} seen, never made: {shape}"
                ));
            }
        }
    }
    wrong
}

fn plan(name: &str) -> Plan {
    let (bitness, rest) = match name.strip_prefix("x86-") {
        Some(rest) => (Bitness::X86, rest),
        None => (Bitness::X64, name),
    };
    let build = rest.split('.').next().and_then(|build| build.parse().ok());
    Plan {
        build: build.expect("a build"),
        bitness,
        bytes: 6 << 20,
        heaps: 2,
        lfh: 50,
        stacks: if name.ends_with("ust") { 40 } else { 0 },
        manager: if name.ends_with("seg") {
            Manager::Segment
        } else {
            Manager::Nt
        },
        ..Plan::default()
    }
}

#[test]
fn made_heaps_look_like_genuine_ones() {
    const DUMPS: [&str; 11] = [
        "7601.24545-std",
        "7601.24545-ust",
        "9600.18438-std",
        "19041.662-std",
        "19041.662-ust",
        "22000.778-std",
        "26100.2454-std",
        "x86-7601.21861-std",
        "x86-19041.546-std",
        "19041.662-seg",
        "22000.778-seg",
    ];
    let Some(oracle) = oracle::oracle() else {
        return;
    };
    let mut wrong = Vec::new();
    for name in DUMPS {
        let mut genuine = Shapes::default();
        // Few programs have blocks of pages by themselves.
        let huge = name.replace("-seg", "-hugeseg");
        for folder in [name, &huge] {
            for snap in ["snap1.dmp", "snap2.dmp", "snap3.dmp"] {
                let path = oracle.unpacked.join(folder).join(snap);
                if folder == name || huge != name {
                    look_at(&path, &mut genuine);
                }
            }
        }
        let plan = plan(name);
        let made = made(&plan);
        let of_kind = |shapes: &Shapes, of: &str| shapes.0.contains_key(of);
        assert!(
            of_kind(&genuine, "entries"),
            "{name}: nothing to compare with"
        );
        wrong.extend(compare(name, &made, &genuine));
        let _ = Layouts::for_build(plan.build, plan.bitness);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn look_at(path: &Path, shapes: &mut Shapes) {
    let file = DumpFile::open(path).expect("the dump opens");
    look(file.bytes(), shapes);
}
