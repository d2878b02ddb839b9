//! Who uses the address space: heaps, stacks, images, mappings, and what nobody here knows.
//!
//! Every region that the dump describes is given to one owner, so that the sums answer the first
//! question of a leak: is it the heap that grows, or somebody's `VirtualAlloc`?
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, usage::Usage};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for (class, total) in Usage::of(&Heaps::of(&process)).totals() {
//!     println!("{}: {} private bytes", class.name(), total.private);
//! }
//! # Ok(())
//! # }
//! ```

mod change;
mod claims;
mod owners;

pub use change::{ClassChange, NewAllocation, UsageChange};
pub use owners::{GrownAllocation, RegionOwner, Sign};

use rustc_hash::FxHashMap;

use crate::{
    address_space::AddressSpace,
    dump::{Dump, Region, RegionKind, RegionState},
    heap::Heaps,
    printable::printable,
};
use claims::{Claim, Claims};

/// `PAGE_READWRITE` and `PAGE_EXECUTE_READWRITE`: what a page of an image becomes when the process
/// writes to it and gets a copy of its own.
const WRITABLE: [u32; 2] = [0x04, 0x40];
/// The bits of a protection that tell access; the others modify it (guard, no cache).
const ACCESS: u32 = 0xff;

/// What memory is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Heaps: segments, virtual blocks, front ends, page heap.
    Heap,
    /// Private memory that no heap, stack or environment block accounts for: `VirtualAlloc`.
    Private,
    /// Images.
    Image,
    /// Mapped files and shared memory.
    Mapped,
    /// Stacks of threads.
    Stack,
    /// Environment blocks of threads.
    Teb,
    /// Environment blocks of the process.
    Peb,
    /// The stack traces of allocations (`gflags +ust`).
    Traces,
    /// Memory that the process had and the dump does not hold: nobody can say whose it was.
    Missing,
    /// Nothing.
    Free,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 10] = [
        Class::Heap,
        Class::Private,
        Class::Image,
        Class::Mapped,
        Class::Stack,
        Class::Teb,
        Class::Peb,
        Class::Traces,
        Class::Missing,
        Class::Free,
    ];

    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Class::Heap => "heap",
            Class::Private => "private",
            Class::Image => "image",
            Class::Mapped => "mapped",
            Class::Stack => "stack",
            Class::Teb => "teb",
            Class::Peb => "peb",
            Class::Traces => "traces",
            Class::Missing => "missing",
            Class::Free => "free",
        }
    }

    /// The name used in text.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Class::Heap => "heaps",
            Class::Private => "VirtualAlloc",
            Class::Image => "images",
            Class::Mapped => "mapped",
            Class::Stack => "stacks",
            Class::Teb => "TEBs",
            Class::Peb => "PEB",
            Class::Traces => "stack traces",
            Class::Missing => "not in the dump",
            Class::Free => "free",
        }
    }
}

/// Who uses a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Owner {
    /// The heap with this handle.
    Heap(u64),
    /// The thread with this identifier: its stack.
    Stack(u32),
    /// The thread with this identifier: its environment block.
    Teb(u32),
    /// The process: its environment block.
    Peb,
    /// The stack traces of allocations.
    Traces,
    /// The image with this base.
    Image(u64),
    /// A mapping that is no image, by the address that it begins at.
    Mapped(u64),
    /// A `VirtualAlloc` outside all heaps, by the address that it begins at.
    Private(u64),
    /// Nobody knows: memory that the dump does not hold, by the address that its allocation begins at.
    Missing(u64),
    /// Nobody.
    Free,
}

