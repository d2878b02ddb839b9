//! What lies at addresses, with the stack of the allocation, and who points to it.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use ntheap::{
    blocks::Block,
    heap::references::{Reference, References},
    layout::Bitness,
    names::NameSource,
    process::Process,
    traces::Traces,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    json::{Address, BlockReport, CrtReport, StackReport},
    text::stacks::frame_texts,
};

/// What lies at the addresses that were asked for.
#[derive(Debug, Clone, Default, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct BlocksReport {
    /// One an address.
    pub addresses: Vec<AddressReport>,
}

/// What lies at an address.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct AddressReport {
    /// The address.
    pub asked: Address,
    /// The block; null where none holds the address.
    pub block: Option<BlockReport>,
    /// Segment, subsegment or range that holds the block.
    pub container: Option<Address>,
    /// The pointers to the block, if they were looked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub references: Option<Vec<ReferenceReport>>,
    /// How many pointers there are, where more than can be listed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference_count: Option<u64>,
}

/// A pointer to a block.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct ReferenceReport {
    /// Where it is.
    pub at: Address,
    /// Its value.
    pub value: Address,
    /// What it lies in, in words.
    pub holder: String,
    /// The block that it lies in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_block: Option<Address>,
}

/// What reports on blocks are made with.
#[derive(Clone, Copy)]
pub struct Describer<'d, 'p, 'a> {
    /// The process.
    pub process: &'d Process<'p, 'a>,
    /// Its traces.
    pub traces: &'d Traces<'p, 'a>,
    /// Names for its addresses.
    pub names: &'d dyn NameSource,
    /// Whether frames are listed by name.
    pub by_name: bool,
}

impl fmt::Debug for Describer<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describer").finish_non_exhaustive()
    }
}

impl Describer<'_, '_, '_> {
    /// What lies at an address.
    #[must_use]
    pub fn address(
        &self,
        asked: u64,
        block: Option<&Block>,
        references: Option<&References>,
    ) -> AddressReport {
        let report = |reference: &Reference| ReferenceReport {
            at: Address(reference.at),
            value: Address(reference.value),
            holder: holder(self.process, self.names, reference),
            holder_block: reference.holder.map(|block| Address(block.address)),
        };
        AddressReport {
            asked: Address(asked),
            container: block.map(|block| Address(block.container)),
            block: block.map(|block| self.block(block)),
            references: references.map(|all| all.found.iter().map(report).collect()),
            reference_count: references
                .filter(|all| all.count > all.found.len() as u64)
                .map(|all| all.count),
        }
    }

    /// A block with its stack and what the debug C runtime says of it.
    #[must_use]
    pub fn block(&self, block: &Block) -> BlockReport {
        let mut report = BlockReport::new(block, self.traces.address(block.trace));
        let stack = self.traces.frames(block.trace);
        let named = stack.as_deref().filter(|_| self.by_name);
        report.stack = Some(Arc::new(StackReport {
            frames: named.map(|stack| frame_texts(stack, self.process.bitness, self.names)),
            stack: stack.map(|stack| stack.into_iter().map(Address).collect()),
        }));
        report.crt = CrtReport::of(self.process, block);
        report
    }
}

/// Writes what the debug C runtime says of a block, if it says anything.
///
/// # Errors
/// Those of `out`.
pub fn write_crt(process: &Process<'_, '_>, block: &Block, out: &mut dyn Write) -> fmt::Result {
    let Some(crt) = CrtReport::of(process, block) else {
        return Ok(());
    };
    let file = crt.file.as_deref().unwrap_or("unknown file");
    writeln!(
        out,
        "debug C runtime: {:x}, {} bytes, {} block, request {}, {file}({})",
        crt.address.0, crt.size, crt.block_use, crt.request, crt.line
    )
}

/// Writes the pointers to a block, one a line.
///
/// # Errors
/// Those of `out`.
pub fn write_references(
    references: &References,
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let count = references.count;
    let noun = if count == 1 { "pointer" } else { "pointers" };
    writeln!(out, "{count} {noun} to this block:")?;
    let width = match process.bitness {
        Bitness::X86 => 8,
        Bitness::X64 => 16,
    };
    for reference in &references.found {
        let (at, value) = (reference.at, reference.value);
        let holder = holder(process, names, reference);
        writeln!(out, "    {at:0width$x} -> {value:0width$x}  in {holder}")?;
    }
    match count - references.found.len() as u64 {
        0 => Ok(()),
        more => writeln!(out, "    ... and {more} more"),
    }
}

/// What a pointer lies in: a block, a module, a thread's stack, or a region.
fn holder(process: &Process<'_, '_>, names: &dyn NameSource, pointer: &Reference) -> String {
    if let Some(block) = &pointer.holder {
        let state = if block.internal {
            "internal"
        } else {
            block.state.name()
        };
        return format!(
            "block {:x} ({:#x} bytes, {state}) of heap {:x}",
            block.address, block.size, block.heap
        );
    }
    if let Some(name) = names.name(pointer.at) {
        return name.to_string();
    }
    let stack = process.dump.threads.iter().find(|thread| {
        (thread.stack_base..thread.stack_base.saturating_add(thread.stack_size))
            .contains(&pointer.at)
    });
    if let Some(thread) = stack {
        return format!("stack of thread {:x}", thread.id);
    }
    match process.dump.region_at(pointer.at) {
        Some(region) => format!("region {:x} of {:#x} bytes", region.base, region.size),
        None => "memory of no known region".to_owned(),
    }
}
