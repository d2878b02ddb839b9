//! Pointers that `EncodePointer` encoded: XORed with the process's cookie and, but on Windows XP,
//! rotated by it.
//!
//! The cookie is the kernel's; a dump may name it. Nobody asks for these pointers but who names the
//! rule, so that they are looked for when that is done first.

use rayon::prelude::*;

use super::{Graph, References, RootKind, Rules, judge::START};
use crate::{address_space::words, heap::references::portions, layout::Bitness};

/// The encoded pointers of a process to the starts of blocks, by holder and place.
#[derive(Debug, Default)]
pub(super) struct Encoded(Vec<Reference>);

/// An encoded pointer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Reference {
    /// A block, or behind them an area.
    holder: u32,
    pub(super) place: u64,
    pub(super) target: u32,
}

/// How a process encodes pointers.
#[derive(Debug, Clone, Copy)]
struct Code {
    cookie: u32,
    bitness: Bitness,
    rotated: bool,
}

impl Code {
    /// The pointer that a word is the encoding of.
    #[inline]
    fn decode(self, word: u64) -> u64 {
        let cookie = self.cookie;
        let bits = if self.rotated { cookie } else { 0 };
        match self.bitness {
            Bitness::X86 => ((word as u32).rotate_left(bits % 32) ^ cookie).into(),
            Bitness::X64 => word.rotate_left(bits % 64) ^ u64::from(cookie),
        }
    }
}

impl Encoded {
    /// Looks through all memory of blocks and roots. Without the cookie there is nothing to find.
    pub(super) fn of(graph: &Graph<'_, '_>) -> Self {
        /// The builds of Windows XP and Server 2003 come before, and don't rotate.
        const ROTATES: u32 = 6000;
        let process = graph.process;
        let Some(cookie) = process.dump.process_cookie else {
            return Encoded::default();
        };
        let code = Code {
            cookie,
            bitness: process.bitness,
            rotated: process.build >= ROTATES,
        };
        let (low, high) = graph.index.span();
        let ranges = process.memory().ranges().par_iter();
        let found = ranges.flat_map_iter(portions).flat_map_iter(|portion| {
            let words = words(&portion, code.bitness);
            // A null pointer is encoded as well as any other, and a word of zeros is none.
            let decoded = words.map(|(at, word)| (at, word, code.decode(word)));
            let near =
                decoded.filter(|&(_, word, to)| word != 0 && to.wrapping_sub(low) < high - low);
            let found: Vec<Reference> = near
                .filter_map(|(at, _, to)| graph.encoded_reference(at, to))
                .collect();
            found
        });
        let mut found: Vec<Reference> = found.collect();
        found.par_sort_unstable();
        Encoded(found)
    }

    /// Those that a block, or behind the blocks an area, holds.
    pub(super) fn of_holder(&self, holder: usize) -> &[Reference] {
        let from = self.0.partition_point(|one| (one.holder as usize) < holder);
        let rest = &self.0[from..];
        let length = rest.iter().take_while(|one| one.holder as usize == holder);
        &rest[..length.count()]
    }
}

/// All that a holder leads to, with the bits of the rules: by plain pointers, then by encoded ones, which
/// lead to starts of blocks.
#[inline]
pub(super) fn pointers<'g>(
    references: &'g References,
    encoded: Option<&'g Encoded>,
    holder: usize,
) -> impl Iterator<Item = (u32, u16)> + 'g {
    let (targets, rules) = references.of(holder);
    let encoded = encoded.map_or(&[][..], |encoded| encoded.of_holder(holder));
    let plain = targets.iter().copied().zip(rules.iter().copied());
    plain.chain(encoded.iter().map(|found| (found.target, START)))
}

impl Graph<'_, '_> {
    /// The reference that a word is, if it is a pointer to the start of a block: most other words
    /// lead somewhere else when they are decoded.
    fn encoded_reference(&self, place: u64, value: u64) -> Option<Reference> {
        let hit = self.index.resolve(value).filter(|hit| hit.offset == 0)?;
        let word = self.process.bitness.pointer_size();
        let holder = match self.index.find(place) {
            Some(block) => {
                let (start, size) = self.index.block(block);
                (place - start + word <= size && block != hit.block).then_some(block)?
            }
            None => {
                let is_here = |area: &super::Area| {
                    area.kind != RootKind::Register && (area.start..area.end).contains(&place)
                };
                let area = self.areas.iter().position(is_here)?;
                (self.index.len() + area) as u32
            }
        };
        Some(Reference {
            holder,
            place,
            target: hit.block,
        })
    }

    /// The encoded pointers that count under these rules.
    pub(super) fn encoded(&self, rules: Rules) -> Option<&Encoded> {
        let wanted = rules.contains(Rules::ENCODED);
        wanted.then(|| self.encoded.get_or_init(|| Encoded::of(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decoding_undoes_encoding() {
        let cookie = 0x781f_9c58;
        let code = |bitness, rotated| Code {
            cookie,
            bitness,
            rotated,
        };
        let pointer = 0x20d_fa87_a820u64;
        let encoded = (pointer ^ u64::from(cookie)).rotate_right(cookie & 63);
        assert_eq!(code(Bitness::X64, true).decode(encoded), pointer);
        let narrow = 0x00d5_7fa0u32;
        let encoded = (narrow ^ cookie).rotate_right(cookie & 31);
        assert_eq!(
            code(Bitness::X86, true).decode(encoded.into()),
            narrow.into()
        );
        let plain = u64::from(narrow ^ cookie);
        assert_eq!(code(Bitness::X86, false).decode(plain), narrow.into());
    }
}
