//! What a dump is to hold, and where in the process everything lies.

use ntheap::layout::{Bitness, Layouts, PAGE};

/// Which heap manager the heaps are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Manager {
    /// The NT heap.
    Nt,
    /// The segment heap (x64, 16299 and later).
    Segment,
}

/// What a dump is to hold.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Windows build, from 7600 on.
    pub build: u32,
    /// Width of the process.
    pub bitness: Bitness,
    /// The heaps' manager.
    pub manager: Manager,
    /// Bytes that all heaps reserve together, about.
    pub bytes: u64,
    /// Number of heaps.
    pub heaps: u64,
    /// Percent of a heap's memory that the low fragmentation heap takes.
    pub lfh: u64,
    /// Percent of the blocks that are free again.
    pub free: u64,
    /// Distinct stacks of a trace log; 0 for a process without traces.
    pub stacks: u64,
    /// Blocks with a mapping of their own, of each heap.
    pub large: u64,
    /// Bytes that are committed between two uncommitted ranges; 0 for segments without holes.
    pub hole_every: u64,
    /// Bytes of each segment that are in use, about; 0 for nearly all. The rest of it nobody has needed yet.
    pub filled: u64,
    /// Longest memory range of the dump in bytes; 0 for as long as they come.
    pub range: u64,
    /// What everything that looks random comes of.
    pub seed: u64,
}

impl Default for Plan {
    fn default() -> Self {
        Plan {
            build: 19041,
            bitness: Bitness::X64,
            manager: Manager::Nt,
            bytes: 64 << 20,
            heaps: 1,
            lfh: 40,
            free: 10,
            stacks: 0,
            large: 2,
            hole_every: 0,
            filled: 0,
            range: 0,
            seed: 1,
        }
    }
}

/// A run of addresses that is reserved as one, and what it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) base: u64,
    pub(super) size: u64,
    pub(super) content: Content,
}

/// What an area holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// TEB, PEB, list of heaps.
    System,
    /// The data of ntdll.
    Ntdll,
    /// The log of stack traces.
    Traces,
    /// The `_LFH_HEAP` of a heap (8 and later).
    FrontEnd { heap: usize },
    /// A segment of a heap; the first holds the heap's header.
    Segment { heap: usize, index: usize },
    /// A block with a mapping of its own.
    Large { heap: usize, index: usize },
    /// The header of a segment heap, with the records of its large blocks.
    Header { heap: usize },
}

/// Where everything lies.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) plan: Plan,
    pub(super) layouts: Layouts,
    /// Everything, by ascending address.
    pub(super) areas: Vec<Area>,
    pub(super) heaps: Vec<HeapPlace>,
    pub(super) ntdll: u64,
    pub(super) traces: u64,
}

/// Where the parts of a heap lie.
#[derive(Debug, Default)]
pub(super) struct HeapPlace {
    pub(super) handle: u64,
    pub(super) front_end: u64,
    /// Base and reserved bytes of each segment.
    pub(super) segments: Vec<(u64, u64)>,
    /// Base and reserved bytes of each block with a mapping of its own.
    pub(super) large: Vec<(u64, u64)>,
}

impl Content {
    /// The heap that the area is part of.
    pub(super) fn heap(self) -> Option<usize> {
        match self {
            Content::System | Content::Ntdll | Content::Traces => None,
            Content::FrontEnd { heap }
            | Content::Segment { heap, .. }
            | Content::Large { heap, .. }
            | Content::Header { heap } => Some(heap),
        }
    }
}

/// The granularity of reservations.
const GRANULE: u64 = 0x1_0000;
/// Bytes of ntdll's image, of which one page of data is kept.
pub(super) const NTDLL_SIZE: u64 = 0x1f_0000;
/// Where in ntdll's image its data are.
pub(super) const NTDLL_DATA: u64 = 0x16_0000;
/// Size of the program's image, in which the frames lie.
pub(super) const PROGRAM_SIZE: u64 = 0x10_0000;
/// Bytes of the page segments of a segment heap.
pub(super) const PAGE_SEGMENT: u64 = 0x10_0000;
/// The pages of it that its descriptors take.
pub(super) const HEADER_UNITS: u64 = 2;
/// Reserved bytes of a trace record with its frames.
pub(super) const TRACE_SLOT: u64 = 0x100;
/// Where the records begin in the log's area.
pub(super) const TRACE_RECORDS: u64 = 0x4000;

