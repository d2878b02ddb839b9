//! The process and its heaps.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Address, CountReport, FindingReport};
use ntheap::{
    heap::Heap,
    process::Process,
    stats::{HeapStatistics, SummaryRow},
};

/// The process in a dump.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProcessReport {
    /// Process identifier.
    pub pid: Option<u32>,
    /// When the dump was taken: seconds since 1970, UTC.
    pub timestamp: u32,
    /// Windows build number.
    pub build: u32,
    /// 32 or 64.
    pub bits: u32,
    /// Whether it is a 32-bit process on 64-bit Windows.
    pub wow64: bool,
    /// `NtGlobalFlag`.
    pub nt_global_flag: Option<u32>,
    /// Address of the process environment block.
    pub peb: Option<Address>,
    /// Path of the program.
    pub program: Option<String>,
}

impl ProcessReport {
    /// The report of a process.
    #[must_use]
    pub fn new(process: &Process<'_, '_>) -> Self {
        let dump = process.dump;
        ProcessReport {
            pid: dump.process_id,
            timestamp: dump.timestamp,
            build: process.build,
            bits: process.bitness.bits(),
            wow64: process.wow64,
            nt_global_flag: process.nt_global_flag,
            peb: process.peb.map(Address),
            program: process.program().map(|module| module.path.clone()),
        }
    }
}

/// A heap with its totals.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct HeapReport {
    /// Handle.
    pub heap: Address,
    /// Position in the process's heap list, from 0.
    pub index: usize,
    /// `nt`, `nt-xp`, `segment` or `page-heap`.
    pub kind: &'static str,
    /// How it was found: `peb`, `ring`, `scan`.
    pub source: &'static str,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// Reserved bytes: of NT heaps as `!heap -s` counts them, of page heaps those of the normal heap
    /// behind.
    pub reserved: Option<u64>,
    /// Committed bytes.
    pub committed: Option<u64>,
    /// Uncommitted ranges.
    pub uncommitted_ranges: Option<u64>,
    /// Contention count of the lock; null for a heap without one.
    pub lock_contention: Option<u32>,
    /// Blocks that the program holds, in requested bytes.
    pub busy: CountReport,
    /// Free blocks outside the LFH.
    pub free: CountReport,
    /// The largest of them, in bytes.
    pub largest_free: u64,
    /// Busy slots of the LFH, whole.
    pub lfh_busy: CountReport,
    /// Free slots of the LFH.
    pub lfh_free: CountReport,
    /// Blocks with a mapping of their own, committed bytes.
    pub virtual_blocks: CountReport,
    /// The heap's own blocks.
    pub internal: CountReport,
    /// Freed blocks in page heap's quarantine.
    pub quarantine: CountReport,
    /// Blocks whose allocation has a stack trace.
    pub traced_blocks: u64,
    /// Bytes that could not be read or proved.
    pub unread_bytes: u64,
    /// What was missing or inconsistent.
    pub findings: Vec<FindingReport>,
}

impl HeapReport {
    /// The report of a heap.
    #[must_use]
    pub fn new(heap: &Heap<'_, '_>, statistics: &HeapStatistics) -> Self {
        let reference = heap.reference();
        let row = heap.nt().map(|heap| SummaryRow::of(heap, false));
        let (reserved, committed) = match heap {
            Heap::Segment(heap) => (Some(heap.reserved_bytes()), Some(heap.committed_bytes())),
            _ => (row.map(|row| row.reserved), row.map(|row| row.committed)),
        };
        HeapReport {
            heap: Address(reference.handle),
            index: reference.index,
            kind: reference.kind.name(),
            source: reference.source.name(),
            flags: heap.flags(),
            reserved,
            committed,
            uncommitted_ranges: row.map(|row| row.uncommitted_ranges),
            lock_contention: row.and_then(|row| row.lock_contention),
            busy: CountReport {
                blocks: statistics.busy_blocks,
                bytes: statistics.busy_bytes,
            },
            free: statistics.free.into(),
            largest_free: statistics.largest_free,
            lfh_busy: statistics.lfh_busy.into(),
            lfh_free: statistics.lfh_free.into(),
            virtual_blocks: statistics.virtual_blocks.into(),
            internal: statistics.internal.into(),
            quarantine: statistics.quarantine.into(),
            traced_blocks: statistics.traced_blocks,
            unread_bytes: statistics.losses.unread_bytes(),
            findings: statistics
                .losses
                .findings()
                .iter()
                .map(FindingReport::from)
                .collect(),
        }
    }
}
