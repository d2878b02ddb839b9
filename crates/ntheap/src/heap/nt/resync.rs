//! Finding the way back after a corrupt entry, or behind a page that is not in the dump.
//!
//! What a free block holds can be the entries of former blocks, chained as they were: a chain proves
//! nothing if it ends at an entry that knows of one block in front of it which holds them all. So a
//! chain is followed as far as the largest block can reach.

use super::{
    super::fill::is_fill,
    NtHeap,
    entry::{Entry, UNUSED_LFH, UNUSED_MARKER, UNUSED_OWN, flags::BUSY},
};
use crate::address_space::Window;

/// Entries that must chain before a place counts as proved. Each link of an encoded heap costs a
/// random place a factor of 2^24 (checksum and previous size), of a heap without encoding 2^16.
const PROOF: usize = 3;
/// Links in front of the end of a committed run that prove entries without a checksum.
const UNCHECKED_PROOF: usize = 2;
/// The largest block, in units: as far as entries inside it can reach.
const LARGEST: u64 = 1 << 16;

/// Where a walk goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    /// The first entry that is proved, or the end of what was searched.
    pub(super) at: u64,
    /// Whether nothing can contradict it any more: the chain reaches farther than any block, or the
    /// end of the committed run.
    pub(super) certain: bool,
}

/// What the chain from an entry on says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Chain {
    /// It goes on as far as it has to.
    Sound,
    /// It ends here, at what is not in the dump or is no entry.
    Open(u64),
    /// It ends at an entry in front of which one block lies that begins before the chain.
    Inside(u64),
}

impl NtHeap<'_, '_> {
    /// The first address in `from..limit` at which a chain of entries is proved: each entry names
    /// the size of the one before it, and the chain goes on for a few entries or ends at `limit`.
    /// `limit` if there is none.
    pub(super) fn resynchronise(&self, window: &mut Window<'_, '_>, from: u64, limit: u64) -> u64 {
        self.search_chain(window, from, limit, limit).at
    }

    /// The same for a first address in `from..end`; `end` (or more) if there is none.
    pub(super) fn search_chain(
        &self,
        window: &mut Window<'_, '_>,
        from: u64,
        end: u64,
        limit: u64,
    ) -> Found {
        let unit = self.unit();
        let mut at = from.next_multiple_of(unit);
        // The first chain that ends too early, and where.
        let mut open: Option<(u64, u64)> = None;
        let none = |open: Option<(u64, u64)>| match open {
            Some((at, _)) => Found { at, certain: false },
            None => Found {
                at: end,
                certain: true,
            },
        };
        while at < end {
            if let Some((_, chain_end)) = open
                && at - chain_end > LARGEST * unit
            {
                break;
            }
            match self.entry_at(window, at, limit) {
                // A zeroed or missing page holds no entry: look at the next readable byte.
                None => match self.memory.next_readable(at + unit) {
                    Some(next) if next < end => at = next.next_multiple_of(unit),
                    _ => return none(open),
                },
                Some(Some(entry)) if self.chain_holds(window, at, &entry, limit) => {
                    match (self.follow(window, at, &entry, limit), open) {
                        // Of entries near address 0 the one before would begin in front of it.
                        (Chain::Sound, Some((_, chain_end)))
                            if at
                                .checked_sub(u64::from(entry.previous_size) * unit)
                                .is_some_and(|before| before >= chain_end) =>
                        {
                            return none(open);
                        }
                        (Chain::Sound, _) => return Found { at, certain: true },
                        (Chain::Open(chain_end), _) => {
                            open.get_or_insert((at, chain_end));
                            at = chain_end.max(at + unit);
                        }
                        (Chain::Inside(behind), _) => at = behind,
                    }
                }
                Some(_) => at += unit,
            }
        }
        none(open)
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
        // Not encoded, a long fill chains with itself, and the checksum of equal bytes holds.
        if raw as u32 & codec.mask == 0 && is_fill(raw, size_of::<u64>() as u64) {
            return Some(None);
        }
        Some((entry.size != 0 && end <= limit && codec.checksum_holds(&entry)).then_some(entry))
    }

    /// Whether nothing speaks against an entry that a walk has come to. Without a checksum its size is
    /// not believed if what would follow does not know of it, nor is an entry itself.
    #[inline]
    pub(super) fn is_entry(
        &self,
        window: &mut Window<'_, '_>,
        at: u64,
        entry: &Entry,
        limit: u64,
    ) -> bool {
        self.header.codec.mask != 0 || self.successor_agrees(window, at, entry, limit)
    }

