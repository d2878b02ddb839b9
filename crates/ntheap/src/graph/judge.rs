//! What a word is to the block that it points into: the rules, applied to memory.

use super::{
    index::{Hit, Index},
    rules::Rules,
};
use crate::{
    address_space::{AddressSpace, Window},
    layout::Bitness,
};

/// The bit of a reference that leads to the start of a block.
pub(super) const START: u16 = 1 << 15;

/// Memory and facts that the rules look at.
pub(super) struct Facts<'g, 'a> {
    pub(super) memory: &'g AddressSpace<'a>,
    pub(super) bitness: Bitness,
    pub(super) index: &'g Index,
    /// The bytes of each extent of the index, where they lie in one piece.
    pub(super) bodies: Vec<&'a [u8]>,
    /// Images as (first address, one past the last), ascending, apart from each other.
    pub(super) images: Vec<(u64, u64)>,
    /// Where threads keep the addresses of their vectors of thread-local storage, ascending.
    pub(super) tls_places: Vec<u64>,
    /// The blocks that are such vectors, ascending.
    pub(super) tls_vectors: Vec<u32>,
}

/// The rules with a cursor into memory.
pub(super) struct Judge<'j, 'g, 'a> {
    facts: &'j Facts<'g, 'a>,
    /// For what lies around pointers, and for what lies where they lead to: the one goes upwards,
    /// the other anywhere.
    near: Window<'g, 'a>,
    window: Window<'g, 'a>,
    /// The block that is pointed to, where it lies in one piece.
    body: (u64, &'a [u8]),
    word: u64,
}

/// A word that points into a block.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pointer {
    /// Where it lies; of a register 0.
    pub(super) place: u64,
    /// Its value.
    pub(super) value: u64,
    pub(super) hit: Hit,
    /// The block that it lies in.
    pub(super) holder: Option<u32>,
}

impl<'j, 'g, 'a> Judge<'j, 'g, 'a> {
    pub(super) fn new(facts: &'j Facts<'g, 'a>) -> Self {
        Judge {
            facts,
            near: facts.memory.window(),
            window: facts.memory.window(),
            body: (0, &[]),
            word: facts.bitness.pointer_size(),
        }
    }

    /// The rules that hold for a pointer, and whether it is one to the start of its block.
    pub(super) fn rules(&mut self, pointer: &Pointer) -> u16 {
        let mut rules = match pointer.hit.offset {
            0 => START,
            _ => self.starts(pointer).bits(),
        };
        if pointer.place != 0 {
            rules |= self.drops(pointer).bits();
        }
        rules
    }

    /// Bytes at an address: mostly of the block that is pointed to.
    #[inline]
    fn array<const N: usize>(&mut self, address: u64) -> Option<[u8; N]> {
        let offset = usize::try_from(address.wrapping_sub(self.body.0)).unwrap_or(usize::MAX);
        let inside = self.body.1.get(offset..).and_then(<[u8]>::first_chunk);
        inside.copied().or_else(|| self.window.array(address))
    }

    fn u16(&mut self, address: u64) -> Option<u16> {
        self.array(address).map(u16::from_le_bytes)
    }

    fn u32(&mut self, address: u64) -> Option<u32> {
        self.array(address).map(u32::from_le_bytes)
    }

    fn pointer(&mut self, address: u64) -> Option<u64> {
        match self.facts.bitness {
            Bitness::X86 => self.u32(address).map(u64::from),
            Bitness::X64 => self.array(address).map(u64::from_le_bytes),
        }
    }

    /// A word near the pointer that is judged.
    #[inline]
    fn neighbour(&mut self, address: u64) -> Option<u64> {
        match self.facts.bitness {
            Bitness::X86 => self.near.u32(address).map(u64::from),
            Bitness::X64 => self.near.u64(address),
        }
    }

    fn starts(&mut self, pointer: &Pointer) -> Rules {
        let Hit { block, offset, .. } = pointer.hit;
        let word = self.word;
        let address = pointer.value - offset;
        if offset < word {
            return Rules::TAGGED;
        }
        let mut rules = Rules::NONE;
        let mut add = |holds: bool, rule: Rules| {
            if holds {
                rules = rules.or(rule);
            }
        };
        let size = self.facts.index.size(block);
        self.body = (address, self.facts.body(pointer.hit.extent, address, size));
        if offset == word {
            add(self.is_array(address, size), Rules::ARRAY);
            add(self.is_bstr(address, size), Rules::BSTR);
        }
        if pointer.value.is_multiple_of(32) {
            add(
                self.pointer(pointer.value - word) == Some(address),
                Rules::LARGE,
            );
        }
        if offset == word + 8 {
            add(self.is_make_shared(address), Rules::MAKE_SHARED);
        }
        if offset == 2 * word {
            add(self.is_tls(pointer), Rules::TLS);
        }
        if offset == 8 + 2 * word {
            add(self.is_cstring(address, size), Rules::CSTRING);
        }
        if offset.is_multiple_of(word) {
            let bases = self.bases(address, pointer.value);
            rules = rules.or(bases);
            if self.is_list_entry(pointer.value) {
                rules = rules.or(Rules::LIST);
            }
        }
        rules
    }