impl Owner {
    /// Its class.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Owner::Heap(_) => Class::Heap,
            Owner::Stack(_) => Class::Stack,
            Owner::Teb(_) => Class::Teb,
            Owner::Peb => Class::Peb,
            Owner::Traces => Class::Traces,
            Owner::Image(_) => Class::Image,
            Owner::Mapped(_) => Class::Mapped,
            Owner::Private(_) => Class::Private,
            Owner::Missing(_) => Class::Missing,
            Owner::Free => Class::Free,
        }
    }

    /// The address, or the thread, that tells it from others of its class.
    #[must_use]
    pub const fn identity(self) -> Option<u64> {
        match self {
            Owner::Heap(id)
            | Owner::Image(id)
            | Owner::Mapped(id)
            | Owner::Private(id)
            | Owner::Missing(id) => Some(id),
            Owner::Stack(thread) | Owner::Teb(thread) => Some(thread as u64),
            Owner::Peb | Owner::Traces | Owner::Free => None,
        }
    }

    /// The owner in words: `heap 21ab6d00000`, `stack of thread 1c94`, `ordersvc.exe`.
    #[must_use]
    pub fn describe(self, dump: &Dump<'_>) -> String {
        match self {
            Owner::Heap(handle) => format!("heap {handle:x}"),
            Owner::Stack(thread) => format!("stack of thread {thread:x}"),
            Owner::Teb(thread) => format!("TEB of thread {thread:x}"),
            Owner::Peb => "PEB".to_owned(),
            Owner::Traces => "stack traces".to_owned(),
            Owner::Image(base) => match dump.modules.iter().find(|module| module.base == base) {
                Some(module) => printable(module.file_name()).into_owned(),
                None => format!("image {base:x}"),
            },
            Owner::Mapped(base) => format!("mapping {base:x}"),
            Owner::Private(base) => format!("VirtualAlloc {base:x}"),
            Owner::Missing(base) => format!("not in the dump {base:x}"),
            Owner::Free => "free".to_owned(),
        }
    }
}

/// A region, or a part of one, with its user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedRegion {
    /// The region, or the part.
    pub region: Region,
    /// Who uses it.
    pub owner: Owner,
}

/// Sums over regions, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Total {
    /// Number of regions.
    pub regions: u64,
    /// Size, committed or not.
    pub size: u64,
    /// Committed bytes.
    pub committed: u64,
    /// Committed bytes that no other process shares. Of an image the pages that the process wrote
    /// to, as their protection tells.
    pub private: u64,
}

impl Total {
    /// Bytes that are reserved but not committed; of free regions 0.
    #[must_use]
    pub fn reserved(&self) -> u64 {
        self.size.saturating_sub(self.committed)
    }

    fn add(&mut self, region: &Region) {
        self.regions += 1;
        self.size = self.size.saturating_add(region.size);
        if region.state != RegionState::Commit {
            return;
        }
        self.committed = self.committed.saturating_add(region.size);
        let private = match region.kind {
            RegionKind::Private | RegionKind::None => true,
            RegionKind::Image => WRITABLE.contains(&(region.protection & ACCESS)),
            RegionKind::Mapped => false,
        };
        if private {
            self.private = self.private.saturating_add(region.size);
        }
    }

    fn merge(&mut self, other: Total) {
        self.regions += other.regions;
        self.size = self.size.saturating_add(other.size);
        self.committed = self.committed.saturating_add(other.committed);
        self.private = self.private.saturating_add(other.private);
    }
}

/// Whether the process could read the region and the dump holds nothing of it: it was cut off, or never
/// taken.
fn is_missing(region: &Region, memory: &AddressSpace<'_>) -> bool {
    /// `PAGE_NOACCESS` and `PAGE_GUARD`, which no dump holds.
    const NO_ACCESS: u32 = 0x01;
    const GUARD: u32 = 0x100;
    region.state == RegionState::Commit
        && region.protection & ACCESS != NO_ACCESS
        && region.protection & GUARD == 0
        && memory.held(region.base, region.size) == 0
}

/// The use of a process's address space.
#[derive(Debug, Clone)]
pub struct Usage {
    /// Every region, by ascending address. One that has several users is split.
    pub regions: Vec<UsedRegion>,
    /// Whether the dump describes its regions. Where it does not, the memory that it holds stands
    /// for them: nothing is known then of reserved and free address space, and what is no image
    /// counts as private.
    pub described: bool,
}

