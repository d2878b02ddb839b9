//! ntheap for C: open a dump, walk its blocks, compare dumps to JSON.
//!
//! `include/ntheap.h` is the interface, and `examples/c` shows it in use. [`boundary`] is the only module with
//! `unsafe` code, since pointers of the caller's are followed there; everything else is safe.
#![deny(missing_docs)]
#![deny(unsafe_code)]

pub mod boundary;
pub mod values;
mod work;
