//! What was overwritten.

mod text;

pub use text::write;

use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    json::{Address, BlockReport, FindingReport, ProcessReport},
    noted::{ExceptionReport, HeapFailureReport},
};
use ntheap::{
    blocks::Block,
    layout::Bitness,
    names::{NameSource, unnamed},
    traces::Traces,
    verify::{Damage, Unfinished, Verification},
};

/// A damage.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct DamageReport {
    /// Handle of the heap.
    pub heap: Address,
    /// Where.
    pub address: Address,
    /// What was checked: `header`, `tail-fill`, `free-list`, ...
    pub check: &'static str,
    /// What should be there.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// The block that holds the address.
    pub block: Option<BlockReport>,
    /// The block before.
    pub before: Option<BlockReport>,
    /// The block behind.
    pub after: Option<BlockReport>,
    /// Address of the block from which the damage most likely came.
    pub suspect: Option<Address>,
    /// The stack that allocated it, innermost first.
    pub suspect_frames: Vec<String>,
}

/// A thread at work on a heap.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct OperationReport {
    /// Identifier of the thread.
    pub thread: u32,
    /// Whether it holds the heap's lock.
    pub holds_lock: bool,
    /// Its instruction pointer, or null where the dump lacks it.
    pub instruction_pointer: Option<Address>,
}

/// Something that a thread was in the middle of changing.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct UnfinishedReport {
    /// Handle of the heap.
    pub heap: Address,
    /// Where.
    pub address: Address,
    /// What was checked: `half-done`, `previous-size`, `depth`, ...
    pub check: &'static str,
    /// What would be there else.
    pub expected: String,
    /// What is there.
    pub found: String,
    /// The threads that were at work on the heap: the owner of its lock first.
    pub threads: Vec<OperationReport>,
}

impl From<&Unfinished> for UnfinishedReport {
    fn from(unfinished: &Unfinished) -> Self {
        let damage = &unfinished.damage;
        UnfinishedReport {
            heap: Address(damage.heap),
            address: Address(damage.address),
            check: damage.check.name(),
            expected: damage.expected.clone(),
            found: damage.found.clone(),
            threads: unfinished
                .threads
                .iter()
                .map(|operation| OperationReport {
                    thread: operation.thread,
                    holds_lock: operation.holds_lock,
                    instruction_pointer: operation.instruction_pointer.map(Address),
                })
                .collect(),
        }
    }
}

/// The result of a verification.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerificationReport {
    /// Number of heaps.
    pub heaps: u64,
    /// Blocks and slots whose headers were checked.
    pub blocks: u64,
    /// Entries of free lists.
    pub free_list_entries: u64,
    /// Slots of the low fragmentation heap whose code was checked.
    pub slot_headers: u64,
    /// Containers of the low fragmentation heap whose free count was compared.
    pub depths: u64,
    /// Fills behind blocks.
    pub tail_fills: u64,
    /// Fills of free blocks.
    pub free_fills: u64,
    /// What is wrong.
    pub damages: Vec<DamageReport>,
    /// What contradicts itself because a thread was in the middle of changing it.
    pub unfinished: Vec<UnfinishedReport>,
    /// What could not be checked because the dump does not hold it.
    pub missing: Vec<FindingReport>,
}

impl VerificationReport {
    /// The report of a verification.
    #[must_use]
    pub fn new(
        verification: &Verification,
        traces: &Traces<'_, '_>,
        names: &dyn NameSource,
        bitness: Bitness,
    ) -> Self {
        let block = |block: &Option<Block>| {
            let block = block.as_ref()?;
            Some(BlockReport::new(block, traces.address(block.trace)))
        };
        let frames = |damage: &Damage| {
            let frames = damage
                .suspect()
                .and_then(|block| traces.frames(block.trace));
            let named = |frame| match names.name(frame) {
                Some(name) => name.to_string(),
                None => unnamed(frame, bitness),
            };
            frames.unwrap_or_default().into_iter().map(named).collect()
        };
        let checked = &verification.checked;
        VerificationReport {
            heaps: checked.heaps,
            blocks: checked.blocks,
            free_list_entries: checked.free_list_entries,
            slot_headers: checked.slot_headers,
            depths: checked.depths,
            tail_fills: checked.tail_fills,
            free_fills: checked.free_fills,
            damages: verification
                .damages
                .iter()
                .map(|damage| DamageReport {
                    heap: Address(damage.heap),
                    address: Address(damage.address),
                    check: damage.check.name(),
                    expected: damage.expected.clone(),
                    found: damage.found.clone(),
                    block: block(&damage.block),
                    before: block(&damage.before),
                    after: block(&damage.after),
                    suspect: damage.suspect().map(|block| Address(block.address)),
                    suspect_frames: frames(damage),
                })
                .collect(),
            unfinished: verification.unfinished.iter().map(Into::into).collect(),
            missing: verification
                .missing
                .findings()
                .iter()
                .map(Into::into)
                .collect(),
        }
    }
}

/// What the program overwrote, by side of the process.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct VerificationsReport {
    /// The sides.
    pub sides: Vec<SideVerificationReport>,
}

/// What the program overwrote in the heaps of one side.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SideVerificationReport {
    /// The side.
    pub process: ProcessReport,
    /// The exception that the dump was written for.
    pub exception: Option<ExceptionReport>,
    /// What ntdll noted of a damaged heap.
    pub heap_failure: Option<HeapFailureReport>,
    /// What was found.
    #[serde(flatten)]
    pub verification: VerificationReport,
}