    fn is_array(&mut self, address: u64, size: u64) -> bool {
        let Some(count) = self.pointer(address) else {
            return false;
        };
        count > 0
            && size
                .checked_sub(self.word)
                .is_some_and(|bytes| bytes > 0 && bytes.is_multiple_of(count))
    }

    fn is_bstr(&mut self, address: u64, size: u64) -> bool {
        let text = address + self.word;
        let Some(length) = self.u32(text - 4).map(u64::from) else {
            return false;
        };
        length.is_multiple_of(2)
            && self.word + length + 2 <= size
            && self.u16(text + length) == Some(0)
    }

    /// Two numbers behind a table: strong and weak owners, neither of them absurd.
    fn is_make_shared(&mut self, address: u64) -> bool {
        const MOST: u32 = 1 << 20;
        let counts = address + self.word;
        let plausible = |count: Option<u32>| count.is_some_and(|count| (1..=MOST).contains(&count));
        self.pointer(address)
            .is_some_and(|table| self.facts.is_image(table))
            && plausible(self.u32(counts))
            && plausible(self.u32(counts + 4))
    }

    fn is_tls(&self, pointer: &Pointer) -> bool {
        let facts = self.facts;
        facts.tls_places.binary_search(&pointer.place).is_ok()
            || pointer
                .holder
                .is_some_and(|holder| facts.tls_vectors.binary_search(&holder).is_ok())
    }

    /// Length, capacity and owners in front of the characters, and a manager's table first.
    fn is_cstring(&mut self, address: u64, size: u64) -> bool {
        let at = address + self.word;
        let (Some(length), Some(capacity), Some(owners)) =
            (self.u32(at), self.u32(at + 4), self.u32(at + 8))
        else {
            return false;
        };
        let manager = self.pointer(address);
        let room = size.saturating_sub(8 + 2 * self.word);
        length <= capacity
            && u64::from(capacity) < room
            && owners != 0
            && manager.is_some_and(|manager| self.facts.is_image(manager))
    }

    fn is_list_entry(&mut self, entry: u64) -> bool {
        let word = self.word;
        let (Some(next), Some(previous)) = (self.pointer(entry), self.pointer(entry + word)) else {
            return false;
        };
        let back = next.checked_add(word).and_then(|link| self.pointer(link));
        back == Some(entry) && self.pointer(previous) == Some(entry)
    }

    fn bases(&mut self, address: u64, base: u64) -> Rules {
        let facts = self.facts;
        let (Some(first), Some(second)) = (self.pointer(address), self.pointer(base)) else {
            return Rules::NONE;
        };
        if !facts.is_image(first) || !facts.is_image(second) {
            return Rules::NONE;
        }
        let Some(inner) = self.locator(second) else {
            return Rules::BASE;
        };
        let located = u64::from(inner.offset) == base - address
            && match self.locator(first) {
                Some(outer) => outer.offset == 0 && outer.class == inner.class,
                None => self.is_vbtable(first),
            };
        if located {
            Rules::BASE.or(Rules::LOCATOR)
        } else {
            Rules::BASE
        }
    }

    /// The complete object locator of a virtual function table.
    fn locator(&mut self, table: u64) -> Option<Locator> {
        let facts = self.facts;
        let at = self.pointer(table.checked_sub(self.word)?)?;
        if !facts.is_image(at) {
            return None;
        }
        let offset = self.u32(at.checked_add(4)?)?;
        let signature = self.u32(at)?;
        let class = u64::from(self.u32(at + 0xc)?);
        let class = match facts.bitness {
            Bitness::X86 if signature == 0 => class,
            Bitness::X64 if signature == 1 => {
                let own = u64::from(self.u32(at + 0x14)?);
                at.checked_sub(own)?.checked_add(class)?
            }
            _ => return None,
        };
        facts.is_image(class).then_some(Locator { offset, class })
    }

    /// A virtual base table: distances from its pointer, first that to the object's beginning,
    /// which is not behind it.
    fn is_vbtable(&mut self, table: u64) -> bool {
        const FARTHEST: i32 = 1 << 24;
        let mut distance = |at: u64| self.u32(at).map(|distance| distance as i32);
        let (Some(first), Some(second)) = (
            distance(table),
            table.checked_add(4).and_then(&mut distance),
        ) else {
            return false;
        };
        (-FARTHEST..=0).contains(&first) && (1..FARTHEST).contains(&second)
    }

