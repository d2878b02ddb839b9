//! Page heaps whose root is lost: what lies in front of their blocks names it.

use rustc_hash::FxHashMap;

use super::page_heaps::ROOT_DISTANCE;
use crate::{
    heap::page::informations,
    process::{HeapKind, HeapSource, LostRoot, Process},
};

/// Blocks that have to name a root.
const PROOF: usize = 2;

impl Process<'_, '_> {
    /// Finds the page heaps that blocks name, but that are not among these handles.
    pub(super) fn find_lost_roots(&mut self, known: &[u64]) {
        let mut names: FxHashMap<u64, (usize, Option<u64>)> = FxHashMap::default();
        for found in informations(self.memory(), &self.layouts) {
            let Some(handle) = found.root.checked_sub(ROOT_DISTANCE) else {
                continue;
            };
            if !handle.is_multiple_of(ROOT_DISTANCE) || known.contains(&handle) {
                continue;
            }
            let (count, normal) = names.entry(handle).or_default();
            *count += 1;
            if normal.is_none() && !found.stamp.full {
                *normal = self.owner_of(found.address);
            }
        }
        let mut lost: Vec<LostRoot> = names
            .into_iter()
            .filter(|(_, (count, _))| *count >= PROOF)
            .map(|(handle, (_, normal))| LostRoot { handle, normal })
            .collect();
        lost.sort_unstable_by_key(|root| root.handle);
        self.lost_roots = lost;
    }

    /// Where one root alone has no normal heap yet, and one listed heap no root: they belong together.
    pub(super) fn pair_lost_roots(&mut self, listed: &[(u64, HeapSource)], behind: &[u64]) {
        let claimed = |handle: u64| {
            behind.contains(&handle)
                || self
                    .lost_roots
                    .iter()
                    .any(|root| root.normal == Some(handle))
                || self
                    .heap_kind(handle)
                    .is_none_or(|kind| kind == HeapKind::PageHeap)
        };
        let mut left = listed
            .iter()
            .map(|heap| heap.0)
            .filter(|&handle| !claimed(handle));
        let (only, more) = (left.next(), left.next());
        let mut without = self
            .lost_roots
            .iter_mut()
            .filter(|root| root.normal.is_none());
        if let (Some(root), None, Some(handle), None) = (without.next(), without.next(), only, more)
        {
            root.normal = Some(handle);
        }
    }

    /// The NT heap whose segment an address lies in, by the header of that.
    fn owner_of(&self, address: u64) -> Option<u64> {
        const SEGMENT_SIGNATURE: u32 = 0xffee_ffee;
        const GRANULARITY: u64 = 0x10000;
        const FARTHEST: u64 = 0x1000_0000;
        let layout = &self.layouts.segment;
        let xp = self.layouts.heap.segments.is_some();
        let at_header = |base: u64| {
            let header = self.memory().at(base, self.bitness);
            let signature = if xp {
                layout.signature
            } else {
                layout.segment_signature
            };
            (header.u32(signature) == Some(SEGMENT_SIGNATURE))
                .then(|| header.pointer(layout.heap))?
        };
        if let Some(region) = self.dump.region_at(address) {
            let base = region.allocation_base;
            // XP's first segment begins inside its heap.
            return at_header(base).or(xp.then_some(base));
        }
        let first = address - address % GRANULARITY;
        (first.saturating_sub(FARTHEST)..=first)
            .rev()
            .step_by(GRANULARITY as usize)
            .find_map(at_header)
    }
}
