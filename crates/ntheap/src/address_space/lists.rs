//! Walking the doubly linked lists of the heap manager, whatever state they are in.

use rustc_hash::FxHashSet;

use super::AddressSpace;
use crate::layout::Bitness;

/// How a walk along a list ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListEnd {
    /// Back at the head.
    Complete,
    /// The element at this address can't be read, points back to another element, or was met
    /// before.
    Broken(u64),
}

impl AddressSpace<'_> {
    /// The elements of the `LIST_ENTRY` list with this head, up to `limit` of them.
    ///
    /// Every element's back link is checked; a cycle that does not pass the head, a wild pointer or
    /// a wrong back link ends the walk there.
    #[must_use]
    pub fn list(&self, head: u64, bitness: Bitness, limit: usize) -> (Vec<u64>, ListEnd) {
        let mut elements = Vec::new();
        let mut seen = FxHashSet::default();
        let mut last = head;
        // Elements of a list often lie near each other.
        let mut window = self.window();
        loop {
            let Some(next) = window.pointer(last, bitness) else {
                return (elements, ListEnd::Broken(last));
            };
            if next == head {
                return (elements, ListEnd::Complete);
            }
            let back = next
                .checked_add(bitness.pointer_size())
                .and_then(|address| window.pointer(address, bitness));
            if back != Some(last) || elements.len() >= limit || !seen.insert(next) {
                return (elements, ListEnd::Broken(next));
            }
            elements.push(next);
            last = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn space(pairs: &[(u64, u64, u64)]) -> Vec<u8> {
        let mut bytes = vec![0; 0x100];
        for &(at, flink, blink) in pairs {
            bytes[at as usize..][..8].copy_from_slice(&flink.to_le_bytes());
            bytes[at as usize + 8..][..8].copy_from_slice(&blink.to_le_bytes());
        }
        bytes
    }

    #[test]
    fn broken_and_cyclic_lists_end() {
        let read = |bytes: &[u8]| {
            AddressSpace::new(bytes, [(0x1000, 0, 0x100)]).list(0x1000, Bitness::X64, 10)
        };
        let good = space(&[
            (0, 0x1010, 0x1020),
            (0x10, 0x1020, 0x1000),
            (0x20, 0x1000, 0x1010),
        ]);
        assert_eq!(read(&good), (vec![0x1010, 0x1020], ListEnd::Complete));
        let wild = space(&[(0, 0x1010, 0x1020), (0x10, 0xdead_beef, 0x1000)]);
        assert_eq!(read(&wild), (vec![0x1010], ListEnd::Broken(0xdead_beef)));
        let cyclic = space(&[(0, 0x1010, 0), (0x10, 0x1010, 0x1000)]);
        assert_eq!(read(&cyclic), (vec![0x1010], ListEnd::Broken(0x1010)));
        let end_of_space = space(&[(0, u64::MAX, 0)]);
        assert_eq!(read(&end_of_space), (vec![], ListEnd::Broken(u64::MAX)));
    }
}
