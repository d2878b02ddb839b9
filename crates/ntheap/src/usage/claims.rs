//! Who claims which addresses: what heaps, threads and modules say of themselves.

use rustc_hash::FxHashMap;

use super::Owner;
use crate::{
    dump::{Dump, Region, RegionKind, RegionState},
    heap::{Heap, Heaps},
    layout::{Bitness, Layouts, PAGE},
    process::{Problem, Process, ProcessOptions, native_peb, stack_of, wow64_peb, wow64_tebs},
    traces::Traces,
};

/// A range that somebody uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) owner: Owner,
}

/// All claims on an address space.
#[derive(Debug, Default)]
pub(super) struct Claims {
    /// By ascending address, none overlapping the next.
    ranges: Vec<Claim>,
    /// Owners of whole allocations, by the address that the allocation begins at. A heap reserves
    /// more than its segments say: guard pages, what it skipped for a random start.
    allocations: FxHashMap<u64, Owner>,
}

impl Claims {
    pub(super) fn of(heaps: &Heaps<'_, '_>) -> Self {
        let process = heaps.process();
        let mut claims = Claims::default();
        claims.environment(process);
        claims.heaps(heaps);
        claims.traces(process);
        let other = match process.bitness {
            Bitness::X86 => Bitness::X64,
            Bitness::X64 => Bitness::X86,
        };
        let options = ProcessOptions {
            bitness: Some(other),
            ..ProcessOptions::default()
        };
        if process.wow64
            && let Ok(other) = Process::with_options(process.dump, &options)
        {
            claims.heaps(&Heaps::of(&other));
            claims.traces(&other);
        }
        for module in &process.dump.modules {
            claims.range(module.base, module.size, Owner::Image(module.base));
        }
        claims.sort();
        claims
    }

    /// The owner of a whole allocation.
    pub(super) fn allocation(&self, base: u64) -> Option<Owner> {
        self.allocations.get(&base).copied()
    }

    /// The claims that touch a range, by ascending address.
    pub(super) fn within(&self, start: u64, end: u64) -> impl Iterator<Item = &Claim> {
        let first = self.ranges.partition_point(|claim| claim.end <= start);
        self.ranges[first..]
            .iter()
            .take_while(move |claim| claim.start < end)
    }

    fn range(&mut self, start: u64, size: u64, owner: Owner) {
        let end = start.saturating_add(size);
        if start != 0 && end > start {
            self.ranges.push(Claim { start, end, owner });
        }
    }

    /// A range, and all of the allocation that it lies in.
    fn allocated(&mut self, dump: &Dump<'_>, start: u64, size: u64, owner: Owner) {
        self.range(start, size, owner);
        if let Some(region) = dump.region_at(start)
            && region.state != RegionState::Free
        {
            self.allocations
                .entry(region.allocation_base)
                .or_insert(owner);
        }
    }

    /// Earlier claims win over later ones at the same address; overlaps are cut.
    fn sort(&mut self) {
        self.ranges.sort_by_key(|claim| claim.start);
        let mut end = 0;
        self.ranges.retain_mut(|claim| {
            claim.start = claim.start.max(end);
            end = end.max(claim.end);
            claim.start < claim.end
        });
    }

    /// Environment blocks and stacks of both sides.
    fn environment(&mut self, process: &Process<'_, '_>) {
        let dump = process.dump;
        let native = if process.wow64 {
            Bitness::X64
        } else {
            process.bitness
        };
        let peb = |this: &mut Self, peb: Option<u64>, layouts: &Layouts| {
            if let Some(peb) = peb {
                let size = u64::from(layouts.peb.struct_size).next_multiple_of(PAGE);
                // The blocks of later threads are taken from the same allocation.
                this.allocated(dump, peb, size, Owner::Peb);
            }
        };
        let layouts = Layouts::for_build(process.build, native);
        peb(self, native_peb(dump, native), &layouts);
        let layouts32 = process
            .wow64
            .then(|| Layouts::for_build(process.build, Bitness::X86));
        if let Some(layouts) = &layouts32 {
            peb(self, wow64_peb(dump), layouts);
        }
        for thread in &dump.threads {
            self.thread(dump, thread.id, thread.teb, &layouts);
            if let Some(layouts) = &layouts32
                && let Some(teb) = wow64_tebs(dump, thread.teb).next()
            {
                self.thread(dump, thread.id, teb, layouts);
            }
        }
    }

