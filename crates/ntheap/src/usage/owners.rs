//! Who owns memory outside the heaps: allocators and runtimes by what they leave in the address space,
//! else the module whose variables point there.
//!
//! Signs, from the surest: a layout that only one allocator makes; a runtime's module with memory of
//! the shape that this runtime reserves; the module with most pointers to the memory; the module that
//! the memory points to most.

use std::sync::Arc;

use rustc_hash::FxHashMap;

use crate::{
    address_space::words,
    dump::{Module, Region, RegionKind, RegionState},
    process::Process,
};

/// Bytes of one allocation that are searched for pointers to modules.
const SEARCHED: u64 = 16 << 20;
/// `PAGE_NOACCESS`.
const NO_ACCESS: u32 = 0x01;
/// `PAGE_READWRITE`, `PAGE_WRITECOPY` and the executable forms of both.
const WRITABLE: u32 = 0x04 | 0x08 | 0x40 | 0x80;

/// Why an owner is named.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Sign {
    /// The memory is laid out as only this allocator does it.
    Layout,
    /// The runtime's module is loaded, and the memory has the shape of what it reserves.
    Module,
    /// Variables of the module point to the memory, and those of no other do so more often.
    Pointers,
    /// The memory points to the module more often than to any other.
    PointsTo,
    /// Nothing tells.
    Nothing,
}

impl Sign {
    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Sign::Layout => "layout",
            Sign::Module => "module",
            Sign::Pointers => "pointers",
            Sign::PointsTo => "points-to",
            Sign::Nothing => "nothing",
        }
    }
}

/// An owner of memory outside the heaps.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RegionOwner {
    /// An allocator, a runtime, or a module; empty where nothing tells.
    pub name: Arc<str>,
    /// Why it is named.
    pub sign: Sign,
    /// Bytes that it got.
    pub bytes: u64,
    /// Number of its allocations.
    pub allocations: usize,
    /// The allocation with most of these bytes.
    pub largest: u64,
}

/// An allocation that is new, or has more committed than it had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GrownAllocation {
    /// Address that it begins at.
    pub base: u64,
    /// Committed bytes that it gained.
    pub bytes: u64,
}

impl RegionOwner {
    /// The owners of these allocations of private memory, those with most bytes first.
    #[must_use]
    pub fn of(process: &Process<'_, '_>, grown: &[GrownAllocation]) -> Vec<RegionOwner> {
        let allocations: Vec<Allocation<'_>> = grown
            .iter()
            .map(|&grown| Allocation::of(&process.dump.regions, grown))
            .collect();
        let mimalloc = mimalloc_segments(process, &allocations);
        let pointers = pointers(process, &allocations);
        let mut owners: FxHashMap<(Arc<str>, Sign), RegionOwner> = FxHashMap::default();
        for (place, allocation) in allocations.iter().enumerate() {
            let known = by_layout(allocation, mimalloc[place])
                .or_else(|| by_module(&process.dump.modules, allocation));
            let (name, sign): (Arc<str>, Sign) = match known {
                Some((name, sign)) => (name.into(), sign),
                None => match &pointers[place] {
                    Some(module) => (module.clone(), Sign::Pointers),
                    None => match points_to(process, allocation) {
                        Some(module) => (module, Sign::PointsTo),
                        None => ("".into(), Sign::Nothing),
                    },
                },
            };
            let owner = owners.entry((name.clone(), sign)).or_insert(RegionOwner {
                name,
                sign,
                bytes: 0,
                allocations: 0,
                largest: allocation.grown.base,
            });
            owner.bytes = owner.bytes.saturating_add(allocation.grown.bytes);
            owner.allocations += 1;
        }
        let mut owners: Vec<RegionOwner> = owners.into_values().collect();
        owners.sort_by(|a, b| (b.bytes, &a.name, a.sign).cmp(&(a.bytes, &b.name, b.sign)));
        owners
    }
}

struct Allocation<'r> {
    grown: GrownAllocation,
    regions: &'r [Region],
    end: u64,
}

impl<'r> Allocation<'r> {
    fn of(regions: &'r [Region], grown: GrownAllocation) -> Self {
        let first = regions.partition_point(|region| region.base < grown.base);
        let rest = &regions[first..];
        let length = rest
            .iter()
            .take_while(|r| r.allocation_base == grown.base && r.state != RegionState::Free)
            .count();
        let regions = &rest[..length];
        Allocation {
            grown,
            regions,
            end: regions.last().map_or(grown.base, Region::end),
        }
    }

    fn size(&self) -> u64 {
        self.end - self.grown.base
    }

