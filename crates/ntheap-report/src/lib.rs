//! What the library found, for people and for other programs.
//!
//! * [`text`]: reports in words; [`json`]: the same as data, documented in `docs/json.md`;
//! * [`umdh`]: umdh's logs and comparisons, read and written;
//! * [`profile`]: collapsed stacks and pprof profiles.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, usage::Usage};
//! use ntheap_report::text::address;
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

pub mod json;
pub mod profile;
pub mod text;
pub mod umdh;
