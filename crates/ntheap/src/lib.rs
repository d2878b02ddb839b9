//! Walks the heaps inside Windows full-memory crash dumps.
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod dump;
pub mod layout;
pub mod umdh;
