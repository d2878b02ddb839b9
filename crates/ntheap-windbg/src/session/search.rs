//! `s`: memory that holds a pattern.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, Matches, Pattern};
use ntheap::dump::RegionState;

/// Patterns are no longer than this.
const LONGEST: usize = 1 << 12;

/// What `-[FLAGS]TYPE` says.
#[derive(Debug)]
struct Flags {
    /// `b`, `w`, `d`, `q`, `a`, `u`, `sa`, `su`, `v`.
    kind: String,
    /// `1`: the addresses alone.
    addresses: bool,
    /// `w`: writable memory alone.
    writable: bool,
    /// `lN`: the shortest string.
    shortest: u64,
}

impl Session<'_, '_> {
    /// `s [-[FLAGS]TYPE] RANGE PATTERN`.
    pub(super) fn search_memory(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.may_show_contents()?;
        let (flags, rest) = self.search_flags(text.trim())?;
        let size = match flags.kind.as_str() {
            "w" | "u" | "su" => 2,
            "d" => 4,
            "q" => 8,
            _ => 1,
        };
        // A length counts bytes for strings, elements otherwise.
        let unit = if flags.kind == "u" { 1 } else { size };
        let (start, count, rest) = self.range_at(rest, unit)?;
        let (Some(start), Some(count)) = (start, count) else {
            return Err(wrong(
                text,
                "s takes a range (ADDRESS L?SIZE) and a pattern",
            ));
        };
        let length = count.saturating_mul(unit);
        let pattern = match flags.kind.as_str() {
            "sa" | "su" if !rest.trim().is_empty() => {
                return Err(wrong(rest, "-sa and -su take a range alone"));
            }
            "sa" | "su" => Pattern::Strings {
                size,
                shortest: flags.shortest,
            },
            kind => self.pattern(kind, rest.trim(), size)?,
        };
        let regions = &self.process.dump.regions;
        let is_writable = |address: u64| {
            /// `PAGE_READWRITE`, `PAGE_WRITECOPY` and the executable forms of both.
            const WRITABLE: u32 = 0xcc;
            self.process.dump.region_at(address).is_none_or(|region| {
                region.state == RegionState::Commit && region.protection & WRITABLE != 0
            })
        };
        let accepts = |address: u64| !flags.writable || regions.is_empty() || is_writable(address);
        let matches = Matches {
            start,
            length,
            pattern,
            addresses_only: flags.addresses,
            accepts: &accepts,
        };
        Ok(words::search_memory(self.process, &matches, out)?)
    }

    fn search_flags<'t>(&self, text: &'t str) -> Result<(Flags, &'t str), CommandError> {
        let mut flags = Flags {
            kind: "b".to_owned(),
            addresses: false,
            writable: false,
            shortest: 3,
        };
        let Some(option) = text.strip_prefix('-') else {
            return Ok((flags, text));
        };
        let option = option.trim_start();
        let (inside, option) = match super::line::bracketed(option, '[', ']') {
            Some((inside, option)) => (inside, option),
            None => ("", option),
        };
        let end = option.find(char::is_whitespace).unwrap_or(option.len());
        let (kind, rest) = option.split_at(end);
        if !kind.is_empty() {
            flags.kind = kind.to_ascii_lowercase();
        }
        if !["b", "w", "d", "q", "a", "u", "sa", "su"].contains(&flags.kind.as_str()) {
            return Err(wrong(kind, "s searches for -b -w -d -q -a -u -sa -su"));
        }
        let mut letters = inside
            .chars()
            .filter(|c| !c.is_whitespace() && *c != ',')
            .peekable();
        while let Some(letter) = letters.next() {
            match letter {
                '1' => flags.addresses = true,
                'w' => flags.writable = true,
                'l' | 'L' => {
                    let mut digits = String::new();
                    while let Some(digit) = letters.next_if(char::is_ascii_hexdigit) {
                        digits.push(digit);
                    }
                    flags.shortest = self.value(&digits)?.max(1);
                }
                _ => {}
            }
        }
        Ok((flags, rest.trim_start()))
    }

    fn pattern(&self, kind: &str, text: &str, size: u64) -> Result<Pattern, CommandError> {
        let expected = || wrong(text, "a pattern is expected");
        let quoted = |text: &str| {
            let inner = text.strip_prefix('"')?;
            Some(inner.strip_suffix('"').unwrap_or(inner).to_owned())
        };
        let pattern = match kind {
            "a" => {
                let text = quoted(text).unwrap_or_else(|| text.to_owned());
                Pattern::Bytes {
                    bytes: text.into_bytes(),
                    shown: 1,
                    step: 1,
                }
            }
            "u" => {
                let text = quoted(text).unwrap_or_else(|| text.to_owned());
                let units = text.encode_utf16().flat_map(u16::to_le_bytes);
                Pattern::Bytes {
                    bytes: units.collect(),
                    shown: 2,
                    step: 2,
                }
            }
            _ => {
                let mut bytes = Vec::new();
                // A string of characters stands for its bytes.
                let mut rest = text;
                while !rest.is_empty() && bytes.len() <= LONGEST {
                    if let Some((string, behind)) = rest
                        .strip_prefix('"')
                        .and_then(|inner| inner.split_once('"'))
                    {
                        bytes.extend_from_slice(string.as_bytes());
                        rest = behind.trim_start();
                        continue;
                    }
                    let end = super::line::words(rest)[0].len();
                    let value = self.value(&rest[..end])?;
                    bytes.extend_from_slice(&value.to_le_bytes()[..size as usize]);
                    rest = rest[end..].trim_start();
                }
                Pattern::Bytes {
                    bytes,
                    shown: size,
                    step: size,
                }
            }
        };
        match &pattern {
            Pattern::Bytes { bytes, .. } if bytes.is_empty() => Err(expected()),
            Pattern::Bytes { bytes, .. } if bytes.len() > LONGEST => {
                Err(wrong("s", "the pattern is too long"))
            }
            _ => Ok(pattern),
        }
    }
}
