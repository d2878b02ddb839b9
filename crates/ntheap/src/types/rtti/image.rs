//! An executable image as the dump holds it: its parts, its width, where its code lies.

use crate::{
    address_space::{AddressSpace, Range},
    dump::{Module, pe::ImageHeaders},
    layout::Bitness,
};

/// Words that are looked at together.
const CHUNK: usize = 32;

/// An image in the process's memory.
pub(super) struct Image<'s, 'a> {
    pub(super) memory: &'s AddressSpace<'a>,
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) bitness: Bitness,
    /// Sections with code; empty where the headers are not in the dump.
    code: Vec<(u64, u64)>,
}

impl<'s, 'a> Image<'s, 'a> {
    /// The image of `module`; its width is that of `process` where its header does not say.
    pub(super) fn of(memory: &'s AddressSpace<'a>, module: &Module, process: Bitness) -> Self {
        let headers = ImageHeaders::at(memory, module.base);
        let code = headers.and_then(|headers| headers.code());
        Image {
            memory,
            base: module.base,
            end: module.end(),
            bitness: headers.map_or(process, |headers| headers.bitness),
            code: code.unwrap_or_default(),
        }
    }

    pub(super) fn contains(&self, address: u64) -> bool {
        (self.base..self.end).contains(&address)
    }

    /// Whether a function of this image may begin at `address`.
    pub(super) fn is_code(&self, address: u64) -> bool {
        let inside = |&(start, end): &(u64, u64)| (start..end).contains(&address);
        self.contains(address) && (self.code.is_empty() || self.code.iter().any(inside))
    }

    /// The parts of the image that the dump holds, cut at its borders, their starts aligned.
    pub(super) fn parts(&self) -> impl Iterator<Item = Range<'a>> + use<'_, 'a> {
        let ranges = self.memory.ranges();
        let first = ranges.partition_point(|range| range.end() <= self.base);
        ranges[first..]
            .iter()
            .take_while(|range| range.start < self.end)
            .filter_map(|range| {
                let start = range.start.max(self.base).checked_next_multiple_of(8)?;
                let end = range.end().min(self.end);
                let from = usize::try_from(start.checked_sub(range.start)?).ok()?;
                let to = usize::try_from(end.checked_sub(range.start)?).ok()?;
                let bytes = range.bytes.get(from..to)?;
                Some(Range { start, bytes })
            })
    }

    /// How many bytes of the image the dump holds.
    pub(super) fn held(&self) -> usize {
        self.parts().map(|part| part.bytes.len()).sum()
    }

    /// The aligned 32-bit words of the image that `wanted` selects, with their addresses.
    pub(super) fn find_words(&self, wanted: impl Fn(u64, u32) -> bool) -> Vec<(u64, u32)> {
        let mut found = Vec::new();
        for part in self.parts() {
            let (words, _) = part.bytes.as_chunks::<4>();
            for (index, chunk) in words.chunks(CHUNK).enumerate() {
                let start = part.start + (index * CHUNK * 4) as u64;
                let at = |index: usize| start + index as u64 * 4;
                let word = |index: usize| u32::from_le_bytes(chunk[index]);
                // Nearly always there is none: without branches the compiler compares many at once.
                let any = (0..chunk.len()).fold(false, |any, i| any | wanted(at(i), word(i)));
                if any {
                    let all = (0..chunk.len()).map(|i| (at(i), word(i)));
                    found.extend(all.filter(|&(at, word)| wanted(at, word)));
                }
            }
        }
        found
    }

    /// The places of pointers into `low..=high`, with what they point to.
    pub(super) fn find_pointers(&self, low: u64, high: u64) -> Vec<(u64, u64)> {
        let span = high - low;
        let mut found = Vec::new();
        if self.bitness == Bitness::X86 {
            let (low, span) = (low as u32, span as u32);
            let inside = |_, word: u32| word.wrapping_sub(low) <= span;
            let words = self.find_words(inside).into_iter();
            return words.map(|(at, word)| (at, u64::from(word))).collect();
        }
        for part in self.parts() {
            let (words, _) = part.bytes.as_chunks::<8>();
            let mut at = part.start;
            for word in words {
                let word = u64::from_le_bytes(*word);
                if word.wrapping_sub(low) <= span {
                    found.push((at, word));
                }
                at += 8;
            }
        }
        found
    }
}
