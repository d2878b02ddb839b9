//! `RtlpHeapStackTraceLog`: the records that blocks point to.

use rustc_hash::FxHashSet;

use super::ntdll_pointers;
use crate::process::Process;

/// Number of hash buckets in every version seen (7 to 24H2).
const BUCKETS: u64 = 401;
/// More records than fit any process.
const MAX_RECORDS: usize = 1 << 26;

/// The heap's trace log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceLog {
    /// Address of the log's table.
    pub address: u64,
    /// Number of records.
    pub count: u32,
}

impl TraceLog {
    /// Finds the log without symbols: a table whose chains hash to the buckets they hang in.
    #[must_use]
    pub fn find(process: &Process<'_, '_>) -> Option<Self> {
        let captures = process.nt_global_flag.unwrap_or(0) & 0x1000 != 0;
        if !captures {
            return None;
        }
        ntdll_pointers(process).find_map(|pointer| Self::at(process, pointer))
    }

    /// The log at this address, if its chains prove it.
    #[must_use]
    pub fn at(process: &Process<'_, '_>, address: u64) -> Option<Self> {
        let memory = process.memory();
        let layout = &process.layouts.trace_log;
        let table = memory.at(address, process.bitness);
        let arena = table.pointer(layout.arena)?;
        let count = table.u32(layout.count)?;
        if arena == 0 || count == 0 || memory.u8(arena).is_none() {
            return None;
        }
        let log = TraceLog { address, count };
        let mut heads = 0;
        for bucket in 0..BUCKETS {
            let head = log.head(process, bucket)?;
            if head == 0 {
                continue;
            }
            let record = memory.at(head, process.bitness);
            let hash = record.u32(process.layouts.trace_record.hash)?;
            if u64::from(hash) % BUCKETS != bucket {
                return None;
            }
            heads += 1;
        }
        (heads > 0).then_some(log)
    }

    fn head(&self, process: &Process<'_, '_>, bucket: u64) -> Option<u64> {
        // Each bucket is a pair: the head of its chain and the record hit last.
        let buckets = u64::from(process.layouts.trace_log.buckets?);
        let at = self.address + buckets + bucket * 2 * process.bitness.pointer_size();
        process.memory().pointer(at, process.bitness)
    }

    /// Addresses of all records.
    #[must_use]
    pub fn records(&self, process: &Process<'_, '_>) -> Vec<u64> {
        let mut records = Vec::new();
        let mut seen = FxHashSet::default();
        for bucket in 0..BUCKETS {
            let mut next = self.head(process, bucket).unwrap_or(0);
            while next != 0 && records.len() < MAX_RECORDS && seen.insert(next) {
                records.push(next);
                let record = process.memory().at(next, process.bitness);
                next = record
                    .pointer(process.layouts.trace_record.next)
                    .unwrap_or(0);
            }
        }
        records
    }
}
