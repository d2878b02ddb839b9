//! Number formats that the commands share.

use ntheap::layout::Bitness;

/// What stands for paths and names where they are left out.
pub(crate) const NOT_SHOWN: &str = "<not shown: --private>";

/// The last part of a path; with `whole` all of it.
pub(crate) fn shown_path(path: &str, whole: bool) -> &str {
    match whole {
        true => path,
        false => path.rsplit(['\\', '/']).next().unwrap_or(path),
    }
}

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
