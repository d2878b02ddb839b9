//! The page heaps of a process.
//!
//! With page heap every handle that the program has is a page of fill, and the page behind it is
//! the page heap's root. The environment block lists only the normal heaps that the page heaps
//! use; its process heap is the one page heap handle in it. From that handle's root the list of
//! roots leads to all others.

use crate::{
    address_space::ListEnd,
    process::{HeapKind, HeapRef, HeapSource, Problem, Process},
};

/// Distance from the handle to its root.
pub(super) const ROOT_DISTANCE: u64 = 0x1000;
/// `_DPH_HEAP_ROOT.Signature`.
const ROOT_SIGNATURE: u32 = 0xffee_ddcc;
/// The bit of `NtGlobalFlag` that turns page heap on.
const FLAG_PAGE_HEAP: u32 = 0x0200_0000;
/// More page heaps than a process can have: each takes an allocation of address space.
const MAX_ROOTS: usize = 1 << 16;

/// Address of the root of the page heap with this handle.
pub(in crate::heap) fn root_of(handle: u64) -> Option<u64> {
    handle.checked_add(ROOT_DISTANCE)
}

impl Process<'_, '_> {
    /// Lists page heaps in front of `listed`, the heaps that Windows lists, and moves the normal
    /// heaps behind them from there to a list of their own. Returns what is left of `listed`.
    pub(super) fn list_page_heaps(
        &mut self,
        listed: Vec<(u64, HeapSource)>,
    ) -> Vec<(u64, HeapSource)> {
        let page_heaps = self.page_heaps();
        if page_heaps.is_empty() {
            return listed;
        }
        for &(handle, source) in &page_heaps {
            let index = self.heaps.len();
            let kind = HeapKind::PageHeap;
            self.heaps.push(HeapRef {
                handle,
                index,
                kind,
                source,
            });
        }
        let field = self.layouts.dph_root.normal_heap;
        let mut behind: Vec<u64> = page_heaps
            .iter()
            .filter_map(|&(handle, _)| {
                let root = self.memory().at(root_of(handle)?, self.bitness);
                root.pointer(field).filter(|&normal| normal != 0)
            })
            .collect();
        self.pair_lost_roots(&listed, &behind);
        behind.extend(self.lost_roots.iter().filter_map(|root| root.normal));
        let is_page_heap = |handle: u64| page_heaps.iter().any(|heap| heap.0 == handle);
        let (normal, mut left): (Vec<_>, Vec<_>) = listed
            .into_iter()
            .partition(|(handle, _)| behind.contains(handle) && !is_page_heap(*handle));
        left.retain(|&(handle, _)| !is_page_heap(handle));
        // A normal heap that is not listed is still reached through its root.
        let unlisted = behind
            .iter()
            .filter(|&&handle| !normal.iter().any(|known| known.0 == handle))
            .map(|&handle| (handle, HeapSource::PageHeap));
        for (handle, source) in normal.iter().copied().chain(unlisted) {
            let known = self.normal_heaps.iter().any(|heap| heap.handle == handle);
            match self.heap_kind(handle) {
                Some(HeapKind::PageHeap) => {}
                Some(kind) if !known => {
                    let index = self.normal_heaps.len();
                    self.normal_heaps.push(HeapRef {
                        handle,
                        index,
                        kind,
                        source,
                    });
                }
                Some(_) => {}
                None => self.problems.push(Problem::NotAHeap { handle }),
            }
        }
        left
    }

    /// The handles of all page heaps, in the order of the list of roots.
    fn page_heaps(&mut self) -> Vec<(u64, HeapSource)> {
        let first = self
            .process_heap
            .filter(|&handle| self.is_page_heap(handle));
        let (mut found, complete) = match first {
            Some(handle) if self.layouts.dph_root.next_heap.is_some() => self.ring_of_roots(handle),
            Some(handle) => self.chain_of_roots(handle),
            None => (Vec::new(), false),
        };
        let on = self
            .nt_global_flag
            .is_none_or(|flags| flags & FLAG_PAGE_HEAP != 0);
        if complete || (first.is_none() && !on) {
            return found;
        }
        if let Some(address) = first {
            let reason = "the list of page heaps is broken; they were searched for in memory";
            self.problems.push(Problem::HeapList { address, reason });
        }
        for handle in self.scan_for_page_heaps() {
            if !found.iter().any(|known| known.0 == handle) {
                found.push((handle, HeapSource::Scan));
            }
        }
        let known: Vec<u64> = found.iter().map(|heap| heap.0).collect();
        self.find_lost_roots(&known);
        let lost = self.lost_roots.iter().map(|root| root.handle);
        found.extend(lost.map(|handle| (handle, HeapSource::Scan)));
        found
    }

