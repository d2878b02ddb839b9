//! Segment contexts, the segments on their lists, and which build's layouts fit a heap.

use std::borrow::Cow;

use super::{SegmentHeap, ranges::descriptors_are_sound};
use crate::{
    address_space::{AddressSpace, ListEnd},
    blocks::FindingKind,
    layout::{Bitness, Layouts},
};

/// Number of page range descriptors of a segment, and so of its units.
pub(super) const UNITS: u64 = 0x100;
/// Units are pages in the first context and, on x64 from 16299 on, 64 KiB in the second. On x86 both
/// contexts have pages, and the second stays empty.
pub(super) const SMALL_UNIT_SHIFT: u8 = 12;
pub(super) const LARGE_UNIT_SHIFT: u8 = 16;
/// Number of contexts from 16299 on.
const CONTEXTS: u64 = 2;
/// More segments than fit an address space.
const MAX_SEGMENTS: usize = 1 << 27;

/// What [`PageSegment::key`] was combined with: nothing from 26100 on.
pub(super) const SEGMENT_SIGNATURE: u64 = 0xa2e6_4ead_a2e6_4ead;

/// A list of segments of one unit size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Context {
    /// Address of its `_HEAP_SEG_CONTEXT`; of the heap before 16299.
    pub address: u64,
    /// Address of the list head of its segments.
    pub list_head: u64,
    /// Base two logarithm of the size of a unit.
    pub unit_shift: u8,
    /// The first descriptor that describes a range; the ones before describe the segment's header.
    pub first_descriptor: u8,
}

impl Context {
    /// Size of one of its segments in bytes.
    #[must_use]
    pub const fn segment_size(&self) -> u64 {
        UNITS << self.unit_shift
    }
}

/// A segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSegment {
    /// Its first address: that of its `_HEAP_PAGE_SEGMENT`.
    pub base: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Which of [`SegmentHeap::contexts`] it belongs to.
    pub context: usize,
    /// The number that its signature encodes. All segments of a process encode the same.
    pub key: Option<u64>,
    /// Whether its header is lost, so that its ranges are found by their own headers.
    pub lost_header: bool,
}

