//! Values of a structure's fields, as `dt` shows them.

use std::fmt::Write;

use super::modules::back_quoted;
use ntheap::{
    address_space::AddressSpace,
    layout::{Bitness, FieldType, TypeCatalogue},
    names::NameSource,
};

/// Strings are shown up to this length.
const LONGEST_STRING: u64 = 0x400;
/// Pointers to pointers, and arrays of arrays, are followed this deep.
const MAX_DEPTH: u32 = 8;

/// What values are read and told with.
pub(super) struct Values<'v, 'a> {
    pub(super) memory: &'v AddressSpace<'a>,
    pub(super) bitness: Bitness,
    pub(super) names: &'v dyn NameSource,
    pub(super) types: &'v dyn TypeCatalogue,
}

impl Values<'_, '_> {
    /// The value of a field that lies at `at`; `Err` has what stands for one that is not in the
    /// dump.
    pub(super) fn of(&self, field: &FieldType, at: u64) -> Result<String, &'static str> {
        let value = match field.bits {
            Some(bits) => self.bits(at, field.size, bits),
            None => self.show(&field.type_name, at, field.size, 0),
        };
        value.ok_or(match Words::of(&field.type_name) {
            Words::Pointer { .. } => "????",
            _ => "??",
        })
    }

    fn bits(&self, at: u64, size: u32, (position, count): (u8, u8)) -> Option<String> {
        let word = self.number(at, size)?;
        let unused = 64u32.checked_sub(count.into())?;
        let mask = u64::MAX.checked_shr(unused).unwrap_or(0);
        let value = word.checked_shr(position.into()).unwrap_or(0) & mask;
        let digits = format!("0y{value:0width$b}", width = usize::from(count));
        Some(match (count, value) {
            (1, _) => digits,
            (_, 0) => format!("{digits} (0)"),
            _ => format!("{digits} ({value:#x})"),
        })
    }

    fn number(&self, at: u64, size: u32) -> Option<u64> {
        match size {
            1 => self.memory.u8(at).map(u64::from),
            2 => self.memory.u16(at).map(u64::from),
            4 => self.memory.u32(at).map(u64::from),
            8 => self.memory.u64(at),
            _ => None,
        }
    }

    fn show(&self, words: &str, at: u64, size: u32, depth: u32) -> Option<String> {
        if depth > MAX_DEPTH {
            return Some(words.to_owned());
        }
        match Words::of(words) {
            Words::Pointer { width, to } => {
                let value = self.number(at, width / 8)?;
                Some(match value {
                    0 => "(null) ".to_owned(),
                    _ => format!("{} {}", self.pointer(value), self.pointee(to, value, depth)),
                })
            }
            Words::Array { count, of } => Some(match of {
                "Char" | "UChar" => format!("[{count}]  \"{}\"", self.string(at, 1, count)?),
                "Wchar" => format!("[{count}]  \"{}\"", self.string(at, 2, count)?),
                _ => format!("[{count}] {}", self.show(of, at, 0, depth + 1)?),
            }),
            Words::Basic(basic) => self.basic(basic, at, size),
            Words::Name(name) => self.named(name, at, size),
        }
    }

    /// What a pointer points to.
    fn pointee(&self, to: &str, address: u64, depth: u32) -> String {
        if to.starts_with("    ") {
            let name = self.names.name(address);
            let name = name.map_or(format!("+{address:x}"), |name| {
                let symbol = name.symbol.map(|symbol| format!("!{symbol}"));
                let symbol = symbol.unwrap_or_default();
                format!("{}{symbol}+{:x}", name.module, name.displacement)
            });
            return format!("{to} {name}");
        }
        let quoted = |size| {
            let text = self.string(address, size, LONGEST_STRING);
            text.map_or(
                " \"--- memory read error at address ---\"".to_owned(),
                |text| format!(" \"{text}\""),
            )
        };
        match Words::of(to) {
            Words::Basic(Basic::Void) => to.to_owned(),
            Words::Basic(Basic::Character { wide, .. }) => quoted(if wide { 2 } else { 1 }),
            Words::Basic(_) | Words::Pointer { .. } => {
                let value = self.show(to, address, 0, depth + 1);
                format!(" -> {}", value.unwrap_or_else(|| "??".to_owned()))
            }
            Words::Name(_) | Words::Array { .. } => to.to_owned(),
        }
    }

    fn basic(&self, basic: Basic, at: u64, size: u32) -> Option<String> {
        Some(match basic {
            Basic::Void => "Void".to_owned(),
            Basic::Character { wide: true, .. } => {
                let unit = self.memory.u16(at)?;
                format!("{unit:#x} '{}'", printable(unit.into()))
            }
            Basic::Character { signed, .. } => {
                let unit = self.memory.u8(at)?;
                let shown = printable(unit.into());
                match signed {
                    true => format!("{} '{shown}'", unit.cast_signed()),
                    false if unit == 0 => format!("0 '{shown}'"),
                    false => format!("{unit:#x} '{shown}'"),
                }
            }
            Basic::Boolean => u8::from(self.memory.u8(at)? != 0).to_string(),
            Basic::Unsigned(size) => unsigned(self.number(at, size)?),
            Basic::Signed(size) => {
                let unused = 64 - 8 * size;
                let value = (self.number(at, size)? << unused).cast_signed() >> unused;
                format!("0n{value}")
            }
            Basic::Float if size == 8 => f64::from_bits(self.memory.u64(at)?).to_string(),
            Basic::Float => f32::from_bits(self.memory.u32(at)?).to_string(),
        })
    }

    /// Some structures are so common that the debugger shows what is in them.
    fn named(&self, name: &str, at: u64, size: u32) -> Option<String> {
        if let Some(values) = self.types.enumeration(name) {
            // Elements of arrays come without their size.
            let size = if size == 0 { 4 } else { size };
            let number = self.number(at, size)?;
            let unused = 64 - 8 * size;
            let value = (number << unused).cast_signed() >> unused;
            let known = values.into_iter().find(|(_, known)| *known == value);
            return Some(match known {
                Some((name, _)) => format!("0n{value} ( {name} )"),
                None => format!("0n{value} (No matching name)"),
            });
        }
        let word = self.bitness.pointer_size();
        Some(match name {
            "_LIST_ENTRY" => {
                let next = self.memory.pointer(at, self.bitness)?;
                let last = self.memory.pointer(at.checked_add(word)?, self.bitness)?;
                let (next, last) = (self.pointer(next), self.pointer(last));
                format!("{name} [ {next} - {last} ]")
            }
            "_UNICODE_STRING" | "_STRING" => {
                let unit = if name == "_STRING" { 1 } else { 2 };
                let length = u64::from(self.memory.u16(at)?);
                let buffer = self.memory.pointer(at.checked_add(word)?, self.bitness)?;
                let text = match length {
                    0 => Some(String::new()),
                    _ => self.string(buffer, unit, length / unit),
                };
                match text {
                    Some(text) => format!("{name} \"{text}\""),
                    None => format!("{name} \"--- memory read error at address ---\""),
                }
            }
            "_LARGE_INTEGER" | "_ULARGE_INTEGER" => {
                format!("{name} 0x{}", unpadded(self.memory.u64(at)?))
            }
            _ => name.to_owned(),
        })
    }

    /// At most `count` characters of so many bytes; `None` if not even the first is there.
    fn string(&self, at: u64, size: u64, count: u64) -> Option<String> {
        let mut text = String::new();
        for index in 0..count.min(LONGEST_STRING) {
            let place = at.checked_add(index * size)?;
            match self.number(place, size as u32) {
                None if index == 0 => return None,
                None | Some(0) => break,
                Some(unit) => text.push(character(unit as u32).unwrap_or('?')),
            }
        }
        Some(text)
    }

    pub(super) fn pointer(&self, value: u64) -> String {
        format!("0x{}", back_quoted(value, self.bitness))
    }
}

