//! `!address` without an address: the regions in a table, all or those that filters accept.
//!
//! ```text
//!         BaseAddress      EndAddress+1        RegionSize     Type       State                 Protect             Usage
//! --------------------------------------------------------------------------------------------------------------------------
//! +        0`00010000        0`00020000        0`00010000 MEM_MAPPED  MEM_COMMIT  PAGE_READWRITE                     Heap       [ID: 0; Handle: 0000000000010000; Type: Segment]
//! ```

use std::fmt::{self, Write};

use super::{
    address::{kind, protection, state},
    usage::{HeapPart, Usage, UsageMap, UsedRegion, quoted},
};
use ntheap::{
    dump::{RegionKind, RegionState},
    heap::Heaps,
    layout::Bitness,
    printable::printable,
    process::Process,
    traces::Traces,
};

/// What a region must be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AddressFilter {
    Usage(UsageFilter),
    Kind(RegionKind),
    State(RegionState),
    /// A bit of the protection.
    Protection(u32),
}

/// A usage that is asked for, by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct UsageFilter(Option<Usage>);

impl AddressFilter {
    /// The filter of a name, whose case does not count.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let usage = |usage| Some(AddressFilter::Usage(UsageFilter(Some(usage))));
        match name.trim().to_ascii_lowercase().as_str() {
            "var" | "<unknown>" | "unknown" | "<unclassified>" => usage(Usage::Unknown),
            "free" | "<free>" => usage(Usage::Free),
            "image" => usage(Usage::Image),
            "stack" | "stack32" | "stack64" => usage(Usage::Stack),
            "teb" | "teb32" | "teb64" => usage(Usage::Teb),
            "peb" | "peb32" | "peb64" => usage(Usage::Peb),
            "heap" | "heap32" | "heap64" | "pageheap" => usage(Usage::Heap),
            "other" | "csr" | "actx" | "nls" | "stacktrace" => usage(Usage::Other),
            // Mapped files are told by their kind alone.
            "filemap" | "mem_mapped" => Some(AddressFilter::Kind(RegionKind::Mapped)),
            "mem_image" => Some(AddressFilter::Kind(RegionKind::Image)),
            "mem_private" => Some(AddressFilter::Kind(RegionKind::Private)),
            "mem_commit" => Some(AddressFilter::State(RegionState::Commit)),
            "mem_reserve" => Some(AddressFilter::State(RegionState::Reserve)),
            "mem_free" => Some(AddressFilter::State(RegionState::Free)),
            name => (0..11u32)
                .map(|bit| 1 << bit)
                .find(|&bit| protection(bit).eq_ignore_ascii_case(name))
                .map(AddressFilter::Protection),
        }
    }

    /// Filters of one kind are alternatives; all kinds must be met.
    fn class(self) -> u8 {
        match self {
            AddressFilter::Usage(_) => 0,
            AddressFilter::Kind(_) => 1,
            AddressFilter::State(_) => 2,
            AddressFilter::Protection(_) => 3,
        }
    }

    fn meets(self, used: &UsedRegion) -> bool {
        let region = &used.region;
        match self {
            AddressFilter::Usage(UsageFilter(usage)) => usage == Some(used.usage),
            AddressFilter::Kind(kind) => region.kind == kind,
            AddressFilter::State(state) => region.state == state,
            AddressFilter::Protection(bit) => {
                region.state == RegionState::Commit && region.protection & bit != 0
            }
        }
    }
}

/// Whether filters accept a region.
pub(super) fn accepted(filters: &[AddressFilter], used: &UsedRegion) -> bool {
    (0..4).all(|class| {
        let mut of_class = filters
            .iter()
            .filter(|filter| filter.class() == class)
            .peekable();
        of_class.peek().is_none() || of_class.any(|filter| filter.meets(used))
    })
}

/// How a region is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum AddressRow {
    /// In columns.
    #[default]
    Columns,
    /// Values with this character between them.
    Values(char),
    /// The address alone.
    Addresses,
}

/// Which regions, and how.
#[derive(Debug, Clone, Default)]
pub(crate) struct AddressTable {
    pub(crate) filters: Vec<AddressFilter>,
    pub(crate) row: AddressRow,
}

