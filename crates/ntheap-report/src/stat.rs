//! What each heap holds, by block size or by the stack of the allocation.

use std::{
    cmp::Reverse,
    collections::HashMap,
    fmt::{self, Write},
};

use ntheap::{
    blocks::Trace,
    layout::Bitness,
    names::NameSource,
    stats::{Count, Groups, HeapStatistics, Order},
    traces::Traces,
};
use schemars::JsonSchema;
use serde::Serialize;

use crate::{
    json::{Address, FindingReport},
    text::stacks::{frame_texts, write_stack},
};

/// The heaps by a row type: [`HeapSizes`] or [`HeapStacks`].
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct StatReport<T> {
    /// The heaps, in the order of the process's list.
    pub heaps: Vec<T>,
}

/// A heap by block size.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct HeapSizes {
    /// Handle.
    pub heap: Address,
    /// Blocks that the program holds.
    pub busy_blocks: u64,
    /// Their requested bytes.
    pub busy_bytes: u64,
    /// By size.
    pub sizes: Vec<SizeRow>,
    /// What was missing or inconsistent.
    pub findings: Vec<FindingReport>,
}

/// The blocks of one requested size.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct SizeRow {
    /// The size in bytes.
    pub size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes together.
    pub bytes: u64,
}

impl HeapSizes {
    /// The `top` sizes of a heap in this order.
    #[must_use]
    pub fn new(heap: &HeapStatistics, order: Order, top: usize) -> Self {
        let rows = heap.sizes.rows(order).into_iter().take(top);
        HeapSizes {
            heap: Address(heap.handle),
            busy_blocks: heap.busy_blocks,
            busy_bytes: heap.busy_bytes,
            sizes: rows
                .map(|(size, count)| SizeRow {
                    size,
                    blocks: count.blocks,
                    bytes: count.bytes,
                })
                .collect(),
            findings: findings(heap),
        }
    }
}

/// A heap by stack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct HeapStacks {
    /// Handle.
    pub heap: Address,
    /// Blocks that the program holds.
    pub busy_blocks: u64,
    /// Their requested bytes.
    pub busy_bytes: u64,
    /// The stacks with most bytes.
    pub stacks: Vec<StackRow>,
    /// What was missing or inconsistent.
    pub findings: Vec<FindingReport>,
    /// How many stacks there are, those that are left out among them.
    #[serde(skip)]
    pub distinct: usize,
}

/// The blocks of one stack.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[non_exhaustive]
pub struct StackRow {
    /// Number of blocks.
    pub blocks: u64,
    /// Their requested bytes.
    pub bytes: u64,
    /// Return addresses, innermost first; none for blocks without a stack.
    pub stack: Vec<Address>,
    /// The frames by name; left out where nobody asked for names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub frames: Option<Vec<String>>,
}

impl HeapStacks {
    /// The `top` stacks of a heap by bytes; different records of the same frames are one stack.
    #[must_use]
    pub fn new(
        heap: &HeapStatistics,
        groups: Groups<Trace>,
        traces: &Traces<'_, '_>,
        top: usize,
    ) -> Self {
        let rows = stack_rows(groups, traces);
        HeapStacks {
            heap: Address(heap.handle),
            busy_blocks: heap.busy_blocks,
            busy_bytes: heap.busy_bytes,
            distinct: rows.len(),
            stacks: rows
                .into_iter()
                .take(top)
                .map(|(stack, count)| StackRow {
                    blocks: count.blocks,
                    bytes: count.bytes,
                    stack: stack.into_iter().map(Address).collect(),
                    frames: None,
                })
                .collect(),
            findings: findings(heap),
        }
    }

    /// Adds the frames by name.
    #[must_use]
    pub fn named(mut self, bitness: Bitness, names: &dyn NameSource) -> Self {
        for row in &mut self.stacks {
            row.frames = Some(frame_texts(&row.addresses(), bitness, names));
        }
        self
    }

    /// Writes it for people.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write_text(
        &self,
        bitness: Bitness,
        names: &dyn NameSource,
        out: &mut dyn Write,
    ) -> fmt::Result {
        writeln!(
            out,
            "heap {:x}: {} bytes in {} blocks, {} stacks",
            self.heap.0, self.busy_bytes, self.busy_blocks, self.distinct
        )?;
        for row in &self.stacks {
            let percent = row.bytes as f64 * 100.0 / self.busy_bytes.max(1) as f64;
            let (bytes, blocks) = (row.bytes, row.blocks);
            writeln!(
                out,
                "{bytes:>12} bytes {blocks:>8} blocks  ({percent:.2} %)"
            )?;
            write_stack(&row.addresses(), bitness, names, 8, out)?;
        }
        writeln!(out)
    }
}

impl StackRow {
    fn addresses(&self) -> Vec<u64> {
        self.stack.iter().map(|frame| frame.0).collect()
    }
}

fn findings(heap: &HeapStatistics) -> Vec<FindingReport> {
    let findings = heap.losses.findings().iter();
    findings.map(FindingReport::from).collect()
}

/// Stacks by total bytes.
fn stack_rows(groups: Groups<Trace>, traces: &Traces<'_, '_>) -> Vec<(Vec<u64>, Count)> {
    let mut stacks: HashMap<Vec<u64>, Count> = HashMap::new();
    for (trace, count) in groups.into_counts() {
        let stack = traces.frames(trace).unwrap_or_default();
        stacks.entry(stack).or_default().merge(count);
    }
    let mut rows: Vec<(Vec<u64>, Count)> = stacks.into_iter().collect();
    rows.sort_by(|a, b| {
        let key = |row: &(Vec<u64>, Count)| Reverse((row.1.bytes, row.1.blocks));
        key(a).cmp(&key(b)).then_with(|| a.0.cmp(&b.0))
    });
    rows
}
