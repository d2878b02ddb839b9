//! `s`: memory that holds a pattern.

use std::fmt::{self, Write};

use super::{
    memory::{bytes, numbers},
    modules::back_quoted,
};
use ntheap::process::Process;

/// What is searched for.
#[derive(Debug, Clone)]
pub(crate) enum Pattern {
    /// These bytes, at multiples of `step` from the beginning; shown as numbers of `shown` bytes.
    Bytes {
        bytes: Vec<u8>,
        shown: u64,
        step: u64,
    },
    /// Strings of characters of so many bytes, and at least so many.
    Strings { size: u64, shortest: u64 },
}

/// Where, and what is shown of what is found.
pub(crate) struct Matches<'m> {
    pub(crate) start: u64,
    /// In bytes.
    pub(crate) length: u64,
    pub(crate) pattern: Pattern,
    pub(crate) addresses_only: bool,
    /// Whether a place is searched.
    pub(crate) accepts: &'m dyn Fn(u64) -> bool,
}

impl fmt::Debug for Matches<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Matches")
            .field("start", &self.start)
            .field("length", &self.length)
            .finish_non_exhaustive()
    }
}

/// Prints each place that holds the pattern. The dump is read where it lies: nothing of it is copied.
///
/// # Errors
/// Those of `out`, which ends the search.
pub(crate) fn search_memory(
    process: &Process<'_, '_>,
    wanted: &Matches<'_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let end = wanted.start.saturating_add(wanted.length);
    let ranges = process.memory().ranges();
    let mut index = ranges.partition_point(|range| range.end() <= wanted.start);
    while let Some(range) = ranges.get(index).filter(|range| range.start < end) {
        let from = range.start.max(wanted.start);
        let to = range.end().min(end);
        index += 1;
        let bytes = &range.bytes[(from - range.start) as usize..(to - range.start) as usize];
        match &wanted.pattern {
            Pattern::Strings { size, shortest } => {
                strings(process, wanted, (from, bytes), *size, *shortest, out)?;
            }
            Pattern::Bytes {
                bytes: pattern,
                step,
                ..
            } => {
                let first = from.wrapping_sub(wanted.start) % step;
                let skip = (step - first) % step;
                let found = Found {
                    bytes,
                    pattern,
                    step: *step as usize,
                    at: skip as usize,
                };
                for at in found {
                    hit(process, wanted, from + at as u64, out)?;
                }
                // What begins in this range and goes on in the next one.
                let mut at = to.saturating_sub(pattern.len() as u64 - 1).max(from);
                while at < to && pattern.len() > 1 {
                    let aligned = at.wrapping_sub(wanted.start) % step == 0;
                    let whole = at.saturating_add(pattern.len() as u64) <= end;
                    let joined = ranges.get(index).is_some_and(|next| next.start == to);
                    if aligned && whole && joined {
                        let mut across = vec![0; pattern.len()];
                        let read = process.memory().read(at, &mut across);
                        if read == pattern.len() && across == *pattern {
                            hit(process, wanted, at, out)?;
                        }
                    }
                    at += 1;
                }
            }
        }
    }
    Ok(())
}

/// The places of a pattern in a range.
struct Found<'f> {
    bytes: &'f [u8],
    pattern: &'f [u8],
    step: usize,
    at: usize,
}

impl Iterator for Found<'_> {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        loop {
            let rest = self.bytes.get(self.at..)?;
            if rest.len() < self.pattern.len() {
                return None;
            }
            // The first byte alone is looked for at first.
            let first = self.pattern[0];
            let skip = match self.step {
                1 => rest.iter().position(|&byte| byte == first)?,
                step => rest.iter().step_by(step).position(|&byte| byte == first)? * step,
            };
            let at = self.at + skip;
            self.at = at + self.step;
            if self.bytes[at..].starts_with(self.pattern) {
                return Some(at);
            }
        }
    }
}

fn hit(
    process: &Process<'_, '_>,
    wanted: &Matches<'_>,
    at: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    const ROW: u64 = 16;
    if !(wanted.accepts)(at) {
        return Ok(());
    }
    if wanted.addresses_only {
        return writeln!(out, "0x{at:x}");
    }
    match wanted.pattern {
        Pattern::Bytes { shown: 1, .. } | Pattern::Strings { .. } => {
            bytes(process, at, ROW, ROW, out)
        }
        Pattern::Bytes { shown: 8, .. } => numbers(process, (at, 8), 2, 2, false, out),
        Pattern::Bytes { shown, .. } => {
            let count = ROW / shown;
            numbers(process, (at, shown), count, count, true, out)
        }
    }
}

/// `-sa`, `-su`: what looks like text.
fn strings(
    process: &Process<'_, '_>,
    wanted: &Matches<'_>,
    (start, bytes): (u64, &[u8]),
    size: u64,
    shortest: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let step = size as usize;
    let visible = |unit: &[u8]| {
        let (low, high) = (unit[0], unit.get(1).copied().unwrap_or(0));
        high == 0 && (0x20..=0x7e).contains(&low)
    };
    let mut at = (start % size) as usize;
    while at + step <= bytes.len() {
        let rest = &bytes[at..];
        let units = rest.chunks_exact(step);
        let length = units.take_while(|unit| visible(unit)).count();
        if length as u64 >= shortest.max(1) {
            let place = start + at as u64;
            if (wanted.accepts)(place) {
                if wanted.addresses_only {
                    writeln!(out, "0x{place:x}")?;
                } else {
                    let text = rest.chunks_exact(step).take(length);
                    let text: String = text.map(|unit| char::from(unit[0])).collect();
                    writeln!(out, "{}  \"{text}\"", back_quoted(place, process.bitness))?;
                }
            }
        }
        at += (length + 1) * step;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_found_where_they_are_aligned() {
        let places = |step, pattern: &[u8]| -> Vec<usize> {
            Found {
                bytes: b"abababcab",
                pattern,
                step,
                at: 0,
            }
            .collect()
        };
        assert_eq!(places(1, b"ab"), [0, 2, 4, 7]);
        assert_eq!(places(2, b"ab"), [0, 2, 4]);
        assert_eq!(places(1, b"abc"), [4]);
        assert_eq!(places(1, b"x"), [0; 0]);
        assert_eq!(places(4, b"abababcabx"), [0; 0]);
    }
}
