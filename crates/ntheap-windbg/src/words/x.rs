//! `!heap -x`: the entry that holds an address, and what points to it.

use std::fmt::{self, Write};

use super::{format::digits, x_segment};
use ntheap::{
    address_space::scan_pointers,
    blocks::{Block, CONTINUE, Flow, Kind, SpanKind, State},
    heap::nt::flags::{EXTRA, FILL, INTERNAL, LAST, USER as USER_FLAGS},
    heap::{
        Found, Heaps,
        nt::{NtHeap, RawEntry},
    },
    layout::Bitness,
    process::Process,
};

/// The build from which on an entry no longer says that it has a trace.
const TRACE_UNMARKED: u32 = 10240;
/// Segments lie at multiples of this.
const SEGMENT_ALIGNMENT: u64 = 0x1_0000;

/// Prints the entry that holds `address`. With `verbose`, also every pointer into it.
///
/// # Errors
/// Those of `out`.
pub(crate) fn find(
    heaps: &Heaps<'_, '_>,
    address: u64,
    verbose: bool,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    if verbose {
        pointers(process, address, address, out)?;
    }
    let found = heaps.at(address).and_then(|found| Line::of(heaps, &found));
    if let Some(line) = found {
        caption(process.bitness, out)?;
        line.write(process.bitness, out)?;
        writeln!(out)?;
        if verbose {
            pointers(
                process,
                line.entry,
                line.entry + line.size.saturating_sub(1),
                out,
            )?;
        }
    } else if !x_segment::find(heaps, address, out)? && verbose {
        pointers(process, address, address, out)?;
    }
    Ok(())
}

/// Prints the caption of the rows.
pub(super) fn caption(bitness: Bitness, out: &mut dyn Write) -> fmt::Result {
    let (columns, dashes) = match bitness {
        Bitness::X64 => (
            "Entry             User              Heap              Segment               Size  \
             PrevSize  Unused    Flags",
            109,
        ),
        Bitness::X86 => (
            "Entry     User      Heap      Segment       Size  PrevSize  Unused    Flags",
            77,
        ),
    };
    writeln!(out, "{columns}\n{:-<dashes$}", "")
}

/// The numbers of a row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line {
    pub(super) entry: u64,
    user: u64,
    heap: u64,
    segment: u64,
    pub(super) size: u64,
    /// `None` for slots of the LFH.
    previous: Option<u64>,
    unused: u64,
    flags: u8,
    internal: bool,
    virtual_block: bool,
    lookaside: bool,
    /// Whether the flag of blocks with a trace is shown.
    traced: bool,
}

impl Line {
    fn of(heaps: &Heaps<'_, '_>, found: &Found) -> Option<Self> {
        let handle = match found {
            Found::Block(block) => block.heap,
            Found::Span(span) => span.heap,
        };
        let process = heaps.process();
        let heap = heaps.get(handle).ok()?.nt()?;
        match found {
            Found::Block(block) if block.kind == Kind::Page => None,
            Found::Block(block) => Some(Self::of_user_block(process, heap, block)),
            Found::Span(span) if matches!(span.kind, SpanKind::Marker | SpanKind::Header) => {
                let raw = heap.raw_entry_at(span.start)?;
                Some(Self::of_entry(heap, &raw, span.start))
            }
            Found::Span(_) => None,
        }
    }

    /// The row of a block of an NT heap, with the mark of a trace.
    pub(super) fn of_user_block(
        process: &Process<'_, '_>,
        heap: &NtHeap<'_, '_>,
        block: &Block,
    ) -> Self {
        let mut line = Self::of_block(heap, block);
        // Marked in the entry by the builds from Vista to 8.1 alone.
        let marks = process.build < TRACE_UNMARKED && process.layouts.heap.encoding.is_some();
        line.traced = marks
            && !line.virtual_block
            && line.flags & (1 | EXTRA) == 1
            && line.user.wrapping_sub(line.entry) > heap.unit();
        line
    }

