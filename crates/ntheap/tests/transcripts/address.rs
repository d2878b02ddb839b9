//! Proofs about `!address -summary` and `!heap -l`.

use std::collections::BTreeSet;

use ntheap::{
    blocks::State,
    heap::{Heap, find::block_at},
    process::{HeapKind, Process},
};

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

/// The debugger does not find what points to a block whose user part begins a page or is shorter
/// than a pointer, and so loses the blocks that only such blocks lead to.
pub(crate) fn unreachable(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
    line: impl Fn(&str, &str) -> Option<&'static str>,
) -> Option<&'static str> {
    let row = |line: &&str| line.len() > 60 && hex(line.split(' ').next().unwrap_or("")).is_some();
    let head = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|l| !row(l));
        lines
            .filter(|l| !l.ends_with("blocks were detected."))
            .map(str::to_owned)
            .collect()
    };
    let theirs: Vec<&str> = expected.lines().filter(row).collect();
    let ours: Vec<&str> = actual.lines().filter(row).collect();
    let known: BTreeSet<&str> = theirs.iter().copied().collect();
    // Everything that is lost in truth, they say is lost.
    let mut excused = false;
    for ours in &ours {
        let entry = ours.split(' ').next()?;
        let Some(same) = theirs.iter().find(|theirs| theirs.starts_with(entry)) else {
            // The heap's own list of segments is no use of a block.
            if !is_first_entry(process, hex(entry)?) {
                return None;
            }
            excused = true;
            continue;
        };
        if !known.contains(ours) {
            let same = with_segment(same, ours).unwrap_or_else(|| (*same).to_owned());
            if same != **ours {
                line(&same, ours)?;
            }
            excused = true;
        }
    }
    // What they add is such a block, or in a block that they add.
    let kept: BTreeSet<&str> = ours.iter().filter_map(|l| l.split(' ').next()).collect();
    let mut added: Vec<(u64, u64, bool)> = Vec::new();
    let pointer = process.bitness.pointer_size();
    let mut free_slots = false;
    for theirs in &theirs {
        let mut words = theirs.split_whitespace();
        let (entry, user) = (words.next()?, hex(words.next()?)?);
        if kept.contains(entry) {
            continue;
        }
        let words: Vec<&str> = theirs.split_whitespace().collect();
        let unused = words[6..].iter().find_map(|word| hex(word)).unwrap_or(0);
        let (start, size) = (hex(entry)?, hex(words[4])?);
        let requested = size.saturating_sub(unused);
        let free = theirs.contains("LFH;busy")
            && block_at(process, start).is_some_and(|block| block.state != State::Busy);
        free_slots |= free;
        added.push((
            start,
            start + size,
            free || user >> 12 != start >> 12 || requested < pointer,
        ));
    }
    if added.is_empty() && !excused {
        return None;
    }
    // Free slots that they take for busy are in their number of blocks too.
    let heads = [head(expected), head(actual)].map(|mut head| {
        head.retain(|line| !(free_slots && line.starts_with("Scanning references from")));
        head
    });
    if heads[0] != heads[1] {
        return None;
    }
    let mut proved: Vec<bool> = added.iter().map(|(.., own)| *own).collect();
    loop {
        let mut changed = false;
        for index in 0..added.len() {
            if !proved[index] {
                continue;
            }
            let (start, end, _) = added[index];
            for at in (start..end).step_by(pointer as usize) {
                let value = process.memory().pointer(at, process.bitness).unwrap_or(0);
                for (target, (start, end, _)) in added.iter().enumerate() {
                    if (*start..*end).contains(&value) && !proved[target] {
                        proved[target] = true;
                        changed = true;
                    }
                }
            }
        }
        if !changed {
            break;
        }
    }
    proved
        .iter()
        .all(|proved| *proved)
        .then_some("-l: blocks at the start of a page or shorter than a pointer called unreachable")
}

/// The debugger tells the segment by the entry alone, and some lie a segment's alignment off: their
/// row with the segment of ours.
fn with_segment(theirs: &str, ours: &str) -> Option<String> {
    let [wrong, right] = [theirs, ours].map(|line| line.split_whitespace().nth(3));
    let (wrong, right) = (wrong?, right?);
    let heap = ours.split_whitespace().nth(2)?;
    let distance = hex(right)?.abs_diff(hex(wrong)?);
    if !(wrong == heap && distance < 0x1000 || distance == 0x1_0000) {
        return None;
    }
    // Behind the heap, which can have the same number.
    let at = theirs.match_indices(wrong).last()?.0;
    Some(format!(
        "{}{right}{}",
        &theirs[..at],
        &theirs[at + wrong.len()..]
    ))
}

/// Whether an entry is the first of a segment, which the segment's own header points to.
fn is_first_entry(process: &Process<'_, '_>, entry: u64) -> bool {
    process
        .heaps
        .iter()
        .any(|heap| match Heap::open(process, heap) {
            Heap::Nt(heap) => heap.segments.iter().any(|s| s.first_entry == entry),
            _ => false,
        })
}
