//! What the debugger's `!heap` prints, byte for byte.
//!
//! One module a command. Each function writes what the debugger would print to a `fmt::Write`.

mod address;
mod detail;
mod dt;
mod entries;
mod filter;
mod flags;
mod format;
mod header;
mod list;
mod memory;
mod modules;
mod p;
mod page;
mod report;
mod rows;
mod segment_block;
mod stat;
mod summary;
mod tags;
mod triage;
mod unreachable;
mod usage;
mod value;
mod x;
mod x_segment;

pub use address::{address, address_summary};
pub use detail::{entry_detail, heap_context};
pub use dt::{TypeDisplay, type_layout, type_names};
pub use filter::filter;
pub use header::{Detail, headers};
pub use list::{list, listed_heaps};
pub use memory::{Display, display};
pub use modules::{modules, nearest, search};
pub use p::{address as block_at, blocks, overview};
pub use report::{ReportOptions, report};
pub use rows::RowPrinter;
pub use segment_block::segment_block;
pub use stat::{DEFAULT_ROWS, all_block_sizes, block_sizes, heap_sizes};
pub use summary::{SummaryOptions, summary};
pub use tags::{global_tags, pseudo_tags};
pub use triage::triage;
pub use unreachable::unreachable;
pub use x::find;
