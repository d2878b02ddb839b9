//! Reports as text. Analysis is done elsewhere: here numbers become lines.

pub mod address;
pub mod comparison;
mod names;
mod pattern;
pub mod plain;
pub mod stacks;
pub mod verify;
pub mod windbg;

pub use names::{ModuleNames, Name, NameSource, NamedAddress, SourceLine, SymbolState, unnamed};
pub use pattern::matches_pattern;
