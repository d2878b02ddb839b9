//! What each region of the address space is used for, as `!address` judges it.
//!
//! This is the debugger's opinion, whose words the commands repeat: it knows one side of a WOW64
//! process alone, takes an activation context for a use and the front end's memory for a segment, and
//! gives a page heap's root its allocation and no more. What memory is really used for is
//! [`ntheap::usage`]'s to say.

use ntheap::{
    dump::{Region, RegionKind, RegionState},
    heap::{
        Heap, Heaps,
        nt::{FrontEndKind, NtHeap},
        segment::SegmentHeap,
    },
    layout::Bitness,
    process::Process,
    traces::Traces,
};

/// What `ACTIVATION_CONTEXT_DATA` begins with: `Actx`.
const ACTIVATION_CONTEXT: u32 = u32::from_le_bytes(*b"Actx");

/// What a region is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Usage {
    Free,
    Unknown,
    Image,
    Stack,
    Teb,
    Heap,
    Other,
    Peb,
}

impl Usage {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Usage::Free => "Free",
            Usage::Unknown => "<unknown>",
            Usage::Image => "Image",
            Usage::Stack => "Stack",
            Usage::Teb => "TEB",
            Usage::Heap => "Heap",
            Usage::Other => "Other",
            Usage::Peb => "PEB",
        }
    }
}

/// What of a heap a region is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum HeapPart {
    Segment,
    LargeBlock,
    SegmentHeapRoot,
    PageHeap,
}

/// A region, cut where its use changes.
#[derive(Debug, Clone, Copy)]
pub(super) struct UsedRegion {
    pub(super) region: Region,
    pub(super) usage: Usage,
    /// The heap, and what of it this is.
    pub(super) heap: Option<(u64, HeapPart)>,
}

/// The regions of a process with their uses, by address.
pub(super) struct UsageMap {
    pub(super) regions: Vec<UsedRegion>,
}

impl UsageMap {
    pub(super) fn of(heaps: &Heaps<'_, '_>, traces: &Traces<'_, '_>) -> Self {
        let process = heaps.process();
        let regions = process.dump.regions.iter().map(|region| UsedRegion {
            region: *region,
            usage: if region.state == RegionState::Free {
                Usage::Free
            } else {
                Usage::Unknown
            },
            heap: None,
        });
        let mut map = UsageMap {
            regions: regions.collect(),
        };
        map.regions.sort_by_key(|used| used.region.base);
        map.mark_modules(process);
        map.mark_environment(process);
        map.mark_stacks(process);
        map.mark_heaps(heaps);
        map.mark_other(process, traces);
        map
    }

    /// The region that holds an address.
    pub(super) fn at(&self, address: u64) -> Option<&UsedRegion> {
        self.regions.get(self.index_of(address)?)
    }

    fn index_of(&self, address: u64) -> Option<usize> {
        let behind = self
            .regions
            .partition_point(|used| used.region.base <= address);
        let index = behind.checked_sub(1)?;
        (address < self.regions[index].region.end()).then_some(index)
    }

    /// Cuts the region that holds `address` in two there.
    fn cut(&mut self, address: u64) {
        let Some(index) = self.index_of(address) else {
            return;
        };
        let used = self.regions[index];
        if used.region.base == address {
            return;
        }
        let mut behind = used;
        behind.region.base = address;
        behind.region.size = used.region.end() - address;
        self.regions[index].region.size = address - used.region.base;
        self.regions.insert(index + 1, behind);
    }

    /// Marks what lies in a range and has no use yet.
    fn mark(&mut self, start: u64, end: u64, usage: Usage, heap: Option<(u64, HeapPart)>) {
        self.cut(start);
        self.cut(end);
        let first = self
            .regions
            .partition_point(|used| used.region.base < start);
        for used in &mut self.regions[first..] {
            if used.region.base >= end {
                break;
            }
            if used.usage == Usage::Unknown {
                used.usage = usage;
                used.heap = heap;
            }
        }
    }

    /// Marks the whole allocation that holds an address.
    fn mark_allocation(&mut self, address: u64, usage: Usage, heap: Option<(u64, HeapPart)>) {
        let Some(index) = self.index_of(address) else {
            return;
        };
        let allocation = self.regions[index].region.allocation_base;
        let part = |used: &UsedRegion| {
            used.region.allocation_base == allocation && used.usage != Usage::Free
        };
        let before = self.regions[..index].iter().rev().take_while(|u| part(u));
        let first = index - before.count();
        for used in self.regions[first..].iter_mut().take_while(|u| part(u)) {
            if used.usage == Usage::Unknown {
                used.usage = usage;
                used.heap = heap;
            }
        }
    }

