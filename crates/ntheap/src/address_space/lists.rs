//! Walking the doubly linked lists of the heap manager, whatever state they are in.

use super::{AddressSpace, Window};
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

impl<'a> AddressSpace<'a> {
    /// The elements of the `LIST_ENTRY` list with this head, up to `limit` of them.
    ///
    /// Every element's back link is checked; a cycle that does not pass the head, a wild pointer or
    /// a wrong back link ends the walk there.
    #[must_use]
    pub fn list(&self, head: u64, bitness: Bitness, limit: usize) -> (Vec<u64>, ListEnd) {
        self.list_of(head, bitness, limit, |element, _| Some(element))
    }

    /// The same, with what `read` makes of each element (nothing, of some) while it is at hand.
    pub(crate) fn list_of<T>(
        &self,
        head: u64,
        bitness: Bitness,
        limit: usize,
        mut read: impl FnMut(u64, &mut Window<'_, 'a>) -> Option<T>,
    ) -> (Vec<T>, ListEnd) {
        let mut elements = Vec::new();
        let (mut last, mut count) = (head, 0);
        // Elements of a list often lie near each other.
        let mut window = self.window();
        loop {
            let Some(next) = window.pointer(last, bitness) else {
                return (elements, ListEnd::Broken(last));
            };
            if next == head {
                return (elements, ListEnd::Complete);
            }
            // What was met before points back to where it was met from: a cycle ends here as well.
            let back = next
                .checked_add(bitness.pointer_size())
                .and_then(|address| window.pointer(address, bitness));
            if back != Some(last) || count >= limit {
                return (elements, ListEnd::Broken(next));
            }
            elements.extend(read(next, &mut window));
            (last, count) = (next, count + 1);
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
        let itself = space(&[(0, 0x1010, 0), (0x10, 0x1010, 0x1010)]);
        assert_eq!(read(&itself), (vec![], ListEnd::Broken(0x1010)));
        let to_the_first = space(&[
            (0, 0x1010, 0),
            (0x10, 0x1020, 0x1000),
            (0x20, 0x1010, 0x1010),
        ]);
        let met = vec![0x1010, 0x1020];
        assert_eq!(read(&to_the_first), (met, ListEnd::Broken(0x1010)));
        let end_of_space = space(&[(0, u64::MAX, 0)]);
        assert_eq!(read(&end_of_space), (vec![], ListEnd::Broken(u64::MAX)));
    }
}
