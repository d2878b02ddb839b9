//! `NtGlobalFlag`: its bits by the names that `gflags` uses.

/// A bit of `NtGlobalFlag`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GlobalFlag {
    /// The bit.
    pub bit: u32,
    /// Abbreviation on `gflags`' command line, for instance `ust`.
    pub abbreviation: &'static str,
    /// What `gflags` prints for it.
    pub description: &'static str,
    /// What `!heap -s` prints for it, where it concerns heaps.
    pub heap_aid: Option<&'static str>,
}

const fn flag(
    bit: u32,
    abbreviation: &'static str,
    description: &'static str,
    heap_aid: Option<&'static str>,
) -> GlobalFlag {
    GlobalFlag {
        bit,
        abbreviation,
        description,
        heap_aid,
    }
}

/// The public flags.
const FLAGS: &[GlobalFlag] = &[
    flag(0x1, "soe", "Stop On Exception", None),
    flag(0x2, "sls", "Show Loader Snaps", None),
    flag(0x4, "dic", "Debug Initial Command", None),
    flag(0x8, "shg", "Stop on Hung GUI", None),
    flag(
        0x10,
        "htc",
        "Enable heap tail checking",
        Some("tail checking"),
    ),
    flag(
        0x20,
        "hfc",
        "Enable heap free checking",
        Some("free checking"),
    ),
    flag(
        0x40,
        "hpc",
        "Enable heap parameter checking",
        Some("validate parameters"),
    ),
    flag(
        0x80,
        "hvc",
        "Enable heap validation on call",
        Some("validate on call"),
    ),
    flag(0x100, "vrf", "Enable application verifier", None),
    flag(0x400, "ptg", "Enable pool tagging", None),
    flag(0x800, "htg", "Enable heap tagging", Some("heap tagging")),
    flag(
        0x1000,
        "ust",
        "Create user mode stack trace database",
        Some("stack back traces"),
    ),
    flag(
        0x2000,
        "kst",
        "Create kernel mode stack trace database",
        None,
    ),
    flag(
        0x4000,
        "otl",
        "Maintain a list of objects for each type",
        None,
    ),
    flag(
        0x8000,
        "htd",
        "Enable heap tagging by DLL",
        Some("heap tagging by DLL"),
    ),
    flag(0x10000, "dse", "Disable stack extensions", None),
    flag(0x20000, "d32", "Enable debugging of Win32 Subsystem", None),
    flag(
        0x40000,
        "ksl",
        "Enable loading of kernel debugger symbols",
        None,
    ),
    flag(0x80000, "dps", "Disable paging of kernel stacks", None),
    flag(0x10_0000, "scb", "Enable system critical breaks", None),
    flag(
        0x20_0000,
        "dhc",
        "Disable Heap Coalesce on Free",
        Some("disable coalescing"),
    ),
    flag(0x40_0000, "ece", "Enable close exception", None),
    flag(0x80_0000, "eel", "Enable exception logging", None),
    flag(0x100_0000, "eot", "Enable object handle type tagging", None),
    flag(
        0x200_0000,
        "hpa",
        "Place heap allocations at ends of pages",
        None,
    ),
    flag(0x400_0000, "dwl", "Debug WINLOGON", None),
    flag(
        0x800_0000,
        "ddp",
        "Disable kernel mode DbgPrint and KdPrint output",
        None,
    ),
    flag(
        0x1000_0000,
        "cse",
        "Early critical section event creation",
        None,
    ),
    flag(0x2000_0000, "ltd", "Load DLLs top-down", None),
    flag(0x4000_0000, "bhd", "Enable bad handles detection", None),
    flag(
        0x8000_0000,
        "dpd",
        "Disable protected DLL verification",
        None,
    ),
];

/// The flags that are set in `value`, by ascending bit.
pub fn global_flags(value: u32) -> impl Iterator<Item = &'static GlobalFlag> {
    FLAGS.iter().filter(move |flag| value & flag.bit != 0)
}