/// Small numbers need no radix to be told.
fn unsigned(value: u64) -> String {
    match value {
        0..=9 => value.to_string(),
        _ if value >> 32 == 0 => format!("{value:#x}"),
        _ => format!("0x{}", back_quoted(value, Bitness::X64)),
    }
}

fn unpadded(value: u64) -> String {
    let mut text = String::new();
    match value >> 32 {
        0 => write!(text, "{value:x}"),
        high => write!(text, "{high:x}`{:08x}", value as u32),
    }
    .expect("a string takes all");
    text
}

fn character(unit: u32) -> Option<char> {
    char::from_u32(unit).filter(|c| !c.is_control())
}

/// What stands between the quotes behind a character's number.
fn printable(unit: u32) -> String {
    character(unit)
        .filter(char::is_ascii)
        .map(String::from)
        .unwrap_or_default()
}

/// A type in words, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Words<'w> {
    /// `Ptr64 Void`.
    Pointer {
        /// In bits.
        width: u32,
        to: &'w str,
    },
    /// `[2] Uint4B`.
    Array {
        count: u64,
        of: &'w str,
    },
    Basic(Basic),
    /// A structure or enumeration.
    Name(&'w str),
}

/// Types that have no name of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Basic {
    Void,
    Character {
        wide: bool,
        signed: bool,
    },
    Boolean,
    /// Bytes.
    Unsigned(u32),
    Signed(u32),
    /// Of either size.
    Float,
}

