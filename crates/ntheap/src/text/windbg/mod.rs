//! What the debugger's `!heap` prints, byte for byte.
//!
//! One module a command. Each function writes what the debugger would print to a `fmt::Write`.

mod entries;
mod flags;
mod format;
mod header;
mod list;
mod p;
mod rows;
mod x;

pub use header::{Detail, headers};
pub use list::list;
pub use p::{address as block_at, blocks, overview};
pub use rows::RowPrinter;
pub use x::find;
