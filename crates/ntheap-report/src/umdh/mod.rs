//! umdh's file formats: its logs, and its comparison of two logs.
//!
//! umdh (User-Mode Dump Heap) writes a *log*: every heap allocation for which Windows recorded a
//! stack trace, with the stacks as bare addresses. Given two logs, it prints a *comparison*: per
//! stack trace, how many bytes and allocations were added or went away. This module reads and
//! writes logs ([`Log::parse`], [`Log::write`], [`LogWriter`]), compares them ([`Diff`]) and prints
//! the comparison as umdh does ([`write_report`]). [`write_snapshot`] and [`Log::of`] make the log of
//! a dump; all else knows nothing of dumps.
//!
//! All sizes and overheads are in bytes, all addresses are virtual addresses of the process.
//!
//! ```
//! use ntheap::names::Name;
//! use ntheap_report::umdh::{Diff, Log, ReportOptions, write_report};
//!
//! let before = b"*- - Start of data for heap @ 1A0000 - -\r\n\
//!     10 bytes + 20 at 1000 by BackTraceA1\r\n\
//!     \t140001A10\r\n";
//! let after = b"*- - Start of data for heap @ 1A0000 - -\r\n\
//!     10 bytes + 20 at 1000 by BackTraceA1\r\n\
//!     \t140001A10\r\n\
//!     \r\n\
//!     30 bytes + 20 at 1100 by BackTraceA1\r\n";
//! let (old, _) = Log::parse(before)?;
//! let (new, _) = Log::parse(after)?;
//!
//! let diff = Diff::between(&old, &new);
//! assert_eq!(diff.entries()[0].bytes_delta(), 0x30);
//!
//! let resolve = |address: u64, _: &Log| {
//!     Some(Name {
//!         module: "leaky".into(),
//!         symbol: Some("main".into()),
//!         displacement: address - 0x1_4000_1A00,
//!         ..Name::default()
//!     })
//! };
//! let mut text = Vec::new();
//! write_report(&diff, &ReportOptions::default(), &resolve, &mut text)?;
//! let text = String::from_utf8(text).unwrap();
//! assert!(text.contains("+      30 (    40 -    10)      2 allocs\tBackTraceA1\r\n"));
//! assert!(text.contains("\tleaky!main+10\r\n"));
//! # Ok::<(), ntheap_report::umdh::Error>(())
//! ```

mod diff;
mod lines;
mod log;
mod model;
mod report;
mod snapshot;
mod write;

pub use diff::{Diff, Entry, Side, Total};
pub use log::{Diagnostics, SkippedLine};
pub use model::{
    Aggregate, Allocation, Frame, Header, Log, LogHeap, LogModule, ModuleIndex, Trace, TraceId,
};
pub use report::{Radix, ReportOptions, Symbols, write_report};
pub use snapshot::{Snapshot, write_snapshot};
pub use write::LogWriter;

/// Why a log could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A log must hold at least one line that umdh writes: its title, a module, a heap or an
    /// allocation.
    #[error(
        "not an umdh log: none of its {lines} lines is one that umdh writes (first: {first:?})"
    )]
    NotALog {
        /// Lines in the file.
        lines: u64,
        /// The first line that is not blank, cut to a printable length.
        first: String,
    },
    /// An allocation must be written between the start and the end of a heap.
    #[error("the allocation at {address:#x} was written outside a heap")]
    OutsideHeap {
        /// Address of the allocation's user data.
        address: u64,
    },
    /// A heap must be ended before another one starts and before the log ends.
    #[error("the heap at {heap:#x} was not ended")]
    HeapNotEnded {
        /// Address of the heap that is still open.
        heap: u64,
    },
    /// The output must take all bytes.
    #[error("writing failed: {0}")]
    Io(#[from] std::io::Error),
}
