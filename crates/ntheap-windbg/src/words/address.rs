//! `!address`: the regions of the address space, and what each is for.

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

use super::{
    address_table::{AddressFilter, accepted},
    format::digits,
    usage::{HeapPart, Usage, UsageMap, UsedRegion, quoted, readable_size},
};
use ntheap::{
    dump::{RegionKind, RegionState},
    heap::Heaps,
    layout::Bitness,
    printable::printable,
    process::Process,
    stats::total,
    traces::Traces,
};

/// `PAGE_*` names, lowest bit first.
const PROTECTIONS: &[&str] = &[
    "PAGE_NOACCESS",
    "PAGE_READONLY",
    "PAGE_READWRITE",
    "PAGE_WRITECOPY",
    "PAGE_EXECUTE",
    "PAGE_EXECUTE_READ",
    "PAGE_EXECUTE_READWRITE",
    "PAGE_EXECUTE_WRITECOPY",
    "PAGE_GUARD",
    "PAGE_NOCACHE",
    "PAGE_WRITECOMBINE",
];

pub(super) fn protection(bits: u32) -> String {
    let named = PROTECTIONS
        .iter()
        .enumerate()
        .filter(|(bit, _)| bits >> bit & 1 != 0);
    let names: Vec<&str> = named.map(|(_, name)| *name).collect();
    names.join("|")
}

pub(super) const fn state(state: RegionState) -> (u32, &'static str) {
    match state {
        RegionState::Commit => (0x1000, "MEM_COMMIT"),
        RegionState::Reserve => (0x2000, "MEM_RESERVE"),
        RegionState::Free => (0x1_0000, "MEM_FREE"),
    }
}

pub(super) const fn kind(kind: RegionKind) -> (u32, &'static str) {
    match kind {
        RegionKind::Private => (0x2_0000, "MEM_PRIVATE"),
        RegionKind::Mapped => (0x4_0000, "MEM_MAPPED"),
        RegionKind::Image => (0x100_0000, "MEM_IMAGE"),
        RegionKind::None => (0, "<info not present at the target>"),
    }
}

/// A whole address: `00000000`002d0000`.
fn full(value: u64, bitness: Bitness) -> String {
    match bitness {
        Bitness::X86 => format!("{value:0width$x}", width = digits(bitness)),
        Bitness::X64 => format!("{:08x}`{:08x}", value >> 32, value as u32),
    }
}

/// Prints the region that holds `address`, and what it is for.
///
/// # Errors
/// Those of `out`.
pub(crate) fn address(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    address: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    let map = UsageMap::of(heaps, traces);
    let Some(used) = map.at(address) else {
        return Ok(());
    };
    let region = &used.region;
    let number = |value| full(value, process.bitness);
    writeln!(out, "\nUsage:                  {}", used.usage.name())?;
    writeln!(out, "Base Address:           {}", number(region.base))?;
    writeln!(out, "End Address:            {}", number(region.end()))?;
    writeln!(
        out,
        "Region Size:            {} {}",
        number(region.size),
        readable_size(region.size)
    )?;
    let mut bits = |label: &str, (bits, name): (u32, &str)| {
        writeln!(out, "{label:24}{bits:08x}          {name}")
    };
    bits("State:", state(region.state))?;
    if region.state != RegionState::Reserve {
        bits(
            "Protect:",
            (region.protection, &protection(region.protection)),
        )?;
    }
    bits("Type:", kind(region.kind))?;
    if region.state != RegionState::Free {
        writeln!(
            out,
            "Allocation Base:        {}",
            number(region.allocation_base)
        )?;
        let allocated = region.allocation_protection;
        writeln!(
            out,
            "Allocation Protect:     {allocated:08x}          {}",
            protection(allocated)
        )?;
    }
    more(process, used, address, out)?;
    let readable = process.memory().readable(address, region.end() - address);
    if readable > 0 {
        writeln!(out, "\n\nContent source: 1 (target), length: {readable:x}")?;
    } else {
        writeln!(
            out,
            "\n\nContent source: 0 (invalid), length: {:x}",
            region.end() - address
        )?;
    }
    Ok(())
}

fn more(
    process: &Process<'_, '_>,
    used: &UsedRegion,
    address: u64,
    out: &mut dyn Write,
) -> fmt::Result {
    if let Some((heap, part)) = used.heap {
        writeln!(
            out,
            "More info:              heap owning the address: !heap 0x{heap:x}"
        )?;
        let name = match part {
            HeapPart::Segment => "heap segment",
            HeapPart::LargeBlock => "heap large/virtual block",
            HeapPart::SegmentHeapRoot => "segment heap root",
            HeapPart::PageHeap => "page heap",
        };
        writeln!(out, "More info:              {name}")?;
        if matches!(part, HeapPart::Segment | HeapPart::LargeBlock) {
            writeln!(
                out,
                "More info:              heap entry containing the address: !heap -x 0x{address:x}"
            )?;
        }
    }
    if let (Usage::Image, Some(module)) = (used.usage, process.dump.module_at(address)) {
        let name = printable(module.name());
        writeln!(out, "Image Path:             {}", printable(&module.path))?;
        writeln!(out, "Module Name:            {name}")?;
        writeln!(
            out,
            "More info:              lmv m {name}\nMore info:              !lmi {name}\n\
             More info:              ln 0x{address:x}\nMore info:              !dh 0x{:x}",
            module.base
        )?;
    }
    Ok(())
}