    fn thread(&mut self, dump: &Dump<'_>, id: u32, teb: u64, layouts: &Layouts) {
        let size = u64::from(layouts.teb.struct_size).next_multiple_of(PAGE);
        self.range(teb & !(PAGE - 1), size, Owner::Teb(id));
        if let Some((bottom, base)) = stack_of(dump, teb, layouts) {
            self.allocated(dump, bottom, base - bottom, Owner::Stack(id));
        }
    }

    /// The databases of stack traces, which grow with every new call stack: they are no leak.
    fn traces(&mut self, process: &Process<'_, '_>) {
        /// `FLG_USER_STACK_TRACE_DB`.
        const TRACES: u32 = 0x1000;
        if process.nt_global_flag.unwrap_or(0) & TRACES == 0 {
            return;
        }
        let traces = Traces::of(process);
        let log = traces.log().map(|log| log.address);
        let arena = log.and_then(|log| {
            let table = process.memory().at(log, process.bitness);
            table.pointer(process.layouts.trace_log.arena)
        });
        let database = traces.database().map(|database| database.address);
        for address in [database, log, arena].into_iter().flatten() {
            self.allocated(process.dump, address, 1, Owner::Traces);
        }
    }

    fn heaps(&mut self, heaps: &Heaps<'_, '_>) {
        let process = heaps.process();
        self.lost_heaps(process);
        for reference in process.all_heaps().chain(&process.normal_heaps) {
            match heaps.get(reference.handle) {
                Ok(heap) => self.heap(process.dump, heap, reference.handle),
                Err(_) => {
                    let heap = Heap::open(process, reference);
                    self.heap(process.dump, &heap, reference.handle);
                }
            }
        }
    }

    /// Memory of heaps whose header is lost and which could not be walked: theirs all the same.
    fn lost_heaps(&mut self, process: &Process<'_, '_>) {
        let lost = process.problems.iter().filter_map(|problem| match problem {
            Problem::NotAHeap { handle } => Some(*handle),
            _ => None,
        });
        for handle in lost {
            let of_heap = process.found.segments.iter();
            let segments = of_heap.filter(|s| s.1 == handle).map(|s| s.0);
            for address in std::iter::once(handle).chain(segments) {
                let is_private = process.dump.region_at(address).is_some_and(|region| {
                    region.kind == RegionKind::Private && region.allocation_base == address
                });
                if is_private {
                    self.allocated(process.dump, address, PAGE, Owner::Heap(handle));
                }
            }
        }
    }

    fn heap(&mut self, dump: &Dump<'_>, heap: &Heap<'_, '_>, handle: u64) {
        let owner = Owner::Heap(handle);
        self.allocated(dump, handle, PAGE, owner);
        match heap {
            Heap::Nt(heap) => {
                for segment in &heap.segments {
                    self.allocated(dump, segment.base, segment.reserved, owner);
                }
                for block in &heap.virtual_blocks {
                    let size = block.reserved.max(block.committed);
                    self.allocated(dump, block.element, size, owner);
                }
                let (reserved, _) = heap.header.lfh_region;
                if reserved > 0 {
                    self.allocated(dump, heap.header.front_end.address, reserved, owner);
                }
            }
            Heap::Segment(heap) => {
                for segment in &heap.segments {
                    self.allocated(dump, segment.base, segment.size, owner);
                }
                for block in &heap.large_blocks {
                    self.allocated(dump, block.start, block.size, owner);
                    // Nodes lie in pages of the heap's own.
                    self.allocated(dump, block.node & !(PAGE - 1), PAGE, owner);
                }
            }
            Heap::Page(heap) => {
                self.allocated(dump, heap.root.address, PAGE, owner);
                for block in heap.blocks() {
                    self.allocated(dump, block.virtual_block, block.virtual_size, owner);
                    self.allocated(dump, block.node & !(PAGE - 1), PAGE, owner);
                }
            }
        }
    }
}

/// Regions for a dump that does not describe any: the memory that it holds.
pub(super) fn regions_of_memory(dump: &Dump<'_>) -> Vec<Region> {
    let ranges = dump.memory.ranges().iter();
    ranges
        .map(|range| Region {
            base: range.start,
            size: range.bytes.len() as u64,
            allocation_base: range.start,
            state: RegionState::Commit,
            kind: RegionKind::None,
            protection: 0,
            allocation_protection: 0,
        })
        .collect()
}
