//! Reports as text. Analysis is done elsewhere: here numbers become lines.

mod names;
pub mod windbg;

pub use names::{ModuleNames, Name, NameSource};