/// Where the contexts of the heap at `handle` are, by a build's layouts; `None` where what is there
/// is no context.
fn contexts(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Option<Vec<Context>> {
    let bitness = layouts.bitness;
    let heap = memory.at(handle, bitness);
    let list_is_sound = |head: u64| {
        let link = memory.pointer(head, bitness)?;
        let back = memory.pointer(link.checked_add(bitness.pointer_size())?, bitness)?;
        (back == head).then_some(())
    };
    let Some(first) = heap.address(layouts.segment_heap.seg_contexts) else {
        // Before 16299 the heap is the only context, without a record of its constants.
        let list_head = heap.address(layouts.segment_heap.segment_list_head)?;
        list_is_sound(list_head)?;
        let header = u64::from(layouts.page_range_descriptor.struct_size) * UNITS;
        return Some(vec![Context {
            address: handle,
            list_head,
            unit_shift: SMALL_UNIT_SHIFT,
            first_descriptor: (header >> SMALL_UNIT_SHIFT) as u8,
        }]);
    };
    let layout = &layouts.seg_context;
    (0..CONTEXTS)
        .map(|index| {
            let address = first.checked_add(index * u64::from(layout.struct_size))?;
            let record = memory.at(address, bitness);
            let context = Context {
                address,
                list_head: record.address(layout.segment_list_head)?,
                unit_shift: record.u8(layout.unit_shift)?,
                first_descriptor: record.u8(layout.first_descriptor_index)?,
            };
            list_is_sound(context.list_head)?;
            let sound = matches!(context.unit_shift, SMALL_UNIT_SHIFT | LARGE_UNIT_SHIFT)
                && context.first_descriptor > 0
                && record.pointer(layout.segment_mask)?
                    == segment_mask(bitness, context.unit_shift);
            sound.then_some(context)
        })
        .collect()
}

fn segment_mask(bitness: Bitness, unit_shift: u8) -> u64 {
    let mask = !((UNITS << unit_shift) - 1);
    match bitness {
        Bitness::X86 => mask & u64::from(u32::MAX),
        Bitness::X64 => mask,
    }
}

/// Whether the heap has these layouts: contexts with sound lists, whose first segments begin with
/// sound descriptors.
fn fits(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> bool {
    let Some(contexts) = contexts(memory, layouts, handle) else {
        return false;
    };
    contexts.iter().all(
        |context| match memory.pointer(context.list_head, layouts.bitness) {
            Some(link) if link == context.list_head => true,
            Some(link) => {
                let base = link & !(context.segment_size() - 1);
                descriptors_are_sound(memory, layouts, context, base)
            }
            None => false,
        },
    )
}

/// Whether the header at `handle` is that of a segment heap by what it says of itself: contexts that
/// name the heap, or contexts with sound lists as some build lays them out.
pub(crate) fn header_proves_itself(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    handle: u64,
) -> bool {
    /// The contexts of segments, of VS and LFH blocks lie in the first 400 bytes (hexadecimal).
    const HEADER: u64 = 0x400;
    const NAMES: usize = 2;
    let size = layouts.bitness.pointer_size();
    let names = (0..HEADER / size)
        .filter_map(|index| handle.checked_add(index * size))
        .filter(|&field| memory.pointer(field, layouts.bitness) == Some(handle));
    let masks = || {
        let header = memory.at(handle, layouts.bitness);
        (0..HEADER / size).any(|index| {
            let mask = header.pointer(Some((index * size) as u32));
            mask == Some(segment_mask(layouts.bitness, SMALL_UNIT_SHIFT))
        })
    };
    (names.count() >= NAMES && masks()) || fitting_layouts(memory, layouts, handle).is_some()
}

/// Builds with a layout of segment heaps of their own, newest first.
const LAYOUT_BUILDS: &[u32] = &[26100, 22000, 18362, 17763, 17134, 16299, 15063, 10240];

/// The layouts that fit a heap: those of the process, or another build's, or contexts that were
/// searched for in the heap's header.
pub(super) fn fitting_layouts<'p>(
    memory: &AddressSpace<'_>,
    layouts: &'p Layouts,
    handle: u64,
) -> Option<Cow<'p, Layouts>> {
    if fits(memory, layouts, handle) {
        return Some(Cow::Borrowed(layouts));
    }
    LAYOUT_BUILDS
        .iter()
        .map(|&build| Layouts::for_build(build, layouts.bitness))
        .find(|layouts| fits(memory, layouts, handle))
        .or_else(|| search(memory, layouts, handle))
        .map(Cow::Owned)
}

/// Searches the heap's header for two contexts, for builds that no table describes: their constants
/// are the same on every build, only where they lie moves.
fn search(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64) -> Option<Layouts> {
    const MAX_HEADER: u32 = 0x400;
    const MAX_CONTEXT: u32 = 0x200;
    let pointer = layouts.bitness.pointer_size() as u32;
    let header = memory.at(handle, layouts.bitness);
    let is_mask = |at: u32| {
        let mask = header.pointer(Some(at));
        [SMALL_UNIT_SHIFT, LARGE_UNIT_SHIFT]
            .iter()
            .any(|&shift| mask == Some(segment_mask(layouts.bitness, shift)))
    };
    let offsets = |limit: u32| (1..limit / pointer).map(move |index| index * pointer);
    let first = offsets(MAX_HEADER).find(|&at| is_mask(at))?;
    let size = offsets(MAX_CONTEXT).find(|&size| is_mask(first + size))?;
    let mut layouts = layouts.clone();
    layouts.segment_heap.seg_contexts = Some(first);
    layouts.seg_context.struct_size = size;
    offsets(size).find_map(|list| {
        layouts.seg_context.segment_list_head = Some(list);
        fits(memory, &layouts, handle).then(|| layouts.clone())
    })
}

impl SegmentHeap<'_, '_> {
    pub(super) fn read_contexts(&mut self) {
        self.contexts = contexts(self.memory, &self.layouts, self.handle()).unwrap_or_default();
    }

