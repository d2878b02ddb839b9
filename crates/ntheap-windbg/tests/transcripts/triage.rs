//! `!heap -triage`.

use ntheap::{
    layout::Bitness,
    process::{HeapKind, Process},
};

/// The class of a difference.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    newer: bool,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let (segment_heaps, rest) = split(process, actual)?;
    if !newer && segment_heaps && expected.trim_start_matches('\n') == rest {
        return Some("-triage: segment heaps not looked into");
    }
    // Ours is that every heap is sound.
    const START: &str = "** !heap: The triage module could not be initialized. Some symbols\n          \
        may be missing. Check the symbol path, reload symbols,\n          and try again.\n\
        ** !heap: Error details: Couldn't find ntdll!_HEAP";
    let analyzed = actual
        .lines()
        .filter(|line| line.starts_with("** !heap: Analyzing heap at "))
        .count();
    let heaps = process.heaps.iter();
    let nt = heaps.filter(|heap| heap.kind != HeapKind::Segment).count();
    let sound = actual.contains("** !heap: The extension did not find any heap errors.\n");
    let missing = expected.strip_prefix(START)?;
    let one_line = missing.trim_end().lines().count() == 1;
    (one_line && sound && analyzed == nt)
        .then_some("-triage does not start for want of a type's field")
}

/// Our report without the paragraphs of the segment heaps, of which each is to be sound; whether there
/// are any.
fn split<'t>(process: &Process<'_, '_>, actual: &'t str) -> Option<(bool, &'t str)> {
    let width = match process.bitness {
        Bitness::X64 => 16,
        Bitness::X86 => 8,
    };
    let mut rest = actual;
    let mut any = false;
    let heaps = process.heaps.iter();
    for heap in heaps.filter(|heap| heap.kind == HeapKind::Segment) {
        let paragraph = format!(
            "\n** Starting segment heap triage on 0x{:0width$x}\n\n\
             ** Segment heap triage ended with no errors.\n",
            heap.handle
        );
        rest = rest.strip_prefix(paragraph.as_str())?;
        any = true;
    }
    Some((any, rest))
}
