//! Where pointers are looked for outside the blocks: the roots.

use super::Index;
use crate::{
    dump::{Context, Dump, Region, RegionKind, RegionState},
    heap::Heaps,
    layout::{Bitness, Layouts},
    process::{Process, stack_of, wow64_context, wow64_tebs},
    usage::{Owner, UsedRegion},
};

/// The bits of a protection that tell access; the others modify it.
const ACCESS: u32 = 0xff;
/// `PAGE_READONLY`.
const READ_ONLY: u32 = 0x02;
/// `PAGE_READWRITE`, `PAGE_WRITECOPY` and the executable forms of both.
const WRITABLE: [u32; 4] = [0x04, 0x08, 0x40, 0x80];
/// `PAGE_GUARD`.
const GUARD: u32 = 0x100;
/// What the system shares with every process: times and versions, no pointers.
const USER_SHARED_DATA: u64 = 0x7ffe_0000;

/// What holds a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RootKind {
    /// Writable pages of an image: the variables of a module.
    Image,
    /// Writable private memory that is no heap and no stack: environment blocks, `VirtualAlloc`.
    Private,
    /// Writable mapped memory.
    Mapped,
    /// The stack of a thread, from its stack pointer up.
    Stack,
    /// The general registers of a thread.
    Register,
    /// Read-only private memory, which the program sealed after it had written it (rule
    /// [`sealed`](super::Rules::SEALED)).
    Sealed,
    /// ntdll's variables that it writes to at start only, and seals (rule `sealed`).
    SealedImage,
    /// Where a heap keeps the address of its front end, if that is a block like others: XP's heaps
    /// allocate it from themselves, and nothing else need lead there.
    FrontEnd,
    /// Memory of a heap where no blocks could be proved: what lies there may hold pointers.
    Damaged,
    /// Memory of which the dump does not tell what it is.
    Unknown,
}

impl RootKind {
    /// Whether it counts with the rule `sealed` alone.
    #[must_use]
    pub const fn is_sealed(self) -> bool {
        matches!(self, RootKind::Sealed | RootKind::SealedImage)
    }

    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RootKind::Image => "image",
            RootKind::Private => "private",
            RootKind::Mapped => "mapped",
            RootKind::Stack => "stack",
            RootKind::Register => "register",
            RootKind::Sealed => "sealed",
            RootKind::SealedImage => "sealed-image",
            RootKind::FrontEnd => "front-end",
            RootKind::Damaged => "damaged-heap",
            RootKind::Unknown => "unknown",
        }
    }
}

/// A stretch of memory, or a thread's registers, in which every aligned word is a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// What it is.
    pub kind: RootKind,
    /// Its first address; of registers 0.
    pub start: u64,
    /// One past its last address; of registers their number.
    pub end: u64,
    /// Who uses the memory.
    pub owner: Owner,
    /// Position in [`Threads`] of the registers.
    pub(super) registers: usize,
}

/// The registers and the stack of one side of a thread.
#[derive(Debug, Clone)]
pub(super) struct Side {
    pub(super) thread: u32,
    pub(super) context: Option<Context>,
    /// Lowest address that the stack may grow to, and one past its highest.
    stack: Option<(u64, u64)>,
    /// Where its environment block has the address of the vector of thread-local storage.
    pub(super) tls: Option<u64>,
    /// Address of that vector.
    pub(super) tls_vector: Option<u64>,
}

/// Both sides of every thread.
#[derive(Debug, Default)]
pub(super) struct Threads {
    pub(super) sides: Vec<Side>,
    /// Threads without a context for the program's own side.
    pub(super) without_context: usize,
}

impl Threads {
    pub(super) fn of(process: &Process<'_, '_>) -> Self {
        let dump = process.dump;
        let native = match process.wow64 {
            true => Bitness::X64,
            false => process.bitness,
        };
        let layouts = Layouts::for_build(process.build, native);
        let layouts32 = process
            .wow64
            .then(|| Layouts::for_build(process.build, Bitness::X86));
        let mut threads = Threads::default();
        for thread in &dump.threads {
            let side = Side::of(dump, thread.id, thread.teb, &layouts, thread.context);
            let mut known = side.context.is_some();
            threads.sides.push(side);
            if let Some(layouts32) = &layouts32
                && let Some(teb) = wow64_tebs(dump, thread.teb).next()
            {
                let context = wow64_context(dump, thread, &layouts);
                known = context.is_some();
                let side = Side::of(dump, thread.id, teb, layouts32, context);
                threads.sides.push(side);
            }
            threads.without_context += usize::from(!known);
        }
        threads
    }

    /// The part of a stack's region in which pointers count: from the stack pointer up. Where the
    /// stack pointer is not known or points elsewhere, all of it.
    fn live(&self, region: &Region) -> (u64, u64) {
        let whole = (region.base, region.end());
        let side = self.sides.iter().find(|side| {
            let stack = side.stack.as_ref();
            stack.is_some_and(|&(bottom, base)| (bottom..base).contains(&region.base))
        });
        let Some(side) = side else { return whole };
        let Some((bottom, base)) = side.stack else {
            return whole;
        };
        let pointer = side.context.map_or(0, |context| context.stack_pointer());
        let end = region.end().min(base);
        if (bottom..base).contains(&pointer) {
            (region.base.max(pointer).min(end), end)
        } else {
            (region.base, end)
        }
    }
}

impl Side {
    fn of(
        dump: &Dump<'_>,
        thread: u32,
        teb: u64,
        layouts: &Layouts,
        context: Option<Context>,
    ) -> Self {
        let block = dump.memory.at(teb, layouts.bitness);
        Side {
            thread,
            context,
            stack: stack_of(dump, teb, layouts),
            tls: block.address(layouts.teb.thread_local_storage),
            tls_vector: block
                .pointer(layouts.teb.thread_local_storage)
                .filter(|&vector| vector != 0),
        }
    }
}

