//! The dump file: opening, mapping, and its streams.

mod module;

pub use module::{Module, PdbReference};
