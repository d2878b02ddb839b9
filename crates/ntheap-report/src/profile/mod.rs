//! Stacks in the forms that profilers read: collapsed stacks ([`write_collapsed`]) for flame graphs,
//! and pprof's format ([`write_pprof`]).
//!
//! Symbols stay outside: a [`Sample`] comes with its frames named.
//!
//! ```
//! use ntheap_report::profile::{By, Columns, Frame, Sample, write_collapsed};
//! use ntheap::{stats::Count, names::Name};
//!
//! let name = |symbol: &str| Name {
//!     module: "app".into(),
//!     symbol: Some(symbol.into()),
//!     ..Name::default()
//! };
//! let sample = Sample {
//!     frames: vec![
//!         Frame { address: 0x1010, names: vec![name("Allocate")] },
//!         Frame { address: 0x2020, names: vec![name("main")] },
//!     ],
//!     after: Count { blocks: 2, bytes: 0x60 },
//!     ..Sample::default()
//! };
//! let mut text = Vec::new();
//! write_collapsed([sample], By::Bytes, Columns::After, &mut text)?;
//! assert_eq!(text, b"app!main;app!Allocate 96\n");
//! # Ok::<(), std::io::Error>(())
//! ```

mod collapsed;
mod pprof;

pub use collapsed::write_collapsed;
pub use pprof::{Mapping, PprofOptions, write_pprof};

use ntheap::{names::Name, stats::Count};

/// What the numbers of a profile are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum By {
    /// Requested bytes.
    #[default]
    Bytes,
    /// Number of blocks.
    Blocks,
}

impl By {
    fn of(self, count: Count) -> u64 {
        match self {
            By::Bytes => count.bytes,
            By::Blocks => count.blocks,
        }
    }
}

/// The columns of collapsed stacks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    /// One number: what a dump holds.
    After,
    /// Two numbers: before and after, for differential flame graphs.
    BeforeAndAfter,
}

/// A frame of a stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frame {
    /// Return address.
    pub address: u64,
    /// The functions that it lies in, innermost first: those inlined there, then the one that was
    /// called. Empty for an address without a name.
    pub names: Vec<Name>,
}

/// The blocks that come from one stack.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sample {
    /// The stack, innermost frame first. Empty for blocks without one.
    pub frames: Vec<Frame>,
    /// What the older of two dumps holds; nothing for a single dump.
    pub before: Count,
    /// What the dump, or the newer of two, holds.
    pub after: Count,
}

/// The name of blocks without a stack.
const NO_STACK: &str = "[no stack]";

/// A function without the place inside it; where only the module is known, with that place, and an
/// address where nothing is.
fn function(name: &Name) -> String {
    match &name.symbol {
        Some(symbol) => format!("{}!{symbol}", name.module),
        None => name.to_string(),
    }
}

/// The functions of a stack, innermost first.
fn functions(sample: &Sample) -> Vec<String> {
    if sample.frames.is_empty() {
        return vec![NO_STACK.to_owned()];
    }
    let names = |frame: &Frame| -> Vec<String> {
        match frame.names[..] {
            [] => vec![format!("{:#x}", frame.address)],
            ref names => names.iter().map(function).collect(),
        }
    };
    sample.frames.iter().flat_map(names).collect()
}
