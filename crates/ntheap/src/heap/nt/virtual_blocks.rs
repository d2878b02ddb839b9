//! Blocks that the heap allocated by themselves with `VirtualAlloc`.

use super::{
    NtHeap,
    entry::{flags::EXTRA, is_extended_entry, is_stack_trace_interceptor},
};
use crate::{
    address_space::{END, ListEnd},
    blocks::{Block, Certainty, FindingKind, Flow, Kind, State, Trace, Visitor},
};

/// More virtual blocks than fit an address space.
const MAX_BLOCKS: usize = 1 << 28;

/// A block with a mapping of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct VirtualBlock {
    /// Address of its `_HEAP_VIRTUAL_ALLOC_ENTRY`: the start of the mapping.
    pub element: u64,
    /// Committed bytes.
    pub committed: u64,
    /// Reserved bytes.
    pub reserved: u64,
    /// Address of its `_HEAP_ENTRY`.
    pub entry: u64,
}

impl NtHeap<'_, '_> {
    pub(super) fn read_virtual_blocks(&mut self) {
        let Some(head) = self.layouts.heap.virtual_allocd_blocks else {
            return;
        };
        let head = self.handle() + u64::from(head);
        let (elements, end) = self.memory.list(head, self.bitness(), MAX_BLOCKS);
        let broken = end != ListEnd::Complete;
        if let ListEnd::Broken(at) = end {
            self.report_broken_list(at, "list of virtual blocks");
        }
        for element in elements {
            let structure = "_HEAP_VIRTUAL_ALLOC_ENTRY";
            match self.read_virtual_block(element) {
                Some(block) => match self.wrong_size(&block) {
                    None => self.virtual_blocks.push(block),
                    Some(reason) => {
                        self.report(element, FindingKind::BrokenStructure { structure, reason });
                    }
                },
                None => self.report(element, FindingKind::MissingStructure { structure }),
            }
        }
        if broken {
            self.adopt_virtual_blocks();
        }
    }

    /// What is wrong with the size of a block, if anything is.
    fn wrong_size(&self, block: &VirtualBlock) -> Option<&'static str> {
        let size = block.committed.max(block.reserved);
        let end = block.element.checked_add(size);
        if end.is_none_or(|end| end > END) {
            return Some("its size goes beyond the address space");
        }
        let header = block.entry - block.element + self.unit();
        (block.committed < header).then_some("it is smaller than its header")
    }

    /// The fields of the element at this address.
    pub(super) fn read_virtual_block(&self, element: u64) -> Option<VirtualBlock> {
        let layout = &self.layouts.virtual_alloc;
        let block = self.memory.at(element, self.bitness());
        Some(VirtualBlock {
            element,
            committed: block.pointer(layout.commit_size)?,
            reserved: block.pointer(layout.reserve_size)?,
            entry: block.address(layout.busy_block)?,
        })
    }

    pub(super) fn walk_virtual_blocks(&self, visitor: &mut dyn Visitor) -> Flow {
        self.virtual_blocks
            .iter()
            .try_for_each(|block| match self.virtual_block(block) {
                Ok(block) => visitor.block(&block),
                Err(kind) => visitor.finding(self.finding(block.element, block.committed, kind)),
            })
    }

    fn virtual_block(&self, block: &VirtualBlock) -> Result<Block, FindingKind> {
        let codec = &self.header.codec;
        let unit = self.unit();
        let missing = || FindingKind::MissingStructure {
            structure: "_HEAP_ENTRY",
        };
        let header = block
            .entry
            .checked_add(codec.header_offset())
            .ok_or_else(missing)?;
        let raw = self.memory.u64(header).ok_or_else(missing)?;
        let entry = codec.decode(raw);
        if !codec.checksum_holds(&entry) {
            return Err(FindingKind::CorruptEntry { raw });
        }
        // The size field holds the unused bytes.
        let unused = u64::from(entry.size);
        let size = block
            .committed
            .checked_sub(unused)
            .ok_or(FindingKind::UnusedBytes {
                unused,
                block: block.committed,
            })?;
        let mut address = block.entry + unit;
        let mut trace = Trace::None;
        if codec.xp {
            if entry.flags & EXTRA != 0 {
                trace = self.trace_index(block.element, self.layouts.virtual_alloc.extra_stuff);
            }
        } else if let Some(record) = self.virtual_trace(block.entry) {
            address = block.entry + 3 * unit;
            trace = record;
        } else if entry.flags & EXTRA != 0 && self.header.captures_stacks() {
            trace = self.trace_index(block.element, self.layouts.virtual_alloc.extra_stuff);
        }
        Ok(Block {
            heap: self.handle(),
            container: block.element,
            entry: block.entry,
            address,
            size,
            block_size: block.committed,
            state: State::Busy,
            kind: Kind::Virtual,
            internal: false,
            flags: entry.flags,
            tag: self.tag(&entry),
            trace,
            certainty: if self.unlisted_virtual.contains(&block.element) {
                Certainty::Chain.max(self.certainty)
            } else {
                self.certainty
            },
        })
    }

    /// The trace record of a virtual block. `UnusedBytes` is 4 with and without a trace; what tells
    /// is the byte before it, which is 2 for a block with the prefix, and the extended entry.
    fn virtual_trace(&self, entry: u64) -> Option<Trace> {
        const PREFIXED: u8 = 2;
        let unit = self.unit();
        let header = self.header.codec.header_offset();
        let raw = self.memory.u64(entry + header)?;
        let extended = self.memory.u64(entry + 2 * unit + header)?;
        ((raw >> 48) as u8 == PREFIXED
            && is_extended_entry(extended)
            && is_stack_trace_interceptor(extended))
        .then(|| match self.memory.pointer(entry + unit, self.bitness()) {
            None | Some(0) => Trace::None,
            Some(record) => Trace::Record(record),
        })
    }
}
