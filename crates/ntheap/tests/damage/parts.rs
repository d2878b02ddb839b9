//! The parts of heaps that damage is done to.

use std::collections::BTreeSet;

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::{Heap, Heaps},
    process::{HeapSource, Process},
};

/// Where the headers of a process's heaps lie.
#[derive(Default)]
pub(crate) struct Parts {
    /// `_HEAP`s, the normal ones behind page heaps too.
    pub(crate) nt_heaps: Vec<u64>,
    /// `_HEAP.Encoding` of those that encode their entries.
    pub(crate) encodings: Vec<u64>,
    /// `_HEAP_SEGMENT`s other than those of the heaps themselves.
    pub(crate) segments: Vec<u64>,
    /// Links of these segments.
    pub(crate) segment_links: Vec<u64>,
    /// `_SEGMENT_HEAP`s.
    pub(crate) segment_heaps: Vec<u64>,
    /// `_HEAP_PAGE_SEGMENT`s.
    pub(crate) page_segments: Vec<u64>,
    /// Handles of page heaps.
    pub(crate) page_heaps: Vec<u64>,
    /// Page heap's records of blocks.
    pub(crate) records: Vec<u64>,
    /// `_HEAP_SUBSEGMENT`s with slots in use.
    pub(crate) subsegments: Vec<u64>,
    /// `_HEAP_USERDATA_HEADER`s of these.
    pub(crate) containers: Vec<u64>,
    /// VS and LFH subsegments of segment heaps.
    pub(crate) ranges: Vec<u64>,
    /// The eight bytes of headers in front of blocks.
    pub(crate) headers: Vec<u64>,
    /// Pages of blocks, the first pages of heaps and segments left out.
    pub(crate) pages: Vec<u64>,
    /// Size of a pointer.
    pub(crate) pointer: u64,
}

#[derive(Default)]
struct Found {
    subsegments: BTreeSet<u64>,
    ranges: BTreeSet<u64>,
    headers: Vec<u64>,
    pages: BTreeSet<u64>,
    offset: u64,
}

impl Visitor for Found {
    fn block(&mut self, block: &Block) -> Flow {
        if !block.is_user_block() {
            return CONTINUE;
        }
        self.pages.insert(block.extent().0 & !0xfff);
        match block.kind {
            Kind::Lfh => {
                self.subsegments.insert(block.container);
                self.headers.push(block.entry + self.offset);
            }
            Kind::SegmentLfh => {
                self.ranges.insert(block.container);
            }
            Kind::Vs => {
                self.ranges.insert(block.container);
                self.headers.push(block.entry);
            }
            Kind::Backend | Kind::Virtual => self.headers.push(block.entry + self.offset),
            _ => {}
        }
        CONTINUE
    }
}

impl Parts {
    pub(crate) fn of(process: &Process<'_, '_>) -> Self {
        let pointer = process.bitness.pointer_size();
        let mut parts = Parts {
            pointer,
            ..Parts::default()
        };
        let mut found = Found {
            // On x64 the first eight bytes belong to the block before.
            offset: if pointer == 8 { 8 } else { 0 },
            ..Found::default()
        };
        let heaps = Heaps::of(process);
        for heap in &heaps {
            let _ = heap.walk(&mut found);
            match heap {
                Heap::Nt(_) => {}
                Heap::Page(page) => {
                    parts.page_heaps.push(page.handle());
                    parts
                        .records
                        .extend(page.busy.iter().map(|block| block.node));
                }
                // The heap that ntdll keeps for itself is on no list: nothing knows of it without its header.
                Heap::Segment(heap) if heap.reference.source == HeapSource::Unlisted => {}
                Heap::Segment(heap) => {
                    parts.segment_heaps.push(heap.handle());
                    let segments = heap.segments.iter().map(|segment| segment.base);
                    parts.page_segments.extend(segments);
                }
            }
            if let Some(nt) = heap.nt() {
                parts.nt_heaps.push(nt.handle());
                if let Some(encoding) = process.layouts.heap.encoding
                    && nt.header.codec.mask != 0
                {
                    parts.encodings.push(nt.handle() + u64::from(encoding));
                }
                let link = process.layouts.segment.segment_list_entry;
                for segment in &nt.segments {
                    if segment.header & !0xfff != nt.handle() {
                        parts.segments.push(segment.header);
                        let link = link.map(|link| segment.header + u64::from(link));
                        parts.segment_links.extend(link);
                    }
                }
            }
        }
        let field = process.layouts.subsegment.user_blocks.map(u64::from);
        for &subsegment in &found.subsegments {
            let at = subsegment + field.unwrap_or(0);
            let container = process.memory().pointer(at, process.bitness);
            parts.containers.extend(container);
        }
        let first_pages = parts.nt_heaps.iter().chain(&parts.segments);
        let first_pages: BTreeSet<u64> = first_pages.map(|at| at & !0xfff).collect();
        found.pages.retain(|page| !first_pages.contains(page));
        parts.subsegments = found.subsegments.into_iter().collect();
        parts.ranges = found.ranges.into_iter().collect();
        parts.pages = found.pages.into_iter().collect();
        parts.headers = found.headers;
        parts
    }
}