    fn mark_modules(&mut self, process: &Process<'_, '_>) {
        for module in &process.dump.modules {
            self.mark(module.base, module.end(), Usage::Image, None);
        }
        for used in &mut self.regions {
            if used.usage == Usage::Unknown && used.region.kind == RegionKind::Image {
                used.usage = Usage::Image;
            }
        }
    }

    /// The blocks of process and threads: each up to the next one or the end of its region.
    fn mark_environment(&mut self, process: &Process<'_, '_>) {
        let tebs = process.dump.threads.iter().map(|thread| thread.teb);
        let blocks: Vec<_> = process
            .peb
            .map(|peb| (peb, Usage::Peb))
            .into_iter()
            .chain(tebs.map(|teb| (teb, Usage::Teb)))
            .collect();
        for &(address, _) in &blocks {
            self.cut(address);
        }
        for (address, usage) in blocks {
            if let Some(index) = self.index_of(address)
                && self.regions[index].usage == Usage::Unknown
            {
                self.regions[index].usage = usage;
            }
        }
    }

    fn mark_stacks(&mut self, process: &Process<'_, '_>) {
        for thread in &process.dump.threads {
            self.mark_allocation(thread.stack_base, Usage::Stack, None);
        }
    }

    fn mark_heaps(&mut self, heaps: &Heaps<'_, '_>) {
        for heap in heaps.iter().chain(heaps.normal()) {
            match heap {
                Heap::Nt(heap) => self.mark_nt_heap(heap),
                Heap::Segment(heap) => self.mark_segment_heap(heap),
                Heap::Page(_) => self.mark_page_heap(heap.handle()),
            }
        }
    }

    fn mark_nt_heap(&mut self, heap: &NtHeap<'_, '_>) {
        let part = |part| Some((heap.handle(), part));
        for segment in &heap.segments {
            let end = segment.base.saturating_add(segment.reserved);
            self.mark(segment.base, end, Usage::Heap, part(HeapPart::Segment));
        }
        for block in &heap.virtual_blocks {
            self.mark_allocation(block.element, Usage::Heap, part(HeapPart::LargeBlock));
        }
        let front_end = heap.header.front_end;
        if front_end.kind == FrontEndKind::Lfh {
            self.mark_allocation(front_end.address, Usage::Heap, part(HeapPart::Segment));
        }
    }

    fn mark_segment_heap(&mut self, heap: &SegmentHeap<'_, '_>) {
        let handle = heap.handle();
        let part = |part| Some((handle, part));
        self.mark_allocation(handle, Usage::Heap, part(HeapPart::SegmentHeapRoot));
        for segment in &heap.segments {
            self.mark_allocation(segment.base, Usage::Heap, part(HeapPart::Segment));
        }
        for block in &heap.large_blocks {
            self.mark_allocation(block.start, Usage::Heap, part(HeapPart::LargeBlock));
        }
    }

    fn mark_page_heap(&mut self, handle: u64) {
        self.mark_allocation(handle, Usage::Heap, Some((handle, HeapPart::PageHeap)));
    }

    fn mark_other(&mut self, process: &Process<'_, '_>, traces: &Traces<'_, '_>) {
        if let Some(peb) = process.peb {
            let layout = &process.layouts.peb;
            let peb = process.memory().at(peb, process.bitness);
            for field in [
                layout.ansi_code_page,
                layout.unicode_case_table,
                layout.api_set_map,
            ] {
                // Tables inside ntdll belong to the module.
                let address = peb.pointer(field);
                if let Some(address) = address.filter(|&address| address != 0) {
                    self.mark_allocation(address, Usage::Other, None);
                }
            }
        }
        for used in &mut self.regions {
            let start = process.memory().u32(used.region.base);
            if used.usage == Usage::Unknown && start == Some(ACTIVATION_CONTEXT) {
                used.usage = Usage::Other;
            }
        }
        if let Some(database) = traces.database() {
            self.mark_allocation(database.address, Usage::Other, None);
        }
    }
}

/// A number of bytes or an address, with a back quote between the halves.
pub(super) fn quoted(value: u64, bitness: Bitness) -> String {
    match bitness {
        Bitness::X86 => format!("{value:x}"),
        Bitness::X64 => format!("{:x}`{:08x}", value >> 32, value as u32),
    }
}

/// `(   8.000 TB)`.
pub(super) fn readable_size(size: u64) -> String {
    const UNIT: u64 = 1024;
    let (unit, name) = [
        (UNIT.pow(4), "TB"),
        (UNIT.pow(3), "GB"),
        (UNIT.pow(2), "MB"),
    ]
    .into_iter()
    .find(|&(unit, _)| size >= unit)
    .unwrap_or((UNIT, "kB"));
    // A half is rounded up, as the debugger's own runtime does.
    const PARTS: u128 = 1000;
    let parts = (u128::from(size) * PARTS + u128::from(unit) / 2) / u128::from(unit);
    format!("({:4}.{:03} {name})", parts / PARTS, parts % PARTS)
}
