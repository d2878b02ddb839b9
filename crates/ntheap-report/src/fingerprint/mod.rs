//! What of a dump can be kept when the dump can't: sizes, allocation sites, types and owners with their
//! totals, in at most [`LIMIT`] bytes of JSON, without contents, addresses, paths or names of users.
//!
//! Fingerprints of many dumps add up ([`Fingerprint::add`]) and compare ([`compare`]); stacks are module
//! and offset, so that they are the same in every run and on every machine, and are named whenever the
//! PDBs are at hand ([`Fingerprint::name`]).
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process};
//! use ntheap_report::fingerprint::{Fingerprint, LIMIT};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let mut sum = Fingerprint::of(&Heaps::of(&process), None);
//! sum.add(&Fingerprint::of(&Heaps::of(&process), None));
//! assert_eq!(sum.dumps, 2);
//! assert!(sum.folded(LIMIT).to_line().len() <= LIMIT);
//! # Ok(())
//! # }
//! ```

mod collect;
pub mod compare;
mod fold;
mod identity;
mod known;
mod names;
mod read;
mod rows;
mod sum;
mod text;

pub use collect::StackHashes;
pub use identity::{ModuleIdentity, site_hash, stack_hash};
pub use read::FingerprintError;
pub use rows::{
    HeapRow, LabelRow, Others, OwnerRow, ProcessRow, Row, SiteRow, SizeRow, StackRow, Table,
    TypeRow,
};

pub use sum::Sum;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::{CountReport, document};

/// Most bytes of a fingerprint as a line of JSON, its line break included.
pub const LIMIT: usize = 64 * 1024;

/// The command whose document it is.
pub const COMMAND: &str = "fingerprint";

/// What heaps hold, of one dump or of several together.
///
/// In every table the rows and the others together are the total.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fingerprint {
    /// How many dumps it is of.
    pub dumps: u64,
    /// How many of them could not be read whole.
    pub incomplete: u64,
    /// Of one dump: what tells its file from others, where the caller gave it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dump: Option<String>,
    /// When the first dump was taken: seconds since 1970, UTC.
    pub first: u32,
    /// When the last dump was taken.
    pub last: u32,
    /// The programs and Windows builds.
    pub processes: Vec<ProcessRow>,
    /// What the caller said of the dumps.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelRow>,
    /// Blocks that the programs hold, in requested bytes.
    pub total: CountReport,
    /// Free blocks of the heaps, whole.
    pub free: CountReport,
    /// Of the total, blocks without a stack.
    pub untraced: CountReport,
    /// By heap.
    pub heaps: Table<HeapRow>,
    /// By requested size.
    pub sizes: Table<SizeRow>,
    /// By stack and requested size; its total lacks what is untraced.
    pub sites: Table<SiteRow>,
    /// The stacks of the sites.
    pub stacks: Vec<StackRow>,
    /// By type, and by who holds the blocks; null where nobody looked.
    pub known: Option<Known>,
    /// The modules that frames are in; the program's own, too.
    pub modules: Vec<ModuleIdentity>,
}

/// What the blocks are, and whose.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Known {
    /// How many of the dumps were looked at.
    pub dumps: u64,
    /// Of the total, blocks without a type.
    pub untyped: CountReport,
    /// By type; its total lacks what is untyped.
    pub types: Table<TypeRow>,
    /// By the nearest object or root that holds them.
    pub owners: Table<OwnerRow>,
}

impl Fingerprint {
    /// The fingerprint as a line of JSON, with its line break.
    #[must_use]
    pub fn to_line(&self) -> String {
        // Nothing in it can fail to be written: keys are texts, numbers are whole.
        let mut line = serde_json::to_string(&document(COMMAND, self)).unwrap_or_default();
        line.push('\n');
        line
    }
}

#[cfg(test)]
mod tests;
