//! A segment as its entries lie there, the heap's own included, for listings of the raw chain.

use super::{
    NtHeap, Segment,
    entry::{
        Entry, UNUSED_MARKER, UNUSED_OWN,
        flags::{BUSY, EXTRA},
        user_area,
    },
};
use crate::blocks::{CONTINUE, Flow, Trace, Visitor};

/// A piece of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Piece {
    /// An entry of the chain.
    Entry(RawEntry),
    /// An uncommitted range.
    Uncommitted {
        /// First address.
        start: u64,
        /// Size in bytes.
        size: u64,
    },
    /// A stretch without provable entries.
    Corrupt {
        /// First address.
        start: u64,
        /// Size in bytes.
        size: u64,
    },
}

/// A decoded entry of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawEntry {
    /// Address of the entry.
    pub address: u64,
    /// The decoded header.
    pub entry: Entry,
    /// Whether the header was encoded.
    pub encoded: bool,
    /// Size in bytes.
    pub size: u64,
    /// Size of the entry before in bytes, as the header has it.
    pub previous_size: u64,
    /// Address of the user area.
    pub user: u64,
    /// Unused bytes, 0 of a free entry.
    pub unused: u64,
    /// Address of the trace record, 0 if none.
    pub trace: u64,
    /// Whether it is the entry in front of an uncommitted range.
    pub marker: bool,
}

impl RawEntry {
    /// Whether the entry is in use.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        self.entry.flags & BUSY != 0
    }

    /// Size in bytes that was asked for; of entries of the heap's own, what their mark leaves.
    #[must_use]
    pub fn requested(&self) -> u64 {
        self.size.saturating_sub(self.unused)
    }
}

impl NtHeap<'_, '_> {
    /// Visits the entries of a segment in address order, from that of its header on. A visitor that
    /// returns an error ends the walk.
    ///
    /// # Errors
    /// The visitor's.
    pub fn pieces<E>(
        &self,
        segment: &Segment,
        visit: &mut dyn FnMut(Piece) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut window = self.memory.window();
        let mut ranges = segment.ranges.iter().peekable();
        let mut at = segment.header;
        while at < segment.end {
            while ranges.next_if(|range| range.end() <= at).is_some() {}
            let limit = match ranges.peek() {
                Some(range) if range.start <= at => {
                    let (start, size) = (range.start, range.size);
                    at = range.end();
                    visit(Piece::Uncommitted { start, size })?;
                    continue;
                }
                Some(range) => range.start.min(segment.end),
                None => segment.end,
            };
            match self.entry_at(&mut window, at, limit) {
                Some(Some(entry)) => {
                    let raw = self.raw_entry(at, entry);
                    at += raw.size;
                    visit(Piece::Entry(raw))?;
                }
                _ => {
                    let next = self.resynchronise(&mut window, at + self.unit(), limit);
                    visit(Piece::Corrupt {
                        start: at,
                        size: next - at,
                    })?;
                    at = next;
                }
            }
        }
        Ok(())
    }

    /// The entry at this address, decoded whatever it says.
    #[must_use]
    pub fn raw_entry_at(&self, at: u64) -> Option<RawEntry> {
        let header = at.checked_add(self.header.codec.header_offset())?;
        let entry = self.header.codec.decode(self.memory.u64(header)?);
        Some(self.raw_entry(at, entry))
    }

    /// Walks one entry of a segment: its block and, of an LFH container, its slots.
    pub fn walk_entry(&self, segment: &Segment, at: u64, visitor: &mut dyn Visitor) -> Flow {
        let mut window = self.memory.window();
        match self.entry_at(&mut window, at, segment.end) {
            Some(Some(entry)) => self.visit_entry(
                &mut window,
                (segment, self.certainty_in(segment)),
                at,
                &entry,
                visitor,
            ),
            _ => CONTINUE,
        }
    }

    /// The user value (`RtlSetUserValueHeap`) of an entry whose flags say that it can have one.
    #[must_use]
    pub fn user_value(&self, entry: &RawEntry) -> Option<u64> {
        let extra = self.memory.at(self.extra(entry)?, self.bitness());
        extra
            .pointer(self.layouts.entry_extra.settable)
            .filter(|&value| value != 0)
    }

    /// The trace in the database of an entry that has a place for one. Debug heaps with traces keep
    /// one there besides the record in front of the user area.
    #[must_use]
    pub fn database_trace(&self, entry: &RawEntry) -> Trace {
        match self.extra(entry) {
            Some(extra) if entry.entry.flags & EXTRA != 0 => self.trace_index(extra, Some(0)),
            _ => Trace::None,
        }
    }

    /// Where an entry has its `_HEAP_ENTRY_EXTRA`, if it has one.
    fn extra(&self, entry: &RawEntry) -> Option<u64> {
        (entry.address + entry.size).checked_sub(self.unit())
    }

    fn raw_entry(&self, at: u64, entry: Entry) -> RawEntry {
        let unit = self.unit();
        let codec = &self.header.codec;
        let header = self.memory.u64(at + codec.header_offset()).unwrap_or(0);
        let mut raw = RawEntry {
            address: at,
            entry,
            encoded: !codec.xp && header as u32 & codec.mask != 0,
            size: u64::from(entry.size) * unit,
            previous_size: u64::from(entry.previous_size) * unit,
            user: at + unit,
            unused: 0,
            trace: 0,
            marker: false,
        };
        if raw.is_busy() {
            raw.unused = entry.unused.into();
            raw.marker = entry.unused == UNUSED_MARKER && !codec.xp;
            let marked = matches!(entry.unused, UNUSED_OWN | UNUSED_MARKER) && !codec.xp;
            let mut window = self.memory.window();
            if !marked
                && let Some(area) = user_area(&mut window, codec, at, raw.size, header, false)
            {
                raw.user = area.address;
                raw.unused = area.unused;
                raw.trace = area.trace;
            }
        }
        raw
    }
}