/// Prints the regions.
///
/// # Errors
/// Those of `out`.
pub(crate) fn address_table(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    table: &AddressTable,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let bitness = process.bitness;
    if process.dump.regions.is_empty() {
        return writeln!(
            out,
            "The current target does not provide full memory information."
        );
    }
    let (width, rule) = match bitness {
        Bitness::X64 => (18, 124),
        Bitness::X86 => (10, 100),
    };
    match table.row {
        AddressRow::Columns => {
            writeln!(
                out,
                "\n{:>end$}{:>width$}{:>width$} {:^11} {:^11} {:^34} Usage",
                "BaseAddress",
                "EndAddress+1",
                "RegionSize",
                "Type",
                "State",
                "Protect",
                end = width + 1,
            )?;
            writeln!(out, "{:-<rule$}", "")?;
        }
        AddressRow::Values(separator) => {
            let names = [
                "Base Address",
                "End Address",
                "Region Size",
                "Type",
                "State",
                "Protect",
                "Usage",
                "Comments",
            ];
            writeln!(out, "{}", names.join(&separator.to_string()))?;
        }
        AddressRow::Addresses => {}
    }
    let map = UsageMap::of(heaps, traces);
    for used in map
        .regions
        .iter()
        .filter(|used| accepted(&table.filters, used))
    {
        let region = &used.region;
        let comment = comment(process, used);
        match table.row {
            AddressRow::Addresses => writeln!(out, "0x{:x}", region.base)?,
            AddressRow::Values(separator) => {
                let mut values = row(used).to_vec();
                values.push(comment);
                // A value with the separator in it is quoted.
                for value in &mut values {
                    if value.contains([separator, '"']) {
                        *value = format!("\"{}\"", value.replace('"', "\"\""));
                    }
                }
                writeln!(out, "{}", values.join(&separator.to_string()))?;
            }
            AddressRow::Columns => {
                let first =
                    region.base == region.allocation_base || region.state == RegionState::Free;
                let number = |value| quoted(value, bitness);
                let [_, _, _, kind, state, protect, usage] = row(used);
                let line = format!(
                    "{}{:>width$}{:>width$}{:>width$} {kind:<11} {state:<11} {protect:<34} {usage:<10} {comment}",
                    if first { '+' } else { ' ' },
                    number(region.base),
                    number(region.end()),
                    number(region.size),
                );
                writeln!(out, "{}", line.trim_end())?;
            }
        }
    }
    Ok(())
}

/// The regions that filters accept, each as the values that a command takes for `%1` to `%7`.
#[must_use]
pub(crate) fn address_rows(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    filters: &[AddressFilter],
) -> Vec<[String; 7]> {
    let map = UsageMap::of(heaps, traces);
    let wanted = map.regions.iter().filter(|used| accepted(filters, used));
    wanted.map(row).collect()
}

/// Base, end, size, type, state, protection and usage.
fn row(used: &UsedRegion) -> [String; 7] {
    let region = &used.region;
    let kind = match region.kind {
        RegionKind::None => "",
        other => kind(other).1,
    };
    let protect = match region.state {
        RegionState::Reserve => String::new(),
        _ => protection(region.protection),
    };
    [
        format!("0x{:x}", region.base),
        format!("0x{:x}", region.end()),
        format!("0x{:x}", region.size),
        kind.to_owned(),
        state(region.state).1.to_owned(),
        protect,
        used.usage.name().to_owned(),
    ]
}

fn comment(process: &Process<'_, '_>, used: &UsedRegion) -> String {
    match (used.usage, used.heap) {
        (Usage::Heap, Some((handle, part))) => {
            let part = match part {
                HeapPart::Segment => "Segment",
                HeapPart::LargeBlock => "Large block",
                HeapPart::SegmentHeapRoot => "Segment heap root",
                HeapPart::PageHeap => "Page heap",
            };
            let width = super::format::digits(process.bitness);
            let index = process.heaps.iter().position(|heap| heap.handle == handle);
            let index = index.map_or(String::new(), |index| format!("ID: {index}; "));
            format!("[{index}Handle: {handle:0width$x}; Type: {part}]")
        }
        (Usage::Image, _) => match process.dump.module_at(used.region.base) {
            Some(module) => {
                let (name, path) = (printable(module.name()), printable(&module.path));
                format!("[{name}; \"{path}\"]")
            }
            None => String::new(),
        },
        (Usage::Stack | Usage::Teb, _) => {
            let threads = process.dump.threads.iter().enumerate();
            let mut owning = threads.filter(|(_, thread)| {
                let place = match used.usage {
                    Usage::Teb => thread.teb,
                    _ => thread.stack_base,
                };
                (used.region.base..used.region.end()).contains(&place)
                    || (used.usage == Usage::Stack
                        && process.dump.region_at(place).is_some_and(|region| {
                            region.allocation_base == used.region.allocation_base
                        }))
            });
            let id = process.dump.process_id.unwrap_or(0);
            owning.next().map_or(String::new(), |(index, thread)| {
                format!("[~{index}; {id:x}.{:x}]", thread.id)
            })
        }
        _ => String::new(),
    }
}
