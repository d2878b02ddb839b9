//! Stepping through a segment, entry by entry.

use std::ops::ControlFlow;

use super::{
    NtHeap, Segment,
    entry::{
        Entry, UNUSED_MARKER, UNUSED_OWN,
        flags::{BUSY, EXTRA, INTERNAL},
        user_area,
    },
    fast::Place,
    header::FrontEndKind,
    lfh::Contents,
    stretch::Stretch,
};
use crate::{
    address_space::Window,
    blocks::{
        Block, CONTINUE, Certainty, Finding, FindingKind, Flow, Kind, Span, SpanKind, State, Trace,
        Visitor,
    },
};

impl NtHeap<'_, '_> {
    pub(super) fn finding(&self, address: u64, bytes: u64, kind: FindingKind) -> Finding {
        Finding {
            heap: self.handle(),
            address,
            bytes,
            kind,
        }
    }

    pub(super) fn span<V: Visitor + ?Sized>(
        &self,
        start: u64,
        end: u64,
        kind: SpanKind,
        visitor: &mut V,
    ) -> Flow {
        if end <= start {
            return CONTINUE;
        }
        visitor.span(&Span {
            heap: self.handle(),
            start,
            size: end - start,
            kind,
        })
    }

    /// Walks one segment. Every byte of its reservation is reported exactly once.
    pub(super) fn walk_segment<V: Visitor + ?Sized>(
        &self,
        segment: &Segment,
        mut visitor: &mut V,
    ) -> Flow {
        let mut window = self.memory.window();
        let mut ranges = segment.ranges.iter().peekable();
        self.span(segment.base, segment.first_entry, SpanKind::Header, visitor)?;
        let mut at = segment.first_entry;
        // Size of the entry before in units; 0 behind a hole, unknown after corruption.
        let mut previous: Option<u16> = None;
        let mut certainty = self.certainty_in(segment);
        while at < segment.end {
            while ranges.next_if(|range| range.end() <= at).is_some() {}
            let limit = match ranges.peek() {
                Some(range) if range.start <= at => {
                    self.span(at, range.end(), SpanKind::Uncommitted, visitor)?;
                    at = range.end();
                    previous = Some(0);
                    certainty = self.certainty_in(segment);
                    continue;
                }
                Some(range) => range.start.min(segment.end),
                None => segment.end,
            };
            let place = Place {
                segment,
                certainty,
                limit,
            };
            self.walk_plain(&mut window, &place, &mut at, &mut previous, visitor)?;
            if at >= limit {
                continue;
            }
            window.approach(at);
            let entry = self.entry_at(&mut window, at, limit);
            match entry.map(|entry| entry.filter(|e| self.is_entry(&mut window, at, e, limit))) {
                Some(Some(entry)) => {
                    if let Some(previous) = previous
                        && previous != entry.previous_size
                    {
                        let expected = u64::from(previous) * self.unit();
                        let found = u64::from(entry.previous_size) * self.unit();
                        let kind = FindingKind::PreviousSize { expected, found };
                        visitor.finding(self.finding(at, 0, kind))?;
                    }
                    self.visit_entry(&mut window, (segment, certainty), at, &entry, visitor)?;
                    previous = Some(entry.size);
                    at += u64::from(entry.size) * self.unit();
                }
                other => {
                    if let Some(size) = self.half_done(&mut window, at, limit) {
                        self.visit_half_done(&mut window, (segment, at, size), &mut visitor)?;
                        previous = None;
                        at += size;
                        continue;
                    }
                    let found = self.search_chain(&mut window, at + self.unit(), limit, limit);
                    // Uncommitted ranges that the segment's header does not list can lie inside a free block.
                    let may_be_inside = segment.lost_header && previous == Some(0);
                    let stretch = Stretch {
                        from: at,
                        to: found.at,
                        is_corrupt: other.is_some() && !may_be_inside,
                    };
                    self.visit_stretch(&mut window, stretch, &mut visitor)?;
                    certainty = self.certainty_in(segment);
                    if !found.certain {
                        certainty = certainty.max(Certainty::Chain);
                    }
                    previous = None;
                    at = found.at;
                }
            }
        }
        self.span(at, segment.base + segment.reserved, SpanKind::Tail, visitor)?;
        let accounted = at - segment.base;
        if accounted > segment.reserved {
            let kind = FindingKind::Accounting {
                reserved: segment.reserved,
                accounted,
            };
            visitor.finding(self.finding(segment.base, 0, kind))?;
        }
        CONTINUE
    }

    /// What proves the entries of a segment.
    pub(super) fn certainty_in(&self, segment: &Segment) -> Certainty {
        if segment.lost_header {
            self.certainty.max(Certainty::Chain)
        } else {
            self.certainty
        }
    }