    /// The row of a block of an NT heap.
    fn of_block(heap: &NtHeap<'_, '_>, block: &Block) -> Self {
        if block.kind == Kind::Lfh {
            let busy = block.state == State::Busy;
            return Line {
                entry: block.entry,
                user: block.address,
                heap: block.heap,
                segment: block.container,
                size: block.block_size,
                previous: None,
                unused: if busy {
                    block.block_size - block.size.min(block.block_size)
                } else {
                    0
                },
                flags: u8::from(busy),
                internal: false,
                virtual_block: false,
                lookaside: false,
                traced: false,
            };
        }
        let Some(raw) = heap.raw_entry_at(block.entry) else {
            return Self::bare(block);
        };
        let mut line = Self::of_entry(heap, &raw, block.container);
        if block.kind == Kind::Virtual {
            // Its size field holds the unused bytes, and no segment holds it: what the debugger
            // shows for one is computed as for any other entry.
            let offset = u64::from(raw.entry.segment_offset) * SEGMENT_ALIGNMENT;
            line.segment = match offset {
                0 => heap.handle(),
                _ => (block.entry / SEGMENT_ALIGNMENT * SEGMENT_ALIGNMENT).wrapping_sub(offset),
            };
            line.user = block.entry + heap.unit();
            line.size = block.block_size;
            line.previous = Some(0);
            line.unused = block.block_size.saturating_sub(block.size);
            line.virtual_block = true;
        }
        line.lookaside = block.kind == Kind::Lookaside;
        line
    }

    /// The row of an entry of a segment.
    pub(super) fn of_entry(heap: &NtHeap<'_, '_>, raw: &RawEntry, segment: u64) -> Self {
        Line {
            entry: raw.address,
            user: raw.user,
            heap: heap.handle(),
            segment,
            size: raw.size,
            previous: Some(raw.previous_size),
            unused: raw.unused,
            flags: raw.entry.flags & !INTERNAL | if raw.marker { LAST } else { 0 },
            internal: raw.entry.flags & INTERNAL != 0 && raw.is_busy(),
            virtual_block: false,
            lookaside: false,
            traced: false,
        }
    }

    fn bare(block: &Block) -> Self {
        Line {
            entry: block.entry,
            user: block.address,
            heap: block.heap,
            segment: block.container,
            size: block.block_size,
            previous: Some(0),
            unused: block.block_size.saturating_sub(block.size),
            flags: block.flags,
            internal: block.internal,
            virtual_block: block.kind == Kind::Virtual,
            lookaside: false,
            traced: false,
        }
    }

    /// Writes the row.
    pub(super) fn write(&self, bitness: Bitness, out: &mut dyn Write) -> fmt::Result {
        let width = digits(bitness);
        write!(
            out,
            "{:0width$x}  {:0width$x}  {:0width$x}  {:0width$x}  {:8x}  ",
            self.entry, self.user, self.heap, self.segment, self.size,
        )?;
        let busy = self.flags & 1 != 0;
        let Some(previous) = self.previous else {
            let state = if busy { "busy" } else { "free" };
            let trace = if self.traced { "stack_trace" } else { "" };
            return writeln!(out, "    -     {:8x}  LFH;{state} {trace}", self.unused);
        };
        write!(out, "{previous:8x}  {:8x}  ", self.unused)?;
        out.write_str(if busy { "busy " } else { "free " })?;
        for (flag, name) in [(EXTRA, "extra "), (FILL, "fill ")] {
            if self.flags & flag != 0 {
                out.write_str(name)?;
            }
        }
        if self.virtual_block {
            out.write_str("virtual ")?;
        }
        for (flag, name) in [(LAST, "last "), (USER_FLAGS, "user_flag ")] {
            if self.flags & flag != 0 {
                out.write_str(name)?;
            }
        }
        if self.lookaside {
            out.write_str(" - lookaside ")?;
        }
        if self.traced {
            out.write_str(" stack_trace")?;
        }
        if self.internal {
            out.write_str(" internal")?;
        }
        writeln!(out)
    }
}

/// Prints every aligned pointer of the dump whose value lies in a range.
fn pointers(process: &Process<'_, '_>, first: u64, last: u64, out: &mut dyn Write) -> fmt::Result {
    let width = digits(process.bitness);
    write!(
        out,
        "Search VM for address range {first:0width$x} - {last:0width$x} : "
    )?;
    let mut result = Ok(());
    let wanted = first..last.saturating_add(1);
    let _ = scan_pointers(
        process.memory(),
        process.bitness,
        wanted,
        &mut |at, value| {
            if !(first..=last).contains(&at) {
                result = write!(out, "{at:08x} ({value:08x}), ");
            }
            match result {
                Ok(()) => CONTINUE,
                Err(_) => Flow::Break(()),
            }
        },
    );
    result?;
    writeln!(out)
}
