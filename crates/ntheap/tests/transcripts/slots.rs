//! Slots of the LFH that the 2015 extension does not list.
//!
//! It steps through a container while a slot ends before the container's block does, instead of
//! counting slots. So it misses a slot that ends exactly there, and where a whole slot would fit
//! behind the last one it reads a header that is none, which ends the list of the heap.

use std::collections::BTreeSet;

use ntheap::{
    blocks::{Block, Kind, Visitor},
    heap::Heap,
    process::{HeapKind, Process},
};

use crate::excuse;

/// What the extension is bound to miss.
#[derive(Default)]
pub(crate) struct Missed {
    /// The container that the walk is in.
    container: Option<Block>,
    /// Its last slot.
    last: Option<Block>,
    /// Slots that end where their container does.
    pub(crate) ends: BTreeSet<u64>,
    /// Whether a container with room for one more slot was passed.
    lost: bool,
    /// How many of them.
    pub(crate) room: usize,
    /// Blocks behind such a container.
    behind: BTreeSet<u64>,
}

impl Missed {
    /// Ends the last container; to be called behind the last block.
    pub(crate) fn finish(&mut self) {
        if let (Some(container), Some(last)) = (self.container, self.last.take()) {
            let end = container.entry + container.block_size;
            let slots_end = last.entry + last.block_size;
            if slots_end == end {
                self.ends.insert(last.entry);
            }
            if end.saturating_sub(slots_end) > last.block_size {
                self.lost = true;
                self.room += 1;
            }
        }
        self.container = None;
    }
}

impl Visitor for Missed {
    fn block(&mut self, block: &Block) {
        if block.kind == Kind::Lfh {
            self.last = Some(*block);
        } else {
            self.finish();
            self.container = Some(*block);
        }
        if self.lost {
            self.behind.insert(block.entry);
        }
    }
}

/// The class, if exactly rows that the extension is bound to miss are missing.
pub(crate) fn excuse(
    process: &Process<'_, '_>,
    expected: &str,
    actual: &str,
) -> Option<&'static str> {
    let (mut ends, mut behind) = (BTreeSet::new(), BTreeSet::new());
    for reference in &process.heaps {
        let mut missed = Missed::default();
        let heap = Heap::open(process, reference);
        heap.walk(&mut missed);
        missed.finish();
        ends.append(&mut missed.ends);
        behind.append(&mut missed.behind);
    }
    let entry = |line: &str| {
        let row = line.trim_start_matches([' ', '*']);
        let word = row.split(' ').next()?;
        (line.starts_with("      ") && line.contains(" - (") && word.len() >= 8)
            .then(|| u64::from_str_radix(word, 16).ok())?
    };
    // `-p -a` of a missed slot: nothing is found.
    if expected == "\r \n"
        && let Some(entry) = actual.lines().find_map(entry)
    {
        let heap = actual.lines().find_map(heap_of);
        if heap.is_some_and(|heap| is_segment_heap(process, heap)) {
            return Some("-p and -flt do not walk segment heaps");
        }
        return if ends.contains(&entry) {
            Some("last slot of an LFH container missed")
        } else {
            behind
                .contains(&entry)
                .then_some("heap lost behind an LFH container with an unused tail")
        };
    }
    // The size of the row before is another where rows are missing.
    let rows = |text: &str| -> Vec<(Option<u64>, String)> {
        let row = |line: &str| {
            let entry = entry(line);
            let mut words: Vec<&str> = line.split_whitespace().collect();
            if entry.is_some() {
                let previous = 2 + usize::from(words.first() == Some(&"*"));
                words.remove(previous.min(words.len() - 1));
            }
            (entry, words.join(" "))
        };
        text.lines().map(row).collect()
    };
    let (without, ours_without) = (
        without_segment_heaps(process, expected),
        without_segment_heaps(process, actual),
    );
    let theirs = rows(&without);
    let listed: BTreeSet<u64> = theirs.iter().filter_map(|(entry, _)| *entry).collect();
    let mut class = (without != expected && is_segment_walk(process))
        .then_some("-p and -flt do not walk segment heaps");
    let mut ours = rows(&ours_without);
    ours.retain(|(entry, _)| {
        let Some(entry) = entry.filter(|entry| !listed.contains(entry)) else {
            return true;
        };
        if ends.contains(&entry) {
            class.get_or_insert("last slot of an LFH container missed");
            false
        } else if behind.contains(&entry) {
            class = Some("heap lost behind an LFH container with an unused tail");
            false
        } else {
            true
        }
    });
    if ours.len() != theirs.len() {
        return None;
    }
    for ((_, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        if ours != theirs {
            let named = excuse::symbol(theirs, ours)?;
            class.get_or_insert(named);
        }
    }
    class
}

/// The heap that a caption names.
fn heap_of(line: &str) -> Option<u64> {
    u64::from_str_radix(line.strip_prefix("    _HEAP @ ")?, 16).ok()
}

fn is_segment_heap(process: &Process<'_, '_>, handle: u64) -> bool {
    let mut heaps = process.heaps.iter();
    heaps.any(|heap| heap.handle == handle && heap.kind == HeapKind::Segment)
}

fn is_segment_walk(process: &Process<'_, '_>) -> bool {
    let mut heaps = process.heaps.iter();
    heaps.any(|heap| heap.kind == HeapKind::Segment)
}

/// The list without what is below the captions of segment heaps, and without the columns' caption.
fn without_segment_heaps(process: &Process<'_, '_>, text: &str) -> String {
    let mut shown = true;
    let mut kept = String::new();
    for line in text.split_inclusive('\n') {
        if let Some(handle) = heap_of(line.trim_end()) {
            shown = !is_segment_heap(process, handle);
        }
        if shown && !line.contains("  HEAP_ENTRY Size Prev Flags ") {
            kept.push_str(line);
        }
    }
    kept
}
