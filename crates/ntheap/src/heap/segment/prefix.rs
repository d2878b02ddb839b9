//! What lies between the start of a block and the address that the program has.
//!
//! Up to Windows 10, ntdll's compatibility mode, on for all but a few processes of Windows itself,
//! puts a few bytes in front of every block of a segment heap. From 17134 on their number is stored
//! in them, so a block can tell; before that only all blocks of the process together can.

use super::{
    SegmentHeap,
    sink::{RawBlock, Sink},
};
use crate::{
    blocks::{Kind, State},
    process::{HeapKind, HeapRef, Process},
};

/// What lies in front of the blocks of a heap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Prefix {
    /// Nothing: 22000 and later, and `svchost.exe`.
    None,
    /// 10240 to 16299: one unit, with nothing in it. Large blocks count it as well, but have none.
    Unit,
    /// 17134 to 19045: the prefix stores its size, at its start and in its last unit.
    Stored,
}

/// The first build whose prefix stores its size.
const FIRST_BUILD_STORED: u32 = 17134;

/// The largest prefix that is believed.
const MAX_PREFIX: u64 = 0x1000;

/// Blocks that are looked at for a stored prefix.
const STORED_SAMPLE: usize = 64;
/// Nine of ten blocks have to store it: any block may have been overwritten.
const STORED_SHARE: (usize, usize) = (9, 10);

/// Blocks of one heap, and heaps, that are looked at for a prefix that stores nothing.
const UNIT_SAMPLE: usize = 1 << 16;
const MAX_HEAPS: usize = 64;
/// With fewer blocks than this, none of which tells, the name of the program decides.
const FEW: usize = 64;
/// The image that is known to run without.
const EXEMPT_IMAGE: &str = "svchost.exe";

impl Prefix {
    /// How far the program's address is from the start of the block, and how many bytes of the block
    /// the prefix takes.
    pub(super) fn of(self, heap: &SegmentHeap<'_, '_>, raw: &RawBlock) -> (u64, u64) {
        let unit = heap.unit();
        match self {
            Prefix::None => (0, 0),
            Prefix::Unit if raw.kind == Kind::Large => (0, unit),
            Prefix::Unit => (unit, unit),
            Prefix::Stored => {
                // An overwritten one is taken for the smallest.
                let size = stored(heap, raw.start).unwrap_or(unit);
                (size, size)
            }
        }
    }
}

/// The size that a prefix at the start of a block stores, if it agrees with itself.
fn stored(heap: &SegmentHeap<'_, '_>, start: u64) -> Option<u64> {
    let unit = heap.unit();
    let bitness = heap.bitness();
    let size = heap.memory.pointer(start, bitness)?;
    if size < unit || size > MAX_PREFIX || !size.is_multiple_of(unit) {
        return None;
    }
    let again = start.checked_add(size - unit)?;
    (heap.memory.pointer(again, bitness)? == size).then_some(size)
}

/// Finds out what the process puts in front of its blocks, from the heap's own blocks first.
pub(super) fn detect<'p, 'a>(process: &'p Process<'_, 'a>, heap: &SegmentHeap<'p, 'a>) -> Prefix {
    let others = process
        .heaps
        .iter()
        .filter(|other| other.kind == HeapKind::Segment && other.handle != heap.handle())
        .take(MAX_HEAPS);
    if heap.layouts.build >= FIRST_BUILD_STORED {
        detect_stored(process, heap, others)
    } else {
        detect_unit(process, heap, others)
    }
}

fn detect_stored<'p, 'a>(
    process: &'p Process<'_, 'a>,
    heap: &SegmentHeap<'p, 'a>,
    others: impl Iterator<Item = &'p HeapRef>,
) -> Prefix {
    let (mut with, mut seen) = stored_sample(heap);
    for other in others {
        if seen >= STORED_SAMPLE {
            break;
        }
        let (more, of) = stored_sample(&SegmentHeap::open_raw(process, other));
        (with, seen) = (with + more, seen + of);
    }
    let (share, whole) = STORED_SHARE;
    if seen > 0 && with * whole >= seen * share {
        Prefix::Stored
    } else {
        Prefix::None
    }
}

/// Busy blocks of a heap that store a prefix, and how many were looked at.
fn stored_sample(heap: &SegmentHeap<'_, '_>) -> (usize, usize) {
    struct Sample<'h, 'p, 'a> {
        heap: &'h SegmentHeap<'p, 'a>,
        with: usize,
        seen: usize,
    }
    impl Sink for Sample<'_, '_, '_> {
        fn raw(&mut self, raw: RawBlock) {
            if raw.state == State::Busy && !raw.internal && !self.done() {
                self.seen += 1;
                self.with += usize::from(stored(self.heap, raw.start).is_some());
            }
        }
        fn done(&self) -> bool {
            self.seen >= STORED_SAMPLE
        }
    }
    let mut sample = Sample {
        heap,
        with: 0,
        seen: 0,
    };
    for segment in &heap.segments {
        if sample.done() {
            break;
        }
        heap.walk_segment(segment, &mut sample);
    }
    heap.walk_large_blocks(&mut sample);
    (sample.with, sample.seen)
}

fn detect_unit<'p, 'a>(
    process: &'p Process<'_, 'a>,
    heap: &SegmentHeap<'p, 'a>,
    others: impl Iterator<Item = &'p HeapRef>,
) -> Prefix {
    let (mut smallest, mut seen) = unit_sample(heap);
    for other in others {
        if smallest < heap.unit() {
            break;
        }
        let (size, of) = unit_sample(&SegmentHeap::open_raw(process, other));
        (smallest, seen) = (smallest.min(size), seen + of);
    }
    let exempt = seen < FEW
        && process
            .dump
            .modules
            .iter()
            .any(|module| module.file_name().eq_ignore_ascii_case(EXEMPT_IMAGE));
    // A block that holds less than a prefix takes has none.
    if smallest < heap.unit() || exempt {
        Prefix::None
    } else {
        Prefix::Unit
    }
}

/// The smallest number of bytes in use of a heap's blocks, and how many were looked at.
fn unit_sample(heap: &SegmentHeap<'_, '_>) -> (u64, usize) {
    struct Sample {
        unit: u64,
        smallest: u64,
        seen: usize,
    }
    impl Sink for Sample {
        fn raw(&mut self, raw: RawBlock) {
            if let Some(unused) = raw.unused.bytes
                && raw.state == State::Busy
                && !raw.internal
            {
                self.seen += 1;
                // A corrupt count says nothing.
                let used = raw.usable.checked_sub(unused).unwrap_or(self.smallest);
                self.smallest = self.smallest.min(used);
            }
        }
        fn done(&self) -> bool {
            self.seen >= UNIT_SAMPLE || self.smallest < self.unit
        }
    }
    let mut sample = Sample {
        unit: heap.unit(),
        smallest: u64::MAX,
        seen: 0,
    };
    for segment in &heap.segments {
        if sample.done() {
            break;
        }
        heap.walk_segment(segment, &mut sample);
    }
    (sample.smallest, sample.seen)
}