    /// Where the spare room of the vector begins whose first word this pointer is: the three words
    /// first, last and end fit the block exactly.
    #[inline]
    pub(super) fn spare_room(&mut self, pointer: &Pointer) -> Option<u64> {
        let first = pointer.value;
        let last = self.neighbour(pointer.place.checked_add(self.word)?)?;
        if last < first {
            return None;
        }
        let end = self.neighbour(pointer.place.checked_add(2 * self.word)?)?;
        (last < end && end - first == self.facts.index.size(pointer.hit.block)).then_some(last)
    }

    fn drops(&mut self, pointer: &Pointer) -> Rules {
        let mut rules = Rules::NONE;
        if self.is_section_information(pointer) {
            rules = rules.or(Rules::SECTIONS);
        }
        if self.is_text(pointer) {
            rules = rules.or(Rules::TEXT);
        }
        rules
    }

    /// Whether the word is that of a critical section's debug information which leads back to the
    /// section: the section's first word leads to the information, which begins with its type. (The
    /// links of a ring lead to each other in the same way, but begin with an address.)
    fn is_section_information(&mut self, pointer: &Pointer) -> bool {
        /// Of a critical section, and of a resource.
        const TYPES: u16 = 1;
        let Some(information) = pointer.place.checked_sub(self.word) else {
            return false;
        };
        self.near.u16(information).is_some_and(|kind| kind <= TYPES)
            && self.pointer(pointer.value) == Some(information)
    }

    /// Whether the word belongs to a text: it and the eight bytes in front of it are printable, as
    /// bytes or as UTF-16. The text may end in the word.
    fn is_text(&mut self, pointer: &Pointer) -> bool {
        if !may_be_text(pointer.value) {
            return false;
        }
        let value = &pointer.value.to_le_bytes()[..self.word as usize];
        let zeros = value.iter().rev().take_while(|&&byte| byte == 0).count();
        let narrow = is_narrow(&value[..value.len() - zeros]);
        let wide = value
            .chunks_exact(2)
            .all(|unit| unit == [0, 0] || is_wide(unit));
        if !narrow && !wide {
            return false;
        }
        let before = pointer.place.checked_sub(8);
        let Some(before) = before.and_then(|at| self.near.u64(at)) else {
            return false;
        };
        let before = before.to_le_bytes();
        narrow && is_narrow(&before) || wide && is_wide(&before)
    }
}

/// Whether no byte of a word is a control character or above 0x7f. Most pointers have such bytes, and
/// all are asked.
#[inline]
fn may_be_text(word: u64) -> bool {
    const LOW: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    // Bit 7 of each byte: not zero; at least 0x20.
    let not_zero = (((word & !HIGH) + (0x7f * LOW)) | word) & HIGH;
    let not_control = (((word & !HIGH) + (0x60 * LOW)) | word) & HIGH;
    word & HIGH == 0 && not_zero & !not_control == 0
}

fn is_printable(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte)
}

fn is_narrow(text: &[u8]) -> bool {
    text.iter().all(|&byte| is_printable(byte))
}

fn is_wide(text: &[u8]) -> bool {
    text.chunks_exact(2)
        .all(|unit| is_printable(unit[0]) && unit[1] == 0)
}

/// What a complete object locator says.
struct Locator {
    /// Distance of the table's pointer from the beginning of the object.
    offset: u32,
    /// Address of the type descriptor.
    class: u64,
}

impl<'a> Facts<'_, 'a> {
    /// The bytes of each extent of an index, where they lie in one piece.
    pub(super) fn bodies(memory: &AddressSpace<'a>, index: &Index) -> Vec<&'a [u8]> {
        let body = |extent| {
            let (start, end) = index.bounds(extent);
            memory.slice(start, end - start).unwrap_or(&[])
        };
        (0..index.extents() as u32).map(body).collect()
    }

    /// The bytes of a block, or of what follows a place in it; empty where they don't lie in one
    /// piece.
    #[inline]
    pub(super) fn body(&self, extent: u32, address: u64, size: u64) -> &'a [u8] {
        let whole = self.bodies[extent as usize];
        let from = (address - self.index.bounds(extent).0) as usize;
        let near = usize::try_from(size).ok().and_then(|size| {
            let end = from.checked_add(size)?;
            whole.get(from..end)
        });
        near.or_else(|| self.memory.slice(address, size))
            .unwrap_or(&[])
    }

    /// Whether an address lies in an image.
    #[inline]
    pub(super) fn is_image(&self, address: u64) -> bool {
        let behind = self.images.partition_point(|image| image.0 <= address);
        behind
            .checked_sub(1)
            .is_some_and(|index| address < self.images[index].1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn bytes_together_tell_what_each_does(word: u64, narrow: [u8; 8]) {
            let text = u64::from_le_bytes(narrow.map(|byte| byte & 0x7f));
            for word in [word, text, word & 0x0000_007f_007f_007f, text & 0x7f7f_0000_7f7f] {
                let bytes = word.to_le_bytes();
                let each = bytes.iter().all(|&byte| byte == 0 || (0x20..0x80).contains(&byte));
                prop_assert_eq!(may_be_text(word), each);
            }
        }
    }
}
