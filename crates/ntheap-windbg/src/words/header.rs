//! `!heap -h`, `-a`, `-m`, `-f`, `-hl` and `-v`: the header of a heap, its lists and its entries.

use std::fmt::{self, Write};

use super::{entries, format::digits, list::listed_heaps};
use ntheap::{
    address_space::ListEnd,
    heap::{
        Heap, Heaps,
        nt::{NtHeap, Segment},
    },
    layout::{Bitness, Layouts},
    process::{HeapKind, Process},
};

/// More free blocks than a heap can list.
const MAX_FREE: usize = 1 << 26;
/// Number of free lists on XP: one a size.
const XP_LISTS: u64 = 128;

/// What is printed of a heap besides its segments.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Detail {
    /// The fields of the header.
    pub fields: bool,
    /// The virtual blocks.
    pub virtual_blocks: bool,
    /// The uncommitted ranges.
    pub uncommitted: bool,
    /// The blocks on the free lists.
    pub free: bool,
    /// The headers of the segments.
    pub segments: bool,
    /// The entries of the segments.
    pub entries: bool,
    /// The slots of the low fragmentation heap.
    pub slots: bool,
}

impl Detail {
    /// `-v H`.
    pub(crate) const FIELDS: Self = Detail {
        fields: true,
        virtual_blocks: false,
        uncommitted: false,
        free: false,
        segments: false,
        entries: false,
        slots: false,
    };
    /// `-f H`.
    pub(crate) const FREE: Self = Detail {
        free: true,
        ..Self::FIELDS
    };
    /// `-m H`.
    pub(crate) const SEGMENTS: Self = Detail {
        virtual_blocks: true,
        uncommitted: true,
        segments: true,
        ..Self::FIELDS
    };
    /// `-h H`.
    pub(crate) const ENTRIES: Self = Detail {
        virtual_blocks: true,
        entries: true,
        ..Self::FIELDS
    };
    /// `-hl H`.
    pub(crate) const SLOTS: Self = Detail {
        slots: true,
        ..Self::ENTRIES
    };
    /// `-a H`.
    pub(crate) const ALL: Self = Detail {
        uncommitted: true,
        free: true,
        segments: true,
        ..Self::ENTRIES
    };

    /// The option of this name.
    pub(crate) fn of_option(name: &str) -> Option<Self> {
        Some(match name.to_ascii_lowercase().as_str() {
            "-h" => Self::ENTRIES,
            "-a" => Self::ALL,
            "-m" => Self::SEGMENTS,
            "-f" => Self::FREE,
            "-v" => Self::FIELDS,
            "-hl" => Self::SLOTS,
            _ => return None,
        })
    }

    /// What either of two options shows.
    pub(crate) fn and(self, other: Self) -> Self {
        Detail {
            fields: self.fields || other.fields,
            virtual_blocks: self.virtual_blocks || other.virtual_blocks,
            uncommitted: self.uncommitted || other.uncommitted,
            free: self.free || other.free,
            segments: self.segments || other.segments,
            entries: self.entries || other.entries,
            slots: self.slots || other.slots,
        }
    }
}

/// Prints one heap, or all for `None`.
///
/// # Errors
/// Those of `out`.
pub(crate) fn headers(
    heaps: &Heaps<'_, '_>,
    only: Option<u64>,
    detail: Detail,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let listed = listed_heaps(heaps);
    let segment_heap = |only| {
        let heap = process.heap(only);
        heap.is_ok_and(|heap| heap.kind == HeapKind::Segment)
    };
    let nothing = only.is_some_and(segment_heap);
    // The caption belongs to the first heap, whatever heap is asked for.
    let first = listed.first().map(|heap| heap.reference().kind);
    if nothing && first == Some(HeapKind::Segment) {
        return Ok(());
    }
    writeln!(out, "Index   Address  Name      Debugging options enabled")?;
    if nothing {
        return Ok(());
    }
    for (index, heap) in listed.iter().enumerate() {
        if only.is_some_and(|only| only != heap.handle()) {
            continue;
        }
        if let Heap::Nt(heap) = heap {
            writeln!(out, "{:3}:   {:08x} ", index + 1, heap.handle())?;
            let printer = Printer {
                process,
                layouts: &process.layouts,
                heap,
                width: digits(process.bitness),
            };
            printer.heap(detail, out)?;
        }
    }
    Ok(())
}

