//! How it went with a folder of dumps.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use schemars::JsonSchema;
use serde::Serialize;

use ntheap::printable::printable;

/// Failures that are named.
const MOST_FAILURES: usize = 1000;
/// Failures that are named in words, and reasons.
const SHOWN: usize = 20;

/// How it went with a folder of dumps.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
pub struct ScanReport {
    /// Dumps in the folder.
    pub found: u64,
    /// Of them, those that were looked at in this run.
    pub new: u64,
    /// Those that an earlier run looked at.
    pub known: u64,
    /// Those that are the same as another, and were left out.
    pub copies: u64,
    /// Those that were read in part, in this run or before.
    pub partial: u64,
    /// Those that could not be used, in this run or before.
    pub failed: u64,
    /// Those that there was no time for.
    pub left: u64,
    /// Files that are no dumps.
    pub passed_over: u64,
    /// Folders that could not be read.
    pub unread_folders: u64,
    /// The dumps that could not be used; the first 1000.
    pub failures: Vec<ScanFailure>,
}

/// A dump that could not be used.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ScanFailure {
    /// Its path in the folder.
    pub file: String,
    /// Why.
    pub reason: String,
}

impl ScanReport {
    /// Counts a dump.
    pub fn count(&mut self, known: bool, copy: bool) {
        self.known += u64::from(known);
        self.new += u64::from(!known);
        self.copies += u64::from(copy);
    }

    /// Notes a dump that could not be used.
    pub fn add_failure(&mut self, file: &str, reason: &str) {
        if self.failures.len() < MOST_FAILURES {
            self.failures.push(ScanFailure {
                file: file.to_owned(),
                reason: reason.to_owned(),
            });
        }
    }

    /// Writes it in words, what came of it first.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(&self, out: &mut dyn Write) -> fmt::Result {
        let read = self
            .found
            .saturating_sub(self.failed + self.left + self.copies);
        write!(out, "{read} of {} dumps read", self.found)?;
        for (number, words) in [
            (self.partial, "of them in part"),
            (self.failed, "failed"),
            (self.copies, "left out as copies of others"),
            (self.left, "left for the next run: the time was up"),
        ] {
            if number > 0 {
                write!(out, ", {number} {words}")?;
            }
        }
        writeln!(out, ".")?;
        if self.known > 0 {
            writeln!(
                out,
                "{} are known from a run before, {} are new.",
                self.known, self.new
            )?;
        }
        if self.passed_over > 0 {
            writeln!(out, "{} other files are no dumps.", self.passed_over)?;
        }
        let mut reasons: BTreeMap<&str, u64> = BTreeMap::new();
        for failure in &self.failures {
            *reasons.entry(&failure.reason).or_default() += 1;
        }
        let mut reasons: Vec<(&str, u64)> = reasons.into_iter().collect();
        reasons.sort_by_key(|&(reason, count)| (std::cmp::Reverse(count), reason));
        for (number, (reason, count)) in reasons.iter().take(SHOWN).enumerate() {
            if number == 0 {
                writeln!(out, "\n{:>9}  WHY", "FAILED")?;
            }
            writeln!(out, "{count:>9}  {}", printable(reason))?;
        }
        for (number, failure) in self.failures.iter().take(SHOWN).enumerate() {
            if number == 0 {
                writeln!(out)?;
            }
            writeln!(
                out,
                "{}: {}",
                printable(&failure.file),
                printable(&failure.reason)
            )?;
        }
        match self.failures.len().checked_sub(SHOWN) {
            Some(more @ 1..) => writeln!(out, "and {more} more (scan.jsonl has all)"),
            _ => Ok(()),
        }
    }
}
