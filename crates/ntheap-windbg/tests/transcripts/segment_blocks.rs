//! Blocks of segment heaps in `!heap -l`.
//!
//! The 2015 extension does not look into segment heaps. The 2023 one counts the prefix of a block
//! as the program's and gives its start as the program's address, never finds the trace, and shows
//! blocks that are ranges of pages as if nothing of them were unused.

use std::collections::{BTreeMap, BTreeSet};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::{
        Heap, Heaps,
        segment::{Extra, PageRange, RangeKind},
    },
    layout::Bitness,
    process::Process,
};

use crate::{lines::hex, unreachable::Target};

/// `FLG_USER_STACK_TRACE_DB`.
const TRACES: u32 = 0x1000;
const NO_TRACE: &str = "ERROR: Could not read extra stuff data from the block";

/// The segment heaps of a process, with the blocks that the program has.
pub(crate) struct Segments {
    bitness: Bitness,
    newer: bool,
    traces: bool,
    /// By entry.
    blocks: BTreeMap<u64, (Block, Option<PageRange>, Option<Extra>)>,
    handles: Vec<u64>,
    /// How many of the blocks are counted: those without a mapping of their own.
    pub(crate) counted: usize,
}

#[derive(Default)]
struct Program(Vec<Block>);

impl Visitor for Program {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.0.push(*block);
        }
        CONTINUE
    }
}

/// Bytes between a block's entry and what was handed out, a prefix included.
fn header(block: &Block, bitness: Bitness) -> u64 {
    match block.kind {
        Kind::Vs => bitness.unit(),
        _ => 0,
    }
}

/// Where pointers to a block lead: for the extension into what it takes for the program's part.
pub(crate) fn target(block: &Block) -> Target {
    let end = block.entry + block.block_size;
    // The prefix, which the two have in common, is as long as the header.
    let start = match block.kind {
        Kind::Vs => block.entry + (block.address - block.entry) / 2,
        _ => block.entry,
    };
    Target {
        theirs: start..block.address + block.size,
        ours: start..=(end - 1).max(block.address),
    }
}

impl Segments {
    pub(crate) fn of(heaps: &Heaps<'_, '_>, newer: bool) -> Self {
        let process = heaps.process();
        let mut segments = Segments {
            bitness: process.bitness,
            newer,
            traces: process.nt_global_flag.unwrap_or(0) & TRACES != 0,
            blocks: BTreeMap::new(),
            handles: Vec::new(),
            counted: 0,
        };
        for opened in heaps {
            let Heap::Segment(heap) = opened else {
                continue;
            };
            let mut program = Program::default();
            let _ = opened.walk(&mut program);
            for block in program.0 {
                segments.counted += usize::from(block.kind != Kind::Large);
                let place = heap.page_range_at(block.entry);
                let extra = heap.extra(&block);
                segments.blocks.insert(block.entry, (block, place, extra));
            }
            segments.handles.push(heap.handle());
        }
        segments
    }

    /// Takes the blocks of segment heaps out of a list; what is told of each has to be right but for
    /// the errors. For 2015, which knows none, also their heaps, from ours.
    pub(crate) fn take(&self, text: &str, theirs: bool) -> Option<(String, BTreeSet<u64>)> {
        let mut entries = BTreeSet::new();
        let mut kept = String::new();
        let mut rest = text;
        while let Some(at) = rest.find("\nThe address ") {
            kept += &rest[..at];
            rest = &rest[at + 1..];
            let address = hex(rest.strip_prefix("The address ")?.split(' ').next()?)?;
            let (entry, item) = self.item(address, theirs)?;
            rest = rest.strip_prefix(&item)?;
            entries.insert(entry);
            // A stack, of ours.
            while rest.starts_with("\t\t") {
                rest = rest.split_once('\n')?.1;
            }
        }
        kept += rest;
        if !theirs && !self.newer {
            let heap = |line: &&str| {
                let handle = line.strip_prefix("Heap ").and_then(|h| hex(h.trim()));
                !handle.is_some_and(|handle| self.handles.contains(&handle))
            };
            kept = kept.split_inclusive('\n').filter(heap).collect();
        }
        Some((kept, entries))
    }

    /// The block at an address as the extension (or we) have it, and what is printed of it.
    fn item(&self, address: u64, theirs: bool) -> Option<(u64, String)> {
        let of = |block: &Block| match theirs {
            true => block.entry + header(block, self.bitness),
            false => block.address,
        };
        // The address of a block of no bytes can be the entry of the next.
        let mut near = self.blocks.range(..=address).rev().take(2);
        let (entry, (block, place, extra)) = near.find(|(_, (block, ..))| of(block) == address)?;
        let width = match self.bitness {
            Bitness::X64 => 16,
            Bitness::X86 => 8,
        };
        let place = place.as_ref()?;
        let kind = match place.range.kind {
            RangeKind::User => "(3): First Allocated ",
            RangeKind::Lfh => "(b): First Allocated LFH ",
            RangeKind::Vs => "(f): First Allocated VS",
            _ => return None,
        };
        let prefix = block.address - of(block);
        let used = (block.address - block.entry) + block.size;
        let unused = match block.kind {
            Kind::Segment if theirs => 0,
            _ => block.block_size - used,
        };
        let mut text = format!(
            "The address {address:0width$x} is in Segment {:0width$x}\n\
             Page range descriptor address: {:0width$x}\n\
             Page range start address:      {:0width$x}\n\
             Range flags {kind}\n\
             Committed pages: {}\n\n\
             UserAddress:             0x{address:0width$x}\n\
             Block is :                Busy\n\
             Total Block Size (Bytes): {:#x}\n\
             User Size (bytes):        {:#x}\n\
             UnusedBytes (bytes):      {unused:#x}\n",
            place.segment,
            place.descriptor,
            place.range.start,
            place.committed_pages?,
            block.block_size,
            block.size + prefix,
        );
        match extra {
            Some(_) if theirs && self.traces => {
                text += NO_TRACE;
                text.push('\n');
            }
            Some(extra) if extra.value != 0 => {
                text += &format!(
                    "Extra Stuff Present in this block at {:0width$x}\n\
                     Extra Space reserved (Bytes): {:#x}\n\
                     UserSettable Value :          0x{:0width$x}\n",
                    extra.address, extra.reserved, extra.value
                );
            }
            _ => {}
        }
        Some((*entry, text))
    }

    /// Whether something in these heaps points to a block.
    pub(crate) fn point_to(&self, process: &Process<'_, '_>, entry: u64, size: u64) -> bool {
        let pointer = self.bitness.pointer_size();
        self.blocks.values().any(|(block, ..)| {
            let end = block.entry + block.block_size;
            let mut places = (block.entry..end).step_by(pointer as usize);
            places.any(|at| {
                let value = process.memory().pointer(at, self.bitness).unwrap_or(0);
                value.wrapping_sub(entry) < size
            })
        })
    }
}
