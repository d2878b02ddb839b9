//! Number formats that the commands share.

use ntheap::layout::Bitness;

/// Digits of a pointer.
pub(crate) const fn digits(bitness: Bitness) -> usize {
    match bitness {
        Bitness::X86 => 8,
        Bitness::X64 => 16,
    }
}

/// A pointer with all its digits.
pub(crate) fn pointer(value: u64, bitness: Bitness) -> String {
    format!("{value:0width$x}", width = digits(bitness))
}
