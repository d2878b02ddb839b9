//! Regions of the address space as `VirtualQuery` described them when the dump was taken.

/// State of a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegionState {
    /// `MEM_COMMIT`.
    Commit,
    /// `MEM_RESERVE`.
    Reserve,
    /// `MEM_FREE`.
    Free,
}

impl RegionState {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RegionState::Commit => "commit",
            RegionState::Reserve => "reserve",
            RegionState::Free => "free",
        }
    }
}

/// Kind of memory behind a region.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RegionKind {
    /// `MEM_PRIVATE`.
    Private,
    /// `MEM_MAPPED`: a section other than an image.
    Mapped,
    /// `MEM_IMAGE`.
    Image,
    /// Free regions have no kind.
    None,
}

impl RegionKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            RegionKind::Private => "private",
            RegionKind::Mapped => "mapped",
            RegionKind::Image => "image",
            RegionKind::None => "-",
        }
    }
}

/// A region, from the memory information stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    /// Address of the first byte.
    pub base: u64,
    /// Size in bytes.
    pub size: u64,
    /// Address that the allocation (`VirtualAlloc`, mapping) began at.
    pub allocation_base: u64,
    /// State.
    pub state: RegionState,
    /// Kind.
    pub kind: RegionKind,
    /// `PAGE_*` protection now.
    pub protection: u32,
    /// `PAGE_*` protection at allocation.
    pub allocation_protection: u32,
}

impl Region {
    /// One past the address of the last byte.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.base.saturating_add(self.size)
    }
}
