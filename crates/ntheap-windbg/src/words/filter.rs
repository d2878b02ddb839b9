//! `!heap -flt s N` and `!heap -flt r A B`: the rows of blocks of some sizes.

use std::{
    fmt::{self, Write},
    ops::RangeInclusive,
};

use super::{page, rows::RowPrinter};
use ntheap::{
    blocks::{Block, Finding, Span, TryVisitor, try_visit},
    heap::{Heap, Heaps},
    losses::Losses,
    names::NameSource,
};

/// Writes a caption for every heap and a row for every block, busy or free, whose size is in the
/// range (of `r A B` the debugger takes A in, but not B). Returns what the walk could not read.
///
/// # Errors
/// Those of `out`.
pub fn filter(
    heaps: &Heaps<'_, '_>,
    sizes: RangeInclusive<u64>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> Result<Losses, fmt::Error> {
    filter_heap(heaps, None, sizes, names, out)
}

/// The same of one heap alone.
///
/// # Errors
/// Those of `out`.
pub(crate) fn filter_heap(
    heaps: &Heaps<'_, '_>,
    only: Option<u64>,
    sizes: RangeInclusive<u64>,
    names: &dyn NameSource,
    out: &mut dyn Write,
) -> Result<Losses, fmt::Error> {
    let process = heaps.process();
    let mut rows = Rows {
        printer: RowPrinter::new(process, names),
        sizes,
        out,
        losses: Losses::default(),
    };
    for heap in heaps {
        let normal = match heap {
            Heap::Page(page) => page.normal_heap(),
            _ => heap.handle(),
        };
        if only.is_some_and(|only| only != heap.handle() && only != normal) {
            continue;
        }
        if let Heap::Page(page) = heap {
            let printer = &rows.printer;
            let mut vtable =
                |address, size, out: &mut dyn Write| printer.vtable_line(address, size, out);
            page::blocks(
                page,
                process.bitness,
                &rows.sizes,
                &mut vtable,
                &mut *rows.out,
            )?;
            writeln!(rows.out, "    _HEAP @ {:x}", page.normal_heap())?;
            // The first part is that of the full blocks.
            try_visit(&mut rows, |visitor| {
                let mut parts = heap.parts().skip(1);
                parts.try_for_each(|part| heap.walk_part(part, visitor))
            })?;
        } else {
            writeln!(rows.out, "    _HEAP @ {:x}", heap.handle())?;
            heap.try_walk(&mut rows)?;
        }
    }
    Ok(rows.losses)
}

struct Rows<'r, 'p> {
    printer: RowPrinter<'p>,
    sizes: RangeInclusive<u64>,
    out: &'r mut dyn Write,
    losses: Losses,
}

impl TryVisitor for Rows<'_, '_> {
    type Error = fmt::Error;

    fn block(&mut self, block: &Block) -> fmt::Result {
        if block.internal || !self.sizes.contains(&block.size) {
            return Ok(());
        }
        self.printer.block(block, self.out)
    }

    fn span(&mut self, span: &Span) -> fmt::Result {
        self.losses.add_span(span);
        Ok(())
    }

    fn finding(&mut self, finding: Finding) -> fmt::Result {
        self.losses.add(finding);
        Ok(())
    }
}
