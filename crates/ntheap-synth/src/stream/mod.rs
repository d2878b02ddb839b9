//! Dumps of any size, written as they are made: what is in memory is one segment and the list of
//! ranges, however large the dump.
//!
//! The same plan gives the same dump. What it holds is counted while it is written ([`HeapTruth`]);
//! [`Walked`] counts the same of a walk.
//!
//! ```
//! use ntheap_synth::stream::{Plan, write};
//!
//! let plan = Plan { bytes: 1 << 20, ..Plan::default() };
//! let mut dump = std::io::Cursor::new(Vec::new());
//! let truth = write(&plan, &mut dump).expect("memory takes it");
//! assert!(truth[0].busy.blocks > 1000);
//! ```

mod file;
mod lfh;
mod nt;
mod picture;
mod plan;
mod random;
mod segment;
mod traces;
mod truth;

use std::io::{self, Seek, SeekFrom, Write};

use ntheap::layout::Bitness;

use nt::NtHeap;
use picture::Picture;
use plan::{Area, Content, NTDLL_DATA, Place, field};
pub use plan::{Manager, Plan};
use random::Stream;
use segment::SegmentHeap;
pub use truth::{HeapTruth, Walked};

/// A heap while it is written.
enum Making<'p> {
    Nt(Box<NtHeap<'p>>),
    Segment(Box<SegmentHeap<'p>>),
}

impl<'p> Making<'p> {
    fn new(place: &'p Place, heap: usize) -> Self {
        match place.plan.manager {
            Manager::Nt => Making::Nt(Box::new(NtHeap::new(place, heap))),
            Manager::Segment => Making::Segment(Box::new(SegmentHeap::new(place, heap))),
        }
    }

    fn area(&mut self, area: &Area, picture: &mut Picture) {
        match (self, area.content) {
            (Making::Nt(heap), Content::FrontEnd { .. }) => heap.front_end_area(area, picture),
            (Making::Nt(heap), Content::Segment { index, .. }) => {
                heap.segment(area, index, picture);
            }
            (Making::Nt(heap), Content::Large { index, .. }) => heap.large(area, index, picture),
            (Making::Segment(heap), Content::Header { .. }) => heap.header(area, picture),
            (Making::Segment(heap), Content::Segment { index, .. }) => {
                heap.segment(area, index, picture);
            }
            (Making::Segment(heap), Content::Large { index, .. }) => heap.large(index, picture),
            _ => {}
        }
    }

    /// What the heap holds, and pointers into what was written before.
    fn finish(self) -> (HeapTruth, Vec<(u64, u64)>) {
        match self {
            Making::Nt(mut heap) => {
                let late = heap.finish();
                (heap.truth, late)
            }
            Making::Segment(heap) => (heap.truth, Vec::new()),
        }
    }
}

/// Writes a dump; what its heaps hold.
///
/// # Errors
/// Those of the file.
pub fn write(plan: &Plan, file: &mut (impl Write + Seek)) -> io::Result<Vec<HeapTruth>> {
    let place = Place::of(plan);
    let ranges = ranges(&place);
    file.write_all(&file::head(&place, &ranges))?;
    let memory = file.stream_position()?;
    let mut picture = Picture::new(plan.bitness);
    let mut heaps: Vec<HeapTruth> = Vec::new();
    let mut late: Vec<(u64, u64)> = Vec::new();
    let mut making: Option<(usize, Making<'_>)> = None;
    for area in &place.areas {
        let filled = matches!(
            area.content,
            Content::Segment { .. } | Content::Large { .. }
        );
        picture.begin(area.base, area.size, filled);
        if let Some(heap) = area.content.heap() {
            if making.as_ref().is_none_or(|(index, _)| *index != heap) {
                if let Some((_, done)) = making.take() {
                    let (truth, pointers) = done.finish();
                    heaps.push(truth);
                    late.extend(pointers);
                }
                making = Some((heap, Making::new(&place, heap)));
            }
            if let Some((_, heap)) = &mut making {
                heap.area(area, &mut picture);
            }
        } else {
            rest(&place, area, &mut picture);
        }
        for (start, size) in place.runs(area) {
            file.write_all(&picture.bytes[start as usize..(start + size) as usize])?;
        }
    }
    if let Some((_, done)) = making.take() {
        let (truth, pointers) = done.finish();
        heaps.push(truth);
        late.extend(pointers);
    }
    write_late(&place, file, memory, &ranges, late)?;
    Ok(heaps)
}

/// Writes what was not known when its place was written.
fn write_late(
    place: &Place,
    file: &mut (impl Write + Seek),
    memory: u64,
    ranges: &[(u64, u64)],
    mut late: Vec<(u64, u64)>,
) -> io::Result<()> {
    late.sort_by_key(|&(address, _)| address);
    let mut ranges = ranges.iter();
    let mut offset = memory;
    let mut range = ranges.next();
    for (address, value) in late {
        while let Some(&(start, size)) = range
            && address >= start + size
        {
            offset += size;
            range = ranges.next();
        }
        let Some(&(start, _)) = range else { break };
        file.seek(SeekFrom::Start(offset + (address - start)))?;
        match place.plan.bitness {
            Bitness::X86 => file.write_all(&(value as u32).to_le_bytes())?,
            Bitness::X64 => file.write_all(&value.to_le_bytes())?,
        }
    }
    file.seek(SeekFrom::End(0))?;
    file.flush()
}

/// The ranges of the dump: each run, cut where ranges may not be so long.
fn ranges(place: &Place) -> Vec<(u64, u64)> {
    let longest = match place.plan.range {
        0 => u64::MAX,
        longest => longest.next_multiple_of(ntheap::layout::PAGE),
    };
    let mut ranges = Vec::new();
    for area in &place.areas {
        for (start, size) in place.runs(area) {
            let (mut at, end) = (area.base + start, area.base + start + size);
            while at < end {
                let size = longest.min(end - at);
                ranges.push((at, size));
                at += size;
            }
        }
    }
    ranges
}

/// What belongs to no heap.
fn rest(place: &Place, area: &Area, picture: &mut Picture) {
    match area.content {
        Content::System => system(place, area, picture),
        Content::Traces => traces::write(place, area, picture),
        Content::Ntdll => {
            let data = place.ntdll + NTDLL_DATA;
            for (index, value) in (0..).zip(ntdll_words(place)) {
                picture.pointer(data + 0x100 + index * place.pointer(), value);
            }
        }
        _ => {}
    }
}

/// `RtlpLFHKey`, with what follows it in memory.
fn lfh_key(place: &Place) -> u64 {
    let key = Stream::of(place.plan.seed, usize::MAX, 2).next();
    match (place.plan.bitness, place.plan.build) {
        (Bitness::X86, _) => key & 0xffff_ffff,
        // 32 bits, and another variable behind them.
        (_, ..9200) => key & 0xff_ffff_ffff,
        _ => key,
    }
}

/// The variables of ntdll that a reader of heaps may look for.
fn ntdll_words(place: &Place) -> [u64; 4] {
    let (heap_key, segment_lfh_key) = segment::keys(place);
    [place.traces, lfh_key(place), heap_key, segment_lfh_key]
}

/// TEB, PEB and the list of heaps, a page each.
fn system(place: &Place, area: &Area, picture: &mut Picture) {
    const PAGE: u64 = ntheap::layout::PAGE;
    let (teb, peb, array) = (area.base, area.base + 2 * PAGE, area.base + 4 * PAGE);
    let layout = &place.layouts.peb;
    picture.pointer(
        teb + field(place.layouts.teb.process_environment_block),
        peb,
    );
    picture.pointer(
        peb + field(layout.image_base_address),
        traces::program(place),
    );
    let flag = if place.plan.stacks > 0 { 0x1000 } else { 0 };
    picture.u32(peb + field(layout.nt_global_flag), flag);
    picture.pointer(peb + field(layout.process_heap), place.heaps[0].handle);
    picture.u32(
        peb + field(layout.number_of_heaps),
        place.heaps.len() as u32,
    );
    let most = place.heaps.len().next_multiple_of(16) as u32;
    picture.u32(peb + field(layout.maximum_number_of_heaps), most);
    picture.pointer(peb + field(layout.process_heaps), array);
    picture.u16(peb + field(layout.os_build_number), place.plan.build as u16);
    for (index, heap) in (0..).zip(&place.heaps) {
        picture.pointer(array + index * place.pointer(), heap.handle);
    }
}
