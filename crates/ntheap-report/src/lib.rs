//! What the library found, for people and for other programs.
//!
//! * A module a report, with its data (serialised as `docs/json.md` has it) and, where it has one of its
//!   own, its text: [`info`], [`summary`], [`stat`], [`block`], [`symbol`], [`diff`], [`leaks`],
//!   [`owners`], [`types`], [`address`], [`verify`], [`noted`];
//! * [`json`] and [`text`]: what reports have in common; [`schema`]: the JSON Schema of them all;
//! * [`csv`]: tables for spreadsheets; [`fingerprint`]: what is kept of dumps that are not;
//! * [`umdh`]: umdh's logs and comparisons, read and written;
//! * [`export`]: files for other people's viewers; [`profile`]: collapsed stacks and pprof profiles.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, usage::Usage};
//! use ntheap_report::address;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let mut out = String::new();
//! address::write(&process, &Usage::of(&Heaps::of(&process)), 10, &mut out)?;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

pub mod address;
pub mod block;
pub mod csv;
pub mod diff;
pub mod export;
pub mod fingerprint;
pub mod html;
pub mod info;
pub mod json;
pub mod leaks;
pub mod noted;
pub mod owners;
pub mod profile;
pub mod scan;
mod schema;
pub mod stat;
pub mod summary;
pub mod symbol;
#[cfg(feature = "parquet")]
pub mod tables;
pub mod text;
pub mod types;
pub mod umdh;
pub mod verify;

pub use schema::schema;
