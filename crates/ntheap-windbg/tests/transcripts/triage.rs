//! `!heap -triage`.

use ntheap::process::HeapKind;

use crate::{
    context::Context,
    corrections::{Correction, known},
    lines::{Lines, split},
};

pub(crate) const CORRECTIONS: &[Correction] = &[
    known(
        "-triage: segment heaps not looked into",
        |context| is_triage(context) && !context.newer && context.has_segment_heaps(),
        |context, theirs| {
            let rest = without_segment_heaps(context);
            let shown = theirs.iter().skip_while(|line| line.is_empty());
            context.instead(theirs, rest.is_some_and(|rest| shown.eq(rest.iter())))
        },
    ),
    known(
        "-triage does not start for want of a type's field",
        is_triage,
        |context, theirs| {
            context.instead(
                theirs,
                not_started(context, &theirs.join("\n")) == Some(true),
            )
        },
    ),
];

fn is_triage(context: &Context<'_, '_>) -> bool {
    context.typed == "!heap -triage"
}

/// Our report without the paragraphs of the segment heaps, of which each is to be sound.
fn without_segment_heaps(context: &Context<'_, '_>) -> Option<Lines> {
    let text = context.ours.lines.join("\n");
    let mut rest = text.as_str();
    let width = context.digits();
    let heaps = context.process.heaps.iter();
    for heap in heaps.filter(|heap| heap.kind == HeapKind::Segment) {
        let paragraph = format!(
            "\n** Starting segment heap triage on 0x{:0width$x}\n\n\
             ** Segment heap triage ended with no errors.\n",
            heap.handle
        );
        rest = rest.strip_prefix(paragraph.as_str())?;
    }
    Some(split(rest))
}

/// Whether the output is that the module could not be initialized, while ours is that every heap is
/// sound.
fn not_started(context: &Context<'_, '_>, theirs: &str) -> Option<bool> {
    const START: &str = "** !heap: The triage module could not be initialized. Some symbols\n          \
        may be missing. Check the symbol path, reload symbols,\n          and try again.\n\
        ** !heap: Error details: Couldn't find ntdll!_HEAP";
    let ours = &context.ours;
    let lines = ours.lines.iter();
    let analyzed = lines
        .filter(|line| line.starts_with("** !heap: Analyzing heap at "))
        .count();
    let heaps = context.process.heaps.iter();
    let nt = heaps.filter(|heap| heap.kind != HeapKind::Segment).count();
    let sound = ours.has("** !heap: The extension did not find any heap errors.");
    without_segment_heaps(context)?;
    let missing = theirs.trim_start_matches('\n').strip_prefix(START)?;
    Some(missing.trim_end().lines().count() == 1 && sound && analyzed == nt)
}
