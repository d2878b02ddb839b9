//! Entries whose header the heap was changing when the dump was taken.
//!
//! To change a header the heap decodes it where it lies, and encodes it again when it is done. In
//! between the size is there in plain, and the entry behind knows the one before it as it was.

use super::{NtHeap, Segment};
use crate::{
    address_space::Window,
    blocks::{Block, Certainty, FindingKind, Flow, Kind, State, Trace, Visitor},
};

impl NtHeap<'_, '_> {
    /// Size of the entry at `at`, if its header is one that is being changed.
    pub(super) fn half_done(
        &self,
        window: &mut Window<'_, '_>,
        at: u64,
        limit: u64,
    ) -> Option<u64> {
        let codec = &self.header.codec;
        if codec.mask == 0 {
            return None;
        }
        let raw = window.u64(at + codec.header_offset())?;
        let size = u64::from(raw as u16) * self.unit();
        if raw as u32 & codec.mask != 0 || size == 0 || at + size > limit {
            return None;
        }
        // Either the size is the one from before or after the change, and an entry follows; or the
        // entry was just divided, and the next that is known follows the whole of it.
        if at + size == limit {
            return Some(size);
        }
        let found = self.search_chain(window, at + self.unit(), limit, limit);
        let whole = found.at - at;
        if whole == size || found.at == limit {
            return (found.certain && whole == size).then_some(size);
        }
        let behind = self.entry_at(window, found.at, limit)??;
        let known = u64::from(behind.previous_size) * self.unit();
        // Its predecessor is the whole as it was, or the rest that has no header yet.
        (whole > size && (known == whole || size + known == whole)).then_some(whole)
    }

    /// Reports such an entry: whether it is in use can't be told.
    pub(super) fn visit_half_done(
        &self,
        window: &mut Window<'_, '_>,
        (segment, at, size): (&Segment, u64, u64),
        visitor: &mut dyn Visitor,
    ) -> Flow {
        let unit = self.unit();
        let raw = window.u64(at + self.header.codec.header_offset());
        let raw = raw.unwrap_or(0);
        let kind = FindingKind::HalfDone { raw, size };
        visitor.finding(self.finding(at, 0, kind))?;
        visitor.block(&Block {
            heap: self.handle(),
            container: segment.header,
            entry: at,
            address: at + unit,
            size: size.saturating_sub(unit),
            block_size: size,
            state: State::Free,
            kind: Kind::Backend,
            internal: false,
            flags: 0,
            tag: 0,
            trace: Trace::None,
            certainty: Certainty::Probable,
        })
    }
}
