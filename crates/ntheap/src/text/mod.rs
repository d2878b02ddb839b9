//! Reports as text. Analysis is done elsewhere: here numbers become lines.

pub mod comparison;
mod names;
pub mod stacks;
pub mod windbg;

pub use names::{ModuleNames, Name, NameSource, NamedAddress, unnamed};