    fn successor_agrees(
        &self,
        window: &mut Window<'_, '_>,
        at: u64,
        entry: &Entry,
        limit: u64,
    ) -> bool {
        let next = at + u64::from(entry.size) * self.unit();
        if next == limit {
            return true;
        }
        match self.entry_at(window, next, limit) {
            None => true,
            // What would follow may have been overwritten instead: then no chain begins inside the block.
            Some(None) => {
                let word = window.u64(next + self.header.codec.header_offset());
                word == Some(0)
                    && self.search_chain(window, at + self.unit(), next, limit).at >= next
            }
            Some(Some(behind)) => {
                behind.previous_size == entry.size || self.chain_holds(window, next, &behind, limit)
            }
        }
    }

    /// Whether a chain of entries begins at an address.
    pub(super) fn chain_begins(&self, window: &mut Window<'_, '_>, at: u64, limit: u64) -> bool {
        match self.entry_at(window, at, limit) {
            Some(Some(entry)) => self.chain_holds(window, at, &entry, limit),
            _ => false,
        }
    }

    fn chain_holds(&self, window: &mut Window<'_, '_>, at: u64, first: &Entry, limit: u64) -> bool {
        let unit = self.unit();
        let mut last = *first;
        let mut next = at + u64::from(last.size) * unit;
        let checked = self.header.codec.mask != 0 || self.cookie.is_some();
        if !self.cookie_holds(at, first) {
            return false;
        }
        for links in 0..PROOF {
            if !self.is_plausible(&last) {
                return false;
            }
            if next == limit {
                return checked || links >= UNCHECKED_PROOF;
            }
            match self.entry_at(window, next, limit) {
                Some(Some(entry))
                    if entry.previous_size == last.size && self.cookie_holds(next, &entry) =>
                {
                    last = entry;
                    next += u64::from(last.size) * unit;
                }
                _ => return false,
            }
        }
        true
    }

    /// Follows the chain from an entry on.
    fn follow(&self, window: &mut Window<'_, '_>, first: u64, entry: &Entry, limit: u64) -> Chain {
        let unit = self.unit();
        let mut size = entry.size;
        let mut at = first + u64::from(size) * unit;
        while at < limit && at - first <= LARGEST * unit {
            match self.entry_at(window, at, limit) {
                Some(Some(entry)) if entry.previous_size == size => {
                    size = entry.size;
                    at += u64::from(size) * unit;
                }
                Some(Some(entry)) if u64::from(entry.previous_size) * unit > at - first => {
                    return Chain::Inside(at);
                }
                _ => return Chain::Open(at),
            }
        }
        Chain::Sound
    }

    /// Whether an entry has the heap's cookie, where entries have one (XP from its second service
    /// pack on).
    fn cookie_holds(&self, at: u64, entry: &Entry) -> bool {
        self.cookie
            .is_none_or(|cookie| entry.small_tag == cookie_at(at) ^ cookie)
    }

    /// The cookie that the heap's own entry holds, if the first entries have it.
    pub(super) fn read_cookie(&self) -> Option<u8> {
        if !self.header.codec.xp {
            return None;
        }
        let codec = &self.header.codec;
        let read = |at: u64| {
            let raw = self.memory.u64(at.checked_add(codec.header_offset())?)?;
            Some(codec.decode(raw))
        };
        let cookie = read(self.handle())?.small_tag;
        let first = self.segments.first()?.first_entry;
        let entry = read(first)?;
        let second = first + u64::from(entry.size) * self.unit();
        let holds = |at: u64, entry: &Entry| entry.small_tag == cookie_at(at) ^ cookie;
        (holds(first, &entry) && holds(second, &read(second)?)).then_some(cookie)
    }

    /// Whether an entry can be one: flags, unused count and size go together.
    fn is_plausible(&self, entry: &Entry) -> bool {
        /// Every busy block has room for the links of a free one.
        const SMALLEST: u16 = 2;
        let codec = &self.header.codec;
        if entry.flags & BUSY == 0 {
            return codec.xp || entry.unused & UNUSED_LFH == 0;
        }
        if codec.xp {
            return entry.size >= SMALLEST;
        }
        match entry.unused {
            UNUSED_MARKER => true,
            unused if unused & UNUSED_LFH != 0 => false,
            UNUSED_OWN => entry.size >= SMALLEST,
            unused => entry.size >= SMALLEST && unused >= 4,
        }
    }
}

/// What the cookie of the entry at an address is combined with.
const fn cookie_at(at: u64) -> u8 {
    (at >> 3) as u8
}
