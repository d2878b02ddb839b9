//! The heaps of a process with their totals.

use ntheap::{heap::Heaps, losses::Losses, stats};
use schemars::JsonSchema;
use serde::Serialize;

use crate::json::{HeapReport, ProcessReport};

/// The heaps of the sides of a process that were looked at.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SummaryReport {
    /// The sides, the program's own first.
    pub sides: Vec<SideSummary>,
}

/// The heaps of one side.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SideSummary {
    /// Which process.
    pub process: ProcessReport,
    /// Its heaps, in the order of its list.
    pub heaps: Vec<HeapReport>,
    /// Heaps of the other side of a WOW64 process, which are not among them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub heaps_of_other_side: Option<usize>,
    /// What of the process and the dump could not be read.
    pub problems: Vec<String>,
}

impl SideSummary {
    /// Counts what the heaps hold.
    #[must_use]
    pub fn new(heaps: &Heaps<'_, '_>, heaps_of_other_side: Option<usize>) -> Self {
        let process = heaps.process();
        let statistics = stats::collect(heaps);
        let reports = heaps.iter().zip(&statistics);
        SideSummary {
            process: ProcessReport::new(process),
            heaps: reports
                .map(|(heap, stats)| HeapReport::new(heap, stats))
                .collect(),
            heaps_of_other_side,
            problems: Losses::of(process).lines().collect(),
        }
    }
}