    /// Whether a page can be read and written; `None` behind the allocation.
    fn usable(&self, address: u64) -> Option<bool> {
        let place = self.regions.partition_point(|r| r.end() <= address);
        let region = self.regions.get(place).filter(|r| r.base <= address)?;
        let access = region.protection & 0xff;
        Some(region.state == RegionState::Commit && access != NO_ACCESS && access != 0)
    }
}

fn by_layout(allocation: &Allocation<'_>, mimalloc: bool) -> Option<(&'static str, Sign)> {
    if mimalloc {
        return Some(("mimalloc", Sign::Layout));
    }
    is_partition_alloc(allocation).then_some(("PartitionAlloc (Chromium)", Sign::Layout))
}

/// Super pages of 2 MiB begin with a guard of 16 KiB in which one page, the second, is in use.
fn is_partition_alloc(allocation: &Allocation<'_>) -> bool {
    const SUPER_PAGE: u64 = 2 << 20;
    const PAGE: u64 = 0x1000;
    /// Super pages that are looked at; one in use is enough.
    const LOOKED_AT: usize = 1024;
    let first = allocation.grown.base.checked_next_multiple_of(SUPER_PAGE);
    let starts = std::iter::successors(first, |start| start.checked_add(SUPER_PAGE));
    let mut starts = starts
        .take(LOOKED_AT)
        .take_while(|&start| start < allocation.end);
    starts.any(|start| {
        let usable: Vec<_> = (0..4)
            .map(|n| allocation.usable(start + n * PAGE))
            .collect();
        let in_use = allocation.usable(start + 4 * PAGE);
        usable == [Some(false), Some(true), Some(false), Some(false)] && in_use == Some(true)
    })
}

