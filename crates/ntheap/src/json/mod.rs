//! Reports as data: the types whose JSON form is documented in `docs/json.md`.
//!
//! Addresses are strings (`"0x21ab6d00000"`), because 64-bit numbers do not survive every JSON
//! reader; sizes and counts are numbers.
//!
//! ```
//! use ntheap::json::Address;
//!
//! assert_eq!(Address(0x21ab6d00000).to_string(), "0x21ab6d00000");
//! ```

mod diff;
mod process;

pub use diff::{ChangeReport, DiffReport, GroupReport, HeapDiffReport, Naming};
pub use process::{HeapReport, ProcessReport, kind_name};

use std::{fmt, sync::Arc};

use serde::{Serialize, Serializer};

use crate::{
    blocks::{Block, Finding, FindingKind},
    stats::Count,
};

/// Version of every report; raised when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// An address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Address(pub u64);

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Serialize for Address {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A block of a heap.
#[derive(Debug, Clone, Serialize)]
pub struct BlockReport {
    /// Handle of the heap.
    pub heap: Address,
    /// Address of the block's header.
    pub entry: Address,
    /// Address that the program has.
    pub address: Address,
    /// Requested size in bytes.
    pub size: u64,
    /// Size of the whole block in bytes.
    pub block_size: u64,
    /// `busy`, `free` or `freed`.
    pub state: &'static str,
    /// `backend`, `lfh`, `virtual`, ...
    pub kind: &'static str,
    /// `_HEAP_ENTRY.Flags`.
    pub flags: u8,
    /// Whether the heap took the block for itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Heap tag; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u16>,
    /// Address of the trace record.
    pub trace: Option<Address>,
    /// The trace.
    #[serde(flatten)]
    pub stack: Option<Arc<StackReport>>,
}

/// A stack.
#[derive(Debug, Clone, Serialize)]
pub struct StackReport {
    /// Return addresses, innermost first; `None` when there is no trace.
    pub stack: Option<Vec<Address>>,
    /// The frames by name; left out without symbols.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<String>>,
}

impl BlockReport {
    /// The report of a block whose trace record is at `trace`.
    #[must_use]
    pub fn new(block: &Block, trace: Option<u64>) -> Self {
        BlockReport {
            heap: Address(block.heap),
            entry: Address(block.entry),
            address: Address(block.address),
            size: block.size,
            block_size: block.block_size,
            state: block.state.name(),
            kind: block.kind.name(),
            flags: block.flags,
            internal: block.internal,
            tag: (block.tag != 0).then_some(block.tag),
            trace: trace.map(Address),
            stack: None,
        }
    }
}

/// Blocks and bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct CountReport {
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes.
    pub bytes: u64,
}

impl From<Count> for CountReport {
    fn from(count: Count) -> Self {
        CountReport {
            blocks: count.blocks,
            bytes: count.bytes,
        }
    }
}

/// Something that was missing or inconsistent.
#[derive(Debug, Clone, Serialize)]
pub struct FindingReport {
    /// Handle of the heap.
    pub heap: Address,
    /// Where.
    pub address: Address,
    /// Bytes that it concerns.
    pub bytes: u64,
    /// Whether blocks may be missing because of it.
    pub loses_blocks: bool,
    /// Whether the heap was not walked at all.
    pub not_walked: bool,
    /// In words.
    pub text: String,
}

impl From<&Finding> for FindingReport {
    fn from(finding: &Finding) -> Self {
        FindingReport {
            heap: Address(finding.heap),
            address: Address(finding.address),
            bytes: finding.bytes,
            loses_blocks: finding.kind.loses_blocks(),
            not_walked: matches!(finding.kind, FindingKind::NotWalked { .. }),
            text: finding.to_string(),
        }
    }
}
