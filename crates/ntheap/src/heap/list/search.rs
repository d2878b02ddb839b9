//! Searching memory for heaps: what no list leads to, and what proves that the lists are whole.
//!
//! A heap is taken for one when its header names itself: a signature alone can be anything.

use crate::{
    address_space::AddressSpace,
    dump::{Dump, Region, RegionKind, RegionState},
    heap::segment::header_proves_itself,
    layout::{Bitness, Layouts},
    process::{Found, HeapKind, NT_HEAP, NT_SEGMENT, heap_kind},
};

/// Windows gives out address space in pieces that begin at multiples of this.
pub(super) const ALLOCATION_GRANULARITY: u64 = 0x1_0000;
/// Where heaps and segments of the segment heap lie inside an allocation that they share.
const SHARED_GRANULARITY: u64 = 0x10_0000;
/// The bits of `_HEAP.Flags` that hold the class of the heap.
const CLASS: u32 = 0xf000;
/// Classes of heaps that the subsystem shares with every process.
const SHARED_CLASSES: [u32; 2] = [0x7000, 0x8000];
/// Regions that are larger hold no heap but the one that they begin with: what heaps share an allocation
/// lies in segments of at most this size.
const LARGEST_SHARED: u64 = 0x100_0000;
/// More than a process can have of either.
const MAX_FOUND: usize = 1 << 20;

/// How much is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// Where heaps begin as Windows lays them out: a few hundred places in most processes.
    Likely,
    /// Every multiple of the allocation granularity.
    Everywhere,
}

/// Where a heap or a segment may begin.
struct Place {
    address: u64,
    /// What it was allocated with, where only likely places are looked at.
    allocation: Option<u64>,
}

/// Where to search, and what is not the process's own.
pub(super) struct Search<'s, 'a> {
    pub(super) dump: &'s Dump<'a>,
    pub(super) layouts: &'s Layouts,
    /// `PEB.ReadOnlySharedMemoryBase`: a section of the subsystem that holds a heap.
    pub(super) shared_section: Option<u64>,
}

impl Search<'_, '_> {
    pub(super) fn run(&self, extent: Extent) -> Found {
        let mut found = Found::default();
        // What an NT heap's segment was allocated for holds no other heap: millions of places need no look.
        let mut segment = None;
        for place in self.places(extent) {
            if found.heaps.len() >= MAX_FOUND || found.segments.len() >= MAX_FOUND {
                break;
            }
            if place.allocation.is_some() && place.allocation == segment {
                continue;
            }
            let address = place.address;
            let is_segment = match self.heap_at(address) {
                Some(kind) => {
                    found.heaps.push((address, kind));
                    matches!(kind, HeapKind::Nt | HeapKind::NtXp)
                }
                None => {
                    let owned = self.segment_at(address);
                    found.segments.extend(owned);
                    owned.is_some()
                }
            };
            if is_segment && place.allocation == Some(address) {
                segment = place.allocation;
            }
        }
        found
    }