impl<'w> Words<'w> {
    pub(super) fn of(words: &'w str) -> Self {
        if let Some((width, to)) = words
            .strip_prefix("Ptr")
            .and_then(|rest| rest.split_once(' '))
            && let Ok(width @ (32 | 64)) = width.parse()
        {
            return Words::Pointer { width, to };
        }
        if let Some((count, of)) = words
            .strip_prefix('[')
            .and_then(|rest| rest.split_once("] "))
            && let Ok(count) = count.parse()
        {
            return Words::Array { count, of };
        }
        let narrow = |signed| Basic::Character {
            wide: false,
            signed,
        };
        Words::Basic(match words {
            "Void" => Basic::Void,
            "Char" => narrow(true),
            "UChar" => narrow(false),
            "Wchar" => Basic::Character {
                wide: true,
                signed: false,
            },
            "Bool" => Basic::Boolean,
            "Uint2B" | "Char2B" => Basic::Unsigned(2),
            "Uint4B" | "Char4B" => Basic::Unsigned(4),
            "Uint8B" => Basic::Unsigned(8),
            "Int2B" => Basic::Signed(2),
            "Int4B" => Basic::Signed(4),
            "Int8B" => Basic::Signed(8),
            "Float" => Basic::Float,
            name => return Words::Name(name),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_in_words_are_taken_apart() {
        let pointer = |width, to| Words::Pointer { width, to };
        assert_eq!(Words::of("Ptr64 _HEAP"), pointer(64, "_HEAP"));
        assert_eq!(Words::of("Ptr32 Ptr32 Void"), pointer(32, "Ptr32 Void"));
        assert_eq!(Words::of("Ptr64     long "), pointer(64, "    long "));
        let array = |count, of| Words::Array { count, of };
        assert_eq!(Words::of("[128] _LIST_ENTRY"), array(128, "_LIST_ENTRY"));
        assert_eq!(Words::of("[2] [4] Uint4B"), array(2, "[4] Uint4B"));
        assert_eq!(Words::of("Int2B"), Words::Basic(Basic::Signed(2)));
        for name in ["_HEAP", "PtrX", "Ptr16 Void", "[x] UChar", "[3]", ""] {
            assert_eq!(Words::of(name), Words::Name(name));
        }
    }

    #[test]
    fn numbers_as_the_debugger_writes_them() {
        assert_eq!(unsigned(9), "9");
        assert_eq!(unsigned(10), "0xa");
        assert_eq!(unsigned(0x7fff_fffd_efff), "0x00007fff`fffdefff");
        assert_eq!(unpadded(0x1_0000_0002), "1`00000002");
        assert_eq!(printable(0x28), "(");
        assert_eq!(printable(0xdd), "");
    }
}