impl Place {
    pub(super) fn of(plan: &Plan) -> Self {
        let layouts = Layouts::for_build(plan.build, plan.bitness);
        let mut place = Place {
            plan: plan.clone(),
            layouts,
            areas: Vec::new(),
            heaps: Vec::new(),
            ntdll: 0,
            traces: 0,
        };
        let mut at = 0x10_0000;
        let array = (plan.heaps * 8).next_multiple_of(PAGE);
        place.add(&mut at, 4 * PAGE + array, Content::System);
        if plan.stacks > 0 {
            let bytes = TRACE_RECORDS + plan.stacks * TRACE_SLOT;
            place.traces = place.add(&mut at, bytes.next_multiple_of(PAGE), Content::Traces);
        }
        if plan.bitness == Bitness::X64 {
            at = 0x21a_b6b0_0000;
        } else {
            // Behind the program's image.
            at = at.max(0x60_0000);
        }
        // Each heap has addresses of its own to grow in, so that the same plan with more bytes is the same
        // process some time later.
        let start = at;
        let room = match plan.bitness {
            Bitness::X86 => (0xb000_0000 / plan.heaps.max(1)) & !0xffff,
            Bitness::X64 => (1 << 46) / plan.heaps.max(1).next_power_of_two(),
        };
        for heap in 0..plan.heaps as usize {
            at = at.max(start + heap as u64 * room);
            match plan.manager {
                Manager::Nt => place.add_nt(&mut at, heap),
                Manager::Segment => place.add_segment_heap(&mut at, heap),
            }
        }
        let mut image = match plan.bitness {
            Bitness::X86 => 0xf000_0000,
            Bitness::X64 => 0x7fff_1000_0000,
        };
        place.ntdll = image;
        image += NTDLL_DATA;
        place.add(&mut image, PAGE, Content::Ntdll);
        place
    }

    /// Reserves the next addresses.
    fn add(&mut self, at: &mut u64, size: u64, content: Content) -> u64 {
        let base = *at;
        self.areas.push(Area {
            base,
            size,
            content,
        });
        // A guard between reservations, so that none adjoins another.
        *at = (base + size + 1).next_multiple_of(GRANULE);
        base
    }

    fn add_nt(&mut self, at: &mut u64, heap: usize) {
        let modern = self.plan.build >= 9200;
        let mut parts = HeapPlace::default();
        if self.plan.lfh > 0 && modern {
            parts.front_end = self.add(at, 0x1_0000, Content::FrontEnd { heap });
        }
        let wanted = self.plan.bytes / self.plan.heaps.max(1);
        let (mut reserved, mut next) = (0, 0x10_0000);
        while reserved < wanted || parts.segments.is_empty() {
            let index = parts.segments.len();
            // Each segment is twice as large as the one before, up to 16 MiB, from the second on.
            let mut size = next.min((wanted - reserved).next_multiple_of(GRANULE).max(0x1_0000));
            if index > 0 {
                next = (next * 2).min(0xfd_0000);
            }
            reserved += size;
            if modern {
                size -= PAGE;
            }
            let base = self.add(at, size, Content::Segment { heap, index });
            parts.segments.push((base, size));
        }
        parts.handle = parts.segments[0].0;
        self.add_large(at, heap, &mut parts);
        self.heaps.push(parts);
    }

