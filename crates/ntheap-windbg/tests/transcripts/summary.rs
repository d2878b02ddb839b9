//! `!heap`, `-s` and `-p` of a process: what stands above the rows, and what the extensions do where
//! their segment heap part did not start.

use ntheap::heap::Heap;

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, hex, key, words},
};

pub(crate) const FIRST: &[Correction] = &[
    known(
        "2015 extension: -s -h is the table of all heaps",
        |context| !context.newer && context.is("!heap -s -h"),
        table_of_all,
    ),
    known(
        "empty line where a message about segment heaps was left out",
        |context| !context.is("!heap -s") && context.command.leaves_out_messages(),
        |context, theirs| {
            let ours = &context.ours.lines;
            let leading =
                |lines: &[String]| lines.iter().take_while(|line| line.is_empty()).count();
            let nothing = ours.len() == 1;
            let extra = match leading(theirs) == theirs.len() {
                true if nothing => theirs.len() - 1,
                true => 0,
                false => leading(theirs).saturating_sub(leading(ours)),
            };
            let known = context.has_segment_heaps() || nothing;
            theirs.drain(..if known { extra } else { 0 });
            known && extra > 0
        },
    ),
];

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "LFH key can't be told without symbols while no LFH is in use",
        |context| context.is("!heap -s"),
        |context, theirs| {
            context.ours.rewrite(theirs, |theirs, ours| {
                let unknown = ours.ends_with("unknown (no LFH in use)");
                (unknown && theirs.starts_with("LFH Key ")).then(|| ours.to_owned())
            })
        },
    ),
    known(
        "-s: large blocks of segment heaps not counted (2023, x86)",
        |context| context.is("!heap -s") && context.has_segment_heaps(),
        |context, theirs| {
            context.ours.rewrite(theirs, |theirs, ours| {
                let handle = hex(key(theirs))?;
                let Heap::Segment(heap) = context.model.heaps.get(handle).ok()? else {
                    return None;
                };
                let (reserved, committed) = (heap.header.reserved, heap.header.committed);
                let head = ours.get(..ours.len().checked_sub(NUMBERS)?)?;
                let wrong = format!("{head} {:8} {:10} ", reserved >> 10, committed >> 10);
                (theirs == wrong).then(|| ours.to_owned())
            })
        },
    ),
    known(
        "preamble of -s missing: the extension could not start its segment heap part",
        |context| context.is("!heap -s") && !context.is("!heap -s -h"),
        preamble,
    ),
    known(
        "-s -h H -a lists the virtual blocks above the table (2015)",
        |context| !context.newer && context.is("!heap -s"),
        |context, theirs| {
            let width = context.digits();
            let blocks = || {
                context
                    .model
                    .nt_heaps()
                    .flat_map(|heap| &heap.virtual_blocks)
            };
            context.ours.drop(theirs, |line| {
                blocks().any(|block| {
                    let start = block.element;
                    [block.committed, block.reserved].into_iter().any(|size| {
                        let range = format!("{start:0width$x} - {:0width$x}", start + size);
                        line == format!("Virtual block: {range} (size {size:0width$x})")
                    })
                })
            })
        },
    ),
    known(
        "caption missing: the first heap is a segment heap",
        |context| context.has_segment_heaps(),
        |context, theirs| {
            let first = context.process.heaps.first().map(|heap| heap.handle);
            let ours = &context.ours.lines[0];
            let missing = first.is_some_and(|first| context.is_segment_heap(first))
                && ours.starts_with("Index ")
                && !theirs.contains(ours);
            if missing {
                theirs.insert(0, ours.clone());
            }
            missing
        },
    ),
    known(
        "list of old form: the extension could not start its segment heap part",
        |context| context.typed == "!heap",
        |context, theirs| {
            let caption = |line: &String| line.contains("Index   Address");
            // The number and the handle of each heap; its debugging options are words.
            let rows = theirs.iter().skip_while(|line| !caption(line)).skip(1);
            let rows: Vec<&String> = rows.filter(|line| !line.is_empty()).collect();
            let heaps = context.process.heaps.iter().zip(1..);
            let rest = rows.iter().zip(heaps).map(|(row, (heap, index))| {
                row.strip_prefix(&format!("{index:3}:   {:08x} ", heap.handle))
            });
            let words = rest
                .flatten()
                .filter(|rest| !rest.contains(char::is_numeric))
                .count();
            let count = context.process.heaps.len();
            let same = theirs.iter().any(caption) && words == count && rows.len() == count;
            context.instead(theirs, same)
        },
    ),
    known(
        "flags of a segment heap read as an NT heap's",
        |context| context.typed == "!heap -p",
        |context, theirs| {
            let mut changed = false;
            for index in 1..theirs.len() {
                let handle = theirs[index - 1].strip_prefix(" - ").and_then(hex);
                let segment = handle.is_some_and(|handle| context.is_segment_heap(handle));
                if segment && theirs[index].starts_with("          HEAP_") {
                    theirs[index] = "          ".to_owned();
                    changed = true;
                }
            }
            changed
        },
    ),
    known(
        "ShutDownFlags: known by verifier.dll's symbols alone",
        |context| context.typed == "!heap -p",
        |context, theirs| {
            const SHUT_DOWN: &str = "    ShutDownFlags: ffffffff";
            let at = theirs.iter().position(|line| line == SHUT_DOWN);
            let at = at
                .filter(|at| *at > 0 && theirs[at - 1].is_empty() && !context.ours.has(SHUT_DOWN));
            at.map(|at| theirs.drain(at - 1..=at)).is_some()
        },
    ),
];

/// Width of the two numbers behind the row of a segment heap.
const NUMBERS: usize = 21;

/// Where the table of `-s` begins, with the line of the LFH key or what stands in its place.
pub(crate) fn table(lines: &[String]) -> Option<usize> {
    let starts = [
        "NtGlobalFlag",
        "LFH Key",
        "Termination",
        "Heap     Flags   Reserv",
    ];
    let begins = |line: &String| {
        starts
            .iter()
            .any(|start| line.trim_start().starts_with(start))
    };
    lines.iter().position(begins)
}

/// Puts our preamble in place of theirs, where it was left out or is that of no segment heap.
fn preamble(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let ours = &context.ours.lines;
    let (Some(wrong), Some(right)) = (table(theirs), table(ours)) else {
        return false;
    };
    let numbers = |line: &String| words(line).into_iter().any(|word| hex(word).is_some());
    let told = theirs[..wrong].iter().any(numbers);
    let banner = theirs[..wrong].iter().any(|line| line.contains("BELOW"));
    let missing =
        !told && (context.has_segment_heaps() || !banner) && theirs[..wrong] != ours[..right];
    if missing {
        theirs.splice(..wrong, ours[..right].iter().cloned());
    }
    missing
}

/// 2015: `-s -h H` prints the table of all heaps, without its preamble, and with the errors that it
/// has there.
fn table_of_all(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let verbose = context.typed.ends_with(" -v");
    let typed = if verbose { "!heap -s -v" } else { "!heap -s" };
    context.instead(
        theirs,
        context.is_proved_for(typed.to_owned(), theirs.clone()),
    )
}
