//! What reports have in common as data, with the JSON form that `docs/json.md` has.
//!
//! Addresses are strings (`"0x21ab6d00000"`), because 64-bit numbers do not survive every JSON
//! reader; sizes and counts are numbers.
//!
//! ```
//! use ntheap_report::json::Address;
//!
//! assert_eq!(Address(0x21ab6d00000).to_string(), "0x21ab6d00000");
//! ```

mod process;

pub use process::{HeapReport, ProcessReport};

use std::{fmt, sync::Arc};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize, Serializer};

use ntheap::{
    blocks::{Block, Finding},
    heap::crt::{CrtBlock, CrtUse},
    process::Process,
    stats::Count,
};

/// Version of every report; raised when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// A JSON document: its version and the command that it answers, then the report.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Document<T> {
    /// [`SCHEMA`].
    pub schema: u32,
    /// The command of the program that prints this report.
    pub command: &'static str,
    /// The report.
    #[serde(flatten)]
    pub report: T,
}

/// A report as the document that a command of the program prints.
pub fn document<T: Serialize>(command: &'static str, report: T) -> Document<T> {
    Document {
        schema: SCHEMA,
        command,
        report,
    }
}

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

impl JsonSchema for Address {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Address".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "An address in hexadecimal.",
            "type": "string",
            "pattern": "^0x[0-9a-f]+$"
        })
    }
}

/// A block of a heap.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
    /// What proves the block, where the heap's own structures do not lead to it; else left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub certainty: Option<&'static str>,
    /// Whether the heap took the block for itself.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub internal: bool,
    /// Heap tag; left out when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag: Option<u16>,
    /// The tag's name; left out when it has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tag_name: Option<Arc<str>>,
    /// Address of the trace record.
    pub trace: Option<Address>,
    /// The trace.
    #[serde(flatten)]
    pub stack: Option<Arc<StackReport>>,
    /// What the debug C runtime says of the block; left out when it is none of its blocks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub crt: Option<CrtReport>,
}

/// A block of the debug C runtime.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct CrtReport {
    /// Address of the data that the program has.
    pub address: Address,
    /// Bytes that the program asked for.
    pub size: u64,
    /// Address of the name of the source file that allocated it; null when it has none.
    pub file_name: Option<Address>,
    /// That name, where it is in the dump.
    pub file: Option<String>,
    /// Line in that file; 0 when it has none.
    pub line: u32,
    /// Number of the allocation.
    pub request: u32,
    /// `free`, `normal`, `crt`, `ignored` or `client`.
    #[serde(rename = "use")]
    pub block_use: &'static str,
}

impl CrtReport {
    /// What the debug runtime says of a block, if it made it.
    #[must_use]
    pub fn of(process: &Process<'_, '_>, block: &Block) -> Option<Self> {
        let memory = process.memory();
        let crt = CrtBlock::read(memory, process.bitness, block.address, block.size)?;
        Some(CrtReport {
            address: Address(crt.address),
            size: crt.size,
            file_name: (crt.file_name != 0).then_some(Address(crt.file_name)),
            file: memory.string(crt.file_name),
            line: crt.line,
            request: crt.request,
            block_use: match crt.block_use {
                CrtUse::Free => "free",
                CrtUse::Normal => "normal",
                CrtUse::Runtime => "crt",
                CrtUse::Ignored => "ignored",
                CrtUse::Client => "client",
            },
        })
    }
}

/// A stack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
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
            certainty: (!block.certainty.is_certain()).then(|| block.certainty.name()),
            internal: block.internal,
            tag: (block.tag != 0).then_some(block.tag),
            tag_name: None,
            trace: trace.map(Address),
            stack: None,
            crt: None,
        }
    }
}

/// Blocks and bytes.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub struct CountReport {
    /// Number of blocks.
    pub blocks: u64,
    /// Bytes.
    pub bytes: u64,
}

impl CountReport {
    /// Adds another; a sum that does not fit stays at the largest number.
    pub fn add(&mut self, other: CountReport) {
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.bytes = self.bytes.saturating_add(other.bytes);
    }
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
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FindingReport {
    /// Handle of the heap.
    pub heap: Address,
    /// Where.
    pub address: Address,
    /// Bytes that it concerns.
    pub bytes: u64,
    /// Whether blocks may be missing because of it.
    pub loses_blocks: bool,
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
            text: finding.to_string(),
        }
    }
}