/// Regions of one name.
#[derive(Debug, Default, Clone, Copy)]
struct Sum {
    count: u64,
    size: u64,
    largest: (u64, u64),
}

impl Sum {
    fn add(&mut self, used: &UsedRegion) {
        self.count += 1;
        self.size = self.size.saturating_add(used.region.size);
        if used.region.size > self.largest.1 {
            self.largest = (used.region.base, used.region.size);
        }
    }
}

/// Sums by name. Ties stay in the order of the keys; what is free comes first.
fn sums<K: Ord>(
    regions: &[UsedRegion],
    key: impl Fn(&UsedRegion) -> Option<(K, String)>,
) -> Vec<(String, Sum)> {
    let mut sums = BTreeMap::<K, (String, Sum)>::new();
    for used in regions {
        if let Some((key, name)) = key(used) {
            sums.entry(key)
                .or_insert((name, Sum::default()))
                .1
                .add(used);
        }
    }
    let mut sums: Vec<_> = sums.into_values().collect();
    let free = |name: &str| matches!(name, "Free" | "MEM_FREE");
    sums.sort_by_key(|(name, sum)| (!free(name), std::cmp::Reverse(sum.size)));
    sums
}

/// Prints how much of the address space is used for what, of the regions that the filters accept.
///
/// # Errors
/// Those of `out`.
pub(crate) fn address_summary(
    heaps: &Heaps<'_, '_>,
    traces: &Traces<'_, '_>,
    filters: &[AddressFilter],
    out: &mut dyn Write,
) -> fmt::Result {
    let process = heaps.process();
    if process.dump.regions.is_empty() {
        return writeln!(
            out,
            "The current target does not provide full memory information. No meaningful summary \
             available."
        );
    }
    writeln!(out)?;
    for pass in [
        "file section",
        "module",
        "PEB",
        "TEB and stack",
        "heap",
        "page heap",
        "other",
        "stack trace database",
        "activation context",
    ] {
        writeln!(out, "Mapping {pass} regions...")?;
    }
    let mut map = UsageMap::of(heaps, traces);
    map.regions.retain(|used| accepted(filters, used));
    let regions = &map.regions;
    let size = |used: &UsedRegion| used.region.size;
    let busy = |used: &&UsedRegion| used.usage != Usage::Free;
    let table = Table {
        bitness: process.bitness,
        busy: total(regions.iter().filter(busy).map(size)),
        total: total(regions.iter().map(size)),
    };

    let usages = sums(regions, |used| {
        Some((used.usage, used.usage.name().to_owned()))
    });
    table.write("Usage Summary ----------------", &usages, out)?;
    let kinds = sums(regions, |used| {
        let name = kind(used.region.kind).1.to_owned();
        (used.region.kind != RegionKind::None).then_some((used.region.kind, name))
    });
    table.write("Type Summary (for busy) ------", &kinds, out)?;
    let states = sums(regions, |used| {
        let state = used.region.state;
        Some((state, self::state(state).1.to_owned()))
    });
    table.write("State Summary ----------------", &states, out)?;
    let protections = sums(regions, |used| {
        let bits = used.region.protection;
        (used.region.state == RegionState::Commit).then(|| (bits, protection(bits)))
    });
    table.write("Protect Summary (for commit) -", &protections, out)?;
    writeln!(
        out,
        "\n--- Largest Region by Usage ----------- Base Address -------- Region Size ----------"
    )?;
    for (name, sum) in &usages {
        let (base, size) = sum.largest;
        writeln!(
            out,
            "{name:38}{:>14}{:>18} {}",
            quoted(base, process.bitness),
            quoted(size, process.bitness),
            readable_size(size)
        )?;
    }
    writeln!(out)
}

struct Table {
    bitness: Bitness,
    busy: u64,
    total: u64,
}

impl Table {
    fn write(&self, caption: &str, rows: &[(String, Sum)], out: &mut dyn Write) -> fmt::Result {
        writeln!(
            out,
            "\n--- {caption} RgnCount ----------- Total Size -------- %ofBusy %ofTotal"
        )?;
        // Hundredths of a percent; a half is rounded up.
        let percent = |part: u64, whole: u64| {
            let whole = u128::from(whole.max(1));
            let hundredths = (u128::from(part) * 10_000 + whole / 2) / whole;
            format!("{}.{:02}%", hundredths / 100, hundredths % 100)
        };
        for (name, sum) in rows {
            write!(
                out,
                "{name:38}{:5}{:>18} {}",
                sum.count,
                quoted(sum.size, self.bitness),
                readable_size(sum.size)
            )?;
            if matches!(name.as_str(), "Free" | "MEM_FREE") {
                write!(out, "{:8}", "")?;
            } else {
                write!(out, "{:>8}", percent(sum.size, self.busy))?;
            }
            writeln!(out, " {:>8}", percent(sum.size, self.total))?;
        }
        Ok(())
    }
}
