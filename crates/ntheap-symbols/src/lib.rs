//! Resolves addresses of Windows modules to functions, source lines and inlined calls, with the
//! modules' PDBs, on any operating system.
//!
//! PDBs are found on a symbol path of the kind that debugger users know, by GUID and age. Names
//! are printed as Windows debuggers print them.
//!
//! ```
//! use ntheap::{dump::Module, dump::PdbReference};
//! use ntheap_symbols::{ModuleStatus, SymbolPath, Symbols};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let module = Module {
//!     base: 0x7ff6_228b_0000,
//!     size: 0x78000,
//!     path: r"C:\service\ordersvc.exe".to_owned(),
//!     timestamp: 0,
//!     checksum: 0,
//!     version: None,
//!     pdb: Some(PdbReference {
//!         file: r"C:\build\ordersvc.pdb".to_owned(),
//!         id: "294A2C25F7A0998B4C4C44205044422E1".parse::<debugid::DebugId>()?,
//!     }),
//! };
//! # let testdata = concat!(env!("CARGO_MANIFEST_DIR"), "/../../testdata/symbols");
//! let symbols = Symbols::builder().path(SymbolPath::parse(testdata)?).build();
//! if let Some(resolution) = symbols.resolve_return(&module, 0x1449) {
//!     for frame in &resolution.frames {
//!         println!("{} {:?} {:?}", frame.function, frame.file, frame.line);
//!     }
//!     println!("+{:#x}", resolution.displacement);
//! }
//! match symbols.status(&module) {
//!     ModuleStatus::NotFound { tried } => println!("no PDB: {tried:#?}"),
//!     status => println!("{status:?}"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! A damaged or hostile PDB gives an error for its module and nothing else: it is read on a thread
//! of its own, whose panics and endless work become [`ModuleStatus::Failed`]. To keep the messages
//! of such panics off the standard error stream, the crate installs a panic hook, which hands all
//! other panics to the hook that was set before.
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod by_name;
mod cache;
mod container;
mod content;
mod convert;
mod error;
mod lines;
mod module;
mod names;
mod parameters;
mod partial;
mod path;
mod sandbox;
mod server;
mod source;
mod store;
mod symbols;
mod table;
mod types;

pub use by_name::{LocalPdb, image_pdb, local_pdbs};
pub use error::Error;
pub use module::{Frame, ModuleStatus, Resolution, SymbolDetail};
pub use names::{public_name, public_signature, strip_parameters};
pub use path::{Entry, SymbolPath};
pub use source::DumpNames;
pub use symbols::{ModuleSymbols, Symbols, SymbolsBuilder};
pub use table::{Symbol, SymbolKind, SymbolTable};
pub use types::{Field, PdbTypes, Structure};
