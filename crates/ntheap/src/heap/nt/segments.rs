//! The segments of a heap and their uncommitted ranges.

use rustc_hash::FxHashSet;

use super::NtHeap;
use crate::{
    address_space::{END, ListEnd},
    blocks::{Finding, FindingKind},
    layout::PAGE,
};

/// More segments than a heap can have; ends a wild list.
pub(super) const MAX_SEGMENTS: usize = 1 << 20;
/// More uncommitted ranges than a heap can have.
const MAX_RANGES: usize = 1 << 22;
pub(super) const SEGMENT_SIGNATURE: u32 = 0xffee_ffee;

/// A part of a segment without memory behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UncommittedRange {
    /// First address.
    pub start: u64,
    /// Size in bytes.
    pub size: u64,
}

impl UncommittedRange {
    /// One past the last address.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// A segment.
#[derive(Debug, Clone)]
pub struct Segment {
    /// Address of the segment's header (the heap's own, for the first segment).
    pub header: u64,
    /// First address of the reserved range.
    pub base: u64,
    /// Size of the reserved range in bytes.
    pub reserved: u64,
    /// Address of the first entry.
    pub first_entry: u64,
    /// One past the last entry: the end of the reserved range.
    pub end: u64,
    /// `NumberOfUnCommittedPages` in bytes.
    pub uncommitted: u64,
    /// `NumberOfUnCommittedRanges`, ranges of no size included.
    pub uncommitted_ranges: u32,
    /// `LargestUnCommittedRange` in bytes (XP; 0 later).
    pub largest_uncommitted: u64,
    /// The uncommitted ranges, by ascending address, those of no size left out.
    pub ranges: Vec<UncommittedRange>,
    /// Whether its header is lost, so that all of this is inferred.
    pub lost_header: bool,
}

impl Segment {
    /// Bytes that are committed, as the segment's header counts them.
    #[must_use]
    pub fn committed(&self) -> u64 {
        self.reserved.saturating_sub(self.uncommitted)
    }

    /// Where the committed run ends that `at` lies in: `at` in an uncommitted range.
    pub(super) fn limit_at(&self, at: u64) -> u64 {
        let index = self.ranges.partition_point(|range| range.end() <= at);
        match self.ranges.get(index) {
            Some(range) => range.start.max(at).min(self.end),
            None => self.end,
        }
    }
}

impl NtHeap<'_, '_> {
    pub(super) fn read_segments(&mut self) {
        let mut suspects = Vec::new();
        let headers = if self.is_xp() {
            self.segment_array()
        } else {
            self.segment_list(&mut suspects)
        };
        let mut seen = FxHashSet::default();
        for header in headers {
            if !seen.insert(header) {
                self.report_broken_list(header, "segment list");
                continue;
            }
            match self.read_segment(header) {
                Some(segment) => self.segments.push(segment),
                None => suspects.push(header),
            }
        }
        let expected = self.header.total_segments.unwrap_or(0) as usize;
        if !suspects.is_empty() || self.segments.len() < expected {
            self.adopt_segments(&suspects);
        }
        for header in suspects {
            if !self.segments.iter().any(|segment| segment.header == header) {
                let kind = if self.is_absent(header) {
                    let structure = "_HEAP_SEGMENT";
                    FindingKind::MissingStructure { structure }
                } else {
                    FindingKind::ForeignSegment
                };
                self.report(header, kind);
            }
        }
    }

    /// Whether the process had memory at an address that the dump does not hold.
    pub(super) fn is_absent(&self, address: u64) -> bool {
        crate::dump::is_absent(self.memory, self.regions, address)
    }

    /// Reports where a list ends that should go on: broken, or not in the dump from there on.
    pub(super) fn report_broken_list(&mut self, address: u64, list: &'static str) {
        let kind = if self.is_absent_link(address) {
            FindingKind::MissingStructure { structure: list }
        } else {
            FindingKind::BrokenList { list }
        };
        self.report(address, kind);
    }

    pub(super) fn report(&mut self, address: u64, kind: FindingKind) {
        self.findings.push(Finding {
            heap: self.handle(),
            address,
            bytes: 0,
            kind,
        });
    }

    /// XP: up to 64 pointers, ended by a null.
    fn segment_array(&mut self) -> Vec<u64> {
        const SEGMENTS: u64 = 64;
        let Some(array) = self.layouts.heap.segments else {
            return Vec::new();
        };
        let array = self.handle() + u64::from(array);
        let size = self.bitness().pointer_size();
        let mut headers = Vec::new();
        for index in 0..SEGMENTS {
            match self.memory.pointer(array + index * size, self.bitness()) {
                Some(0) => break,
                Some(header) => headers.push(header),
                None => {
                    let structure = "_HEAP.Segments";
                    self.report(
                        array + index * size,
                        FindingKind::MissingStructure { structure },
                    );
                    break;
                }
            }
        }
        headers
    }

