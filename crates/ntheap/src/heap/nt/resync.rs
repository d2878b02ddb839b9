//! Finding the way back after a corrupt entry.

use super::{NtHeap, entry::Entry};
use crate::address_space::Window;

/// Entries that must chain before a place counts as proved. Each link of an encoded heap costs a
/// random place a factor of 2^24 (checksum and previous size), of a heap without encoding 2^16.
const PROOF: usize = 3;

impl NtHeap<'_, '_> {
    /// The first address in `from..limit` at which a chain of entries is proved: each entry names
    /// the size of the one before it, and the chain goes on for a few entries or ends at `limit`.
    /// `limit` if there is none.
    pub(super) fn resynchronise(&self, window: &mut Window<'_, '_>, from: u64, limit: u64) -> u64 {
        self.resynchronise_until(window, from, limit, limit)
    }

    /// The same for a first address in `from..end`; `end` (or more) if there is none.
    pub(super) fn resynchronise_until(
        &self,
        window: &mut Window<'_, '_>,
        from: u64,
        end: u64,
        limit: u64,
    ) -> u64 {
        let unit = self.unit();
        let mut at = from.next_multiple_of(unit);
        while at < end {
            match self.entry_at(window, at, limit) {
                // A zeroed or missing page holds no entry: look at the next readable byte.
                None => match self.memory.next_readable(at + unit) {
                    Some(next) if next < end => at = next.next_multiple_of(unit),
                    _ => return end,
                },
                Some(None) => at += unit,
                Some(Some(entry)) if self.chain_holds(window, at, &entry, limit) => return at,
                Some(Some(_)) => at += unit,
            }
        }
        end
    }

    /// `None`: not readable; `Some(None)`: no valid entry.
    #[inline]
    pub(super) fn entry_at(
        &self,
        window: &mut Window<'_, '_>,
        at: u64,
        limit: u64,
    ) -> Option<Option<Entry>> {
        let codec = &self.header.codec;
        let raw = window.u64(at + codec.header_offset())?;
        let entry = codec.decode(raw);
        let end = at + u64::from(entry.size) * self.unit();
        Some((entry.size != 0 && end <= limit && codec.checksum_holds(&entry)).then_some(entry))
    }

    fn chain_holds(&self, window: &mut Window<'_, '_>, at: u64, first: &Entry, limit: u64) -> bool {
        let unit = self.unit();
        let mut size = first.size;
        let mut next = at + u64::from(size) * unit;
        for _ in 0..PROOF {
            if next == limit {
                return true;
            }
            match self.entry_at(window, next, limit) {
                Some(Some(entry)) if entry.previous_size == size => {
                    size = entry.size;
                    next += u64::from(size) * unit;
                }
                _ => return false,
            }
        }
        true
    }
}
