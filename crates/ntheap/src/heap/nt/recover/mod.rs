//! Heaps and segments whose headers are lost: what they said is found by other ways.
//!
//! * `codec`: the key of the entries, from the entries;
//! * `segments`: segments that no list leads to, by their signature and by their entries;
//! * `extent`: where a segment without a header ends and what of it is committed;
//! * `virtual_blocks`: virtual blocks that no list leads to.

mod codec;
mod extent;
mod segments;
mod virtual_blocks;

use rustc_hash::FxHashSet;

use super::{EntryCodec, FrontEnd, FrontEndKind, NtHeap, Segment};
use crate::blocks::{Certainty, FindingKind};

/// `_HEAP.Signature`.
const HEAP_SIGNATURE: u32 = 0xeeff_eeff;
/// Segments on which the key is tried.
const TRIED_SEGMENTS: usize = 4;
/// Bytes of each in which a chain of entries has to be found.
const TRIED_BYTES: u64 = 0x10000;

impl NtHeap<'_, '_> {
    /// Whether the header at the handle is what it should be by its signature.
    pub(crate) fn has_header(&self) -> bool {
        let header = self.memory.at(self.handle(), self.bitness());
        header.u32(self.layouts.heap.signature) == Some(HEAP_SIGNATURE)
    }

    /// Looks for what the header of the heap does not say because it is lost.
    pub(super) fn recover_header(&mut self) {
        self.report_lost(self.handle(), "_HEAP", "its signature is wrong");
        self.certainty = Certainty::Chain;
        // What the fields of another structure would say is worse than nothing.
        self.header.flags = 0;
        self.header.lock = 0;
        self.header.total_free = 0;
        self.header.front_end = FrontEnd {
            kind: FrontEndKind::Lfh,
            address: 0,
        };
        self.segments.clear();
        let first = self.lost_segment(self.handle(), self.layouts.heap.struct_size.into());
        self.segments.extend(first);
        let known = self.segments.iter().map(|segment| segment.header).collect();
        for header in self.signed_segments(&known) {
            let segment = self.read_segment(header);
            self.segments.extend(segment);
        }
        self.recover_codec();
        self.adopt_unclaimed_segments();
    }

    /// Whether entries chain in the heap's segments, so that it is a heap without its header too.
    pub(crate) fn is_proved(&self) -> bool {
        let named = self.segments.iter().any(|segment| !segment.lost_header);
        !self.segments.is_empty()
            && self.codec_holds()
            && (named || self.header.codec.mask != 0 || self.has_long_chain())
    }

    /// Whether a chain of entries is long enough to prove what has neither a key nor a checksum.
    fn has_long_chain(&self) -> bool {
        /// Entries, of this many sizes.
        const ENTRIES: usize = 16;
        const SIZES: usize = 4;
        let mut window = self.memory.window();
        self.segments.iter().any(|segment| {
            let mut sizes = FxHashSet::default();
            let mut count = 0;
            let limit = segment.limit_at(segment.first_entry);
            let mut at = self.resynchronise(&mut window, segment.first_entry, limit);
            let mut previous = None;
            while let Some(Some(entry)) = self.entry_at(&mut window, at, limit)
                && previous.is_none_or(|size| size == entry.previous_size)
            {
                previous = Some(entry.size);
                sizes.insert(entry.size);
                count += 1;
                at += u64::from(entry.size) * self.unit();
                if count >= ENTRIES && sizes.len() >= SIZES {
                    return true;
                }
            }
            false
        })
    }

    /// Infers the key of the entries where the one of the header does not decode them.
    pub(super) fn recover_codec(&mut self) {
        if self.header.codec.xp {
            return;
        }
        let mut stretches = Vec::new();
        let mut starts = Vec::new();
        for segment in &self.segments {
            stretches.extend(self.readable_stretches(segment));
            starts.push(segment.first_entry);
        }
        if let Some(codec) = codec::infer(self.memory, self.layouts, &stretches, &starts) {
            self.header.codec = codec;
        }
    }

    /// Whether entries chain under the key that the header gives: the first ones of a segment, or
    /// some that are not far behind.
    pub(super) fn codec_holds(&self) -> bool {
        let mut window = self.memory.window();
        let mut tried = false;
        for segment in self.segments.iter().take(TRIED_SEGMENTS) {
            let limit = segment.limit_at(segment.first_entry);
            let end = limit.min(segment.first_entry.saturating_add(TRIED_BYTES));
            if self.memory.readable(segment.first_entry, 1) == 0 {
                continue;
            }
            tried = true;
            // A search follows what it finds as far as a block can reach.
            if self.chain_begins(&mut window, segment.first_entry, limit) {
                return true;
            }
            if self
                .search_chain(&mut window, segment.first_entry, end, limit)
                .at
                < end
            {
                return true;
            }
        }
        !tried
    }

    /// Takes another key than the header's where that does not decode the entries.
    pub(super) fn check_codec(&mut self) {
        if self.header.codec.xp || self.codec_holds() {
            return;
        }
        let known: EntryCodec = self.header.codec;
        self.recover_codec();
        if self.header.codec != known {
            let reason = "it does not decode the entries; their key was inferred from them";
            let kind = FindingKind::BrokenStructure {
                structure: "_HEAP.Encoding",
                reason,
            };
            self.report(self.handle(), kind);
            self.certainty = Certainty::Chain;
        }
    }

    /// Whether a list entry at this address, or a part of it, is not in the dump.
    pub(crate) fn is_absent_link(&self, address: u64) -> bool {
        let last = address.checked_add(2 * self.bitness().pointer_size() - 1);
        self.is_absent(address) || last.is_some_and(|last| self.is_absent(last))
    }

    /// Reports a structure that is not in the dump, or that is not what it should be.
    pub(super) fn report_lost(
        &mut self,
        address: u64,
        structure: &'static str,
        reason: &'static str,
    ) {
        let kind = if self.is_absent(address) {
            FindingKind::MissingStructure { structure }
        } else {
            FindingKind::BrokenStructure { structure, reason }
        };
        self.report(address, kind);
    }

    /// The parts of a segment that the dump holds.
    fn readable_stretches(&self, segment: &Segment) -> Vec<(u64, u64)> {
        let mut stretches = Vec::new();
        let mut at = segment.first_entry;
        while at < segment.end {
            let held = self.memory.readable(at, segment.end - at);
            if held > 0 {
                stretches.push((at, at + held));
            }
            match self.memory.next_readable(at + held.max(1)) {
                Some(next) if next > at => at = next,
                _ => break,
            }
        }
        stretches
    }
}
