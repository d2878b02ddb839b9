//! The heaps of Windows crash dumps as tools for agents, over the Model Context Protocol.
//!
//! A [`Server`] offers eight tools (`open`, `verdict`, `heaps`, `sizes`, `stacks`, `types`, `block`, `owners`)
//! on the dumps below some folders. Its definitions take less than 6 KB and an answer less than 4 KB of an
//! agent's context, whatever the dump holds: long answers come in pages, which a cursor asks for. Each
//! answer begins with the result in words, and says the same as structured content. What went wrong has one
//! of a few [kinds](FaultKind).
//!
//! ```no_run
//! use ntheap_mcp::{Server, ServerOptions, serve_stdio};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let server = Server::new(&["dumps".into()], ServerOptions::default())?;
//! serve_stdio(server)?;
//! # Ok(())
//! # }
//! ```
#![deny(missing_docs)]
#![forbid(unsafe_code)]

mod answer;
mod arguments;
mod definitions;
mod desk;
mod fault;
mod folders;
mod server;
mod tools;

pub use desk::ServerOptions;
pub use fault::FaultKind;
pub use server::{Server, serve_stdio};
