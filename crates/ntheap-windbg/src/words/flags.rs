//! Names of `_HEAP.Flags`.

use std::fmt::{self, Write};

/// `HEAP_CLASS_*`: four bits that hold a number.
const CLASS_MASK: u32 = 0xf000;
const CLASS_SHIFT: u32 = 12;

const NAMES: &[(u32, &str)] = &[
    (0x0000_0001, "HEAP_NO_SERIALIZE"),
    (0x0000_0002, "HEAP_GROWABLE"),
    (0x0000_0004, "HEAP_GENERATE_EXCEPTIONS"),
    (0x0000_0008, "HEAP_ZERO_MEMORY"),
    (0x0000_0010, "HEAP_REALLOC_IN_PLACE_ONLY"),
    (0x0000_0020, "HEAP_TAIL_CHECKING_ENABLED"),
    (0x0000_0040, "HEAP_FREE_CHECKING_ENABLED"),
    (0x0000_0080, "HEAP_DISABLE_COALESCE_ON_FREE"),
];

/// Writes the names of the flags that are set, each with a space behind it.
pub(super) fn names(flags: u32, classes: bool, out: &mut dyn Write) -> fmt::Result {
    for (bit, name) in NAMES {
        if flags & bit != 0 {
            write!(out, "{name} ")?;
        }
    }
    let class = (flags & CLASS_MASK) >> CLASS_SHIFT;
    if classes && class != 0 {
        write!(out, "HEAP_CLASS_{class} ")?;
    }
    Ok(())
}
