//! An executable image as the dump holds it: its parts, its width, where its code lies.

use crate::{
    address_space::{AddressSpace, Range},
    dump::Module,
    layout::Bitness,
};

/// The published format of executables.
mod pe {
    pub(super) const E_LFANEW: u64 = 0x3c;
    pub(super) const SECTION_COUNT: u64 = 0x6;
    pub(super) const OPTIONAL_SIZE: u64 = 0x14;
    pub(super) const OPTIONAL_HEADER: u64 = 0x18;
    pub(super) const MAGIC_PE32: u16 = 0x10b;
    pub(super) const MAGIC_PE32_PLUS: u16 = 0x20b;
    pub(super) const SECTION_SIZE: u64 = 0x28;
    pub(super) const SECTION_VIRTUAL_SIZE: u64 = 0x8;
    pub(super) const SECTION_RVA: u64 = 0xc;
    pub(super) const SECTION_FLAGS: u64 = 0x24;
    pub(super) const EXECUTABLE: u32 = 0x2000_0000;
    /// The format allows no more.
    pub(super) const MAX_SECTIONS: u16 = 96;
}

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
        let mut image = Image {
            memory,
            base: module.base,
            end: module.end(),
            bitness: process,
            code: Vec::new(),
        };
        image.read_headers();
        image
    }

    fn read_headers(&mut self) -> Option<()> {
        let at = |rva: u64| self.base.checked_add(rva);
        let memory = self.memory;
        if memory.u16(self.base)? != u16::from_le_bytes(*b"MZ") {
            return None;
        }
        let header = u64::from(memory.u32(at(pe::E_LFANEW)?)?);
        if memory.u32(at(header)?)? != u32::from_le_bytes(*b"PE\0\0") {
            return None;
        }
        let optional = header + pe::OPTIONAL_HEADER;
        self.bitness = match memory.u16(at(optional)?)? {
            pe::MAGIC_PE32 => Bitness::X86,
            pe::MAGIC_PE32_PLUS => Bitness::X64,
            _ => return None,
        };
        let count = memory.u16(at(header + pe::SECTION_COUNT)?)?;
        let size = memory.u16(at(header + pe::OPTIONAL_SIZE)?)?;
        let first = optional + u64::from(size);
        let mut code = Vec::new();
        for index in 0..u64::from(count.min(pe::MAX_SECTIONS)) {
            let section = first + index * pe::SECTION_SIZE;
            if memory.u32(at(section + pe::SECTION_FLAGS)?)? & pe::EXECUTABLE != 0 {
                let rva = memory.u32(at(section + pe::SECTION_RVA)?)?;
                let size = memory.u32(at(section + pe::SECTION_VIRTUAL_SIZE)?)?;
                let start = at(u64::from(rva))?;
                code.push((start, start.saturating_add(u64::from(size))));
            }
        }
        self.code = code;
        Some(())
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
