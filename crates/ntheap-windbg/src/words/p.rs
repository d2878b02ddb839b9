//! `!heap -p`: the heaps with their flags, the blocks of a heap, the block at an address.

use std::fmt::{self, Write};

use super::{flags, format::digits, page, rows::RowPrinter};
use ntheap::{
    blocks::{Block, Span, SpanKind, State, Trace, TryVisitor, try_visit},
    heap::{
        Heap, Heaps, Part,
        nt::{FrontEndKind, NtHeap},
    },
    layout::Bitness,
    names::NameSource,
    process::{HeapKind, Process, global_flags},
    traces::Traces,
};

/// `!heap -p`: global flags, the stack trace database, heaps and their flags.
///
/// # Errors
/// Those of `out`.
pub(crate) fn overview(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let width = digits(process.bitness);
    let value = process.nt_global_flag.unwrap_or(0);
    writeln!(out)?;
    if value == 0 {
        writeln!(out, "    No GlobalFlag bits active for this process")?;
    } else {
        writeln!(out, "    Active GlobalFlag bits:")?;
        for flag in global_flags(value) {
            writeln!(out, "        {} - {}", flag.abbreviation, flag.description)?;
        }
    }
    if let Some(database) = traces.database() {
        writeln!(
            out,
            "\n    StackTraceDataBase @ {:0width$x} of size {:0width$x} with {:08x} traces",
            database.address,
            reserved(process, database.address),
            database.added,
        )?;
    }
    writeln!(out, "    active heaps:\n")?;
    for heap in heaps {
        let mut flags = heap.flags();
        if let Heap::Page(page) = heap {
            page::overview(page, out)?;
            flags = page.normal().map_or(0, Heap::flags);
        } else {
            writeln!(out, " - {:x}", heap.handle())?;
        }
        write!(out, "          ")?;
        if heap.reference().kind != HeapKind::Segment {
            flags::names(flags, true, out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// Size of the allocation that the database begins.
fn reserved(process: &Process<'_, '_>, address: u64) -> u64 {
    let regions = process.dump.regions.iter();
    regions
        .filter(|region| region.allocation_base == address)
        .map(|region| region.end() - address)
        .max()
        .unwrap_or(0)
}

/// `!heap -p -h H` (one heap) and `-p -all`: every block.
///
/// # Errors
/// Those of `out`.
pub(crate) fn blocks(
    heaps: &Heaps<'_, '_>,
    names: &dyn NameSource,
    only: Option<u64>,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let mut rows = RowPrinter::new(process, names);
    let wanted = |handle| only.is_none_or(|only| only == handle);
    for opened in heaps {
        match opened {
            Heap::Nt(heap) if wanted(opened.handle()) => {
                let parts: Vec<Part> = opened.parts().collect();
                nt_blocks(process, opened, &parts, heap, &mut rows, out)?;
            }
            Heap::Page(page) => {
                if wanted(opened.handle()) {
                    let mut vtable =
                        |address, size, out: &mut dyn Write| rows.vtable_line(address, size, out);
                    page::blocks(page, process.bitness, &(0..=u64::MAX), &mut vtable, out)?;
                }
                // The first part is that of the full blocks.
                let parts: Vec<Part> = opened.parts().skip(1).collect();
                if let Some(Heap::Nt(heap)) = page.normal()
                    && (wanted(opened.handle()) || wanted(heap.handle()))
                {
                    nt_blocks(process, opened, &parts, heap, &mut rows, out)?;
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn nt_blocks(
    process: &Process<'_, '_>,
    opened: &Heap<'_, '_>,
    parts: &[Part],
    heap: &NtHeap<'_, '_>,
    rows: &mut RowPrinter<'_>,
    out: &mut dyn Write,
) -> fmt::Result {
    writeln!(out, "    _HEAP @ {:x}", heap.handle())?;
    let front_end = heap.header.front_end;
    match front_end.kind {
        FrontEndKind::Lfh => writeln!(out, "      _LFH_HEAP @ {:x}", front_end.address)?,
        FrontEndKind::Lookaside => {
            writeln!(out, "      _HEAP_LOOKASIDE @ {:x}", front_end.address)?;
        }
        FrontEndKind::None | FrontEndKind::Unknown(_) => writeln!(out, "      No FrontEnd")?,
    }
    let mut lister = Lister {
        rows,
        out,
        run: true,
    };
    for (index, part) in parts.iter().enumerate() {
        // The part behind the segments is that of the virtual blocks.
        if let Some(segment) = heap.segments.get(index) {
            writeln!(lister.out, "      _HEAP_SEGMENT @ {:x}", segment.header)?;
            lister.run = true;
        } else {
            let head = process
                .layouts
                .heap
                .virtual_allocd_blocks
                .map_or(0, u64::from);
            let head = heap.handle() + head;
            writeln!(lister.out, "       VirtualAllocdBlocks @ {head:x}")?;
            lister.run = false;
        }
        try_visit(&mut lister, |visitor| opened.walk_part(*part, visitor))?;
    }
    Ok(())
}

/// Prints what a walk meets, with a caption where a committed run begins.
struct Lister<'o, 'r, 'a> {
    rows: &'r mut RowPrinter<'a>,
    out: &'o mut dyn Write,
    /// Whether the next row begins a committed run.
    run: bool,
}

impl Lister<'_, '_, '_> {
    fn caption(&mut self, at: u64) -> fmt::Result {
        if std::mem::take(&mut self.run) {
            writeln!(self.out, "       CommittedRange @ {at:x}")?;
        }
        Ok(())
    }
}

impl TryVisitor for Lister<'_, '_, '_> {
    type Error = fmt::Error;

    fn block(&mut self, block: &Block) -> fmt::Result {
        self.caption(block.entry)?;
        self.rows.block(block, self.out)
    }

    fn span(&mut self, span: &Span) -> fmt::Result {
        match span.kind {
            SpanKind::Uncommitted => self.run = true,
            SpanKind::Marker => {
                self.caption(span.start)?;
                self.rows.span(span, self.out)?;
            }
            _ => {}
        }
        Ok(())
    }
}

/// `!heap -p -a A`: the block at an address, with the stack of its allocation.
///
/// # Errors
/// Those of `out`.
pub(crate) fn address(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    names: &dyn NameSource,
    address: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let width = digits(process.bitness);
    for heap in heaps {
        if let Heap::Page(heap) = heap
            && let Some(trace) = page::block_at(heap, address, width, out)?
        {
            if let Some(frames) = traces.frames(trace) {
                page::frames(&frames, names, process.bitness, out)?;
            }
            return writeln!(out, "\n\r ");
        }
    }
    if let Some(found) = heaps.block_at(address) {
        let frames = traces.frames(found.trace);
        writeln!(out, "    address {address:0width$x} found in")?;
        let shown = match heaps.get(found.heap) {
            Ok(Heap::Page(page)) => page.normal_heap(),
            _ => found.heap,
        };
        writeln!(out, "    _HEAP @ {shown:x}")?;
        RowPrinter::new(process, names).block(&found, out)?;
        if let Some(frames) = frames
            && found.state == State::Busy
        {
            if let Trace::Index(index) = found.trace {
                writeln!(out, "        Trace: {index:04x}")?;
            }
            for frame in frames {
                write!(out, "        {frame:x} ")?;
                frame_name(names, frame, process.bitness, out)?;
                writeln!(out)?;
            }
        }
        writeln!(out)?;
    }
    // What is left of the debugger's progress report.
    writeln!(out, "\r ")
}

/// `module!symbol+0x%p`.
pub(super) fn frame_name(
    names: &dyn NameSource,
    address: u64,
    bitness: Bitness,
    out: &mut dyn Write,
) -> fmt::Result {
    let width = digits(bitness);
    let Some(name) = names.name(address) else {
        return write!(out, "+0x{address:0width$x}");
    };
    write!(out, "{}", name.module)?;
    if let Some(symbol) = &name.symbol {
        write!(out, "!{symbol}")?;
    }
    write!(out, "+0x{:0width$x}", name.displacement)
}