/// Which allocations hold segments of mimalloc: aligned to 32 MiB (4 MiB in 32-bit programs), and
/// in each the same word of the header is the segment's address XOR a secret of the process.
fn mimalloc_segments(process: &Process<'_, '_>, allocations: &[Allocation<'_>]) -> Vec<bool> {
    /// Words of a header that are compared.
    const WORDS: u64 = 32;
    /// Segments that must agree.
    const FEWEST: usize = 2;
    let bits = process.bitness.bits();
    let align: u64 = if bits == 64 { 32 << 20 } else { 4 << 20 };
    let unit = process.bitness.pointer_size();
    let memory = process.memory();
    let mut segments: Vec<(usize, u64)> = Vec::new();
    for (place, allocation) in allocations.iter().enumerate() {
        let first = allocation.grown.base.checked_next_multiple_of(align);
        let starts = std::iter::successors(first, |start| start.checked_add(align));
        let starts = starts.take(64).take_while(|&start| start < allocation.end);
        segments.extend(starts.map(|start| (place, start)));
    }
    let mut found = vec![false; allocations.len()];
    for word in 0..WORDS {
        let mut secrets: FxHashMap<u64, Vec<usize>> = FxHashMap::default();
        for &(place, start) in &segments {
            let value = memory.pointer(start + word * unit, process.bitness);
            if let Some(value) = value.filter(|&value| value != 0) {
                secrets.entry(value ^ start).or_default().push(place);
            }
        }
        for (secret, places) in secrets {
            // Small differences are pointers into the segment itself or near it, no secret.
            let random = secret.leading_zeros() < 16 + (64 - bits);
            if random && secret.count_ones() > 8 && places.len() >= FEWEST {
                places.into_iter().for_each(|place| found[place] = true);
            }
        }
    }
    found
}

/// Runtimes by their modules and what they reserve: (modules, least size, alignment, name).
const RUNTIMES: &[(&[&str], u64, u64, &str)] = &[
    (
        &["coreclr", "clr"],
        16 << 20,
        0x1_0000,
        "the .NET garbage collector's heap",
    ),
    (&["jvm"], 16 << 20, 0x1_0000, "the Java heap"),
    (&["mozglue"], 1 << 20, 1 << 20, "mozjemalloc (Firefox)"),
    (
        &["mimalloc", "mimalloc-redirect"],
        4 << 20,
        0x1_0000,
        "mimalloc",
    ),
    (&["jemalloc", "libjemalloc"], 2 << 20, 0x1_0000, "jemalloc"),
    (
        &["v8", "v8_libbase", "node", "electron", "chrome", "msedge"],
        256 << 10,
        256 << 10,
        "V8",
    ),
];

/// Where Go puts its arenas, each of 4 MiB.
const GO_ARENAS: std::ops::Range<u64> = 0xc0_0000_0000..0xc1_0000_0000;

fn by_module(modules: &[Module], allocation: &Allocation<'_>) -> Option<(&'static str, Sign)> {
    let (base, size) = (allocation.grown.base, allocation.size());
    if GO_ARENAS.contains(&base) && base.is_multiple_of(4 << 20) && size.is_multiple_of(4 << 20) {
        return Some(("the Go runtime", Sign::Layout));
    }
    let loaded = |name: &&str| modules.iter().any(|m| m.name().eq_ignore_ascii_case(name));
    let fits =
        |&&(_, least, align, _): &&(_, u64, u64, _)| size >= least && base.is_multiple_of(align);
    let mut runtimes = RUNTIMES.iter().filter(fits);
    let (.., name) = runtimes.find(|(names, ..)| names.iter().any(loaded))?;
    Some((name, Sign::Module))
}

/// For each allocation the module with most pointers to it among its variables.
fn pointers(process: &Process<'_, '_>, allocations: &[Allocation<'_>]) -> Vec<Option<Arc<str>>> {
    let mut sorted: Vec<(u64, u64, usize)> = allocations
        .iter()
        .enumerate()
        .map(|(place, allocation)| (allocation.grown.base, allocation.end, place))
        .collect();
    sorted.sort_unstable();
    let mut votes: Vec<FxHashMap<usize, usize>> = vec![FxHashMap::default(); allocations.len()];
    let (Some(first), Some(last)) = (sorted.first(), sorted.iter().map(|a| a.1).max()) else {
        return Vec::new();
    };
    let wanted = first.0..last;
    let regions = &process.dump.regions;
    let images = regions.iter().filter(|region| {
        region.kind == RegionKind::Image
            && region.state == RegionState::Commit
            && region.protection & WRITABLE != 0
    });
    let modules = modules_by_address(process);
    for region in images {
        let Some(module) = within(&modules, region.base) else {
            continue;
        };
        let Some(range) = process.memory().range_of(region.base) else {
            continue;
        };
        for (at, value) in words(&range, process.bitness) {
            if at < region.base || !wanted.contains(&value) {
                continue;
            }
            if at >= region.end() {
                break;
            }
            if let Some(place) = within(&sorted, value) {
                *votes[place].entry(module).or_default() += 1;
            }
        }
    }
    let name = |votes: FxHashMap<usize, usize>| {
        let most = votes
            .into_iter()
            .max_by_key(|&(module, count)| (count, module));
        most.map(|(module, _)| process.dump.modules[module].file_name().into())
    };
    votes.into_iter().map(name).collect()
}

/// Where each module begins and ends, and its place in the list, by address.
fn modules_by_address(process: &Process<'_, '_>) -> Vec<(u64, u64, usize)> {
    let modules = process.dump.modules.iter().enumerate();
    let mut sorted: Vec<(u64, u64, usize)> = modules
        .map(|(place, module)| (module.base, module.end(), place))
        .collect();
    sorted.sort_unstable();
    sorted
}

/// The place of the entry, of those sorted by address, that holds `address`.
fn within(sorted: &[(u64, u64, usize)], address: u64) -> Option<usize> {
    let behind = sorted.partition_point(|entry| entry.0 <= address);
    let entry = sorted[behind.checked_sub(1)?];
    (address < entry.1).then_some(entry.2)
}

/// The module that the memory points to most: objects point to their classes' tables.
fn points_to(process: &Process<'_, '_>, allocation: &Allocation<'_>) -> Option<Arc<str>> {
    /// Fewer pointers than this are chance.
    const FEWEST: usize = 4;
    let modules = modules_by_address(process);
    let mut votes: FxHashMap<usize, usize> = FxHashMap::default();
    let committed = allocation
        .regions
        .iter()
        .filter(|r| r.state == RegionState::Commit);
    let mut left = SEARCHED;
    for region in committed {
        let size = region.size.min(left);
        left -= size;
        let Some(bytes) = process.memory().slice(region.base, size) else {
            continue;
        };
        let unit = process.bitness.pointer_size() as usize;
        for word in bytes.chunks_exact(unit) {
            let value = match *word {
                [a, b, c, d] => u64::from(u32::from_le_bytes([a, b, c, d])),
                [a, b, c, d, e, f, g, h] => u64::from_le_bytes([a, b, c, d, e, f, g, h]),
                _ => continue,
            };
            if value < 0x1_0000 {
                continue;
            }
            if let Some(module) = within(&modules, value) {
                *votes.entry(module).or_default() += 1;
            }
        }
    }
    let (count, module) = votes.into_iter().map(|(module, n)| (n, module)).max()?;
    (count >= FEWEST).then(|| process.dump.modules[module].file_name().into())
}
