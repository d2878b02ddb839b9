//! The list of a process's heaps.

use rustc_hash::FxHashSet;

use super::{
    Problem, Process,
    probe::{fits_layout, heap_kind},
};
use crate::address_space::ListEnd;

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
    /// A search through memory, where the environment block is missing.
    Scan,
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

/// Heaps that a process may have. The array of the PEB is smaller than that in every known build.
const MAX_HEAPS: usize = 1 << 16;

/// The first build that is known to list its heaps in the ring alone is 26100; between 22000, which
/// still fills the PEB's array, and that nothing is known.
const FIRST_BUILD_WITH_RING: u32 = 22001;

impl Process<'_, '_> {
    /// Lists the heaps: the PEB's array, on new builds joined with the ring, or the page heaps.
    pub(super) fn list_heaps(&mut self) {
        let mut handles: Vec<(u64, HeapSource)> = self
            .peb_heaps()
            .into_iter()
            .map(|handle| (handle, HeapSource::Peb))
            .collect();
        if self.build >= FIRST_BUILD_WITH_RING {
            let ring = self.ring_heaps();
            handles.extend(ring.into_iter().map(|handle| (handle, HeapSource::Ring)));
        }
        if !handles.iter().any(|heap| self.heap_kind(heap.0).is_some()) {
            let found = self.scan_for_heaps();
            handles.extend(found.into_iter().map(|handle| (handle, HeapSource::Scan)));
        }
        let handles = self.list_page_heaps(handles);
        self.add_heaps(handles);
        self.recover_lost_heaps();
    }

    fn add_heaps(&mut self, handles: Vec<(u64, HeapSource)>) {
        let mut seen = FxHashSet::default();
        for (handle, source) in handles {
            if !seen.insert(handle) {
                continue;
            }
            match self.heap_kind(handle) {
                Some(kind) => {
                    let index = self.heaps.len();
                    self.heaps.push(HeapRef {
                        handle,
                        index,
                        kind,
                        source,
                    });
                }
                None => self.problems.push(Problem::NotAHeap { handle }),
            }
        }
    }

    pub(super) fn heap_kind(&self, handle: u64) -> Option<HeapKind> {
        heap_kind(self.memory(), self.bitness, handle)
    }

    fn peb_heaps(&mut self) -> Vec<u64> {
        let Some(address) = self.peb else {
            return Vec::new();
        };
        let layout = &self.layouts.peb;
        let peb = self.memory().at(address, self.bitness);
        let mut handles: Vec<u64> = Vec::new();
        let mut problem = None;
        if let (Some(count), Some(array)) = (
            peb.u32(layout.number_of_heaps),
            peb.pointer(layout.process_heaps),
        ) {
            let listed = (count as usize).min(MAX_HEAPS);
            if listed < count as usize {
                problem = Some(Problem::HeapList {
                    address,
                    reason: "the number of heaps is absurd",
                });
            }
            for index in 0..listed as u64 {
                let slot = array.checked_add(index * self.bitness.pointer_size());
                match slot.and_then(|slot| self.memory().pointer(slot, self.bitness)) {
                    Some(handle) => handles.push(handle),
                    None => {
                        let reason = "the array of heaps is not in the dump, or not all of it";
                        problem = Some(Problem::HeapList {
                            address: array,
                            reason,
                        });
                        break;
                    }
                }
            }
        }
        self.problems.extend(problem);
        // Page heap: the array has the heaps behind the page heaps, and this alone is a handle that
        // the program has.
        if let Some(handle) = self.process_heap
            && !handles.contains(&handle)
        {
            handles.insert(0, handle);
        }
        handles
    }

    /// The heaps on the ring of heap records.
    ///
    /// Windows 11 24H2 lists only the process heap in the PEB. Each heap's header points to a
    /// record {links, handle, ...}; the records and a head in ntdll's data form a ring. Any pointer
    /// in the header of a known heap whose target has that heap's handle and sound links is its
    /// record: that needs no offset, and so holds for newer builds too.
    fn ring_heaps(&mut self) -> Vec<u64> {
        let Some(process_heap) = self.process_heap else {
            return Vec::new();
        };
        let Some(record) = self
            .ring_record(process_heap)
            .or_else(|| self.ring_from_ntdll())
        else {
            return Vec::new();
        };
        let size = self.bitness.pointer_size();
        let (others, end) = self.memory().list(record, self.bitness, MAX_HEAPS);
        if let ListEnd::Broken(address) = end {
            let reason = "the ring of heap records is broken";
            self.problems.push(Problem::HeapList { address, reason });
        }
        // The head has no handle behind its links, so it drops out here.
        std::iter::once(record)
            .chain(others)
            .filter_map(|record| self.memory().pointer(record + 2 * size, self.bitness))
            .filter(|&handle| self.heap_kind(handle).is_some())
            .collect()
    }

    fn ring_record(&self, heap: u64) -> Option<u64> {
        /// The pointer lies at 188 (x64 NT heap) and 38 (segment heap) on 26100.
        const HEADER_SEARCH: u64 = 0x400;
        let size = self.bitness.pointer_size();
        (0..HEADER_SEARCH / size)
            .filter_map(|index| self.memory().pointer(heap + index * size, self.bitness))
            .find(|&record| self.is_ring_record(record) == Some(heap))
    }

    /// The handle in a record with sound links.
    fn is_ring_record(&self, record: u64) -> Option<u64> {
        let size = self.bitness.pointer_size();
        let read = |address: u64| self.memory().pointer(address, self.bitness);
        if record == 0 || !record.is_multiple_of(size) || record > u64::MAX - 4 * size {
            return None;
        }
        // A segment's list entry is linked and followed by the heap's address as well.
        let segment = self.layouts.segment.segment_list_entry.map(u64::from);
        if segment.is_some_and(|link| self.heap_kind(record.wrapping_sub(link)).is_some()) {
            return None;
        }
        let next = read(record)?;
        let previous = read(record + size)?;
        let sound =
            next != record && read(next.checked_add(size)?)? == record && read(previous)? == record;
        sound.then(|| read(record + 2 * size))?
    }

    /// A record found from the ring's head in ntdll's data, for a process heap whose header is not
    /// in the dump.
    fn ring_from_ntdll(&self) -> Option<u64> {
        let size = self.bitness.pointer_size();
        let memory = self.memory();
        self.ntdll_words()
            .find(|&(head, first)| {
                first != head
                    && memory.pointer(first.wrapping_add(size), self.bitness) == Some(head)
                    && self
                        .is_ring_record(first)
                        .is_some_and(|heap| self.heap_kind(heap).is_some())
            })
            .map(|(_, first)| first)
    }

    /// Heap headers at the beginnings of memory ranges: for dumps whose environment block is lost.
    fn scan_for_heaps(&self) -> Vec<u64> {
        const ALLOCATION_GRANULARITY: u64 = 0x10000;
        let memory = self.memory();
        memory
            .ranges()
            .iter()
            .flat_map(|range| {
                let first = range
                    .start
                    .checked_next_multiple_of(ALLOCATION_GRANULARITY)
                    .unwrap_or(u64::MAX);
                (first..range.end()).step_by(ALLOCATION_GRANULARITY as usize)
            })
            .filter(|&address| match self.heap_kind(address) {
                Some(HeapKind::Nt | HeapKind::NtXp) => {
                    fits_layout(memory, &self.layouts, address) == Some(true)
                }
                Some(HeapKind::Segment) => true,
                Some(HeapKind::PageHeap) | None => false,
            })
            .take(MAX_HEAPS)
            .collect()
    }
}
