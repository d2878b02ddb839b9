//! Blocks that are nothing but text, and texts that are stored again and again.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::{
    TypeKind,
    ground::Ground,
    table::{Table, TypeKey},
};
use crate::layout::Bitness;

/// How a text is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Encoding {
    /// One byte a character (`char`).
    Narrow,
    /// Two bytes a character (`wchar_t`).
    Wide,
}

/// A text, and how often it is stored in blocks of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct CommonText<'a> {
    /// Its bytes, without what ends it.
    pub bytes: &'a [u8],
    /// How it is stored.
    pub encoding: Encoding,
    /// Number of blocks with it.
    pub blocks: u64,
    /// Their bytes.
    pub total: u64,
    /// Address of the first block with it.
    pub first: u64,
}

impl CommonText<'_> {
    /// Number of characters.
    #[must_use]
    pub fn characters(&self) -> usize {
        match self.encoding {
            Encoding::Narrow => self.bytes.len(),
            Encoding::Wide => self.bytes.len() / 2,
        }
    }

    /// The text, with what can't be read replaced.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self.encoding {
            Encoding::Narrow => String::from_utf8_lossy(self.bytes).into_owned(),
            Encoding::Wide => {
                let (units, _) = self.bytes.as_chunks::<2>();
                let units: Vec<u16> = units.iter().map(|unit| u16::from_le_bytes(*unit)).collect();
                String::from_utf16_lossy(&units)
            }
        }
    }
}

/// Gives blocks that are text their types.
pub(super) fn judge(ground: &Ground<'_, '_>, table: &mut Table) {
    /// Blocks that one thread looks at in one go.
    const BLOCKS: usize = 1024;
    let known = &*table;
    let texts: Vec<(u32, &'static str)> = (0..ground.blocks.len().div_ceil(BLOCKS))
        .into_par_iter()
        .flat_map_iter(|chunk| {
            let numbers = (chunk * BLOCKS) as u32..;
            let blocks = numbers.zip(ground.blocks.chunk(chunk, BLOCKS));
            blocks.filter_map(|(number, (address, size))| {
                let bytes =
                    (!known.is_set(number)).then(|| ground.memory.slice(address, size))??;
                Some((number, kind(ground, bytes)?))
            })
        })
        .collect();
    for (number, name) in texts {
        table.set(number, TypeKey::new(TypeKind::Text, name));
    }
}

const BSTR: &str = "BSTR";
const NARROW: &str = "text (char)";
const WIDE: &str = "text (wchar_t)";

fn kind(ground: &Ground<'_, '_>, bytes: &[u8]) -> Option<&'static str> {
    if bstr(ground.bitness, bytes).is_some() {
        Some(BSTR)
    } else if wide(bytes).is_some() {
        Some(WIDE)
    } else if narrow(bytes).is_some() {
        Some(NARROW)
    } else {
        None
    }
}

/// The text of a `BSTR`: its length in bytes lies before it, a zero behind it.
fn bstr(bitness: Bitness, bytes: &[u8]) -> Option<&[u8]> {
    /// Automation rounds sizes up to this.
    const ROUNDED: usize = 16;
    let front = bitness.pointer_size() as usize;
    let length = bytes.get(front - 4..front)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    let whole = front.checked_add(length)?.checked_add(2)?;
    if length < 2 || !length.is_multiple_of(2) || whole > bytes.len() {
        return None;
    }
    let text = &bytes[front..whole - 2];
    let fits = bytes.len() - whole < ROUNDED
        && bytes[whole - 2..whole] == [0, 0]
        && units(text).all(is_character);
    fits.then_some(text)
}

fn units(bytes: &[u8]) -> impl Iterator<Item = u16> + '_ {
    let (units, _) = bytes.as_chunks::<2>();
    units.iter().map(|unit| u16::from_le_bytes(*unit))
}

fn is_character(unit: u16) -> bool {
    matches!(unit, 9 | 10 | 13 | 0x20..=0x7e | 0xa0..=0x52f)
}

/// Shortest text that is told from numbers: one that fills its block, and any other.
const SHORTEST_EXACT: usize = 4;
const SHORTEST: usize = 8;

/// The UTF-16 text that a block begins with, up to its zero.
fn wide(bytes: &[u8]) -> Option<&[u8]> {
    let count = units(bytes).take_while(|&unit| is_character(unit)).count();
    let ends = units(bytes).nth(count) == Some(0);
    let exact = (count + 1) * 2 == bytes.len();
    let long_enough = count >= if exact { SHORTEST_EXACT } else { SHORTEST };
    (ends && long_enough && count * 4 >= bytes.len()).then(|| &bytes[..count * 2])
}

