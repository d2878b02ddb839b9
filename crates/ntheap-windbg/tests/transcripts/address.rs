//! `!address`: what the debugger does not map.

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, key, words},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "!address -summary: regions of the environment block not mapped",
        |context| context.typed == SUMMARY,
        |context, theirs| {
            let failed = theirs
                .iter()
                .any(|line| line.starts_with("*** Failure in mapping Other"));
            failed && summary(context, theirs, false) == Some(true)
        },
    ),
    known(
        "!address: segments of segment heaps not mapped",
        |context| context.is("!address ") && context.has_segment_heaps(),
        |context, theirs| {
            let failed = theirs
                .iter()
                .any(|line| line.starts_with("*** Failure in mapping Heap"));
            match context.typed == SUMMARY {
                true => failed && summary(context, theirs, true) == Some(true),
                false => region(context, theirs),
            }
        },
    ),
];

const SUMMARY: &str = "!address -summary";
const FAILURE: &str = "*** Failure in mapping ";

fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(&text.replace('`', ""), 16).ok()
}

/// The debugger misses types of the environment block, and counts what it can't map as unknown; so
/// it does with heaps that it can't read.
fn summary(context: &Context<'_, '_>, theirs: &mut Lines, heaps: bool) -> Option<bool> {
    /// What is not compared as it stands: these rows' sums, and the sorted rest.
    fn parts(lines: &[String], heaps: bool) -> Option<(u64, u64, Vec<&String>)> {
        let (mut count, mut size, mut rest) = (0, 0, Vec::new());
        let mut largest = false;
        for line in lines {
            largest |= line.starts_with("--- Largest");
            let lost = matches!(key(line), "Other" | "<unknown>") || heaps && key(line) == "Heap";
            if !lost {
                rest.extend((!line.starts_with(FAILURE)).then_some(line));
            } else if !largest {
                let words = words(line);
                count += words.get(1)?.parse::<u64>().ok()?;
                size += hex(words.get(2)?)?;
            }
        }
        rest.sort_unstable();
        Some((count, size, rest))
    }
    // With fewer cuts there are fewer regions.
    let (wrong, right) = (parts(theirs, heaps)?, parts(&context.ours.lines, heaps)?);
    let proved = wrong.1 == right.1 && (heaps || wrong.0 == right.0) && wrong.2 == right.2;
    Some(context.instead(theirs, proved))
}

/// Of segment heaps the debugger maps nothing but the handle's region.
fn region(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    fn kept(lines: &[String]) -> Vec<&String> {
        let advice = |line: &&String| line.starts_with("Usage:") || line.starts_with("More info:");
        lines.iter().filter(|line| !advice(line)).collect()
    }
    let ours = &context.ours.lines;
    let told = |lines: &[String], text| lines.iter().any(|line| line.contains(text));
    context.instead(
        theirs,
        told(theirs, "<unknown>")
            && told(ours, "heap owning the address")
            && kept(theirs) == kept(ours),
    )
}
