//! `RtlpStackTraceDatabase`: traces by index.

use rustc_hash::FxHashSet;

use super::ntdll_pointers;
use crate::{address_space::AddressSpace, layout::Layouts, process::Process};

/// More buckets than any version has (9551 on Windows 7 to 11, 137 on XP).
const MAX_BUCKETS: u32 = 100_000;

/// The stack trace database of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Database {
    /// Address of the database.
    pub address: u64,
    /// Top of the array of entry pointers, which grows downward.
    pub index_array: u64,
    /// Number of traces that were added.
    pub added: u32,
    /// Number of times that a trace was looked up.
    pub looked_up: u32,
}

impl Database {
    /// Finds the database without symbols: `CommitBase` of the structure is its own address.
    #[must_use]
    pub fn find(process: &Process<'_, '_>) -> Option<Self> {
        ntdll_pointers(process).find_map(|pointer| Self::at(process, pointer))
    }

    /// The database at this address, if its fields prove it.
    #[must_use]
    pub fn at(process: &Process<'_, '_>, address: u64) -> Option<Self> {
        let layout = &process.layouts.stack_trace_database;
        let database = process.memory().at(address, process.bitness);
        if database.pointer(layout.commit_base)? != address {
            return None;
        }
        let index_array = database.pointer(layout.entry_index_array)?;
        let buckets = database.u32(layout.number_of_buckets);
        let plausible = index_array > address
            && (process.build < 6000 || buckets.is_some_and(|n| (1..MAX_BUCKETS).contains(&n)));
        plausible.then_some(Database {
            address,
            index_array,
            added: database.u32(layout.number_of_entries_added).unwrap_or(0),
            looked_up: database
                .u32(layout.number_of_entries_looked_up)
                .unwrap_or(0),
        })
    }

    /// Address of the entry with this index.
    #[must_use]
    pub fn entry(&self, memory: &AddressSpace<'_>, layouts: &Layouts, index: u32) -> Option<u64> {
        let size = layouts.bitness.pointer_size();
        let slot = self.index_array.checked_sub(u64::from(index) * size)?;
        memory
            .pointer(slot, layouts.bitness)
            .filter(|&entry| entry != 0)
    }

    /// Addresses of all entries that have an index, in order of their index.
    #[must_use]
    pub fn entries(&self, memory: &AddressSpace<'_>, layouts: &Layouts) -> Vec<u64> {
        let mut seen = FxHashSet::default();
        (1..=self.added.min(1 << 24))
            .map_while(|index| self.entry(memory, layouts, index))
            .take_while(|&entry| seen.insert(entry))
            .collect()
    }
}
