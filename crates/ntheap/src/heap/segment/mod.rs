//! The segment heap of Windows 10 and later.
//!
//! * [`header`](SegmentHeap::header): what `_SEGMENT_HEAP` says of the whole heap;
//! * `context`: the segment contexts and the segments on their lists, and which build's layouts fit;
//! * `ranges`: the page range descriptors of a segment, and stepping through its ranges;
//! * `vs` and `lfh`: the chunks and slots inside ranges;
//! * `large`: blocks with a mapping of their own;
//! * `lost` and `shape`: segments and ranges whose headers are lost;
//! * `fast`: the chunks and slots that nearly all are;
//! * `place`: which range an address lies in;
//! * `keys`: the keys that encode headers, proved on the heap itself;
//! * `prefix`: the bytes that compatibility mode puts before each block;
//! * `extra`: the record behind a block that holds its tag and stack trace.

mod context;
mod extra;
mod fast;
mod header;
mod keys;
mod large;
mod lfh;
mod lost;
mod place;
mod prefix;
mod ranges;
mod shape;
mod sink;
mod vs;

use std::borrow::Cow;

pub(crate) use context::header_proves_itself;
pub use context::{Context, PageSegment};
pub use extra::Extra;
pub use header::Header;
pub use keys::Keys;
pub use large::LargeBlock;
pub use place::PageRange;
pub use prefix::Prefix;
pub use ranges::{Range, RangeKind};

use crate::{
    address_space::AddressSpace,
    blocks::{CONTINUE, Certainty, Finding, FindingKind, Flow, Span, SpanKind, Visitor},
    dump::Region,
    layout::{Bitness, Layouts, SegmentLfhSubsegmentLayout},
    process::{HeapRef, Process},
};
use sink::{Emit, Sink};

/// What the segment heaps of a process have in common.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SegmentFacts {
    common: Common,
    prefix: Prefix,
}

/// The part of it that opening a heap takes.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Common {
    keys: Keys,
    /// The layout of LFH subsegments, which changed at an unknown build between 22000 and 26100.
    lfh: SegmentLfhSubsegmentLayout,
}

impl SegmentFacts {
    pub(crate) fn of(process: &Process<'_, '_>) -> Self {
        let common = Common::of(process);
        let prefix = prefix::of_process(process, &common);
        SegmentFacts { common, prefix }
    }
}

/// A segment heap with its header read, its segments and large blocks listed and its keys proved.
#[derive(Debug)]
pub struct SegmentHeap<'p, 'a> {
    memory: &'p AddressSpace<'a>,
    layouts: Cow<'p, Layouts>,
    /// The entry of the process's heap list.
    pub reference: HeapRef,
    /// The heap's header.
    pub header: Header,
    /// Its contexts: one before 16299, then two, for small and for large units.
    pub contexts: Vec<Context>,
    /// Its segments, context by context, in the order of the lists.
    pub segments: Vec<PageSegment>,
    /// Its large blocks by ascending address of their mapping.
    pub large_blocks: Vec<LargeBlock>,
    /// The keys that encode its headers.
    pub keys: Keys,
    /// What lies between the start of a block and the address that the program has.
    pub prefix: Prefix,
    /// The regions of the process, empty where the dump does not describe them.
    regions: &'p [Region],
    /// Whether the process has so few heaps that memory may be searched for each.
    may_search: bool,
    /// What proves its blocks: its own structures from the header on, or what is left of them.
    certainty: Certainty,
    /// Whether its header is lost, so that nothing is known of its totals and large blocks.
    lost_header: bool,
    findings: Vec<Finding>,
}

impl<'p, 'a> SegmentHeap<'p, 'a> {
    /// Reads the header, lists and keys of a heap. What is broken is reported by the walk.
    #[must_use]
    pub fn open(process: &'p Process<'_, 'a>, reference: &HeapRef) -> Self {
        Self::open_with(process, reference, &SegmentFacts::of(process))
    }

    /// Opens a heap with what the segment heaps of the process have in common.
    pub(crate) fn open_with(
        process: &'p Process<'_, 'a>,
        reference: &HeapRef,
        facts: &SegmentFacts,
    ) -> Self {
        let mut heap = Self::open_raw(process, reference, &facts.common);
        heap.prefix = prefix::detect(&heap, facts);
        heap
    }

    /// Opens a heap without the knowledge of its prefix, which takes all heaps of the process.
    fn open_raw(process: &'p Process<'_, 'a>, reference: &HeapRef, common: &Common) -> Self {
        let mut heap = Self::open_lists(process, reference);
        if heap.layouts.segment_lfh_subsegment != common.lfh {
            heap.layouts.to_mut().segment_lfh_subsegment = common.lfh.clone();
        }
        heap.read_large_blocks();
        heap.prove_keys(process, common.keys);
        heap.check_totals();
        heap
    }