impl Usage {
    /// The use of the address space of the process that these heaps belong to, with both sides of
    /// a WOW64 one. Heaps of the process that are not among them count, too.
    #[must_use]
    pub fn of(heaps: &Heaps<'_, '_>) -> Self {
        let process = heaps.process();
        let claims = Claims::of(heaps);
        let described = !process.dump.regions.is_empty();
        let regions = if described {
            process.dump.regions.clone()
        } else {
            claims::regions_of_memory(process.dump)
        };
        let mut usage = Usage {
            regions: Vec::with_capacity(regions.len()),
            described,
        };
        for region in &regions {
            usage.split(region, &claims, process.memory());
        }
        usage
    }

    /// Gives the parts of a region to those who claim them, and the rest to whom its allocation
    /// belongs.
    fn split(&mut self, region: &Region, claims: &Claims, memory: &AddressSpace<'_>) {
        let mut push = |from: u64, to: u64, owner: Owner| {
            if to > from {
                let region = Region {
                    base: from,
                    size: to - from,
                    ..*region
                };
                self.regions.push(UsedRegion { region, owner });
            }
        };
        if region.state == RegionState::Free {
            push(region.base, region.end(), Owner::Free);
            return;
        }
        let rest = match region.kind {
            RegionKind::Image => Owner::Image(region.allocation_base),
            RegionKind::Mapped => Owner::Mapped(region.allocation_base),
            RegionKind::Private | RegionKind::None => claims
                .allocation(region.allocation_base)
                .unwrap_or_else(|| match is_missing(region, memory) {
                    true => Owner::Missing(region.allocation_base),
                    false => Owner::Private(region.allocation_base),
                }),
        };
        let mut at = region.base;
        for &Claim { start, end, owner } in claims.within(region.base, region.end()) {
            let (start, end) = (start.max(at), end.min(region.end()));
            // An image is one whoever claims its pages; a heap may well lie in shared memory.
            if end <= start || (region.kind == RegionKind::Image && owner.class() != Class::Image) {
                continue;
            }
            push(at, start, rest);
            push(start, end, owner);
            at = end;
        }
        push(at, region.end(), rest);
    }

    /// Sums by class, classes without any left out, the largest committed first.
    #[must_use]
    pub fn totals(&self) -> Vec<(Class, Total)> {
        self.sums(|region| region.owner.class())
    }

    /// Sums by owner, the largest committed first.
    #[must_use]
    pub fn owners(&self) -> Vec<(Owner, Total)> {
        self.sums(|region| region.owner)
    }

    fn sums<K: std::hash::Hash + Eq + Copy + Ord>(
        &self,
        key: impl Fn(&UsedRegion) -> K,
    ) -> Vec<(K, Total)> {
        let mut sums: FxHashMap<K, Total> = FxHashMap::default();
        for region in &self.regions {
            sums.entry(key(region)).or_default().add(&region.region);
        }
        let mut sums: Vec<(K, Total)> = sums.into_iter().collect();
        sums.sort_by_key(|&(key, total)| {
            let order = (total.committed, total.size);
            (std::cmp::Reverse(order), key)
        });
        sums
    }

    /// The sum over all regions but the free ones.
    #[must_use]
    pub fn total(&self) -> Total {
        let mut all = Total::default();
        for (class, total) in self.totals() {
            if class != Class::Free {
                all.merge(total);
            }
        }
        all
    }

    /// The sum of a class.
    #[must_use]
    pub fn of_class(&self, class: Class) -> Total {
        let mut sum = Total::default();
        for region in self.regions.iter().filter(|r| r.owner.class() == class) {
            sum.add(&region.region);
        }
        sum
    }

    /// The largest regions, free ones left out.
    #[must_use]
    pub fn largest(&self, count: usize) -> Vec<UsedRegion> {
        let used = self.regions.iter().filter(|r| r.owner != Owner::Free);
        let mut regions: Vec<UsedRegion> = used.copied().collect();
        regions.sort_by_key(|r| (std::cmp::Reverse(r.region.size), r.region.base));
        regions.truncate(count);
        regions
    }

    /// Size of the largest free region: what can still be allocated in one piece.
    #[must_use]
    pub fn largest_free(&self) -> Option<u64> {
        let free = self.regions.iter().filter(|r| r.owner == Owner::Free);
        free.map(|r| r.region.size).max()
    }
}
