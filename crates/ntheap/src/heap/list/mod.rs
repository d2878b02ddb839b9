//! The list of a process's heaps.
//!
//! Windows keeps several: the array of the environment block, the ring of 24H2, the list of page
//! heaps. None is taken on trust: memory is searched for heaps as well, and where a list can't be read
//! whole or lacks what memory shows, what was found takes its place and the result says so.

use rustc_hash::FxHashSet;

mod lost_heaps;
mod lost_roots;
mod open;
mod page_heaps;
mod search;

pub(super) use page_heaps::root_of as page_heap_root;
use search::{ALLOCATION_GRANULARITY, Extent, Search};

use crate::{
    address_space::ListEnd,
    dump::RegionKind,
    process::{Found, HeapKind, HeapRef, HeapSource, Problem, Process},
};

/// Heaps that a process may have. The array of the PEB is smaller than that in every known build.
const MAX_HEAPS: usize = 1 << 16;
/// Handles that are none of heaps and are named one by one.
const MAX_NAMED: u64 = 100;

/// The first build that is known to list its heaps in the ring alone is 26100; between 22000, which
/// still fills the PEB's array, and that nothing is known.
const FIRST_BUILD_WITH_RING: u32 = 22001;

/// What Windows' own lists say.
struct Lists {
    handles: Vec<(u64, HeapSource)>,
    /// Whether they were read to the end, and what they name is there.
    whole: bool,
}

impl Process<'_, '_> {
    /// Lists the heaps: the PEB's array, on new builds joined with the ring, or the page heaps; and
    /// what memory shows besides.
    pub(super) fn list_heaps(&mut self) {
        let mut lists = Lists {
            handles: Vec::new(),
            whole: self.peb.is_some(),
        };
        self.read_array(&mut lists);
        if self.build >= FIRST_BUILD_WITH_RING {
            self.read_ring(&mut lists);
        }
        self.compare_with_memory(&mut lists);
        let handles = self.list_page_heaps(lists.handles);
        self.add_heaps(handles);
        self.report_heaps_without_header();
        self.recover_lost_heaps();
        self.cap_problems();
    }

    /// Searches memory for heaps.
    fn search(&self, extent: Extent) -> Found {
        let peb = self.peb.map(|peb| self.memory().at(peb, self.bitness));
        let field = self.layouts.peb.read_only_shared_memory_base;
        let search = Search {
            dump: self.dump,
            layouts: &self.layouts,
            shared_section: peb
                .and_then(|peb| peb.pointer(field))
                .filter(|&base| base != 0),
        };
        search.run(extent)
    }

    /// Adds what memory shows and no list has.
    fn compare_with_memory(&mut self, lists: &mut Lists) {
        let listed: FxHashSet<u64> = lists.handles.iter().map(|heap| heap.0).collect();
        let mut own = Vec::new();
        for &(handle, kind) in &self.found.heaps {
            if listed.contains(&handle) {
                continue;
            }
            if kind == HeapKind::Segment && self.is_unlisted_by_design(handle) {
                own.push(handle);
            } else if lists.whole {
                self.problems.push(Problem::UnlistedHeap { handle });
                lists.whole = false;
            }
        }
        if !lists.whole {
            self.found = self.search(Extent::Everywhere);
            own.clear();
            let before = lists.handles.len();
            for &(handle, kind) in &self.found.heaps {
                if listed.contains(&handle) {
                    continue;
                }
                if kind == HeapKind::Segment && self.is_unlisted_by_design(handle) {
                    own.push(handle);
                } else {
                    lists.handles.push((handle, HeapSource::Scan));
                }
            }
            let found = lists.handles.len() - before;
            if found > 0 && self.peb.is_some() {
                self.problems.push(Problem::Searched { found });
            }
        }
        self.unlisted_heaps = own
            .into_iter()
            .enumerate()
            .map(|(index, handle)| HeapRef {
                handle,
                index,
                kind: HeapKind::Segment,
                source: HeapSource::Unlisted,
            })
            .collect();
    }

