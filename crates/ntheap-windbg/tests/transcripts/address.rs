//! Proofs about `!address`.

use ntheap::process::{HeapKind, Process};

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(&text.replace('`', ""), 16).ok()
}

/// The debugger misses types of the environment block, and counts what it can't map as unknown.
pub(crate) fn summary(expected: &str, actual: &str) -> Option<&'static str> {
    /// What is not compared as it stands: the two rows' sums, and the sorted rest.
    fn parts(text: &str, heaps: bool) -> Option<(u64, u64, Vec<&str>)> {
        let (mut count, mut size, mut rest) = (0, 0, Vec::new());
        let lost = |line: &str| {
            line.starts_with("Other ")
                || line.starts_with("<unknown> ")
                || heaps && line.starts_with("Heap ")
        };
        let mut largest = false;
        for line in text.lines() {
            largest |= line.starts_with("--- Largest");
            if lost(line) {
                let mut words = line.split_whitespace().skip(1);
                if !largest {
                    count += words.next()?.parse::<u64>().ok()?;
                    size += hex(words.next()?)?;
                }
            } else if !line.starts_with("*** Failure in mapping ") {
                rest.push(line);
            }
        }
        rest.sort_unstable();
        Some((count, size, rest))
    }
    let heaps = expected.contains("*** Failure in mapping Heap");
    let class = if heaps {
        "!address: segments of segment heaps not mapped"
    } else if expected.contains("*** Failure in mapping Other") {
        "!address -summary: regions of the environment block not mapped"
    } else {
        return None;
    };
    // With fewer cuts there are fewer regions.
    let (theirs, ours) = (parts(expected, heaps)?, parts(actual, heaps)?);
    (theirs.1 == ours.1 && (heaps || theirs.0 == ours.0) && theirs.2 == ours.2).then_some(class)
}

/// Of segment heaps the debugger maps nothing but the handle's region.
pub(crate) fn region(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let kept = |text: &str| -> Vec<String> {
        let lines = text.lines();
        let lines = lines.filter(|l| !l.starts_with("Usage:") && !l.starts_with("More info:"));
        lines.map(str::to_owned).collect()
    };
    let segment_heaps = process.heaps.iter().any(|h| h.kind == HeapKind::Segment);
    (segment_heaps
        && expected.contains("<unknown>")
        && actual.contains("heap owning the address")
        && kept(expected) == kept(actual))
    .then_some("!address: segments of segment heaps not mapped")
}
