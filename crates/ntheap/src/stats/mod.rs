//! Totals of one dump: per heap, per block size, per stack.
//!
//! Blocks are counted while they are walked, on all cores, heap part by heap part; no block is kept.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::Heaps, process::Process, stats};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for heap in stats::collect(&Heaps::of(&process)) {
//!     for row in heap.sizes.rows(stats::Order::Total).iter().take(10) {
//!         println!("{:#x}: {} blocks of {:#x} bytes", heap.handle, row.1.blocks, row.0);
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod groups;
mod segment_report;
mod summary_row;
mod trace_counts;

pub use groups::{Count, Groups, Order, SizeCounts, total};
pub use segment_report::{BUCKETS, Bucket, Chunks, LargeBlocks, Ranges, SegmentReport, Slots};
pub use summary_row::SummaryRow;

pub(crate) use trace_counts::TraceCounts;

use crate::{
    blocks::{Block, CONTINUE, Finding, Flow, Kind, Span, State, Trace, Visitor},
    heap::{Heap, Heaps},
    losses::Losses,
    process::HeapKind,
};

/// What one heap holds.
#[derive(Debug, Clone)]
pub struct HeapStatistics {
    /// Handle of the heap.
    pub handle: u64,
    /// Position in the process's heap list.
    pub index: usize,
    /// Kind.
    pub kind: HeapKind,
    /// `_HEAP.Flags`.
    pub flags: u32,
    /// Counts by requested size of the blocks that the program holds.
    pub sizes: SizeCounts,
    /// Requested bytes of the blocks that the program holds.
    pub busy_bytes: u64,
    /// Number of blocks that the program holds.
    pub busy_blocks: u64,
    /// Free blocks outside the LFH: count and bytes with their headers.
    pub free: Count,
    /// The largest free block, in bytes with its header.
    pub largest_free: u64,
    /// Free slots of the LFH: count and bytes.
    pub lfh_free: Count,
    /// Busy slots of the LFH: count and bytes with their headers.
    pub lfh_busy: Count,
    /// The heap's own blocks (LFH containers, tables): count and bytes with their headers.
    pub internal: Count,
    /// Blocks with a mapping of their own: count and committed bytes.
    pub virtual_blocks: Count,
    /// Freed blocks in page heap's quarantine: count and requested bytes.
    pub quarantine: Count,
    /// Blocks whose allocation has a stack trace.
    pub traced_blocks: u64,
    /// What of the heap could not be read or proved.
    pub losses: Losses,
}

impl HeapStatistics {
    fn new(heap: &Heap<'_, '_>) -> Self {
        let reference = heap.reference();
        HeapStatistics {
            handle: reference.handle,
            index: reference.index,
            kind: reference.kind,
            flags: heap.flags(),
            sizes: SizeCounts::default(),
            busy_bytes: 0,
            busy_blocks: 0,
            free: Count::default(),
            largest_free: 0,
            lfh_free: Count::default(),
            lfh_busy: Count::default(),
            internal: Count::default(),
            virtual_blocks: Count::default(),
            quarantine: Count::default(),
            traced_blocks: 0,
            losses: Losses::default(),
        }
    }

    fn merge(mut self, other: Self) -> Self {
        self.sizes.merge(other.sizes);
        self.busy_bytes = self.busy_bytes.saturating_add(other.busy_bytes);
        self.busy_blocks += other.busy_blocks;
        self.largest_free = self.largest_free.max(other.largest_free);
        for (mine, theirs) in [
            (&mut self.free, other.free),
            (&mut self.lfh_free, other.lfh_free),
            (&mut self.lfh_busy, other.lfh_busy),
            (&mut self.internal, other.internal),
            (&mut self.virtual_blocks, other.virtual_blocks),
            (&mut self.quarantine, other.quarantine),
        ] {
            mine.merge(theirs);
        }
        self.traced_blocks += other.traced_blocks;
        self.losses.merge(other.losses);
        self
    }
}

impl Visitor for HeapStatistics {
    fn only_counts(&self) -> bool {
        true
    }

    fn alike(&mut self, block: &Block, count: u64) -> Flow {
        let of = |bytes: u64| Count {
            blocks: count,
            bytes: bytes.wrapping_mul(count),
        };
        match block.state {
            State::Busy if !block.internal => {
                self.busy_blocks += count;
                self.busy_bytes = self
                    .busy_bytes
                    .saturating_add(block.size.saturating_mul(count));
                self.sizes.add_many(block.size, count);
                self.lfh_busy.merge(of(block.block_size));
                CONTINUE
            }
            State::Free => {
                self.lfh_free.merge(of(block.block_size));
                CONTINUE
            }
            _ => (0..count).try_for_each(|_| self.block(block)),
        }
    }

