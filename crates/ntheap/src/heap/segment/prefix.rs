//! What lies between the start of a block and the address that the program has.
//!
//! Up to Windows 10, ntdll's compatibility mode, on for all but a few processes of Windows itself,
//! puts a few bytes in front of every block of a segment heap. From 17134 on their number is stored
//! in them, so a block can tell; before that only all blocks of the process together can.

use super::{
    Common, SegmentFacts, SegmentHeap,
    sink::{RawBlock, Sink},
};
use crate::{
    address_space::Window,
    blocks::{CONTINUE, Flow, Kind, State},
    process::{HeapKind, Process},
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
/// With fewer of its own than this, a heap is taken for one like the others.
const STORED_ENOUGH: usize = 16;
/// Nine of ten blocks have to store it: any block may have been overwritten.
const STORED_SHARE: (usize, usize) = (9, 10);

/// Blocks of one heap, and heaps, that are looked at for a prefix that stores nothing.
const UNIT_SAMPLE: usize = 1 << 16;
/// So many blocks that hold less than a prefix takes prove that there is none, or fewer among few: one
/// may be corrupt.
const SMALL_ENOUGH: usize = 3;
const SMALL_SHARE: usize = 100;
const MAX_HEAPS: usize = 64;
/// With fewer blocks than this, none of which tells, the name of the program decides.
const FEW: usize = 64;
/// The image that is known to run without.
const EXEMPT_IMAGE: &str = "svchost.exe";

impl Prefix {
    /// The bytes that the smallest prefix takes: that of nearly all blocks.
    #[inline(always)]
    pub(super) fn least(self, unit: u64) -> u64 {
        match self {
            Prefix::None => 0,
            Prefix::Unit | Prefix::Stored => unit,
        }
    }

    /// How far the program's address is from the start of the block, and how many bytes of the block
    /// the prefix takes.
    #[inline(always)]
    pub(super) fn of(
        self,
        heap: &SegmentHeap<'_, '_>,
        window: &mut Window<'_, '_>,
        raw: &RawBlock,
    ) -> (u64, u64) {
        let unit = heap.unit();
        match self {
            Prefix::None => (0, 0),
            Prefix::Unit if raw.kind == Kind::Large => (0, unit),
            Prefix::Unit => (unit, unit),
            Prefix::Stored => {
                // An overwritten one is taken for the smallest.
                let size = stored(heap, window, raw.start, raw.usable).unwrap_or(unit);
                (size, size)
            }
        }
    }
}

/// The size that a prefix at the start of a block of so many bytes stores, if it agrees with itself.
#[inline]
pub(super) fn stored(
    heap: &SegmentHeap<'_, '_>,
    window: &mut Window<'_, '_>,
    start: u64,
    room: u64,
) -> Option<u64> {
    let unit = heap.unit();
    let size = heap.chunk_word(window, start)?;
    if size < unit || size > MAX_PREFIX.min(room) || !size.is_multiple_of(unit) {
        return None;
    }
    let again = start.checked_add(size - unit)?;
    (again == start || heap.chunk_word(window, again)? == size).then_some(size)
}

/// What is in front of the blocks of a heap.
pub(super) fn detect(heap: &SegmentHeap<'_, '_>, facts: &SegmentFacts) -> Prefix {
    if heap.layouts.build < FIRST_BUILD_STORED {
        return facts.prefix;
    }
    let (with, seen) = stored_sample(heap);
    if seen >= STORED_ENOUGH {
        judge_stored(with, seen)
    } else {
        facts.prefix
    }
}

/// What the process puts in front of its blocks, from all its segment heaps.
pub(super) fn of_process<'p, 'a>(process: &'p Process<'_, 'a>, common: &Common) -> Prefix {
    let (mut with, mut seen) = (0, 0);
    let (mut small, mut counted) = (0, 0);
    let mut prefix = Prefix::None;
    for reference in process
        .heaps
        .iter()
        .filter(|heap| heap.kind == HeapKind::Segment)
        .take(MAX_HEAPS)
    {
        let heap = SegmentHeap::open_raw(process, reference, common);
        if heap.layouts.build >= FIRST_BUILD_STORED {
            let (more, of) = stored_sample(&heap);
            (with, seen) = (with + more, seen + of);
            prefix = judge_stored(with, seen);
            if seen >= STORED_SAMPLE {
                break;
            }
        } else {
            let (more, of) = unit_sample(&heap);
            (small, counted) = (small + more, counted + of);
            // A block that holds less than a prefix takes has none.
            if small >= SMALL_ENOUGH {
                return Prefix::None;
            }
            prefix = Prefix::Unit;
        }
    }
    if small > 0 && small * SMALL_SHARE >= counted {
        return Prefix::None;
    }
    let exempt = prefix == Prefix::Unit
        && counted < FEW
        && process
            .dump
            .modules
            .iter()
            .any(|module| module.file_name().eq_ignore_ascii_case(EXEMPT_IMAGE));
    if exempt { Prefix::None } else { prefix }
}

fn judge_stored(with: usize, seen: usize) -> Prefix {
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
        window: Window<'p, 'a>,
        with: usize,
        seen: usize,
    }
    impl Sink for Sample<'_, '_, '_> {
        fn raw(&mut self, raw: RawBlock) -> Flow {
            if raw.state == State::Busy && !raw.internal {
                self.seen += 1;
                let prefix = stored(self.heap, &mut self.window, raw.start, raw.usable);
                self.with += usize::from(prefix.is_some());
            }
            enough(self.seen >= STORED_SAMPLE)
        }
    }
    let mut sample = Sample {
        heap,
        window: heap.memory.window(),
        with: 0,
        seen: 0,
    };
    let mut walk = || {
        for segment in &heap.segments {
            heap.walk_segment(segment, &mut sample)?;
        }
        heap.walk_large_blocks(&mut sample)
    };
    let _ = walk();
    (sample.with, sample.seen)
}

/// Ends a walk once enough was seen.
fn enough(seen: bool) -> Flow {
    if seen { Flow::Break(()) } else { CONTINUE }
}

/// Blocks of a heap that hold less than a prefix takes, and how many were looked at.
fn unit_sample(heap: &SegmentHeap<'_, '_>) -> (usize, usize) {
    struct Sample {
        unit: u64,
        small: usize,
        seen: usize,
    }
    impl Sink for Sample {
        fn raw(&mut self, raw: RawBlock) -> Flow {
            if let Some(unused) = raw.unused.bytes
                && raw.state == State::Busy
                && !raw.internal
            {
                self.seen += 1;
                // A corrupt count says nothing.
                let used = raw.usable.checked_sub(unused);
                self.small += usize::from(used.is_some_and(|used| used < self.unit));
            }
            enough(self.seen >= UNIT_SAMPLE || self.small >= SMALL_ENOUGH)
        }
    }
    let mut sample = Sample {
        unit: heap.unit(),
        small: 0,
        seen: 0,
    };
    let _ = heap
        .segments
        .iter()
        .try_for_each(|segment| heap.walk_segment(segment, &mut sample));
    (sample.small, sample.seen)
}
