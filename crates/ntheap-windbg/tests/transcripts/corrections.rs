//! The known errors of the debugger, each as what takes it out of the debugger's output.
//!
//! A correction rewrites the debugger's lines into what it would have printed without that one
//! error. It may look at our blocks to know what is right, but changes a line only if what stands
//! there is what the error is bound to print: the same bytes misread, the same blocks missed. The
//! table is applied until nothing changes, so that errors may come together, in one output as well as
//! in one line. What is then not equal to our output is not proved.

use std::collections::BTreeSet;

use crate::{
    address,
    context::Context,
    entries, find,
    lines::{Lines, split},
    lists, names, regions, reports, stat, summary, triage, unreachable, xp,
};

/// A known error. `docs/fidelity.md` has a row for each class.
pub(crate) struct Correction {
    pub(crate) class: &'static str,
    /// Whether the command and the dump can show it.
    pub(crate) applies: fn(&Context<'_, '_>) -> bool,
    /// Takes it out of the debugger's lines, and tells whether it was there.
    pub(crate) correct: fn(&Context<'_, '_>, &mut Lines) -> bool,
}

/// A row of the table.
pub(crate) const fn known(
    class: &'static str,
    applies: fn(&Context<'_, '_>) -> bool,
    correct: fn(&Context<'_, '_>, &mut Lines) -> bool,
) -> Correction {
    Correction {
        class,
        applies,
        correct,
    }
}

/// Errors of single lines first: what makes a whole output again wants the rest to be right.
const TABLE: &[&[Correction]] = &[
    summary::FIRST,
    xp::CORRECTIONS,
    names::CORRECTIONS,
    entries::CORRECTIONS,
    regions::CORRECTIONS,
    find::CORRECTIONS,
    lists::CORRECTIONS,
    stat::CORRECTIONS,
    reports::CORRECTIONS,
    summary::CORRECTIONS,
    unreachable::CORRECTIONS,
    triage::CORRECTIONS,
    address::CORRECTIONS,
];

/// The classes of all known errors.
pub(crate) fn classes() -> impl Iterator<Item = &'static str> {
    TABLE
        .iter()
        .copied()
        .flatten()
        .map(|correction| correction.class)
}

/// More rounds than errors can hide behind one another.
const ROUNDS: usize = 12;

/// Their lines and ours, where something is left that no known error explains.
pub(crate) type Left = [Lines; 2];

/// The classes of the errors that an output has.
pub(crate) fn prove(
    context: &Context<'_, '_>,
    expected: &str,
) -> Result<BTreeSet<&'static str>, Left> {
    let mut theirs = lists::without_chain(&context.typed, split(expected));
    if correct(context, &mut theirs) {
        Ok(context.used.take())
    } else {
        Err([theirs, context.ours.lines.clone()])
    }
}

/// Applies the table till nothing changes: whether their lines are ours then.
pub(crate) fn correct(context: &Context<'_, '_>, theirs: &mut Lines) -> bool {
    let applying = || {
        TABLE
            .iter()
            .copied()
            .flatten()
            .filter(|c| (c.applies)(context))
    };
    for _ in 0..ROUNDS {
        let mut changed = false;
        for correction in applying() {
            if *theirs == context.ours.lines {
                return true;
            }
            if (correction.correct)(context, theirs) {
                context.used.borrow_mut().insert(correction.class);
                changed = true;
            }
        }
        if !changed {
            break;
        }
    }
    *theirs == context.ours.lines
}
