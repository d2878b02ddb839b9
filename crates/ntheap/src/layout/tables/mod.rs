//! The built-in tables, one module a family of structures.

mod failure;
mod lfh;
mod nt;
mod page_heap;
mod process;
mod segment_heap;
mod traces;

pub use failure::*;
pub use lfh::*;
pub use nt::*;
pub use page_heap::*;
pub use process::*;
pub use segment_heap::*;
pub use traces::*;
