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
//! # Ten-line programs
//!
//! Each begins the same way: open the file, parse the dump, find the process. All that is read borrows from the
//! file; nothing prints, nothing panics on what a dump holds, and what could not be read is in
//! [`losses::Losses`].
//!
//! What does each heap hold?
//!
//! ```
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, stats};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! # let app = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/19041.662-smallust.snap1.dmp.zst");
//! let file = DumpFile::open(app.as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for heap in stats::collect(&Heaps::of(&process)) {
//!     println!("{:#x}: {} bytes in {} blocks", heap.handle, heap.busy_bytes, heap.busy_blocks);
//!     assert!(heap.losses.complete(), "not all of it was read");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What leaks between two dumps?
//!
//! ```
//! use ntheap::{diff::{self, Grouping, Snapshot}, dump::{Dump, DumpFile}, names::ModuleNames, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! # let app = |name: &str| format!("{}/../../testdata/19041.662-smallust.{name}.dmp.zst", env!("CARGO_MANIFEST_DIR"));
//! # let paths = [app("snap1"), app("snap2")];
//! let files = [DumpFile::open(paths[0].as_ref())?, DumpFile::open(paths[1].as_ref())?];
//! let dumps = [Dump::parse(files[0].bytes())?, Dump::parse(files[1].bytes())?];
//! let (before, after) = (Process::of(&dumps[0])?, Process::of(&dumps[1])?);
//! let (before, after) = (Snapshot::of(&before), Snapshot::of(&after));
//! let comparison = diff::compare(&before, &after, Grouping { size: true, stack: true });
//! println!("{}", comparison.verdict());
//! let judgement = comparison.judge(&after, &ModuleNames::new(&dumps[1]), &diff::Options::default());
//! for suspect in &judgement.suspects {
//!     println!("{} confidence: {:+} bytes", suspect.confidence.name(), suspect.change.bytes());
//! }
//! # assert_eq!(judgement.suspects[0].change.blocks(), 42);
//! # Ok(())
//! # }
//! ```
//!
//! Which blocks are lost, and what are they?
//!
//! ```
//! use ntheap::{dump::{Dump, DumpFile}, graph::{Class, Graph, Rules}, heap::Heaps, process::Process, types::Types};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! # let app = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/types/19041.662-depot.snap1.dmp.zst");
//! let file = DumpFile::open(app.as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let graph = Graph::of(&Heaps::of(&process));
//! let types = Types::of(&graph, None);
//! for (block, _) in graph.classes(Rules::DEFAULT).iter().filter(|(_, class)| *class == Class::Definite) {
//!     let (address, size) = graph.index().block(block);
//!     let name = types.type_of(address).map_or("?", |found| &found.name);
//!     println!("{address:#x}: {size} bytes, {name}");
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Every block, with the stack of its allocation:
//!
//! ```
//! use ntheap::{blocks::{Block, CONTINUE, Flow, Visitor}, dump::{Dump, DumpFile}, heap::Heaps, process::Process, traces::Traces};
//!
//! struct Large<'t, 'p, 'a>(&'t Traces<'p, 'a>);
//!
//! impl Visitor for Large<'_, '_, '_> {
//!     fn block(&mut self, block: &Block) -> Flow {
//!         if block.is_user_block() && block.size > 0x8000 {
//!             println!("{:#x} {:#x?}", block.address, self.0.frames(block.trace));
//!         }
//!         CONTINUE
//!     }
//! }
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! # let app = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/19041.662-smallust.snap1.dmp.zst");
//! let file = DumpFile::open(app.as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let traces = Traces::of(&process);
//! for heap in &Heaps::of(&process) {
//!     heap.walk(&mut Large(&traces)); // a visitor can end the walk: Flow::Break(())
//! }
//! # Ok(())
//! # }
//! ```
//!
//! What lies at an address, within two seconds:
//!
//! ```
//! use std::time::{Duration, Instant};
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! # let app = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/19041.662-smallust.snap1.dmp.zst");
//! let file = DumpFile::open(app.as_ref())?;
//! let mut dump = Dump::parse(file.bytes())?;
//! dump.stop_at(Instant::now() + Duration::from_secs(2));
//! let process = Process::of(&dump)?;
//! let heaps = Heaps::of(&process);
//! if let Some(block) = heaps.block_at(0x21ab8320740) {
//!     println!("{} bytes at {:#x} in heap {:#x}", block.size, block.address, block.heap);
//! }
//! file.check()?; // the file is still what it was
//! # Ok(())
//! # }
//! ```
//!
//! With symbols and ready-made reports each is a single call of the crate `ntheap-session`.
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
pub mod unwind;
pub mod usage;
pub mod verify;

pub use error::Error;

/// The result of everything that can fail as a whole.
pub type Result<T, E = Error> = std::result::Result<T, E>;
