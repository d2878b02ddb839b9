//! `_HEAP.Flags` in words.

/// What the bits mean, by ascending bit. The class (`0xf000`) is a number of its own.
const NAMES: [(u32, &str); 19] = [
    (0x0000_0001, "no serialization"),
    (0x0000_0002, "growable"),
    (0x0000_0004, "exceptions on failure"),
    (0x0000_0008, "zeroed memory"),
    (0x0000_0010, "no moving on resize"),
    (0x0000_0020, "tail checking"),
    (0x0000_0040, "free checking"),
    (0x0000_0080, "no coalescing of free blocks"),
    (0x0000_0100, "settable user value"),
    (0x0001_0000, "aligned to 16 bytes"),
    (0x0002_0000, "call tracing"),
    (0x0004_0000, "executable"),
    (0x0100_0000, "page heap"),
    (0x0200_0000, "protected"),
    (0x0800_0000, "stack traces"),
    (0x1000_0000, "no parameter validation"),
    (0x2000_0000, "validation on every call"),
    (0x4000_0000, "parameter validation"),
    (0x8000_0000, "lock supplied by the caller"),
];

/// Bits of the flags that `gflags` or a debugger set: they cost time or space, and change how
/// blocks look.
const DEBUG: u32 = 0x6902_00e0;

const CLASSES: [&str; 9] = [
    "process heap",
    "private heap",
    "kernel heap",
    "GDI heap",
    "user heap",
    "console heap",
    "desktop heap",
    "CSR shared heap",
    "CSR port heap",
];

/// What the flags that are set mean, by ascending bit.
///
/// ```
/// let words: Vec<_> = ntheap::heap::flag_words(0x0800_0002).collect();
/// assert_eq!(words, ["growable", "stack traces"]);
/// ```
pub fn flag_words(flags: u32) -> impl Iterator<Item = &'static str> {
    NAMES
        .into_iter()
        .filter(move |(bit, _)| flags & bit != 0)
        .map(|(_, word)| word)
}

/// The debug options among them.
pub fn debug_options(flags: u32) -> impl Iterator<Item = &'static str> {
    flag_words(flags & DEBUG)
}

/// The class that a heap was created with.
#[must_use]
pub fn class_name(flags: u32) -> Option<&'static str> {
    CLASSES.get((flags >> 12 & 0xf) as usize).copied()
}
