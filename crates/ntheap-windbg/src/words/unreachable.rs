//! `!heap -l`: busy blocks that nothing points to.
//!
//! What lies outside the heaps is taken as in use. A block that a pointer there leads to is in use,
//! and so are the blocks that pointers in a block in use lead to; a pointer may lead anywhere into
//! a block, in NT heaps its header included.

use std::fmt::{self, Write};

use super::{
    format::digits,
    p::frame_name,
    segment_block::segment_block,
    usage::{Usage, UsageMap},
    x::{Line, caption},
};
use ntheap::{
    address_space::scan_pointers,
    blocks::{Block, CONTINUE, Flow, Kind, Span, SpanKind, Trace, Visitor},
    heap::nt::flags::INTERNAL,
    heap::{Heap, Heaps, nt::NtHeap},
    layout::Bitness,
    names::NameSource,
    process::Process,
    traces::Traces,
};

/// `FLG_USER_STACK_TRACE_DB`.
const STACK_TRACES: u32 = 0x1000;

/// Frames of the allocation itself at the start of a trace of the database.
const DATABASE_FRAMES: usize = 2;

#[derive(Default)]
struct Busy {
    blocks: Vec<Block>,
    /// Entries of the heap's own that the debugger counts as busy blocks: those of segments, and
    /// those without the flag of such blocks.
    own: usize,
    /// Whether the last block was one without the flag.
    unmarked: bool,
}

impl Visitor for Busy {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            self.blocks.push(*block);
        }
        // A container of the LFH is not counted.
        self.own -= usize::from(self.unmarked && block.kind == Kind::Lfh);
        self.unmarked = block.internal && block.flags & INTERNAL == 0;
        self.own += usize::from(self.unmarked);
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.unmarked = false;
        self.own += usize::from(matches!(span.kind, SpanKind::Header | SpanKind::Marker));
        CONTINUE
    }
}

/// The busy blocks by address, and which of them are in use.
struct Blocks {
    bitness: Bitness,
    blocks: Vec<Block>,
    used: Vec<bool>,
    /// Blocks in use whose pointers were not followed yet.
    pending: Vec<usize>,
}

impl Blocks {
    fn new(mut blocks: Vec<Block>, bitness: Bitness) -> Self {
        blocks.sort_by_key(|block| block.entry);
        Blocks {
            bitness,
            used: vec![false; blocks.len()],
            pending: Vec::new(),
            blocks,
        }
    }

    /// Addresses that some block may lie at.
    fn span(&self) -> (u64, u64) {
        let end = |block: &Block| block.entry.saturating_add(block.block_size);
        let first = self.blocks.first().map_or(0, |block| block.entry);
        (first, self.blocks.iter().map(end).max().unwrap_or(0))
    }

    /// Notes that something in use holds `value`.
    fn refer(&mut self, value: u64) {
        let behind = self.blocks.partition_point(|block| block.entry <= value);
        let Some(mut index) = behind.checked_sub(1) else {
            return;
        };
        // Behind a trace's header or a prefix, the address of a small block can be where the next
        // begins, whose header lends it its bytes.
        let last = index.saturating_sub(1);
        if value == self.blocks[index].entry && self.blocks[last].address == value {
            index = last;
        }
        let block = &self.blocks[index];
        // Nothing points to the header of a chunk, which is another block's end.
        let start = match block.kind {
            Kind::Vs => contents(block, self.bitness).0,
            _ => block.entry,
        };
        let end = block.entry.saturating_add(block.block_size);
        if (value >= start && value < end || value == block.address) && !self.used[index] {
            self.used[index] = true;
            self.pending.push(index);
        }
    }

    fn follow(&mut self, process: &Process<'_, '_>) {
        let size = process.bitness.pointer_size();
        let (first, end) = self.span();
        while let Some(index) = self.pending.pop() {
            let (start, behind) = contents(&self.blocks[index], process.bitness);
            let memory = process.memory();
            let count = memory.readable(start, behind.saturating_sub(start)) / size;
            let Some(bytes) = memory.slice(start, count * size) else {
                continue;
            };
            for word in bytes.chunks_exact(size as usize) {
                let mut value = [0; 8];
                value[..word.len()].copy_from_slice(word);
                let value = u64::from_le_bytes(value);
                if (first..end).contains(&value) {
                    self.refer(value);
                }
            }
        }
    }
}

/// What a block holds: all behind its header, whose first half is the end of the block before in NT
/// heaps on x64, and what it lends from the next one's.
fn contents(block: &Block, bitness: Bitness) -> (u64, u64) {
    let header = match block.kind {
        Kind::SegmentLfh | Kind::Segment | Kind::Large => 0,
        _ => bitness.unit(),
    };
    let start = block.entry.saturating_add(header);
    let end = block.entry.saturating_add(block.block_size);
    (start, end.max(block.address.saturating_add(block.size)))
}