    pub(super) fn read_segments(&mut self) {
        for (index, context) in self.contexts.clone().into_iter().enumerate() {
            let (links, end) = self
                .memory
                .list(context.list_head, self.bitness(), MAX_SEGMENTS);
            if let ListEnd::Broken(at) = end {
                self.report_broken_list(at, "list of segments");
            }
            for link in links {
                let base = link & !(context.segment_size() - 1);
                let own = self.layouts.page_segment.list_entry.unwrap_or(0);
                if base.checked_add(u64::from(own)) != Some(link)
                    || base.checked_add(context.segment_size()).is_none()
                {
                    self.report(link, FindingKind::ForeignSegment);
                    continue;
                }
                self.segments.push(PageSegment {
                    base,
                    size: context.segment_size(),
                    context: index,
                    key: self.signature_key(&context, base),
                    lost_header: false,
                });
            }
            if end != ListEnd::Complete {
                self.adopt_segments(index, &context);
            }
        }
        self.check_signatures();
    }

    /// What a segment's signature encodes: the key, and before 26100 a constant with it.
    ///
    /// The signature covers the addresses of the segment and of its context. Before 16299 it is the
    /// segment's number (its address in units of its size) and the heap instead.
    pub(super) fn signature_key(&self, context: &Context, base: u64) -> Option<u64> {
        let segment = self.memory.at(base, self.bitness());
        let signature = segment.pointer(self.layouts.page_segment.signature)?;
        let place = if self.layouts.segment_heap.seg_contexts.is_none() {
            base / context.segment_size()
        } else {
            base
        };
        Some(signature ^ place ^ context.address)
    }

    /// A segment whose signature implies another key than the others' is reported; its descriptors
    /// decide whether it can be walked.
    fn check_signatures(&mut self) {
        let Some(majority) = self.majority_key() else {
            return;
        };
        let (layouts, memory) = (self.layouts.clone(), self.memory);
        let mut foreign = Vec::new();
        let contexts = &self.contexts;
        self.segments.retain(|segment| {
            if segment.key == Some(majority) || segment.lost_header {
                return true;
            }
            foreign.push(segment.base);
            contexts.get(segment.context).is_some_and(|context| {
                descriptors_are_sound(memory, &layouts, context, segment.base)
            })
        });
        for base in foreign {
            self.report(base, FindingKind::ForeignSegment);
        }
    }

    /// The number that most segments' signatures encode.
    pub(super) fn majority_key(&self) -> Option<u64> {
        super::keys::majority(self.segments.iter().filter_map(|segment| segment.key))
    }
}

#[cfg(test)]
mod tests {
    use ntheap_synth::oracle::testdata;

    use super::*;
    use crate::{
        dump::{Dump, DumpFile},
        process::{HeapKind, Process},
    };

    fn with_dump(name: &str, check: impl Fn(&Process<'_, '_>)) {
        let file = DumpFile::open(&testdata().join(format!("{name}.dmp.zst")));
        let file = file.expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("the dump parses");
        check(&Process::of(&dump).expect("the process"));
    }

    #[test]
    fn contexts_of_unknown_builds_are_searched() {
        for name in [
            "22000.778-smallsegust.snap1",
            "x86-19041.546-smallseg.snap1",
        ] {
            with_dump(name, |process| {
                let mut unknown = process.layouts.clone();
                unknown.segment_heap.seg_contexts = None;
                unknown.seg_context.segment_list_head = None;
                for heap in process.heaps.iter().filter(|h| h.kind == HeapKind::Segment) {
                    let found = search(process.memory(), &unknown, heap.handle);
                    let found = found.expect("the contexts");
                    assert_eq!(
                        contexts(process.memory(), &found, heap.handle),
                        contexts(process.memory(), &process.layouts, heap.handle)
                    );
                }
            });
        }
    }

    #[test]
    fn the_layouts_of_the_build_are_chosen_by_the_heap() {
        with_dump("22000.778-smallsegust.snap1", |process| {
            let heap = process.heaps.iter().find(|h| h.kind == HeapKind::Segment);
            let handle = heap.expect("a segment heap").handle;
            for build in [10240, 16299, 19041, 26100] {
                let layouts = Layouts::for_build(build, Bitness::X64);
                let fitting = fitting_layouts(process.memory(), &layouts, handle);
                let own = &process.layouts.segment_heap.seg_contexts;
                assert_eq!(fitting.expect("layouts").segment_heap.seg_contexts, *own);
            }
        });
    }
}
