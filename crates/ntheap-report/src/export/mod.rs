//! The heaps of a dump, or of a series of dumps, in the files of other people's viewers.
//!
//! * [`heapsnapshot`]: Chrome's, for the memory panel of DevTools: retainers, dominators, comparison;
//! * [`hprof`]: Java's, for Eclipse MAT and others;
//! * [`heaptrack`]: heaptrack's, with the series as its time axis;
//! * [`speedscope`]: speedscope's JSON.
//!
//! Collapsed stacks and pprof's profiles are in [`profile`](crate::profile).

pub mod heapsnapshot;
pub mod heaptrack;
pub mod hprof;
mod objects;
pub mod speedscope;

pub use objects::{Allocations, Identities, Object, Objects, Root};