    // Inlined into the walk, which knows the kind and fills in no more of a block than is read here.
    #[inline(always)]
    fn block(&mut self, block: &Block) -> Flow {
        let slot = matches!(block.kind, Kind::Lfh | Kind::SegmentLfh);
        match block.state {
            State::Busy if block.internal => self.internal.add(block.block_size),
            State::Busy => {
                self.busy_blocks += 1;
                self.busy_bytes = self.busy_bytes.saturating_add(block.size);
                self.sizes.add(block.size);
                self.traced_blocks += u64::from(block.trace != Trace::None);
                if slot {
                    self.lfh_busy.add(block.block_size);
                } else if matches!(block.kind, Kind::Virtual | Kind::Large) {
                    self.virtual_blocks.add(block.block_size);
                }
            }
            State::Free if slot => self.lfh_free.add(block.block_size),
            State::Free => {
                self.free.add(block.block_size);
                self.largest_free = self.largest_free.max(block.block_size);
            }
            State::Freed => self.quarantine.add(block.size),
        }
        CONTINUE
    }

    fn span(&mut self, span: &Span) -> Flow {
        self.losses.span(span)
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.losses.finding(finding)
    }
}

/// Totals of these heaps, in their order.
#[must_use]
pub fn collect(heaps: &Heaps<'_, '_>) -> Vec<HeapStatistics> {
    heaps.walk_parallel(HeapStatistics::new, HeapStatistics::merge)
}

/// What the walks that these totals come from could not read.
#[must_use]
pub fn losses(statistics: &[HeapStatistics]) -> Losses {
    Losses::default().with(statistics.iter().map(|heap| &heap.losses))
}

/// Totals of the normal heap `handle` behind a page heap: the blocks with a light prefix.
#[must_use]
pub fn behind_page_heap(heaps: &Heaps<'_, '_>, handle: u64) -> Option<HeapStatistics> {
    heaps.iter().find_map(|heap| {
        match heap {
            Heap::Page(page) if page.normal_heap() == handle => {}
            _ => return None,
        }
        let mut totals = HeapStatistics::new(heap);
        // The first part is that of the full blocks.
        for part in heap.parts().skip(1) {
            let _ = heap.walk_part(part, &mut totals);
        }
        totals.handle = handle;
        Some(totals)
    })
}

/// Totals of these heaps and their blocks by the trace of the allocation, in one walk.
#[must_use]
pub fn collect_with_stacks(heaps: &Heaps<'_, '_>) -> (Vec<HeapStatistics>, Vec<Groups<Trace>>) {
    struct Both {
        totals: HeapStatistics,
        stacks: TraceCounts<Trace>,
    }
    impl Visitor for Both {
        #[inline(always)]
        fn block(&mut self, block: &Block) -> Flow {
            if block.is_user_block() {
                self.stacks.add(block.trace, block.size);
            }
            self.totals.block(block)
        }

        fn only_counts(&self) -> bool {
            true
        }

        fn alike(&mut self, block: &Block, count: u64) -> Flow {
            if block.is_user_block() {
                self.stacks.add_many(block.trace, block.size, count);
            }
            self.totals.alike(block, count)
        }

        fn span(&mut self, span: &Span) -> Flow {
            self.totals.span(span)
        }

        fn finding(&mut self, finding: Finding) -> Flow {
            self.totals.finding(finding)
        }
    }
    let new = |heap: &Heap<'_, '_>| Both {
        totals: HeapStatistics::new(heap),
        stacks: TraceCounts::default(),
    };
    let merge = |mut mine: Both, theirs: Both| {
        mine.stacks.merge(theirs.stacks);
        Both {
            totals: mine.totals.merge(theirs.totals),
            stacks: mine.stacks,
        }
    };
    let walked = heaps.walk_parallel(new, merge).into_iter();
    let parted = walked.map(|both| (both.totals, both.stacks.into_groups()));
    parted.unzip()
}

/// Counts the blocks that the program holds by a key of the caller's choice, per heap.
#[must_use]
pub fn collect_by<K: std::hash::Hash + Eq + Send>(
    heaps: &Heaps<'_, '_>,
    key: impl Fn(&Block) -> K + Sync,
) -> Vec<Groups<K>> {
    struct Counter<'k, K, F> {
        groups: Groups<K>,
        key: &'k F,
    }
    impl<K: std::hash::Hash + Eq, F: Fn(&Block) -> K> Visitor for Counter<'_, K, F> {
        fn block(&mut self, block: &Block) -> Flow {
            if block.is_user_block() {
                self.groups.add((self.key)(block), block.size);
            }
            CONTINUE
        }
    }
    fn join<'k, K: std::hash::Hash + Eq, F>(
        mut mine: Counter<'k, K, F>,
        theirs: Counter<'k, K, F>,
    ) -> Counter<'k, K, F> {
        mine.groups.merge(theirs.groups);
        mine
    }
    let new = |_: &Heap<'_, '_>| Counter {
        groups: Groups::default(),
        key: &key,
    };
    let counters = heaps.walk_parallel(new, join).into_iter();
    counters.map(|counter| counter.groups).collect()
}