    fn add_segment_heap(&mut self, at: &mut u64, heap: usize) {
        let mut parts = HeapPlace::default();
        let records = PAGE + (self.plan.large * 0x40).next_multiple_of(PAGE);
        parts.handle = self.add(at, records, Content::Header { heap });
        *at = at.next_multiple_of(PAGE_SEGMENT);
        let wanted = self.plan.bytes / self.plan.heaps.max(1);
        for index in 0..wanted.div_ceil(PAGE_SEGMENT).max(1) as usize {
            *at = at.next_multiple_of(PAGE_SEGMENT);
            let base = self.add(at, PAGE_SEGMENT, Content::Segment { heap, index });
            *at = base + PAGE_SEGMENT;
            parts.segments.push((base, PAGE_SEGMENT));
        }
        *at += GRANULE;
        self.add_large(at, heap, &mut parts);
        self.heaps.push(parts);
    }

    fn add_large(&mut self, at: &mut u64, heap: usize, parts: &mut HeapPlace) {
        for index in 0..self.plan.large as usize {
            let size = (0x10_0000 + 0x1_2000 * (index as u64 % 7)).next_multiple_of(PAGE);
            let base = self.add(at, size, Content::Large { heap, index });
            parts.large.push((base, size));
        }
    }

    /// Pages of a page segment that are in use, its header among them.
    pub(super) fn used_units(&self) -> u64 {
        let all = PAGE_SEGMENT / PAGE;
        match self.plan.filled {
            0 => all,
            filled => (HEADER_UNITS + filled.div_ceil(PAGE)).min(all),
        }
    }

    /// The committed parts of an area, as offset and size.
    pub(super) fn runs(&self, area: &Area) -> Vec<(u64, u64)> {
        /// What the heap's own structures at the start of its first segment take.
        const FIRST: u64 = 0x1_0000;
        const HOLE: u64 = PAGE;
        let Content::Segment { heap, index } = area.content else {
            return vec![(0, area.size)];
        };
        if self.plan.manager == Manager::Segment {
            return vec![(0, self.used_units() * PAGE)];
        }
        // What is at the end of a heap's last segment nobody has needed yet.
        let is_last = index + 1 == self.heaps[heap].segments.len();
        let end = match is_last {
            true => (area.size * 3 / 4)
                .next_multiple_of(PAGE)
                .max(FIRST.min(area.size)),
            false => area.size,
        };
        let end = match self.plan.filled {
            0 => end,
            // The front end is a block of the heap in 7.
            filled => {
                let least = if self.plan.build < 9200 {
                    FIRST
                } else {
                    0x4000
                };
                filled.max(least).next_multiple_of(PAGE).min(end)
            }
        };
        let every = self.plan.hole_every;
        if every == 0 {
            return vec![(0, end)];
        }
        let every = every.next_multiple_of(PAGE);
        let (mut runs, mut at) = (Vec::new(), 0);
        while at < end {
            let size = if at == 0 { every.max(FIRST) } else { every };
            // What remains is not cut into pieces that are too small to be one.
            let size = match end - at {
                rest if rest < size + HOLE + every => rest,
                _ => size,
            };
            runs.push((at, size));
            at += size + HOLE;
        }
        runs
    }

    /// The address where the records of the heap's first zone are: the first block of a segment.
    pub(super) fn unit(&self) -> u64 {
        self.plan.bitness.unit()
    }

    pub(super) fn pointer(&self) -> u64 {
        self.plan.bitness.pointer_size()
    }

    /// Offset of the first entry of a segment.
    pub(super) fn first_entry(&self, index: usize) -> u64 {
        match (self.plan.bitness, index, self.plan.build >= 9200) {
            (Bitness::X64, 0, true) => 0x740,
            (Bitness::X64, 0, false) => 0xa80,
            (Bitness::X64, ..) => 0x70,
            (Bitness::X86, 0, true) => 0x4a8,
            (Bitness::X86, 0, false) => 0x588,
            (Bitness::X86, ..) => 0x40,
        }
    }
}

/// A field that the layouts of this build have.
pub(super) fn field(offset: Option<u32>) -> u64 {
    u64::from(offset.expect("the layout has the field"))
}
