//! Reports on several dumps of one program.

use ntheap::{
    diff::{self, Grouping, Snapshot},
    names::NameSource,
    types::Types,
};
use ntheap_report::{
    diff::{DiffReport, JudgementReport, Naming},
    types::{TypesOptions, TypesReport},
};

use crate::{Error, Result, Session, View};

/// How dumps are compared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DiffOptions {
    /// How suspects are found.
    pub judging: diff::Options,
    /// Groups of each heap.
    pub top: usize,
}

impl Default for DiffOptions {
    fn default() -> Self {
        DiffOptions {
            judging: diff::Options::default(),
            top: 10,
        }
    }
}

/// Compares dumps: the older and the newer, or a series of more, which is put in the order of time.
///
/// # Errors
/// [`Error::TooFewDumps`]; [`Error::Dump`] if one of them holds no heaps that can be read.
pub fn diff(sessions: &[&Session], options: &DiffOptions) -> Result<DiffReport> {
    if sessions.len() < 2 {
        return Err(Error::TooFewDumps);
    }
    let mut sessions = sessions.to_vec();
    if sessions.len() > 2 {
        let mut timed = Vec::with_capacity(sessions.len());
        for session in sessions {
            timed.push((session.with(|view| view.dump.timestamp)?, session));
        }
        timed.sort_by_key(|&(time, _)| time);
        sessions = timed.into_iter().map(|(_, session)| session).collect();
    }
    nested(&sessions, &mut Vec::new(), options)
}

/// Opens the sessions one inside the other, since each view borrows from its own frame.
fn nested(
    rest: &[&Session],
    opened: &mut Vec<&View<'_, '_, '_>>,
    options: &DiffOptions,
) -> Result<DiffReport> {
    let Some((first, rest)) = rest.split_first() else {
        return compare(opened, options);
    };
    first.with(|view| {
        let mut all: Vec<&View<'_, '_, '_>> = opened.clone();
        all.push(view);
        nested(rest, &mut all, options)
    })?
}

fn compare(views: &[&View<'_, '_, '_>], options: &DiffOptions) -> Result<DiffReport> {
    let snapshots: Vec<Snapshot<'_, '_>> = views
        .iter()
        .map(|view| Snapshot::of(view.process))
        .collect();
    let all: Vec<&Snapshot<'_, '_>> = snapshots.iter().collect();
    let by = Grouping {
        size: true,
        stack: true,
    };
    let comparison = diff::compare_series(&all, by).ok_or(Error::TooFewDumps)?;
    let (Some(view), Some(last)) = (views.last(), all.last()) else {
        return Err(Error::TooFewDumps);
    };
    let judgement = comparison.judge(last, view.names, &options.judging);
    let times: Vec<u32> = comparison.moments.iter().map(|m| m.timestamp).collect();
    let naming = Naming {
        names: view.frame_names(),
        bitness: view.process.bitness,
        times: &times,
        nested: true,
    };
    let words = JudgementReport::new(&judgement, view.dump, view.names);
    Ok(DiffReport::new(&comparison, words, options.top, &naming))
}

/// What the blocks of two dumps are, the types that grew most first.
///
/// # Errors
/// [`Error::Dump`] if one of them holds no heaps that can be read.
pub fn compare_types(
    before: &Session,
    after: &Session,
    options: &TypesOptions<'_>,
) -> Result<TypesReport> {
    before.with(|old| {
        let graph = old.graph();
        let types = Types::of(&graph, Some(old.names as &dyn NameSource));
        let retained = types.retained(&graph.dominators());
        after.with(|new| {
            let newer = new.graph();
            let newer_types = Types::of(&newer, Some(new.names as &dyn NameSource));
            let newer_retained = newer_types.retained(&newer.dominators());
            TypesReport::compare(
                (&types, &retained),
                (&newer_types, &newer_retained),
                options,
            )
        })
    })?
}
