//! Valid small dumps, and recipes to change them: what the fuzzer makes up is a list of changes, each of
//! which keeps the encodings valid (checksums of entries, pointers that point somewhere), so that the code
//! behind the first check is reached.

mod recipe;
mod seed;
pub mod sink;
pub mod walk;

pub use recipe::{Recipe, changed};
pub use seed::{Seed, seeds};
