//! Where a segment whose header is lost ends, and which parts of it are committed.

use super::super::{NtHeap, Segment, UncommittedRange};
use crate::dump::{Region, RegionState};

const PAGE: u64 = 0x1000;
/// What `VirtualAlloc` rounds addresses to.
pub(super) const GRANULARITY: u64 = 0x10000;
/// Parts of an allocation that are looked at.
const MAX_PARTS: usize = 1 << 22;

impl NtHeap<'_, '_> {
    /// The segment of the allocation at `base`, whose header of `header_size` bytes is lost; `None`
    /// where nothing of it is in the dump.
    pub(super) fn lost_segment(&self, base: u64, header_size: u64) -> Option<Segment> {
        let (end, ranges) = self
            .described_extent(base)
            .unwrap_or_else(|| self.readable_extent(base));
        let first_entry = base.checked_add(header_size)?.next_multiple_of(self.unit());
        let held = self.memory.held(first_entry, end.checked_sub(first_entry)?);
        if held == 0 {
            return None;
        }
        let uncommitted = ranges.iter().map(|range| range.size).sum();
        Some(Segment {
            header: base,
            base,
            reserved: end - base,
            first_entry,
            end,
            uncommitted,
            uncommitted_ranges: ranges.len() as u32,
            largest_uncommitted: 0,
            ranges,
            lost_header: true,
        })
    }

    /// The allocation at `base` as the dump describes its regions.
    fn described_extent(&self, base: u64) -> Option<(u64, Vec<UncommittedRange>)> {
        let first = self.regions.partition_point(|region| region.base < base);
        let mut end = base;
        let mut ranges = Vec::new();
        for region in self.regions[first..].iter().take(MAX_PARTS) {
            let own = region.allocation_base == base && region.state != RegionState::Free;
            if !own || region.base != end {
                break;
            }
            if region.state == RegionState::Reserve && self.is_uncommitted_range(region) {
                ranges.push(UncommittedRange {
                    start: region.base,
                    size: region.size,
                });
            }
            end = region.end();
        }
        (end > base).then_some((end, ranges))
    }

    /// The allocation at `base` as far as the dump's memory shows it: a committed run ends with the
    /// descriptor of the uncommitted range behind it.
    fn readable_extent(&self, base: u64) -> (u64, Vec<UncommittedRange>) {
        let (mut at, mut end) = (base, base);
        let mut ranges: Vec<UncommittedRange> = Vec::new();
        while ranges.len() < MAX_PARTS {
            let held = self.memory.readable(at, u64::MAX - at);
            if held > 0 {
                at += held;
                end = at;
                continue;
            }
            if let Some(size) = self.hole_behind(at) {
                ranges.push(UncommittedRange { start: at, size });
                at += size;
                end = at;
                continue;
            }
            // A page that is missing, inside what is one allocation at least.
            match self.memory.next_readable(at) {
                Some(next) if at > base && next / GRANULARITY == at / GRANULARITY => at = next,
                Some(next) if at == base && next < base + GRANULARITY => at = next,
                _ => break,
            }
        }
        (end, ranges)
    }

    /// Whether a reserved region is an uncommitted range of the heap, and not a part of a large free
    /// block whose pages were given back: a range has its descriptor in front.
    fn is_uncommitted_range(&self, region: &Region) -> bool {
        let at = region.base;
        let descriptor = u64::from(self.layouts.ucr_descriptor.struct_size);
        let readable = at
            .checked_sub(descriptor)
            .is_some_and(|start| self.memory.readable(start, descriptor) == descriptor);
        self.is_xp() || !readable || self.hole_behind(at) == Some(region.size)
    }

    /// Size of the uncommitted range at `at` by the descriptor right in front of it.
    fn hole_behind(&self, at: u64) -> Option<u64> {
        let layout = &self.layouts.ucr_descriptor;
        let descriptor = at.checked_sub(layout.struct_size.into())?;
        let descriptor = self.memory.at(descriptor, self.bitness());
        let size = descriptor.pointer(layout.size)?;
        let sound = descriptor.pointer(layout.address)? == at
            && size > 0
            && size.is_multiple_of(PAGE)
            && at.checked_add(size).is_some()
            // One that is left over can name more than is uncommitted now.
            && self.memory.next_readable(at).is_none_or(|next| next >= at + size);
        sound.then_some(size)
    }
}
