//! What reports have in common as text. Analysis is done elsewhere: here numbers become lines.

pub mod holders;
mod numbers;
pub mod plain;
mod shell;
pub mod stacks;

pub use numbers::grouped;
pub use shell::shell_word;
