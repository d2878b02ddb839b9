//! `!heap`, `-s` and `-p` of a process: what stands above the rows, and what the extensions do where
//! their segment heap part did not start.

use ntheap::heap::Heap;

use crate::{
    context::Context,
    corrections::{Correction, correct},
    lines::{Lines, hex, key, words},
};

pub(crate) const FIRST: &[Correction] = &[
    Correction {
        class: "2015 extension: -s -h is the table of all heaps",
        applies: |context| !context.newer && context.is("!heap -s -h"),
        correct: table_of_all,
    },
    Correction {
        class: "empty line where a message about segment heaps was left out",
        applies: |context| !context.is("!heap -s") && context.command.leaves_out_messages(),
        correct: |context, theirs| {
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
    },
];

pub(crate) const CORRECTIONS: &[Correction] = &[
    Correction {
        class: "LFH key can't be told without symbols while no LFH is in use",
        applies: |context| context.is("!heap -s"),
        correct: |context, theirs| {
            context.ours.rewrite(theirs, |theirs, ours| {
                let unknown = ours.ends_with("unknown (no LFH in use)");
                (unknown && theirs.starts_with("LFH Key ")).then(|| ours.to_owned())
            })
        },
    },
    Correction {
        class: "-s: large blocks of segment heaps not counted (2023, x86)",
        applies: |context| context.is("!heap -s") && context.has_segment_heaps(),
        correct: |context, theirs| {
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
    },
    Correction {
        class: "preamble of -s missing: the extension could not start its segment heap part",
        applies: |context| context.is("!heap -s") && !context.is("!heap -s -h"),
        correct: preamble,
    },
    Correction {
        class: "-s -h H -a lists the virtual blocks above the table (2015)",
        applies: |context| !context.newer && context.is("!heap -s"),
        correct: |context, theirs| {
            let known = |line: &str| {
                let start = hex(line.strip_prefix("Virtual block: ")?.split(' ').next()?)?;
                let heaps = context.model.nt_heaps();
                let mut blocks = heaps.flat_map(|heap| &heap.virtual_blocks);
                Some(blocks.any(|block| block.element == start))
            };
            context.ours.drop(theirs, |line| known(line) == Some(true))
        },
    },
    Correction {
        class: "caption missing: the first heap is a segment heap",
        applies: |context| context.has_segment_heaps(),
        correct: |context, theirs| {
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
    },
    Correction {
        class: "list of old form: the extension could not start its segment heap part",
        applies: |context| context.typed == "!heap",
        correct: |context, theirs| {
            let old = theirs.iter().any(|line| line.contains("Index   Address"));
            let shown = |lines: &[String]| -> Vec<u64> {
                let handle = |line: &String| {
                    words(line)
                        .into_iter()
                        .filter_map(hex)
                        .find(|n| *n > 0xffff)
                };
                lines.iter().filter_map(handle).collect()
            };
            let same = old && shown(theirs) == shown(&context.ours.lines);
            if same {
                theirs.clone_from(&context.ours.lines);
            }
            same
        },
    },
    Correction {
        class: "flags of a segment heap read as an NT heap's",
        applies: |context| context.typed == "!heap -p",
        correct: |context, theirs| {
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
    },
    Correction {
        class: "ShutDownFlags: known by verifier.dll's symbols alone",
        applies: |context| context.typed == "!heap -p",
        correct: |context, theirs| {
            const SHUT_DOWN: &str = "    ShutDownFlags: ffffffff";
            let at = theirs.iter().position(|line| line == SHUT_DOWN);
            let at = at
                .filter(|at| *at > 0 && theirs[at - 1].is_empty() && !context.ours.has(SHUT_DOWN));
            at.map(|at| theirs.drain(at - 1..=at)).is_some()
        },
    },
];

/// Width of the two numbers behind the row of a segment heap.
const NUMBERS: usize = 21;

/// Where the table of `-s` begins, with the line of the LFH key or what stands in its place.
fn table(lines: &[String]) -> Option<usize> {
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
    let Some(table) = context.output_of(typed) else {
        return false;
    };
    let table = Context::with_typed(context.model, context.command, typed.to_owned(), table);
    let same = correct(&table, &mut theirs.clone());
    if same {
        theirs.clone_from(&context.ours.lines);
        let mut used = context.used.borrow_mut();
        used.extend(
            table
                .used
                .take()
                .into_iter()
                .filter(|class| !class.starts_with("preamble")),
        );
    }
    same
}