    /// Opens a heap with its segments alone, without keys.
    fn open_lists(process: &'p Process<'_, 'a>, reference: &HeapRef) -> Self {
        let memory = process.memory();
        let mut heap = SegmentHeap {
            memory,
            layouts: Cow::Borrowed(&process.layouts),
            reference: *reference,
            header: Header::default(),
            contexts: Vec::new(),
            segments: Vec::new(),
            large_blocks: Vec::new(),
            keys: Keys::default(),
            prefix: Prefix::None,
            regions: &process.dump.regions,
            may_search: process.may_search(),
            certainty: Certainty::Certain,
            lost_header: false,
            findings: Vec::new(),
        };
        match context::fitting_layouts(memory, &process.layouts, reference.handle) {
            Some(layouts) => {
                heap.layouts = layouts;
                heap.read_contexts();
            }
            None => heap.recover_contexts(),
        }
        if !heap.lost_header {
            heap.header = Header::read(memory, &heap.layouts, reference.handle);
        }
        heap.read_segments();
        heap
    }

    /// Handle of the heap.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.reference.handle
    }

    /// Width of the process.
    #[must_use]
    pub fn bitness(&self) -> Bitness {
        self.layouts.bitness
    }

    /// The memory that it lies in.
    pub(crate) fn memory(&self) -> &'p AddressSpace<'a> {
        self.memory
    }

    /// Size of an allocation unit in bytes: two pointers.
    #[must_use]
    pub fn unit(&self) -> u64 {
        self.layouts.bitness.unit()
    }

    /// Bytes that the heap has reserved, large blocks included, by its own counters.
    #[must_use]
    pub fn reserved_bytes(&self) -> u64 {
        self.header
            .reserved
            .saturating_add(self.header.large_reserved)
    }

    /// Bytes that the heap has committed, large blocks included, by its own counters.
    #[must_use]
    pub fn committed_bytes(&self) -> u64 {
        self.header
            .committed
            .saturating_add(self.header.large_committed)
    }

    /// What was found broken while the heap was opened.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// One part a segment, then one for the large blocks.
    pub(super) fn parts(&self) -> usize {
        self.segments.len() + 1
    }

    pub(super) fn walk_part<V: Visitor + ?Sized>(&self, part: usize, visitor: &mut V) -> Flow {
        let mut sink = Emit::new(self, visitor);
        match self.segments.get(part) {
            Some(segment) => self.walk_segment(segment, &mut sink),
            None => {
                self.walk_large_blocks(&mut sink)?;
                self.findings
                    .iter()
                    .cloned()
                    .try_for_each(|finding| sink.finding(finding))
            }
        }
    }

    /// Whether the process had memory at an address that the dump does not hold.
    fn is_absent(&self, address: u64) -> bool {
        crate::dump::is_absent(self.memory, self.regions, address)
    }

    /// What to report of a structure with this place and size: that it is not in the dump as a whole,
    /// or else this.
    fn missing_or(
        &self,
        address: u64,
        size: u64,
        structure: &'static str,
        kind: FindingKind,
    ) -> FindingKind {
        if self.memory.readable(address, size) < size {
            FindingKind::MissingStructure { structure }
        } else {
            kind
        }
    }

    /// Reports where a list ends that should go on: broken, or not in the dump from there on.
    fn report_broken_list(&mut self, address: u64, list: &'static str) {
        let kind = if self.is_absent(address) {
            FindingKind::MissingStructure { structure: list }
        } else {
            FindingKind::BrokenList { list }
        };
        self.report(address, kind);
    }

    fn report(&mut self, address: u64, kind: FindingKind) {
        self.findings.push(self.finding(address, 0, kind));
    }

    fn finding(&self, address: u64, bytes: u64, kind: FindingKind) -> Finding {
        Finding {
            heap: self.handle(),
            address,
            bytes,
            kind,
        }
    }

    fn span<S: Sink>(&self, start: u64, end: u64, kind: SpanKind, sink: &mut S) -> Flow {
        if end <= start {
            return CONTINUE;
        }
        sink.span(Span {
            heap: self.handle(),
            start,
            size: end - start,
            kind,
        })
    }

    /// Reports a stretch that holds no blocks: what the dump has of it as `kind`, the rest as not
    /// committed.
    fn idle<S: Sink>(&self, start: u64, end: u64, kind: SpanKind, sink: &mut S) -> Flow {
        let mut at = start;
        while at < end {
            let held = self.memory.readable(at, end - at);
            if held > 0 {
                self.span(at, at + held, kind, sink)?;
                at += held;
            } else {
                let next = self.memory.next_readable(at).map_or(end, |n| n.min(end));
                self.span(at, next, SpanKind::Uncommitted, sink)?;
                at = next;
            }
        }
        CONTINUE
    }

    /// The heap can't have reserved less than its segments take.
    fn check_totals(&mut self) {
        let found: u64 = self.segments.iter().map(|segment| segment.size).sum();
        let recorded = self.header.reserved;
        if recorded < found && !self.lost_header && self.memory.u8(self.handle()).is_some() {
            self.report(
                self.handle(),
                FindingKind::Totals {
                    total: "reserved bytes",
                    recorded,
                    found,
                },
            );
        }
    }
}