/// Prints the busy blocks that nothing in use points to, each with the stack of its allocation.
///
/// # Errors
/// Those of `out`.
pub(crate) fn unreachable(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let width = digits(process.bitness);
    writeln!(
        out,
        "Searching the memory for potential unreachable busy blocks."
    )?;
    let all = heaps.iter().chain(heaps.normal());
    let mut searched: Vec<&Heap<'_, '_>> = all
        .filter(|heap| matches!(heap, Heap::Nt(_) | Heap::Segment(_)))
        .collect();
    // Segment heaps come last.
    searched.sort_by_key(|heap| matches!(heap, Heap::Segment(_)));
    let mut busy = Busy::default();
    for heap in &searched {
        writeln!(out, "Heap {:0width$x}", heap.handle())?;
        let own = busy.own;
        let _ = heap.walk(&mut busy);
        match heap {
            // XP's heaps have an entry for the header of their first segment, too.
            Heap::Nt(heap) => busy.own += usize::from(heap.is_xp()),
            // Those of segment heaps are not counted.
            _ => busy.own = own,
        }
    }
    writeln!(out, "Scanning VM ...")?;
    let mut blocks = Blocks::new(busy.blocks, process.bitness);
    let map = UsageMap::of(heaps, traces);
    let (first, end) = blocks.span();
    let _ = scan_pointers(
        process.memory(),
        process.bitness,
        first..end,
        &mut |at, value| {
            if map.at(at).is_none_or(|used| used.usage != Usage::Heap) {
                blocks.refer(value);
            }
            CONTINUE
        },
    );
    // Blocks with a mapping of their own are looked into but not counted.
    let mapped = |block: &&Block| matches!(block.kind, Kind::Virtual | Kind::Large);
    let counted = blocks.blocks.iter().filter(|block| !mapped(block));
    let (count, bytes) = counted.fold((busy.own, 0u64), |(count, bytes), block| {
        (count + 1, bytes.saturating_add(block.block_size))
    });
    let megabytes = bytes >> 20;
    write!(
        out,
        "Scanning references from {count} busy blocks ({megabytes} MBytes) ..."
    )?;
    blocks.follow(process);
    let lost = blocks.blocks.iter().zip(&blocks.used);
    let lost: Vec<&Block> = lost.filter(|(_, used)| !**used).map(|(b, _)| b).collect();
    if lost.is_empty() {
        return writeln!(out, "No potential unreachable blocks were detected.");
    }
    writeln!(out)?;
    caption(process.bitness, out)?;
    for heap in &searched {
        let handle = heap.handle();
        for block in lost.iter().filter(|block| block.heap == handle) {
            let trace = match heap {
                Heap::Nt(heap) => {
                    Line::of_user_block(process, heap, block).write(process.bitness, out)?;
                    trace(process, heap, block)
                }
                Heap::Segment(heap) => {
                    segment_block(heap, block, out)?;
                    block.trace
                }
                _ => continue,
            };
            stack(process, traces, names, trace, out)?;
        }
    }
    writeln!(
        out,
        "{} potential unreachable blocks were detected.",
        lost.len()
    )
}

/// The trace of a block. Where there are two, the debugger shows that of the database.
fn trace(process: &Process<'_, '_>, heap: &NtHeap<'_, '_>, block: &Block) -> Trace {
    if block.kind != Kind::Backend || process.nt_global_flag.unwrap_or(0) & STACK_TRACES == 0 {
        return block.trace;
    }
    match heap
        .raw_entry_at(block.entry)
        .map(|entry| heap.database_trace(&entry))
    {
        None | Some(Trace::None) => block.trace,
        Some(trace) => trace,
    }
}

/// Prints the frames of a trace, if there are any.
fn stack(
    process: &Process<'_, '_>,
    traces: &Traces<'_, '_>,
    names: &dyn NameSource,
    trace: Trace,
    out: &mut dyn Write,
) -> fmt::Result {
    let Some(frames) = traces.frames(trace) else {
        return Ok(());
    };
    let width = digits(process.bitness);
    // The database's traces begin with ntdll's own frames, which the debugger leaves out.
    let own = match trace {
        Trace::Record(_) => 0,
        _ => DATABASE_FRAMES,
    };
    for frame in frames.into_iter().skip(own) {
        write!(out, "\t\t{frame:0width$x}: ")?;
        match trace {
            Trace::Record(_) => frame_name(names, frame, process.bitness, out)?,
            // Of the database the debugger prints another form.
            _ => match names.name(frame) {
                Some(name) => {
                    write!(out, "{}", name.module)?;
                    if let Some(symbol) = &name.symbol {
                        write!(out, "!{symbol}")?;
                    }
                    write!(out, "+0x{:X}", name.displacement)?;
                }
                None => write!(out, "+0x{frame:X}")?,
            },
        }
        writeln!(out)?;
    }
    write!(out, "\n\n")
}
