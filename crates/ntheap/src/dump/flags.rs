//! `MINIDUMP_TYPE`: what the writer of a dump was asked to put into it.

/// The flags by their names in `minidumpapiset.h`.
const NAMES: [(u64, &str); 25] = [
    (0x0000_0001, "MiniDumpWithDataSegs"),
    (0x0000_0002, "MiniDumpWithFullMemory"),
    (0x0000_0004, "MiniDumpWithHandleData"),
    (0x0000_0008, "MiniDumpFilterMemory"),
    (0x0000_0010, "MiniDumpScanMemory"),
    (0x0000_0020, "MiniDumpWithUnloadedModules"),
    (0x0000_0040, "MiniDumpWithIndirectlyReferencedMemory"),
    (0x0000_0080, "MiniDumpFilterModulePaths"),
    (0x0000_0100, "MiniDumpWithProcessThreadData"),
    (0x0000_0200, "MiniDumpWithPrivateReadWriteMemory"),
    (0x0000_0400, "MiniDumpWithoutOptionalData"),
    (0x0000_0800, "MiniDumpWithFullMemoryInfo"),
    (0x0000_1000, "MiniDumpWithThreadInfo"),
    (0x0000_2000, "MiniDumpWithCodeSegs"),
    (0x0000_4000, "MiniDumpWithoutAuxiliaryState"),
    (0x0000_8000, "MiniDumpWithFullAuxiliaryState"),
    (0x0001_0000, "MiniDumpWithPrivateWriteCopyMemory"),
    (0x0002_0000, "MiniDumpIgnoreInaccessibleMemory"),
    (0x0004_0000, "MiniDumpWithTokenInformation"),
    (0x0008_0000, "MiniDumpWithModuleHeaders"),
    (0x0010_0000, "MiniDumpFilterTriage"),
    (0x0020_0000, "MiniDumpWithAvxXStateContext"),
    (0x0040_0000, "MiniDumpWithIptTrace"),
    (0x0080_0000, "MiniDumpScanInaccessiblePartialPages"),
    (0x0100_0000, "MiniDumpFilterWriteCombinedMemory"),
];

/// The names of the flags that are set, by ascending bit; bits without a name are left out.
///
/// ```
/// let names: Vec<_> = ntheap::dump::flag_names(0x802).collect();
/// assert_eq!(names, ["MiniDumpWithFullMemory", "MiniDumpWithFullMemoryInfo"]);
/// ```
pub fn flag_names(flags: u64) -> impl Iterator<Item = &'static str> {
    NAMES
        .into_iter()
        .filter(move |(bit, _)| flags & bit != 0)
        .map(|(_, name)| name)
}
