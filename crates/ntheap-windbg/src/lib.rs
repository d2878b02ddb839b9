//! The debugger's heap commands over a dump, printed byte for byte as the debugger prints them.
//!
//! A [`Session`] takes the commands that are typed at the debugger's prompt. The three reports that
//! are wanted most can be had without one: [`summary`] (`!heap -s`), [`block_sizes`]
//! (`!heap -stat -h`) and [`filter`] (`!heap -flt s`).
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, names::ModuleNames, process::Process};
//! use ntheap_windbg::Session;
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! let (heaps, names) = (Heaps::of(&process), ModuleNames::new(&dump));
//! let mut text = String::new();
//! Session::new(&heaps, &names).execute("!heap -s", &mut text).result?;
//! print!("{text}");
//! # Ok(())
//! # }
//! ```
//!
//! Where the output differs from the debugger's, the debugger is wrong: `docs/fidelity.md` has each
//! of its errors with the proof.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod session;
mod words;

pub use session::{
    COMMANDS, CommandError, Executed, ScriptReader, Session, SymbolLookup, evaluate,
};
pub use words::{DEFAULT_ROWS, SummaryOptions, all_block_sizes, block_sizes, filter, summary};
