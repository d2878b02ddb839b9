//! Walks the heaps inside Windows full-memory crash dumps, on any OS, without symbols.
//!
//! Data flows one way, and each layer can be used alone:
//!
//! 1. [`dump`]: the file, its streams, the modules;
//! 2. [`address_space`]: the memory of the process as borrowed slices of the file;
//! 3. [`layout`]: where each field of ntdll's structures lies, per build;
//! 4. [`process`]: bitness, build, PEB, flags and the list of heaps;
//! 5. [`heap`]: one heap, walked block by block without allocation per block;
//! 6. [`blocks`]: what a walk reports; [`losses`]: what could not be read; [`traces`]: the call stacks of blocks; [`names`]: what
//!    addresses are called;
//! 7. [`stats`] and [`diff`]: aggregates of one dump, and the comparison of two;
//! 8. [`usage`]: who uses the address space; [`verify`]: what the program overwrote;
//! 9. [`types`]: what blocks are, from run-time type information and shapes ([`undecorate`]);
//! 10. [`graph`]: who holds which block, and which blocks nobody holds.
//!
//! Above it stand crates that do not know each other: `ntheap-report` (text, JSON, files of other
//! tools), `ntheap-windbg` (the debugger's commands) and `ntheap-symbols` (names from PDBs). They
//! meet in [`names::NameSource`].
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, stats};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for heap in stats::collect(&Heaps::of(&process)) {
//!     println!("{:#x}: {} busy bytes", heap.handle, heap.busy_bytes);
//! }
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod address_space;
pub mod blocks;
pub mod diff;
pub mod dump;
mod error;
pub mod graph;
pub mod heap;
pub mod layout;
pub mod losses;
pub mod names;
pub mod printable;
pub mod process;
pub mod stats;
pub mod time;
pub mod traces;
pub mod types;
pub mod undecorate;
pub mod usage;
pub mod verify;

pub use error::Error;

/// The result of everything that can fail as a whole.
pub type Result<T, E = Error> = std::result::Result<T, E>;
