//! What the debugger's `!heap` prints, byte for byte.
//!
//! One module a command. Each function writes what the debugger would print to a `fmt::Write`.

mod filter;
mod format;
mod rows;
mod stat;
mod summary;

pub use filter::filter;
pub use rows::RowPrinter;
pub use stat::{DEFAULT_ROWS, all_block_sizes, block_sizes, heap_sizes};
pub use summary::{SummaryOptions, SummaryRow, summary};
