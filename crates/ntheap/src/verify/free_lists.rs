//! Free lists against the free blocks that the walk met.

use rustc_hash::FxHashSet;

use super::{Check, Damage, nt::Checker};
use crate::{
    address_space::ListEnd,
    blocks::{Finding, FindingKind},
    heap::nt::NtHeap,
};

/// XP and Server 2003: one list a block size in units, the first for all larger ones.
const XP_LISTS: u64 = 128;
/// More entries than fit an address space.
const MAX_ENTRIES: usize = 1 << 28;

impl Checker<'_, '_, '_> {
    /// Every entry of a list is a free block, and every free block that has room for links is on one.
    pub(super) fn check_free_lists(&mut self, heap: &NtHeap<'_, '_>) {
        let Some(lists) = self.process.layouts.heap.free_lists else {
            return;
        };
        let bitness = self.process.bitness;
        let first = heap.handle() + u64::from(lists);
        let count = if heap.is_xp() { XP_LISTS } else { 1 };
        let mut listed = FxHashSet::default();
        let mut sound = true;
        for index in 0..count {
            let head = first + index * 2 * bitness.pointer_size();
            let (elements, end) = self.process.memory().list(head, bitness, MAX_ENTRIES);
            self.checked.free_list_entries += elements.len() as u64;
            if let ListEnd::Broken(at) = end {
                sound = false;
                if heap.is_absent_link(at) {
                    self.missing.add(Finding {
                        heap: heap.handle(),
                        address: at,
                        bytes: 0,
                        kind: FindingKind::MissingStructure {
                            structure: "free list",
                        },
                    });
                } else {
                    self.broken_link(heap, head, elements.last().copied().unwrap_or(head), at);
                }
            }
            listed.extend(elements.iter().map(|at| at.wrapping_sub(heap.unit())));
        }
        let is_free = |entry: u64| {
            let found = self.free.binary_search_by_key(&entry, |block| block.0);
            found.is_ok()
        };
        let mut wrong: Vec<Damage> = Vec::new();
        for &entry in &listed {
            // A segment that is not in the dump was not walked.
            let walked = heap
                .segments
                .iter()
                .any(|segment| entry.wrapping_sub(segment.base) < segment.reserved);
            if !is_free(entry) && !self.is_gap(entry) && (walked || self.missing.is_empty()) {
                wrong.push(Damage::new(
                    heap.handle(),
                    entry,
                    Check::FreeList,
                    "a free block, as it is on a free list",
                    "none",
                ));
            }
        }
        // Behind a broken link nothing is known of the rest of the list.
        if sound {
            let links = 2 * heap.unit();
            for &(entry, size) in &self.free {
                if size >= links && !listed.contains(&entry) {
                    wrong.push(Damage::new(
                        heap.handle(),
                        entry,
                        Check::FreeList,
                        "the free block on a free list",
                        "on none",
                    ));
                }
            }
        }
        wrong.sort_by_key(|damage| damage.address);
        wrong.into_iter().for_each(|damage| self.damage(damage));
    }

    /// The link that broke a list: that of the last sound entry, or the back link of the next.
    fn broken_link(&mut self, heap: &NtHeap<'_, '_>, head: u64, last: u64, next: u64) {
        let bitness = self.process.bitness;
        let memory = self.process.memory();
        let entry = next.wrapping_sub(heap.unit());
        let is_free = self
            .free
            .binary_search_by_key(&entry, |block| block.0)
            .is_ok();
        let back = next
            .checked_add(bitness.pointer_size())
            .and_then(|link| Some((link, memory.pointer(link, bitness)?)));
        let damage = match back {
            // The entry is what it should be, so its back link is what was overwritten.
            Some((link, found)) if is_free || next == head => Damage::new(
                heap.handle(),
                link,
                Check::FreeList,
                format!("a link back to {last:x}"),
                format!("{found:x}"),
            ),
            _ => Damage::new(
                heap.handle(),
                last,
                Check::FreeList,
                "a link to the next free block",
                format!("{next:x}"),
            ),
        };
        self.damage(damage);
    }
}