    pub(super) fn visit_entry<V: Visitor + ?Sized>(
        &self,
        window: &mut Window<'_, '_>,
        (segment, certainty): (&Segment, Certainty),
        at: u64,
        entry: &Entry,
        mut visitor: &mut V,
    ) -> Flow {
        let unit = self.unit();
        let size = u64::from(entry.size) * unit;
        let xp = self.header.codec.xp;
        let mut block = Block {
            heap: self.handle(),
            container: segment.header,
            entry: at,
            address: at + unit,
            size: size - unit,
            block_size: size,
            state: State::Free,
            kind: Kind::Backend,
            internal: false,
            flags: entry.flags,
            tag: self.tag(entry),
            trace: Trace::None,
            certainty,
        };
        if entry.flags & BUSY == 0 {
            return visitor.block(&block);
        }
        if !xp && entry.unused == UNUSED_MARKER {
            return self.span(at, at + size, SpanKind::Marker, visitor);
        }
        let raw = window
            .u64(at + self.header.codec.header_offset())
            .unwrap_or(0);
        let Some(area) = user_area(window, &self.header.codec, at, size, raw, false) else {
            visitor.finding(self.finding(at, size, FindingKind::Unreadable))?;
            return self.span(at, at + size, SpanKind::Unreadable, visitor);
        };
        block.state = State::Busy;
        block.address = area.address;
        // The heap's own blocks carry a mark where the count would be.
        let own = !xp && entry.unused == UNUSED_OWN;
        block.internal = if xp {
            self.is_xp_table(area.address)
        } else {
            own || entry.flags & INTERNAL != 0
        };
        block.size = if own {
            size - unit
        } else {
            self.requested(at, size, area.unused, visitor)?
        };
        block.trace = if area.trace != 0 {
            Trace::Record(area.trace)
        } else if entry.flags & EXTRA != 0 && (xp || self.header.captures_stacks()) {
            self.trace_index(at + size - unit, Some(0))
        } else {
            Trace::None
        };
        let may_hold_slots = if xp {
            self.header.front_end.kind == FrontEndKind::Lfh
        } else {
            entry.flags & INTERNAL != 0
        };
        if may_hold_slots {
            match self.lfh_container(window, area.address, at + size) {
                Contents::Other if xp => {}
                // A container whose own header is lost, one without a subsegment, or a table.
                contents @ (Contents::Other | Contents::Idle) => {
                    block.internal |= contents == Contents::Idle;
                    visitor.block(&block)?;
                    return self.visit_lost_slots(window, area.address, at + size, &mut visitor);
                }
                Contents::Live(container) => {
                    block.internal = true;
                    visitor.block(&block)?;
                    return self.walk_container(window, &container, visitor);
                }
            }
        }
        if self.cached.blocks.binary_search(&area.address).is_ok() {
            block.state = State::Free;
            block.kind = Kind::Lookaside;
        } else if self.cached.may_hold(entry.size) {
            block.certainty = Certainty::Probable;
        }
        visitor.block(&block)
    }

    /// Requested size of a block with so many unused bytes.
    #[inline]
    pub(super) fn requested<V: Visitor + ?Sized>(
        &self,
        at: u64,
        size: u64,
        unused: u64,
        visitor: &mut V,
    ) -> ControlFlow<(), u64> {
        // On x64 a block lends the first eight bytes of the next header.
        if let Some(requested) = size.checked_sub(unused) {
            return ControlFlow::Continue(requested);
        }
        let kind = FindingKind::UnusedBytes {
            unused,
            block: size,
        };
        visitor.finding(self.finding(at, 0, kind))?;
        ControlFlow::Continue(0)
    }

    /// The tag of an entry: only heaps without encoding have room for one.
    pub(super) fn tag(&self, entry: &Entry) -> u16 {
        let codec = &self.header.codec;
        if codec.mask == 0 && !codec.xp {
            entry.small_tag.into()
        } else {
            0
        }
    }

    /// The trace index of a `HEAP_ENTRY_EXTRA` at `extra + offset`.
    pub(super) fn trace_index(&self, extra: u64, offset: Option<u32>) -> Trace {
        let index = offset
            .zip(self.layouts.entry_extra.allocator_back_trace_index)
            .and_then(|(at, index)| self.memory.u16(extra + u64::from(at) + u64::from(index)));
        match index {
            None | Some(0) => Trace::None,
            Some(index) => Trace::Index(index.into()),
        }
    }

    /// XP: the table of lookaside lists is an ordinary busy block, the first of the heap. It stays
    /// when the LFH takes over.
    fn is_xp_table(&self, address: u64) -> bool {
        let front_end = self.header.front_end;
        match front_end.kind {
            FrontEndKind::Lookaside => address == front_end.address,
            FrontEndKind::Lfh => self
                .segments
                .first()
                .is_some_and(|first| address == first.first_entry + self.unit()),
            FrontEndKind::None | FrontEndKind::Unknown(_) => false,
        }
    }
}