    /// Whether a segment heap is one that ntdll keeps for itself: it has no place in the list of heaps
    /// by its own header, and ntdll's data (where the dump has it) point to it.
    fn is_unlisted_by_design(&self, handle: u64) -> bool {
        let heap = self.memory().at(handle, self.bitness);
        let index = heap.u16(self.layouts.segment_heap.process_heap_list_index);
        if index != Some(0) || self.ring_record(handle).is_some() {
            return false;
        }
        let mut words = self.ntdll_words().map(|(_, word)| word).peekable();
        words.peek().is_none() || words.any(|word| word == handle)
    }

    /// Keeps the first handles that are none of heaps, and the number of the others.
    fn cap_problems(&mut self) {
        let mut not_heaps = 0;
        self.problems.retain(|problem| {
            let is_one = matches!(problem, Problem::NotAHeap { .. });
            not_heaps += u64::from(is_one);
            !is_one || not_heaps <= MAX_NAMED
        });
        if let Some(handles) = not_heaps.checked_sub(MAX_NAMED).filter(|&more| more > 0) {
            self.problems.push(Problem::MoreNotHeaps { handles });
        }
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

    /// Segments whose owner is no heap that is known: its header is lost.
    fn report_heaps_without_header(&mut self) {
        let mut known: FxHashSet<u64> = self.heaps.iter().map(|heap| heap.handle).collect();
        known.extend(self.normal_heaps.iter().map(|heap| heap.handle));
        known.extend(self.problems.iter().filter_map(|problem| match problem {
            Problem::NotAHeap { handle } => Some(*handle),
            _ => None,
        }));
        for &(_, owner) in &self.found.segments {
            if known.insert(owner) {
                self.problems.push(Problem::NotAHeap { handle: owner });
            }
        }
    }

    fn read_array(&mut self, lists: &mut Lists) {
        let Some(address) = self.peb else {
            return;
        };
        let layout = &self.layouts.peb;
        let peb = self.memory().at(address, self.bitness);
        let mut handles: Vec<u64> = Vec::new();
        let mut problem = None;
        let mut wrong = |address, reason| problem = Some(Problem::HeapList { address, reason });
        match (
            peb.u32(layout.number_of_heaps),
            peb.pointer(layout.process_heaps),
        ) {
            (Some(0), Some(_)) => wrong(address, "the environment block counts no heaps"),
            (Some(count), Some(array)) => {
                let listed = (count as usize).min(MAX_HEAPS);
                if listed < count as usize {
                    wrong(address, "the number of heaps is absurd");
                }
                for index in 0..listed as u64 {
                    let slot = array.checked_add(index * self.bitness.pointer_size());
                    match slot.and_then(|slot| self.memory().pointer(slot, self.bitness)) {
                        Some(handle) => handles.push(handle),
                        None => {
                            let reason = "the array of heaps is not in the dump, or not all of it";
                            wrong(array, reason);
                            break;
                        }
                    }
                }
            }
            _ => wrong(
                address,
                "the environment block is not in the dump as a whole",
            ),
        }
        lists.whole &= problem.is_none();
        self.problems.extend(problem);
        // Page heap: the array has the heaps behind the page heaps, and this alone is a handle that
        // the program has.
        if let Some(handle) = self.process_heap
            && !handles.contains(&handle)
        {
            handles.insert(0, handle);
        }
        lists.whole &= handles.iter().all(|&heap| self.heap_kind(heap).is_some());
        let handles = handles.into_iter().map(|handle| (handle, HeapSource::Peb));
        lists.handles.extend(handles);
    }

    /// The heaps on the ring of heap records.
    ///
    /// Windows 11 24H2 lists only the process heap in the PEB. Each heap's header points to a
    /// record {links, handle, ...}; the records and a head in ntdll's data form a ring. Any pointer
    /// in the header of a known heap whose target has that heap's handle and sound links is its
    /// record: that needs no offset, and so holds for newer builds too.
    fn read_ring(&mut self, lists: &mut Lists) {
        let known = lists.handles.iter().map(|heap| heap.0);
        let found = self.found.heaps.iter().map(|heap| heap.0);
        let record = known
            .chain(found)
            .find_map(|heap| self.ring_record(heap))
            .or_else(|| self.ring_from_ntdll());
        let Some(record) = record else {
            // Without a record the array has to do, as on builds that fill it; more than its heaps
            // in memory tell that it does not.
            return;
        };
        let size = self.bitness.pointer_size();
        let (mut records, end) = self.memory().list(record, self.bitness, MAX_HEAPS);
        records.insert(0, record);
        if let ListEnd::Broken(address) = end {
            let (behind, other_end) = self.records_before(record, &records);
            records.extend(behind);
            // Where both directions end at the same place that is not in the dump, only the head is
            // missing, which holds nothing.
            if Some(address) != other_end || self.memory().u8(address).is_some() {
                lists.whole = false;
                let reason = "the ring of heap records is broken";
                self.problems.push(Problem::HeapList { address, reason });
            }
        }
        for record in records {
            let Some(handle) = self.memory().pointer(record + 2 * size, self.bitness) else {
                continue;
            };
            let is_heap = self.heap_kind(handle).is_some();
            // The head has no handle behind its links.
            if !is_heap && self.is_ring_head(record, handle) {
                continue;
            }
            lists.whole &= is_heap;
            lists.handles.push((handle, HeapSource::Ring));
        }
    }

    /// The records in front of `first`, nearest first, up to one that `known` has; and the address
    /// that could not be read.
    fn records_before(&self, first: u64, known: &[u64]) -> (Vec<u64>, Option<u64>) {
        let size = self.bitness.pointer_size();
        let read = |at: u64| self.memory().pointer(at, self.bitness);
        let mut seen: FxHashSet<u64> = known.iter().copied().collect();
        let (mut records, mut last) = (Vec::new(), first);
        loop {
            let Some(before) = last.checked_add(size).and_then(read) else {
                return (records, Some(last));
            };
            if read(before) != Some(last) || records.len() >= MAX_HEAPS || !seen.insert(before) {
                return (records, Some(before));
            }
            records.push(before);
            last = before;
        }
    }

    /// Whether an element of the ring without a heap is its head: a variable of ntdll, where the
    /// dump tells that, else one whose handle could be none.
    fn is_ring_head(&self, element: u64, handle: u64) -> bool {
        if let Some(ntdll) = self.ntdll() {
            return ntdll.contains(element);
        }
        match self.dump.region_at(element) {
            Some(region) => region.kind == RegionKind::Image,
            None => handle == 0 || !handle.is_multiple_of(ALLOCATION_GRANULARITY),
        }
    }

    fn ring_record(&self, heap: u64) -> Option<u64> {
        /// The pointer lies at 188 (x64 NT heap) and 38 (segment heap) on 26100.
        const HEADER_SEARCH: u64 = 0x400;
        let size = self.bitness.pointer_size();
        (0..HEADER_SEARCH / size)
            .filter_map(|index| {
                let field = heap.checked_add(index * size)?;
                self.memory().pointer(field, self.bitness)
            })
            .find(|&record| self.is_ring_record(record) == Some(heap))
    }

    /// The handle in a record that its neighbours point back to. One of them may be missing from the
    /// dump, as the head is where ntdll's data are.
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
        let (next, previous) = (read(record)?, read(record + size)?);
        let ahead = read(next.checked_add(size)?);
        let behind = read(previous);
        let points_back = |link: Option<u64>| link.is_none_or(|link| link == record);
        let sound = next != record
            && previous != 0
            && points_back(ahead)
            && points_back(behind)
            && (ahead.is_some() || behind.is_some());
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
}
