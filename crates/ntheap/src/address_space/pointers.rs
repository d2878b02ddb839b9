//! Looking for pointers: every aligned, pointer-sized word of memory.

use std::ops::ControlFlow;

use super::{AddressSpace, Range};
use crate::layout::Bitness;

/// The aligned, pointer-sized words of a range, with their addresses.
pub fn words<'r>(
    range: &Range<'r>,
    bitness: Bitness,
) -> impl Iterator<Item = (u64, u64)> + use<'r> {
    let size = bitness.pointer_size() as usize;
    let skip = (range.start.wrapping_neg() % size as u64) as usize;
    let bytes = range.bytes.get(skip..).unwrap_or(&[]);
    let start = range.start + skip as u64;
    bytes
        .chunks_exact(size)
        .enumerate()
        .map(move |(index, word)| {
            let value = match *word {
                [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => 0,
            };
            (start + (index * size) as u64, value)
        })
}

/// Calls `visit` with the place and the value of every aligned word of the memory whose value lies
/// in `wanted`, by ascending place, until it breaks off.
pub fn scan_pointers(
    memory: &AddressSpace<'_>,
    bitness: Bitness,
    wanted: std::ops::Range<u64>,
    visit: &mut dyn FnMut(u64, u64) -> ControlFlow<()>,
) -> ControlFlow<()> {
    memory.ranges().iter().try_for_each(|range| {
        words(range, bitness)
            .filter(|(_, value)| wanted.contains(value))
            .try_for_each(|(at, value)| visit(at, value))
    })
}