    /// Vista and later: a list. Where it is broken, the heap itself is still the first segment, and
    /// the rest is looked for from the list's other end.
    /// The places where the list breaks go to `suspects`: segments whose headers may be lost.
    fn segment_list(&mut self, suspects: &mut Vec<u64>) -> Vec<u64> {
        let (Some(head), Some(link)) = (
            self.layouts.heap.segment_list,
            self.layouts.segment.segment_list_entry,
        ) else {
            return Vec::new();
        };
        let (head, link) = (self.handle() + u64::from(head), u64::from(link));
        let (mut elements, end) = self.memory.list(head, self.bitness(), MAX_SEGMENTS);
        if let ListEnd::Broken(at) = end {
            self.report_broken_list(at, "segment list");
            let first = self.handle() + link;
            if !elements.contains(&first) {
                elements.insert(0, first);
            }
            let (behind, last) = self.list_from_the_end(head);
            suspects.extend(at.checked_sub(link));
            suspects.extend(last.and_then(|last| last.checked_sub(link)));
            let missed: Vec<u64> = behind
                .into_iter()
                .rev()
                .filter(|e| !elements.contains(e))
                .collect();
            elements.extend(missed);
        }
        elements
            .into_iter()
            .map(|element| element.wrapping_sub(link))
            .collect()
    }

    /// The elements of a broken list, last first, along the back links.
    /// And the one in front of them, which is none.
    fn list_from_the_end(&self, head: u64) -> (Vec<u64>, Option<u64>) {
        let size = self.bitness().pointer_size();
        let read = |at: u64| self.memory.pointer(at, self.bitness());
        let mut elements: Vec<u64> = Vec::new();
        let mut seen = FxHashSet::default();
        let mut last = head;
        while let Some(previous) = last.checked_add(size).and_then(read) {
            if previous == head {
                break;
            }
            if read(previous) != Some(last)
                || !seen.insert(previous)
                || elements.len() >= MAX_SEGMENTS
            {
                return (elements, Some(previous));
            }
            elements.push(previous);
            last = previous;
        }
        (elements, None)
    }

    pub(super) fn read_segment(&mut self, address: u64) -> Option<Segment> {
        let layout = &self.layouts.segment;
        let header = self.memory.at(address, self.bitness());
        let signature = if self.is_xp() {
            layout.signature
        } else {
            layout.segment_signature
        };
        if header.u32(signature)? != SEGMENT_SIGNATURE
            || header.pointer(layout.heap)? != self.handle()
        {
            return None;
        }
        let base = header.pointer(layout.base_address)?;
        let reserved = u64::from(header.u32(layout.number_of_pages)?) * PAGE;
        let end = base.checked_add(reserved).filter(|&end| end <= END)?;
        let first_entry = header.pointer(layout.first_entry)?;
        let last = header.pointer(layout.last_valid_entry)?;
        let unit = self.unit();
        if first_entry % unit != 0 || !(base..=end).contains(&first_entry) || last > end {
            return None;
        }
        let uncommitted = u64::from(header.u32(layout.number_of_un_committed_pages)?) * PAGE;
        let uncommitted_ranges = header.u32(layout.number_of_un_committed_ranges)?;
        let largest_uncommitted = header
            .pointer(layout.largest_un_committed_range)
            .unwrap_or(0);
        let mut ranges = if self.is_xp() {
            self.xp_uncommitted_ranges(header.pointer(layout.un_committed_ranges)?)
        } else {
            self.uncommitted_ranges(header.address(layout.ucr_segment_list)?)
        };
        ranges.retain(|range| range.size > 0);
        ranges.sort_by_key(|range| range.start);
        let count = ranges.len();
        ranges.retain(|range| range.start >= base && range.end() <= end);
        ranges.dedup_by(|next, previous| next.start < previous.end());
        if ranges.len() < count {
            self.report_broken_list(address, "list of uncommitted ranges");
        }
        Some(Segment {
            header: address,
            base,
            reserved,
            first_entry,
            end: last,
            uncommitted,
            uncommitted_ranges,
            largest_uncommitted,
            ranges,
            lost_header: false,
        })
    }

    /// Vista and later: descriptors, linked by `SegmentEntry`.
    fn uncommitted_ranges(&mut self, head: u64) -> Vec<UncommittedRange> {
        let layout = &self.layouts.ucr_descriptor;
        let Some(link) = layout.segment_entry else {
            return Vec::new();
        };
        let bitness = self.bitness();
        let (ranges, end) = self
            .memory
            .list_of(head, bitness, MAX_RANGES, |element, window| {
                let descriptor = element.wrapping_sub(u64::from(link));
                let mut pointer = |field: Option<u32>| {
                    let at = descriptor.checked_add(u64::from(field?))?;
                    window.pointer(at, bitness)
                };
                Some(UncommittedRange {
                    start: pointer(layout.address)?,
                    size: pointer(layout.size)?,
                })
            });
        if let ListEnd::Broken(at) = end {
            self.report_broken_list(at, "list of uncommitted ranges");
        }
        ranges
    }

    /// XP: a singly linked list.
    fn xp_uncommitted_ranges(&mut self, first: u64) -> Vec<UncommittedRange> {
        let layout = &self.layouts.uncommitted_range;
        let mut ranges = Vec::new();
        let mut seen = FxHashSet::default();
        let mut at = first;
        while at != 0 {
            let range = self.memory.at(at, self.bitness());
            let (Some(next), Some(start), Some(size)) = (
                range.pointer(layout.next),
                range.pointer(layout.address),
                range.pointer(layout.size),
            ) else {
                self.report_broken_list(at, "list of uncommitted ranges");
                break;
            };
            if !seen.insert(at) || ranges.len() >= MAX_RANGES {
                self.report_broken_list(at, "list of uncommitted ranges");
                break;
            }
            ranges.push(UncommittedRange { start, size });
            at = next;
        }
        ranges
    }
}