    fn places(&self, extent: Extent) -> impl Iterator<Item = Place> + '_ {
        // Reading a page here and there makes the system read much around each: of a dump with its
        // regions described only the beginnings of these are looked at.
        let regions = match extent {
            Extent::Likely => &self.dump.regions[..],
            Extent::Everywhere => &[],
        };
        let of_regions = regions.iter().filter(|region| may_hold_heaps(region));
        let of_regions = of_regions.flat_map(|region| {
            let near = region.base..region.base.saturating_add(region.size.min(LARGEST_SHARED));
            let inner = multiples(region.base.saturating_add(1)..near.end, SHARED_GRANULARITY);
            let inner = inner.filter(|_| region.size <= LARGEST_SHARED);
            let first = region.base.is_multiple_of(ALLOCATION_GRANULARITY);
            let all = first.then_some(region.base).into_iter().chain(inner);
            all.map(|address| Place {
                address,
                allocation: Some(region.allocation_base),
            })
        });
        let ranges = match regions.is_empty() {
            true => self.dump.memory.ranges(),
            false => &[],
        };
        let of_ranges = ranges.iter().flat_map(move |range| {
            let end = match extent {
                Extent::Likely if range.bytes.len() as u64 > LARGEST_SHARED => range.start + 1,
                _ => range.end(),
            };
            multiples(range.start..end, ALLOCATION_GRANULARITY)
        });
        let of_ranges = of_ranges
            .filter(|&address| self.dump.region_at(address).is_none_or(may_hold_heaps))
            .map(|address| Place {
                address,
                allocation: None,
            });
        of_regions
            .chain(of_ranges)
            .filter(|place| Some(place.address) != self.shared_section)
    }

    /// The kind of the heap whose header is at `address` and proves itself.
    fn heap_at(&self, address: u64) -> Option<HeapKind> {
        let memory = &self.dump.memory;
        let kind = heap_kind(memory, self.layouts.bitness, address)?;
        let proved = match kind {
            HeapKind::Nt | HeapKind::NtXp => is_nt_heap(memory, self.layouts, address, kind),
            HeapKind::Segment => header_proves_itself(memory, self.layouts, address),
            HeapKind::PageHeap => false,
        };
        proved.then_some(kind)
    }

    /// The segment of an NT heap whose header is at `address`, with its owner.
    fn segment_at(&self, address: u64) -> Option<(u64, u64)> {
        let (memory, bitness) = (&self.dump.memory, self.layouts.bitness);
        if memory.u32(address.checked_add(bitness.unit())?)? != NT_SEGMENT {
            return None;
        }
        let layout = &self.layouts.segment;
        let header = memory.at(address, bitness);
        let owner = header.pointer(layout.heap)?;
        let proved = header.pointer(layout.base_address) == Some(address)
            && owner != address
            && owner != 0
            && owner.is_multiple_of(PAGE);
        (proved && Some(owner) != self.shared_section).then_some((address, owner))
    }
}

/// Heaps lie in private memory: those of a mapping belong to whoever made the section.
fn may_hold_heaps(region: &Region) -> bool {
    region.state == RegionState::Commit
        && matches!(region.kind, RegionKind::Private | RegionKind::None)
}

/// The multiples of `unit` within some addresses.
fn multiples(within: std::ops::Range<u64>, unit: u64) -> impl Iterator<Item = u64> {
    let first = within.start.checked_next_multiple_of(unit);
    (first.unwrap_or(u64::MAX)..within.end).step_by(unit as usize)
}

const PAGE: u64 = 0x1000;

/// Builds with another place of `_HEAP.Signature`, newest first: what a search can't know it tries.
const SIGNATURE_BUILDS: [u32; 3] = [26100, 7600, 2600];

/// Whether the header of an NT heap names itself as the heap's first segment, whatever its lists
/// lead to, and as a heap of the process itself.
fn is_nt_heap(memory: &AddressSpace<'_>, layouts: &Layouts, handle: u64, kind: HeapKind) -> bool {
    let bitness = layouts.bitness;
    let proves = |layouts: &Layouts| {
        let heap = memory.at(handle, bitness);
        let flags = heap.u32(layouts.heap.flags).unwrap_or(0);
        if SHARED_CLASSES.contains(&(flags & CLASS))
            || heap.u32(layouts.heap.signature) != Some(NT_HEAP)
        {
            return false;
        }
        let segment = match (kind, layouts.heap.segments) {
            // XP: a segment behind the header, the first of the array.
            (HeapKind::NtXp, Some(segments)) => heap.pointer(Some(segments)),
            (HeapKind::Nt, None) => Some(handle),
            _ => None,
        };
        segment.is_some_and(|address| {
            let segment = memory.at(address, bitness);
            segment.pointer(layouts.segment.heap) == Some(handle)
                && segment.pointer(layouts.segment.base_address) == Some(handle)
        })
    };
    let other = |&build: &u32| Layouts::for_build(build, bitness);
    proves(layouts)
        || SIGNATURE_BUILDS
            .iter()
            .map(other)
            .any(|other| proves(&other))
}

/// Whether memory holds a heap of this width, for dumps that do not say which width the process has.
pub(super) fn has_heap(dump: &Dump<'_>, bitness: Bitness) -> bool {
    let layouts = Layouts::for_build(u32::MAX, bitness);
    let search = Search {
        dump,
        layouts: &layouts,
        shared_section: None,
    };
    let mut places = search.places(Extent::Everywhere);
    places.any(|place| search.heap_at(place.address).is_some())
}
