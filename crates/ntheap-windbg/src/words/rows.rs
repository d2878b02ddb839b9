//! The rows of `!heap -p` and `!heap -flt`.
//!
//! ```text
//!               HEAP_ENTRY Size Prev Flags            UserPtr UserSize - state
//!       * 00000210306c23d0 0081 0006  [00]   00000210306c23e0    0080f - (busy)
//!         00000210306c4990 0005 0005  [00]   00000210306c49a0    00044 - (busy)
//! ```
//!
//! `Prev` is the size of the row that was printed before, whatever block that was: the printer
//! carries it, also from heap to heap.

use std::fmt::{self, Write};

use super::format::digits;
use ntheap::{
    address_space::AddressSpace,
    blocks::{Block, Kind, Span, SpanKind, State},
    heap::nt::flags::INTERNAL,
    layout::{Bitness, Layouts},
    names::NameSource,
    process::Process,
};

/// `UnusedBytes` of blocks that the heap took for itself.
const UNUSED_OWN: u8 = 1;
/// `_HEAP_USERDATA_HEADER.Signature`.
const CONTAINER: u32 = 0xf0e0_d0c0;

/// Prints rows; one printer for a whole output.
pub(super) struct RowPrinter<'a> {
    memory: &'a AddressSpace<'a>,
    layouts: &'a Layouts,
    xp: bool,
    names: &'a dyn NameSource,
    /// Size of the row printed before, in units.
    previous: u64,
    captioned: bool,
}

impl fmt::Debug for RowPrinter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RowPrinter")
            .field("previous", &self.previous)
            .field("captioned", &self.captioned)
            .finish_non_exhaustive()
    }
}

/// The numbers of a row.
struct Row {
    entry: u64,
    block_size: u64,
    flags: u8,
    address: u64,
    size: u64,
    own: bool,
    state: &'static str,
}

impl<'a> RowPrinter<'a> {
    /// A printer that has printed nothing yet.
    #[must_use]
    pub(super) fn new(process: &'a Process<'_, 'a>, names: &'a dyn NameSource) -> Self {
        RowPrinter {
            memory: process.memory(),
            layouts: &process.layouts,
            xp: process.layouts.heap.encoding.is_none(),
            names,
            previous: 0,
            captioned: false,
        }
    }

    /// Prints a block, and before the first row the caption.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn block(&mut self, block: &Block, out: &mut dyn Write) -> fmt::Result {
        let unit = self.layouts.bitness.unit();
        let mut row = Row {
            entry: block.entry,
            block_size: block.block_size,
            // The flags' place is not where the debugger looks for it since Vista.
            flags: if self.xp { block.flags } else { 0 },
            address: block.address,
            size: block.size,
            own: block.internal,
            state: match (block.state, block.kind) {
                (State::Busy, Kind::Virtual) => "busy VirtualAlloc",
                (State::Busy, _) => "busy",
                (State::Free, Kind::Lookaside) => "free LookAside",
                (State::Free, _) => "free",
                (State::Freed, _) => "free DelayedFree",
            },
        };
        if block.internal && !self.xp {
            if self.is_container(block) {
                // Shown without the trace prefix that it can have.
                row.address = block.entry + unit;
                row.size = block.block_size.saturating_sub(unit);
            } else if block.flags & INTERNAL != 0 && self.unused(block.entry) == Some(UNUSED_OWN) {
                row.size = block.block_size.saturating_sub(UNUSED_OWN.into());
            }
        }
        self.row(&row, out)
    }

    /// Prints the entry in front of an uncommitted range; other spans have no row.
    ///
    /// # Errors
    /// Those of `out`.
    pub(super) fn span(&mut self, span: &Span, out: &mut dyn Write) -> fmt::Result {
        if span.kind != SpanKind::Marker {
            return Ok(());
        }
        let unit = self.layouts.bitness.unit();
        self.row(
            &Row {
                entry: span.start,
                block_size: span.size,
                flags: 0,
                address: span.start + unit,
                size: span.size.saturating_sub(unit),
                own: true,
                state: "busy",
            },
            out,
        )
    }

    fn row(&mut self, row: &Row, out: &mut dyn Write) -> fmt::Result {
        if !self.captioned {
            self.captioned = true;
            out.write_str(match self.layouts.bitness {
                Bitness::X64 => {
                    "              HEAP_ENTRY Size Prev Flags            UserPtr UserSize - state\n"
                }
                Bitness::X86 => "      HEAP_ENTRY Size Prev Flags    UserPtr UserSize - state\n",
            })?;
        }
        let width = digits(self.layouts.bitness);
        let units = row.block_size / self.layouts.bitness.unit();
        writeln!(
            out,
            "      {} {:0width$x} {units:04x} {:04x}  [{:02x}]   {:0width$x}    {:05x} - ({})",
            if row.own { '*' } else { ' ' },
            row.entry,
            self.previous as u16,
            row.flags,
            row.address,
            row.size,
            row.state,
        )?;
        self.previous = units;
        if row.state.starts_with("busy") {
            self.vtable(row, out)?;
        }
        Ok(())
    }

    fn vtable(&self, row: &Row, out: &mut dyn Write) -> fmt::Result {
        if row.own {
            return Ok(());
        }
        self.vtable_line(row.address, row.size, out)
    }

    /// The line that guesses a C++ object's class by its first pointer.
    pub(super) fn vtable_line(&self, address: u64, size: u64, out: &mut dyn Write) -> fmt::Result {
        let bitness = self.layouts.bitness;
        if size < bitness.pointer_size() {
            return Ok(());
        }
        let Some(name) = self
            .memory
            .pointer(address, bitness)
            .and_then(|pointer| self.names.name(pointer))
        else {
            return Ok(());
        };
        write!(out, "          ? {}", name.module)?;
        if let Some(symbol) = &name.symbol {
            write!(out, "!{symbol}")?;
        }
        if name.displacement != 0 || name.symbol.is_none() {
            write!(out, "+{:x}", name.displacement)?;
        }
        writeln!(out)
    }

    /// Whether one of the heap's own blocks holds slots of the LFH.
    fn is_container(&self, block: &Block) -> bool {
        let header = self.memory.at(block.address, self.layouts.bitness);
        header.u32(self.layouts.user_data_header.signature) == Some(CONTAINER)
    }

    fn unused(&self, entry: u64) -> Option<u8> {
        let offset = self.layouts.entry.unused_bytes?;
        self.memory.u8(entry.checked_add(u64::from(offset))?)
    }
}