/// All areas of a process, by ascending address, its registers behind them.
pub(super) fn areas(
    process: &Process<'_, '_>,
    used: &[UsedRegion],
    described: bool,
    threads: &Threads,
) -> Vec<Area> {
    let mrdata = protected_section(process);
    let mut areas: Vec<Area> = Vec::new();
    for UsedRegion { region, owner } in used {
        let Some(kind) = kind(region, *owner, described, mrdata) else {
            continue;
        };
        let (start, end) = match owner {
            Owner::Stack(_) => threads.live(region),
            _ => (region.base, region.end()),
        };
        // A region may hold more of the image than the section.
        let (start, end) = match mrdata {
            Some(section) if kind == RootKind::SealedImage => {
                (start.max(section.0), end.min(section.1))
            }
            _ => (start, end),
        };
        if let Some(last) = areas.last_mut()
            && last.end == start
            && (last.kind, last.owner) == (kind, *owner)
        {
            last.end = end;
        } else if start < end {
            areas.push(Area {
                kind,
                start,
                end,
                owner: *owner,
                registers: 0,
            });
        }
    }
    areas
}

/// Where heaps keep the addresses of front ends that are blocks.
pub(super) fn front_ends<'h>(
    heaps: &'h Heaps<'_, '_>,
    index: &'h Index,
) -> impl Iterator<Item = Area> + 'h {
    /// `_HEAP.FrontEndHeapType` of the low fragmentation heap.
    const LFH: u8 = 2;
    let process = heaps.process();
    heaps.iter().filter_map(move |heap| {
        let (layouts, memory) = (&process.layouts, process.memory());
        let handle = heap.nt()?.handle();
        let header = memory.at(handle, process.bitness);
        if header.u8(layouts.heap.front_end_heap_type) != Some(LFH) {
            return None;
        }
        let front_end = header.pointer(layouts.heap.front_end_heap)?;
        let owner = memory
            .at(front_end, process.bitness)
            .pointer(layouts.lfh_heap.heap);
        let block = index.block(index.find(front_end)?);
        let start = header.address(layouts.heap.front_end_heap)?;
        (block.0 == front_end && owner == Some(handle)).then_some(Area {
            kind: RootKind::FrontEnd,
            start,
            end: start + process.bitness.pointer_size(),
            owner: Owner::Heap(handle),
            registers: 0,
        })
    })
}

/// The areas of registers.
pub(super) fn register_areas(threads: &Threads) -> impl Iterator<Item = Area> + '_ {
    let sides = threads.sides.iter().enumerate();
    sides.filter_map(|(registers, side)| {
        Some(Area {
            kind: RootKind::Register,
            start: 0,
            end: side.context?.registers().count() as u64,
            owner: Owner::Stack(side.thread),
            registers,
        })
    })
}

fn kind(
    region: &Region,
    owner: Owner,
    described: bool,
    mrdata: Option<(u64, u64)>,
) -> Option<RootKind> {
    if matches!(owner, Owner::Heap(_) | Owner::Free) || region.state != RegionState::Commit {
        return None;
    }
    if !described {
        return Some(match owner {
            Owner::Stack(_) => RootKind::Stack,
            Owner::Image(_) => RootKind::Image,
            Owner::Teb(_) | Owner::Peb => RootKind::Private,
            _ => RootKind::Unknown,
        });
    }
    if region.protection & GUARD != 0 {
        return None;
    }
    let access = region.protection & ACCESS;
    if WRITABLE.contains(&access) {
        return Some(match (owner, region.kind) {
            (Owner::Stack(_), _) => RootKind::Stack,
            (_, RegionKind::Image) => RootKind::Image,
            (_, RegionKind::Mapped) => RootKind::Mapped,
            (_, RegionKind::Private | RegionKind::None) => RootKind::Private,
        });
    }
    if access != READ_ONLY {
        return None;
    }
    match region.kind {
        RegionKind::Private if region.base != USER_SHARED_DATA => Some(RootKind::Sealed),
        RegionKind::Image
            if mrdata.is_some_and(|(start, end)| region.base < end && region.end() > start) =>
        {
            Some(RootKind::SealedImage)
        }
        _ => None,
    }
}

/// The section of ntdll that is writable at start only; all of ntdll if its headers, which tell, are
/// not in a dump that has the memory of images.
fn protected_section(process: &Process<'_, '_>) -> Option<(u64, u64)> {
    const HEADERS: u64 = 0x1000;
    let (ntdll, memory) = (process.ntdll()?, process.memory());
    if memory.held(ntdll.base, HEADERS) < HEADERS {
        let size = ntdll.end() - ntdll.base;
        let has_images = memory.held(ntdll.base, size) >= size / 4;
        return has_images.then_some((ntdll.base, ntdll.end()));
    }
    super::image::section(memory, ntdll.base, b".mrdata")
}

/// Bytes of heaps that are not in the dump, whatever is known of them.
pub(super) fn unread_of_heaps(process: &Process<'_, '_>, used: &[UsedRegion]) -> u64 {
    let memory = process.memory();
    let heaps = used.iter().filter(|used| {
        let Region {
            state, protection, ..
        } = used.region;
        matches!(used.owner, Owner::Heap(_))
            && state == RegionState::Commit
            && protection & GUARD == 0
            && WRITABLE.contains(&(protection & ACCESS))
    });
    let missing = |used: &UsedRegion| memory.missing(used.region.base, used.region.size);
    heaps.map(missing).fold(0, u64::saturating_add)
}
