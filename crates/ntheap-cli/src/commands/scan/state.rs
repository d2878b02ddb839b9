//! What is done: a line of scan.jsonl for each dump, written when its results are.

use std::{
    collections::{HashMap, HashSet},
    fs::{self, File, OpenOptions},
    io::{self, BufRead, BufReader, Write},
    path::Path,
};

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

const NAME: &str = "scan.jsonl";

/// How it went with a dump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Outcome {
    /// It was read whole.
    Done,
    /// It was read in part.
    Partial,
    /// It could not be used.
    Failed,
    /// It is the same as a dump that is done.
    Copy,
}

/// A dump that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Entry {
    /// Path in the folder.
    pub(super) file: String,
    /// Size of the file in bytes.
    pub(super) size: u64,
    /// When it was written to last: nanoseconds since 1970.
    pub(super) modified: u64,
    /// What tells its contents from others: `dump_id` of its results.
    pub(super) dump: String,
    pub(super) outcome: Outcome,
    /// Why it failed, or what is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// What was made of it.
    pub(super) form: String,
    /// Where its results end, of those that are in one file.
    #[serde(default)]
    pub(super) end: u64,
}

/// What is done by now.
#[derive(Debug)]
pub(super) struct State {
    file: File,
    form: &'static str,
    known: HashMap<String, Entry>,
    dumps: HashSet<String>,
    /// Where the results end.
    pub(super) end: u64,
}

impl State {
    /// Reads what earlier runs did with this form.
    pub(super) fn open(output: &Path, form: &'static str) -> Result<Self, Failure> {
        fs::create_dir_all(output)?;
        let path = output.join(NAME);
        let mut state = State {
            file: OpenOptions::new()
                .create(true)
                .read(true)
                .append(true)
                .open(&path)?,
            form,
            known: HashMap::new(),
            dumps: HashSet::new(),
            end: 0,
        };
        let mut is_torn = false;
        for line in BufReader::new(File::open(&path)?).split(b'\n') {
            // A run that was killed leaves half a line at most: its dump is not done.
            match serde_json::from_slice::<Entry>(&line?) {
                Ok(entry) => state.remember(entry),
                Err(_) => is_torn = true,
            }
        }
        if is_torn {
            state.file.write_all(b"\n")?;
        }
        Ok(state)
    }

    fn remember(&mut self, entry: Entry) {
        if entry.form != self.form {
            return;
        }
        self.end = self.end.max(entry.end);
        if matches!(entry.outcome, Outcome::Done | Outcome::Partial) {
            self.dumps.insert(entry.dump.clone());
        }
        self.known.insert(entry.file.clone(), entry);
    }

    /// What is known of a file, if it is still the same.
    pub(super) fn get(&self, same: &Entry) -> Option<&Entry> {
        self.known.get(&same.file).filter(|entry| {
            (entry.size, entry.modified, &entry.dump) == (same.size, same.modified, &same.dump)
        })
    }

    /// Whether results of a dump with these contents are there.
    pub(super) fn has(&self, dump: &str) -> bool {
        self.dumps.contains(dump)
    }

    /// Notes a dump, whose results are written.
    pub(super) fn note(&mut self, entry: Entry) -> io::Result<()> {
        let mut line = serde_json::to_string(&entry)?;
        line.push('\n');
        self.file.write_all(line.as_bytes())?;
        self.file.flush()?;
        self.remember(entry);
        Ok(())
    }

    pub(super) fn form(&self) -> &'static str {
        self.form
    }
}
