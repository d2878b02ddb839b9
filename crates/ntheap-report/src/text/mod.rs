//! Reports as text. Analysis is done elsewhere: here numbers become lines.

pub mod address;
pub mod comparison;
pub mod holders;
pub mod leaks;
pub mod noted;
pub mod owners;
pub mod plain;
pub mod stacks;
pub mod types;
pub mod verdict;
pub mod verify;

mod shell;

pub use shell::shell_word;
