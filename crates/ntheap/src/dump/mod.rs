//! The dump file: opening it, mapping it, and what its streams say.
//!
//! ```no_run
//! use ntheap::dump::{Dump, DumpFile};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp.zst".as_ref())?; // plain or packed
//! let dump = Dump::parse(file.bytes())?;
//! println!("{} bytes of memory", dump.memory.size());
//! # Ok(())
//! # }
//! ```

mod absence;
mod context;
mod directory;
mod exception;
mod exports;
mod file;
mod file_name;
mod flags;
mod handles;
mod image;
mod lists;
#[allow(unsafe_code)]
mod map;
mod memory_list;
mod module;
mod packed;
pub(crate) mod pe;
mod problem;
mod region;
mod regular;
mod release;
mod room;
mod streams;
mod system;

pub(crate) use absence::is_absent;
pub use context::Context;
pub use directory::StreamEntry;
pub use exception::Exception;
pub use exports::Exports;
pub use file::{DumpFile, OpenOptions, Progress};
pub use file_name::FileName;
pub use flags::flag_names;
pub use handles::{Handle, ThreadInfo, UnloadedModule};
pub use image::ImageInfo;
pub use map::{MappedFile, read_faults};
pub use module::{Module, PdbReference};
pub use pe::Section;
pub use problem::Problem;
pub use region::{Region, RegionKind, RegionState};
pub use release::Product;
pub use streams::{Architecture, Dump, Thread};
