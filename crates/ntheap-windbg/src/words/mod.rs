//! What the debugger's `!heap` prints, byte for byte.
//!
//! One module a command. Each function writes what the debugger would print to a `fmt::Write`.

mod address;
mod detail;
mod dt;
mod entries;
mod failure;
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

pub(crate) use address::{address, address_summary};
pub(crate) use detail::{entry_detail, heap_context};
pub(crate) use dt::{TypeDisplay, type_layout, type_names};
pub use filter::filter;
pub(crate) use header::{Detail, headers};
pub(crate) use list::list;
pub(crate) use memory::{Display, display};
pub(crate) use modules::{back_quoted, modules, nearest, search};
pub(crate) use p::{address as block_at, blocks, overview};
pub(crate) use report::{ReportOptions, report};
pub(crate) use segment_block::segment_block;
pub(crate) use stat::heap_sizes;
pub use stat::{DEFAULT_ROWS, all_block_sizes, block_sizes};
pub use summary::{SummaryOptions, summary};
pub(crate) use tags::{global_tags, pseudo_tags};
pub(crate) use triage::triage;
pub(crate) use unreachable::unreachable;
pub(crate) use x::find;