/// The text of single bytes that a block begins with, up to its zero, or that fills the block.
fn narrow(bytes: &[u8]) -> Option<&[u8]> {
    let is_character =
        |byte: &&u8| matches!(byte, 9 | 10 | 13 | 0x20..=0x7e | 0xc2..=0xf4 | 0x80..=0xbf);
    let count = bytes.iter().take_while(is_character).count();
    let exact = count + 1 >= bytes.len();
    let ends = bytes.get(count).is_none_or(|&byte| byte == 0);
    let long_enough = count >= if exact { SHORTEST_EXACT } else { SHORTEST };
    let text = &bytes[..count];
    let plain = text.iter().filter(|byte| byte.is_ascii()).count();
    (ends
        && long_enough
        && count * 2 >= bytes.len()
        && plain * 2 > count
        && std::str::from_utf8(text).is_ok())
    .then_some(text)
}

/// The text of a block whose type says that it is one.
pub(super) fn of_block<'a>(
    ground: &Ground<'_, 'a>,
    table: &Table,
    number: u32,
) -> Option<(Encoding, &'a [u8])> {
    let bytes = ground.bytes(number)?;
    let known = table.get(number)?;
    match (known.kind, &*known.name) {
        (TypeKind::Text, BSTR) => Some((Encoding::Wide, bstr(ground.bitness, bytes)?)),
        (TypeKind::Text, WIDE) => Some((Encoding::Wide, wide(bytes)?)),
        (TypeKind::Text, NARROW) => Some((Encoding::Narrow, narrow(bytes)?)),
        (TypeKind::ContainerPart, name) if name.starts_with("std::string text") => {
            let bytes = behind_alignment(ground, number, bytes);
            let end = bytes.iter().position(|&byte| byte == 0)?;
            Some((Encoding::Narrow, &bytes[..end]))
        }
        (TypeKind::ContainerPart, name) if name.starts_with("std::wstring text") => {
            let bytes = behind_alignment(ground, number, bytes);
            let end = units(bytes).position(|unit| unit == 0)?;
            Some((Encoding::Wide, &bytes[..end * 2]))
        }
        _ => None,
    }
}

/// What the library allocates for long texts begins a little behind the block's start.
fn behind_alignment<'a>(ground: &Ground<'_, '_>, number: u32, bytes: &'a [u8]) -> &'a [u8] {
    const LARGE: usize = 4096;
    let start = ground.blocks.block(number).0;
    let word = ground.word as usize;
    if bytes.len() < LARGE {
        return bytes;
    }
    let data = (0..=32 + word).step_by(word).find(|&at| {
        ground.word(start + at as u64) == Some(start)
            && (start + (at + word) as u64).is_multiple_of(32)
    });
    data.map_or(bytes, |at| &bytes[at + word..])
}

/// The texts that most blocks have, the most frequent first; those that are stored once are left out.
pub(super) fn common<'a>(ground: &Ground<'_, 'a>, table: &Table) -> Vec<CommonText<'a>> {
    let mut texts: FxHashMap<(Encoding, &'a [u8]), CommonText<'a>> = FxHashMap::default();
    for number in 0..ground.blocks.len() as u32 {
        let Some((encoding, bytes)) = of_block(ground, table, number) else {
            continue;
        };
        if bytes.is_empty() {
            continue;
        }
        let (first, size) = ground.blocks.block(number);
        let text = texts.entry((encoding, bytes)).or_insert(CommonText {
            bytes,
            encoding,
            blocks: 0,
            total: 0,
            first,
        });
        text.blocks += 1;
        text.total = text.total.saturating_add(size);
    }
    let mut common: Vec<_> = texts.into_values().filter(|text| text.blocks > 1).collect();
    common.sort_unstable_by_key(|text| (std::cmp::Reverse(text.blocks), text.first));
    common
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_what_is_none() {
        let wide_text = |text: &str| -> Vec<u8> {
            let units = text.encode_utf16().chain([0]);
            units.flat_map(u16::to_le_bytes).collect()
        };
        assert!(narrow(b"name\0").is_some());
        assert!(narrow(b"a name of nobody\0\xcd\xcd\xcd").is_some());
        assert!(narrow(b"abcd\0\0\0\0").is_none());
        assert!(narrow(b"\x10\x20\x30\x40\0").is_none());
        assert!(wide(&wide_text("a name")).is_some());
        assert!(wide(&wide_text("abc")).is_none());
        let mut block = 12u32.to_le_bytes().to_vec();
        block.extend(wide_text("a name"));
        assert_eq!(bstr(Bitness::X86, &block).map(<[u8]>::len), Some(12));
        block[0] = 14;
        assert_eq!(bstr(Bitness::X86, &block), None);
        assert_eq!(bstr(Bitness::X64, &[0xff; 8]), None);
        assert_eq!(bstr(Bitness::X86, &[]), None);
    }
}
