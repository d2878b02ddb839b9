//! What could not be read or proved: the one place where every command learns whether it may be sure.
//!
//! Each layer adds what it lost: the file its missing streams and bytes, the process its heap list,
//! the walks their findings and the bytes that they could not read. Findings of one kind can be
//! millions, so only the first are kept; all are counted.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let heaps = Heaps::of(&process);
//! if !heaps.losses().complete() {
//!     eprint!("{}", heaps.losses());
//! }
//! # Ok(())
//! # }
//! ```

use std::fmt;

use crate::{
    blocks::{Block, CONTINUE, Finding, Flow, Span, SpanKind, Visitor},
    dump,
    process::{self, Process},
};

/// Findings that are kept: a wholly corrupt heap can have millions.
pub const MAX_FINDINGS: usize = 1000;
/// Findings that are shown.
const SHOWN_FINDINGS: usize = 20;

/// What of a dump, its process and its heaps could not be read or proved.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Losses {
    dump: Vec<dump::Problem>,
    process: Vec<process::Problem>,
    findings: Vec<Finding>,
    finding_count: u64,
    lossy_findings: u64,
    unread_bytes: u64,
}

impl Losses {
    /// What the dump and the process's lists lack; walks add to it.
    #[must_use]
    pub fn of(process: &Process<'_, '_>) -> Self {
        Losses {
            dump: process.dump.problems.clone(),
            process: process.problems.clone(),
            ..Losses::default()
        }
    }

    /// What the walks alone lost.
    #[must_use]
    pub fn of_walks(&self) -> Self {
        Losses {
            dump: Vec::new(),
            process: Vec::new(),
            ..self.clone()
        }
    }

    /// Whether nothing is missing: every range of the dump was there, the list of heaps was read
    /// whole, and every byte of the heaps was read and proved.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.dump.is_empty()
            && !self.process.iter().any(process::Problem::loses_heaps)
            && self.walks_complete()
    }

    /// Whether the walks alone read and proved every byte of what they walked.
    #[must_use]
    pub fn walks_complete(&self) -> bool {
        self.lossy_findings == 0 && self.unread_bytes == 0
    }

    /// Whether there is nothing to say at all, not even what costs no blocks.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Losses::default()
    }

    /// What could not be read of the file.
    #[must_use]
    pub fn dump_problems(&self) -> &[dump::Problem] {
        &self.dump
    }

    /// What is missing or in doubt of the process.
    #[must_use]
    pub fn process_problems(&self) -> &[process::Problem] {
        &self.process
    }

    /// What the walks found, the first [`MAX_FINDINGS`].
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Number of all findings.
    #[must_use]
    pub fn finding_count(&self) -> u64 {
        self.finding_count
    }

    /// Number of those findings because of which blocks may be missing.
    #[must_use]
    pub fn lossy_findings(&self) -> u64 {
        self.lossy_findings
    }

    /// Bytes of the heaps that are not in the dump or could not be proved.
    #[must_use]
    pub fn unread_bytes(&self) -> u64 {
        self.unread_bytes
    }

    /// Adds what something else lost.
    pub fn merge(&mut self, other: Losses) {
        // Two walks of one process bring the same problems of it.
        merge_distinct(&mut self.dump, other.dump);
        merge_distinct(&mut self.process, other.process);
        let room = MAX_FINDINGS.saturating_sub(self.findings.len());
        self.findings.extend(other.findings.into_iter().take(room));
        self.finding_count = self.finding_count.saturating_add(other.finding_count);
        self.lossy_findings = self.lossy_findings.saturating_add(other.lossy_findings);
        self.unread_bytes = self.unread_bytes.saturating_add(other.unread_bytes);
    }

    /// Both together.
    #[must_use]
    pub fn merged(mut self, other: Losses) -> Self {
        self.merge(other);
        self
    }

    /// This and what each of some walks lost.
    #[must_use]
    pub fn with<'l>(self, walks: impl IntoIterator<Item = &'l Losses>) -> Self {
        walks.into_iter().cloned().fold(self, Losses::merged)
    }

    /// Adds a finding of a walk.
    pub fn add(&mut self, finding: Finding) {
        self.finding_count = self.finding_count.saturating_add(1);
        self.lossy_findings = self
            .lossy_findings
            .saturating_add(u64::from(finding.kind.loses_blocks()));
        if self.findings.len() < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }

    /// Adds the bytes of a span that a walk could not read or prove.
    pub fn add_span(&mut self, span: &Span) {
        if matches!(span.kind, SpanKind::Unreadable | SpanKind::Corrupt) {
            self.unread_bytes = self.unread_bytes.saturating_add(span.size);
        }
    }

    /// The lines that say what was lost, findings after the first few as one line.
    pub fn lines(&self) -> impl Iterator<Item = String> + use<'_> {
        let shown = self.findings.iter().take(SHOWN_FINDINGS);
        let more = self.finding_count.saturating_sub(SHOWN_FINDINGS as u64);
        let dump = self.dump.iter().map(ToString::to_string);
        dump.chain(self.process.iter().map(ToString::to_string))
            .chain(shown.map(ToString::to_string))
            .chain((more > 0).then(|| format!("... and {more} more")))
    }
}

fn merge_distinct<T: PartialEq>(mine: &mut Vec<T>, theirs: Vec<T>) {
    for problem in theirs {
        if !mine.contains(&problem) {
            mine.push(problem);
        }
    }
}

impl fmt::Display for Losses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines().try_for_each(|line| writeln!(f, "{line}"))
    }
}

/// Collects while a heap is walked.
impl Visitor for Losses {
    #[inline]
    fn block(&mut self, _: &Block) -> Flow {
        CONTINUE
    }

    fn only_counts(&self) -> bool {
        true
    }

    fn alike(&mut self, _: &Block, _: u64) -> Flow {
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.add_span(span);
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.add(finding);
        CONTINUE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::blocks::FindingKind;

    fn finding(kind: FindingKind) -> Finding {
        Finding {
            heap: 0x1000,
            address: 0x2000,
            bytes: 0,
            kind,
        }
    }

    #[test]
    fn a_loss_behind_a_thousand_harmless_findings_still_counts() {
        let mut losses = Losses::default();
        for _ in 0..MAX_FINDINGS {
            losses.add(finding(FindingKind::LfhBitmap { slots: 1 }));
        }
        assert!(losses.complete());
        losses.add(finding(FindingKind::Unreadable));
        assert!(!losses.complete());
        assert_eq!(losses.findings().len(), MAX_FINDINGS);
        assert_eq!(losses.finding_count(), MAX_FINDINGS as u64 + 1);
    }

    #[test]
    fn what_both_lost_of_the_dump_is_said_once() {
        let cut = dump::Problem::MemoryTruncated {
            ranges: 1,
            bytes: 4096,
        };
        let mut losses = Losses {
            dump: vec![cut],
            ..Losses::default()
        };
        losses.merge(losses.clone());
        assert_eq!(losses.lines().count(), 1);
        assert!(!losses.complete());
    }
}
