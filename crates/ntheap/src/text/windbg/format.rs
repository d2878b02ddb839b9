//! Number formats that the commands share.

use crate::layout::Bitness;

/// A pointer with all its digits: 8 or 16.
pub(crate) fn pointer(value: u64, bitness: Bitness) -> String {
    match bitness {
        Bitness::X86 => format!("{value:08x}"),
        Bitness::X64 => format!("{value:016x}"),
    }
}
