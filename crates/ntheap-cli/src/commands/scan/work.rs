//! One dump of many.

use std::{
    any::Any,
    fs::{File, OpenOptions},
    io::{Seek, SeekFrom, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    time::UNIX_EPOCH,
};

use ntheap::losses::Losses;
use ntheap_report::fingerprint::LIMIT;

use super::{
    Form, Scan,
    state::{Entry, Outcome, State},
};
use crate::{
    failure::Failure,
    fingerprints,
    input::{self, Input},
    options::Common,
    output,
    tables::{self, Tables},
};

/// A dump, and how it went with it.
pub(super) struct Seen {
    pub(super) entry: Entry,
    /// Whether that was in an earlier run.
    pub(super) known: bool,
}

impl Seen {
    /// What to say of it.
    pub(super) fn reason(&self) -> Option<&str> {
        self.entry.reason.as_deref()
    }
}

/// What the dumps have in common.
pub(super) struct Work<'w> {
    args: &'w Scan,
    common: &'w Common,
    /// Where fingerprints go.
    lines: Option<File>,
}

impl<'w> Work<'w> {
    pub(super) fn open(
        args: &'w Scan,
        common: &'w Common,
        state: &mut State,
    ) -> Result<Self, Failure> {
        let lines = match args.form {
            Form::Parquet => None,
            Form::Fingerprints => {
                let path = args.output.join("fingerprints.jsonl");
                let mut file = OpenOptions::new()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(path)?;
                // What a run that was killed wrote last belongs to no dump that is done.
                let length = file.metadata()?.len();
                if length < state.end {
                    return Err(Failure::Usage(format!(
                        "{}: fingerprints.jsonl is shorter than scan.jsonl says; remove both to begin anew",
                        crate::privacy::path(&args.output)
                    )));
                }
                file.set_len(state.end)?;
                file.seek(SeekFrom::Start(state.end))?;
                Some(file)
            }
        };
        Ok(Work {
            args,
            common,
            lines,
        })
    }

    /// Reads a dump, or remembers that an earlier run did. An error is one of writing: those of the dump
    /// are how it went.
    pub(super) fn one(&mut self, relative: &Path, state: &mut State) -> Result<Seen, Failure> {
        let path = self.args.folder.join(relative);
        let mut entry = Entry {
            file: relative.to_string_lossy().into_owned(),
            size: 0,
            modified: 0,
            dump: String::new(),
            outcome: Outcome::Failed,
            reason: None,
            form: state.form().to_owned(),
            end: 0,
        };
        match identify(&path, &mut entry) {
            Ok(()) => {}
            Err(error) => {
                entry.reason = Some(error.to_string());
                return Ok(Seen {
                    entry,
                    known: false,
                });
            }
        }
        if let Some(known) = state.get(&entry)
            && !(self.args.retry && known.outcome == Outcome::Failed)
        {
            return Ok(Seen {
                entry: known.clone(),
                known: true,
            });
        }
        if state.has(&entry.dump) {
            entry.outcome = Outcome::Copy;
        } else {
            self.read(&path, relative, &mut entry)?;
        }
        entry.end = match &mut self.lines {
            Some(file) => file.stream_position()?,
            None => 0,
        };
        state.note(entry.clone())?;
        Ok(Seen {
            entry,
            known: false,
        })
    }

    fn read(&mut self, path: &Path, relative: &Path, entry: &mut Entry) -> Result<(), Failure> {
        let made = catch_unwind(AssertUnwindSafe(|| self.make(path, relative)));
        let changed = input::changed();
        output::forgive_read_faults();
        let made = match changed.into_iter().next() {
            Some(change) => Err(change),
            None => made.unwrap_or_else(|panic| {
                Err(Failure::Usage(format!(
                    "internal error: {}",
                    words(&*panic)
                )))
            }),
        };
        match made {
            Ok((line, losses)) => {
                if let (Some(line), Some(file)) = (line, &mut self.lines) {
                    file.write_all(line.as_bytes())?;
                    file.flush()?;
                }
                entry.outcome = Outcome::Done;
                if !losses.complete() {
                    entry.outcome = Outcome::Partial;
                    entry.reason = losses.lines().next().map(|line| line.to_string());
                }
            }
            Err(failure @ (Failure::Output(_) | Failure::ClosedPipe)) => return Err(failure),
            Err(failure) => {
                entry.outcome = Outcome::Failed;
                // Paths are in the entry already.
                entry.reason = Some(match failure {
                    Failure::Input { error, .. } => error.to_string(),
                    other => other.to_string(),
                });
            }
        }
        Ok(())
    }

    /// The line of a fingerprint, or the tables of a dump, and what could not be read.
    fn make(&self, path: &Path, relative: &Path) -> Result<(Option<String>, Losses), Failure> {
        let input = Input::open(path, self.common)?;
        if self.args.form == Form::Parquet {
            let tables = Tables {
                owners: self.args.owners,
                ..Tables::default()
            };
            let places = (relative, self.args.output.as_path());
            let losses = tables::write(&input, tables, &self.args.labels, places, self.common)?;
            return Ok((None, losses));
        }
        let dump = input.parse_with_paths()?;
        let (mut fingerprint, losses) =
            fingerprints::of(&input, &dump, self.common, self.args.owners)?;
        self.args.labels.put(relative, &mut fingerprint)?;
        input.check()?;
        Ok((Some(fingerprint.folded(LIMIT).to_line()), losses))
    }
}

/// What tells a file from what it was and from others.
fn identify(path: &Path, entry: &mut Entry) -> std::io::Result<()> {
    let of = path.metadata()?;
    entry.size = of.len();
    let age = of
        .modified()
        .ok()
        .and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    entry.modified = age
        .and_then(|age| u64::try_from(age.as_nanos()).ok())
        .unwrap_or(0);
    entry.dump = fingerprints::id(path)?;
    Ok(())
}

/// What a panic says.
fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied())
        .unwrap_or("?")
}