struct Printer<'p, 'd, 'a> {
    process: &'p Process<'d, 'a>,
    layouts: &'p Layouts,
    heap: &'p NtHeap<'p, 'a>,
    width: usize,
}

impl Printer<'_, '_, '_> {
    fn heap(&self, detail: Detail, out: &mut dyn Write) -> fmt::Result {
        let width = self.width;
        for segment in &self.heap.segments {
            writeln!(
                out,
                "    Segment at {:0width$x} to {:0width$x} ({:08x} bytes committed)",
                segment.base,
                segment.base + segment.reserved,
                segment.committed(),
            )?;
        }
        if !detail.fields {
            return Ok(());
        }
        self.fields(out)?;
        if detail.virtual_blocks {
            self.virtual_blocks(out)?;
        }
        let list = self.layouts.heap.ucr_list.map_or(0, u64::from);
        let list = self.heap.handle() + list;
        writeln!(out, "    Uncommitted ranges:   {list:08x}")?;
        if detail.uncommitted {
            self.uncommitted(out)?;
        }
        if self.heap.is_xp() {
            self.free_list_map(out)?;
            self.free_list(detail.free, out)?;
        } else {
            self.free_list(detail.free, out)?;
            writeln!(out)?;
        }
        for (index, segment) in self.heap.segments.iter().enumerate() {
            if detail.segments {
                self.segment(index, segment, out)?;
                writeln!(out)?;
            }
            if detail.entries {
                entries::entries(self.heap, index, segment, detail.slots, out)?;
            }
        }
        Ok(())
    }

    fn fields(&self, out: &mut dyn Write) -> fmt::Result {
        let width = self.width;
        let layout = &self.layouts.heap;
        let memory = self.process.memory();
        let heap = memory.at(self.heap.handle(), self.process.bitness);
        let half = |field| heap.u16(field).unwrap_or(0);
        let word = |field| heap.u32(field).unwrap_or(0);
        let pointer = |field| heap.pointer(field).unwrap_or(0);
        // Of the tag pointers the debugger prints the lower half.
        let low = |field| pointer(field) as u32;
        let lists = layout.virtual_allocd_blocks.map_or(0, u64::from);
        writeln!(out, "    Flags:                {:08x}", word(layout.flags))?;
        writeln!(
            out,
            "    ForceFlags:           {:08x}",
            word(layout.force_flags)
        )?;
        writeln!(out, "    Granularity:          {} bytes", self.heap.unit())?;
        for (caption, field) in [
            ("Segment Reserve:     ", layout.segment_reserve),
            ("Segment Commit:      ", layout.segment_commit),
            (
                "DeCommit Block Thres:",
                layout.de_commit_free_block_threshold,
            ),
            (
                "DeCommit Total Thres:",
                layout.de_commit_total_free_threshold,
            ),
            ("Total Free Size:     ", layout.total_free_size),
        ] {
            writeln!(out, "    {caption} {:08x}", pointer(field))?;
        }
        let largest = pointer(layout.maximum_allocation_size);
        let lock = pointer(layout.lock_variable);
        writeln!(out, "    Max. Allocation Size: {largest:0width$x}")?;
        writeln!(out, "    Lock Variable at:     {lock:0width$x}")?;
        writeln!(
            out,
            "    Next TagIndex:        {:04x}",
            half(layout.next_available_tag_index)
        )?;
        writeln!(
            out,
            "    Maximum TagIndex:     {:04x}",
            half(layout.maximum_tag_index)
        )?;
        writeln!(
            out,
            "    Tag Entries:          {:08x}",
            low(layout.tag_entries)
        )?;
        writeln!(
            out,
            "    PsuedoTag Entries:    {:08x}",
            low(layout.pseudo_tag_entries)
        )?;
        writeln!(
            out,
            "    Virtual Alloc List:   {:08x}",
            self.heap.handle() + lists
        )
    }

    fn virtual_blocks(&self, out: &mut dyn Write) -> fmt::Result {
        let width = self.width;
        for block in &self.heap.virtual_blocks {
            let Some(entry) = self.heap.raw_entry_at(block.entry) else {
                continue;
            };
            // The size field of a virtual block holds its unused bytes.
            let unused = u64::from(entry.entry.size);
            writeln!(
                out,
                "        {:0width$x}: {:08x} [commited {:x}, unused {unused:x}] - busy (b)",
                block.element,
                block.committed.saturating_sub(unused),
                block.committed,
            )?;
        }
        Ok(())
    }

    fn uncommitted(&self, out: &mut dyn Write) -> fmt::Result {
        for range in self.heap.segments.iter().flat_map(|s| &s.ranges) {
            let (start, size) = (range.start, range.size);
            writeln!(out, "            {start:08x}: {size:08x}  ({size} bytes)")?;
        }
        Ok(())
    }

    /// XP's map of the free lists that are not empty.
    fn free_list_map(&self, out: &mut dyn Write) -> fmt::Result {
        let Some(map) = self.layouts.heap.free_lists_in_use else {
            return Ok(());
        };
        let map = self.heap.handle() + u64::from(map);
        write!(out, "    FreeList Usage:     ")?;
        for word in 0..XP_LISTS / u64::from(u32::BITS) {
            let word = self.process.memory().u32(map + word * 4).unwrap_or(0);
            write!(out, " {word:08x}")?;
        }
        writeln!(out)
    }

    fn free_list(&self, rows: bool, out: &mut dyn Write) -> fmt::Result {
        let Some(lists) = self.layouts.heap.free_lists else {
            return Ok(());
        };
        let memory = self.process.memory();
        let bitness = self.process.bitness;
        let width = self.width;
        let first = self.heap.handle() + u64::from(lists);
        let xp = self.heap.is_xp();
        // Since Vista there is one list, ascending by size. Empty ones are left out.
        for index in 0..if xp { XP_LISTS } else { 1 } {
            let head = first + index * 2 * bitness.pointer_size();
            let (elements, end) = memory.list(head, bitness, MAX_FREE);
            if elements.is_empty() {
                continue;
            }
            let link = |at| memory.pointer(at, bitness).unwrap_or(0);
            write!(
                out,
                "    FreeList[ {index:02x} ] at {head:0width$x}: {:0width$x} . {:0width$x}  ",
                link(head + bitness.pointer_size()),
                link(head),
            )?;
            if rows {
                writeln!(out)?;
                for element in elements {
                    let at = element.wrapping_sub(self.heap.unit());
                    if let Some(entry) = self.heap.raw_entry_at(at) {
                        entries::chain(&entry, bitness, out)?;
                        writeln!(out, " - free")?;
                    }
                }
            } else {
                let count = elements.len();
                let plural = if count == 1 { " " } else { "s" };
                writeln!(out, " ({count} block{plural})")?;
            }
            if let ListEnd::Broken(at) = end {
                writeln!(out, "        {at:0width$x}: the list is broken here")?;
            }
        }
        Ok(())
    }

    fn segment(&self, index: usize, segment: &Segment, out: &mut dyn Write) -> fmt::Result {
        let layout = &self.layouts.segment;
        let memory = self.process.memory();
        let header = memory.at(segment.header, self.process.bitness);
        let word = |field| header.u32(field).unwrap_or(0);
        let xp = self.heap.is_xp();
        // Vista renamed the field, and the debugger shows 0 since.
        let flags = if xp { layout.flags } else { None };
        // Of the header's and the first entry's address the debugger prints the lower half.
        writeln!(
            out,
            "    Segment{index:02} at {:08x}:",
            segment.header as u32
        )?;
        writeln!(out, "        Flags:           {:08x}", word(flags))?;
        writeln!(out, "        Base:            {:08x}", segment.base)?;
        writeln!(
            out,
            "        First Entry:     {:08x}",
            segment.first_entry as u32
        )?;
        writeln!(out, "        Last Entry:      {:08x}", segment.end)?;
        writeln!(
            out,
            "        Total Pages:     {:08x}",
            word(layout.number_of_pages)
        )?;
        let without = word(layout.number_of_un_committed_pages);
        writeln!(out, "        Total UnCommit:  {without:08x}")?;
        writeln!(
            out,
            "        Largest UnCommit:{:08x}",
            segment.largest_uncommitted
        )?;
        writeln!(
            out,
            "        UnCommitted Ranges: ({})",
            segment.uncommitted_ranges
        )?;
        if xp {
            for range in &segment.ranges {
                writeln!(out, "            {:08x}: {:08x}", range.start, range.size)?;
            }
        }
        Ok(())
    }
}

/// Columns in front of the caption of a listing that is as wide as the pointers.
pub(super) const fn indent(bitness: Bitness) -> &'static str {
    match bitness {
        Bitness::X86 => "         ",
        Bitness::X64 => "                 ",
    }
}