    /// Whether a root lies behind `handle`. The fill in front of it proves it where the dump has
    /// that page.
    fn is_page_heap(&self, handle: u64) -> bool {
        let signature = root_of(handle).and_then(|root| {
            let layout = &self.layouts.dph_root;
            self.memory().at(root, self.bitness).u32(layout.signature)
        });
        let fill = self.memory().u8(handle).is_none()
            || self.heap_kind(handle) == Some(HeapKind::PageHeap);
        signature == Some(ROOT_SIGNATURE) && fill
    }

    /// Vista and later: a ring of list entries in the roots, with a head in verifier.dll. Says also
    /// whether it is whole.
    fn ring_of_roots(&self, first: u64) -> (Vec<(u64, HeapSource)>, bool) {
        let whole = || {
            let link = u64::from(self.layouts.dph_root.next_heap?);
            let start = root_of(first)?.checked_add(link)?;
            let (mut links, end) = self.memory().list(start, self.bitness, MAX_ROOTS);
            let handle = |link_at: &u64| link_at.checked_sub(link + ROOT_DISTANCE);
            let is_root =
                |link_at: &u64| handle(link_at).is_some_and(|handle| self.is_page_heap(handle));
            // What is no root is the head: the list begins behind it.
            let head = links.iter().position(|at| !is_root(at));
            links.insert(0, start);
            if let Some(head) = head {
                links.rotate_left(head + 2);
                links.pop();
            }
            let sound = end == ListEnd::Complete && head.is_some() && links.iter().all(is_root);
            links.retain(is_root);
            Some((links.iter().filter_map(handle).collect::<Vec<_>>(), sound))
        };
        let (handles, sound) = whole().unwrap_or_default();
        let source = HeapSource::PageHeap;
        (handles.into_iter().map(|h| (h, source)).collect(), sound)
    }

    /// XP: roots chained in both directions, without a head.
    fn chain_of_roots(&self, first: u64) -> (Vec<(u64, HeapSource)>, bool) {
        let layout = &self.layouts.dph_root;
        let follow = |field: Option<u32>| {
            let mut handles: Vec<u64> = Vec::new();
            let mut at = first;
            loop {
                let next = root_of(at)
                    .and_then(|root| self.memory().at(root, self.bitness).pointer(field));
                match next {
                    Some(0) => return (handles, true),
                    Some(root) if handles.len() < MAX_ROOTS && root > ROOT_DISTANCE => {
                        at = root - ROOT_DISTANCE;
                        if at == first || !self.is_page_heap(at) || handles.contains(&at) {
                            return (handles, false);
                        }
                        handles.push(at);
                    }
                    _ => return (handles, false),
                }
            }
        };
        let (mut handles, sound_before) = follow(layout.p_prev_heap_root);
        let (after, sound_after) = follow(layout.p_next_heap_root);
        handles.reverse();
        handles.push(first);
        handles.extend(after.into_iter().filter(|&handle| handle != first));
        let source = HeapSource::PageHeap;
        let found = handles.into_iter().map(|handle| (handle, source)).collect();
        (found, sound_before && sound_after)
    }

    /// Pages that begin with a root's signature behind a page of fill.
    fn scan_for_page_heaps(&self) -> Vec<u64> {
        self.memory()
            .ranges()
            .iter()
            .flat_map(|range| {
                let first = range.start.checked_next_multiple_of(ROOT_DISTANCE);
                (first.unwrap_or(u64::MAX)..range.end()).step_by(ROOT_DISTANCE as usize)
            })
            .filter_map(|root| root.checked_sub(ROOT_DISTANCE))
            .filter(|&handle| {
                self.is_page_heap(handle) && self.heap_kind(handle) == Some(HeapKind::PageHeap)
            })
            .take(MAX_ROOTS)
            .collect()
    }
}
