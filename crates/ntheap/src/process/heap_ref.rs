//! What the lists of heaps hold.

/// What a heap handle points to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeapKind {
    /// NT heap of Vista and later.
    Nt,
    /// NT heap of XP and Server 2003.
    NtXp,
    /// Segment heap.
    Segment,
    /// Page heap: a page of fill in front of the page heap's root.
    PageHeap,
}

impl HeapKind {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HeapKind::Nt => "nt",
            HeapKind::NtXp => "nt-xp",
            HeapKind::Segment => "segment",
            HeapKind::PageHeap => "page-heap",
        }
    }
}

/// How a heap was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum HeapSource {
    /// The array of the process environment block.
    Peb,
    /// The ring of heap records (Windows 11 24H2 and later).
    Ring,
    /// The list of page heaps.
    PageHeap,
    /// A search through memory, where a list is missing or damaged.
    Scan,
    /// A search through memory: ntdll keeps this heap for itself, on no list.
    Unlisted,
}

impl HeapSource {
    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            HeapSource::Peb => "peb",
            HeapSource::Ring => "ring",
            HeapSource::PageHeap => "page-heap",
            HeapSource::Scan => "scan",
            HeapSource::Unlisted => "unlisted",
        }
    }
}

/// A heap of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeapRef {
    /// Its handle: the address of its header.
    pub handle: u64,
    /// Position in the list, from 0.
    pub index: usize,
    /// What it is.
    pub kind: HeapKind,
    /// How it was found.
    pub source: HeapSource,
}

/// What a search found, by ascending address.
#[derive(Debug, Default, Clone)]
pub(crate) struct Found {
    /// Headers of heaps that prove themselves.
    pub(crate) heaps: Vec<(u64, HeapKind)>,
    /// Segments of NT heaps other than the one that is the heap's header: header and owner.
    pub(crate) segments: Vec<(u64, u64)>,
}

/// A page heap whose root is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LostRoot {
    /// Its handle.
    pub(crate) handle: u64,
    /// Handle of the normal heap behind it, if a light block tells.
    pub(crate) normal: Option<u64>,
}
