//! Stack traces of allocations: from what a block says of its trace to return addresses.
//!
//! Each block carries a [`Trace`]; many blocks share one. Group by it first, then read the frames
//! of each distinct trace once.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, stats, traces::Traces};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let traces = Traces::of(&process);
//! for heap in stats::collect_by(&Heaps::of(&process), |block| block.trace) {
//!     for (trace, count) in heap.iter() {
//!         println!("{} blocks from {:x?}", count.blocks, traces.frames(*trace));
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod database;
mod log;

pub use database::Database;
pub use log::TraceLog;

use crate::{address_space::AddressSpace, blocks::Trace, layout::Layouts, process::Process};

/// More frames than any version records (Windows keeps at most 32 per trace).
const MAX_DEPTH: u32 = 64;

/// Reads traces of one process.
#[derive(Debug, Clone)]
pub struct Traces<'p, 'a> {
    memory: &'p AddressSpace<'a>,
    layouts: &'p Layouts,
    database: Option<Database>,
    log: Option<TraceLog>,
}

impl<'p, 'a> Traces<'p, 'a> {
    /// Looks for the trace databases of the process, by validation of what ntdll's data point to.
    #[must_use]
    pub fn of(process: &'p Process<'_, 'a>) -> Self {
        Self::named(process, |_| None)
    }

    /// As [`Traces::of`], with ntdll's variables found by name first. `address_of` gives the address
    /// of a symbol such as `ntdll!RtlpStackTraceDatabase`.
    #[must_use]
    pub fn named(process: &'p Process<'_, 'a>, address_of: impl Fn(&str) -> Option<u64>) -> Self {
        let value = |name: &str| {
            process
                .memory()
                .pointer(address_of(name)?, process.bitness)
                .filter(|&value| value != 0)
        };
        // The first is the name from Windows 7 on.
        let database = value("ntdll!RtlpStackTraceDatabase")
            .or_else(|| value("ntdll!RtlpStackTraceDataBase"))
            .and_then(|address| Database::at(process, address));
        let log =
            value("ntdll!RtlpHeapStackTraceLog").and_then(|address| TraceLog::at(process, address));
        Traces {
            memory: process.memory(),
            layouts: &process.layouts,
            database: database.or_else(|| Database::find(process)),
            log: log.or_else(|| TraceLog::find(process)),
        }
    }

    /// The stack trace database (critical sections, page heap, blocks with a user value; on XP all).
    #[must_use]
    pub fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// The heap's trace log (Vista and later).
    #[must_use]
    pub fn log(&self) -> Option<&TraceLog> {
        self.log.as_ref()
    }

    /// Address of the record or entry that holds a trace.
    #[must_use]
    pub fn address(&self, trace: Trace) -> Option<u64> {
        match trace {
            Trace::None => None,
            Trace::Record(address) | Trace::Entry(address) | Trace::TraceBlock(address) => {
                Some(address)
            }
            Trace::Index(index) => self
                .database
                .as_ref()?
                .entry(self.memory, self.layouts, index),
        }
    }

    /// Return addresses of a trace, innermost first. `None` when there is no trace or its record is
    /// not in the dump or not plausible.
    #[must_use]
    pub fn frames(&self, trace: Trace) -> Option<Vec<u64>> {
        let address = self.address(trace)?;
        match trace {
            Trace::None => None,
            Trace::Record(_) => self.record(address),
            Trace::Entry(_) | Trace::Index(_) => self.entry(address),
            Trace::TraceBlock(_) => self.trace_block(address),
        }
    }

    /// Frames of a record of the heap's log.
    fn record(&self, address: u64) -> Option<Vec<u64>> {
        let layout = &self.layouts.trace_record;
        let record = self.memory.at(address, self.layouts.bitness);
        self.read(record.address(layout.frames)?, record.u32(layout.depth)?)
    }

    /// Frames of an entry of the stack trace database.
    fn entry(&self, address: u64) -> Option<Vec<u64>> {
        let layout = &self.layouts.stack_trace_entry;
        let entry = self.memory.at(address, self.layouts.bitness);
        self.read(
            entry.address(layout.back_trace)?,
            entry.u16(layout.depth)?.into(),
        )
    }

    /// Frames of an `_RTL_TRACE_BLOCK` (page heap of XP).
    fn trace_block(&self, address: u64) -> Option<Vec<u64>> {
        let layout = &self.layouts.trace_block;
        let block = self.memory.at(address, self.layouts.bitness);
        self.read(block.pointer(layout.trace)?, block.u32(layout.size)?)
    }

    fn read(&self, frames: u64, depth: u32) -> Option<Vec<u64>> {
        if !(1..=MAX_DEPTH).contains(&depth) {
            return None;
        }
        let size = self.layouts.bitness.pointer_size();
        (0..u64::from(depth))
            .map(|index| {
                let address = frames.checked_add(index * size)?;
                self.memory.pointer(address, self.layouts.bitness)
            })
            .collect()
    }
}

/// Pointers in the writable part of ntdll's image, as far as the dump has it.
fn ntdll_pointers<'p>(process: &'p Process<'_, '_>) -> impl Iterator<Item = u64> + 'p {
    let size = process.bitness.pointer_size();
    let words = process.ntdll_words().map(|(_, word)| word);
    words.filter(move |&pointer| pointer != 0 && pointer % size == 0)
}
