//! What the debugger's `!heap` prints, byte for byte.
//!
//! One module a command. Each function writes what the debugger would print to a `fmt::Write`.

mod format;
mod rows;

pub use rows::RowPrinter;
