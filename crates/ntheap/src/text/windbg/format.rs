//! Number formats that the commands share.

use crate::layout::Bitness;

/// Digits of a pointer.
pub(crate) const fn digits(bitness: Bitness) -> usize {
    match bitness {
        Bitness::X86 => 8,
        Bitness::X64 => 16,
    }
}
