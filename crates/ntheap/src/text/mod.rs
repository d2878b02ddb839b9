//! Reports as text. Analysis is done elsewhere: here numbers become lines.

pub mod comparison;
mod names;
pub mod stacks;
mod symbols;
pub mod windbg;

pub use names::{ModuleNames, Name, NameSource, unnamed};
pub use symbols::{SymbolInfo, SymbolSource};
