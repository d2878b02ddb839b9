//! How many blocks of which size, and what they leave unused.

use std::fmt::{self, Write};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, State, Visitor},
    heap::{
        Heap,
        nt::{NtHeap, Piece, RawEntry},
    },
};

/// Rows of the histogram; what is larger counts in the last one.
const BUCKETS: usize = 512;
/// Blocks in the LFH have at most so many units.
const LFH_SIZES: usize = 1 << 12;

/// Slots of one size.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Slots {
    pub(super) blocks: u64,
    pub(super) containers: u64,
    pub(super) empty: u64,
}

/// Counts of a row.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    busy: u64,
    free: u64,
    front_busy: u64,
    front_free: u64,
    unused: u64,
}

pub(super) struct Histogram<'h, 'p, 'a> {
    heap: &'h NtHeap<'p, 'a>,
    bucket: u64,
    unit: u64,
    rows: Vec<Counts>,
    pub(super) slots: Vec<Slots>,
    /// Container that the walk is in, whether a slot of it was busy, and its slots' units.
    container: Option<(u64, bool, usize)>,
    /// The entry that the walk met last outside the LFH.
    entry: u64,
}

impl<'h, 'p, 'a> Histogram<'h, 'p, 'a> {
    pub(super) fn of(opened: &Heap<'_, '_>, heap: &'h NtHeap<'p, 'a>, bucket: u64) -> Self {
        let mut histogram = Histogram {
            heap,
            bucket,
            unit: heap.unit(),
            rows: vec![Counts::default(); BUCKETS],
            slots: vec![Slots::default(); LFH_SIZES],
            container: None,
            entry: 0,
        };
        // XP's header is an entry in front of its first segment, which has one of its own.
        if heap.is_xp()
            && let Some(header) = heap.raw_entry_at(heap.handle())
        {
            histogram.count(&header);
        }
        for segment in &heap.segments {
            // The visitor never fails.
            let _ = heap.pieces::<std::convert::Infallible>(segment, &mut |piece| {
                if let Piece::Entry(entry) = piece {
                    histogram.count(&entry);
                }
                Ok(())
            });
        }
        histogram.rows[BUCKETS - 1].busy += heap.virtual_blocks.len() as u64;
        let _ = opened.walk(&mut histogram);
        histogram.finish_container();
        histogram
    }

    fn row(&mut self, size: u64) -> &mut Counts {
        let index = (size / self.bucket).min(BUCKETS as u64 - 1);
        &mut self.rows[index as usize]
    }

    fn count(&mut self, entry: &RawEntry) {
        let row = self.row(entry.size);
        if entry.is_busy() {
            row.busy += 1;
            row.unused += entry.unused;
        } else {
            row.free += 1;
        }
    }

    /// Takes back a busy entry that is the front end's: one that holds slots or was cached.
    fn leave_out(&mut self, entry: u64) {
        if let Some(entry) = self.heap.raw_entry_at(entry) {
            let row = self.row(entry.size);
            row.busy = row.busy.saturating_sub(1);
            row.unused = row.unused.saturating_sub(entry.unused);
        }
    }

    fn finish_container(&mut self) {
        if let Some((_, any_busy, units)) = self.container.take() {
            self.slots[units].empty += u64::from(!any_busy);
        }
    }

    pub(super) fn write(&self, out: &mut dyn Write) -> fmt::Result {
        const RULE: &str = "------------------------------------------------------------------ ";
        writeln!(
            out,
            "\n                    Default heap   Front heap       Unused bytes\n   Range \
             (bytes)     Busy  Free    Busy   Free     Total  Average \n{RULE}"
        )?;
        let mut total = Counts::default();
        for (index, row) in self.rows.iter().enumerate() {
            if row.busy + row.free + row.front_busy + row.front_free == 0 {
                continue;
            }
            // A bucket as large as the user likes.
            let from = (index as u64).saturating_mul(self.bucket);
            write!(out, "{from:6} - {:6}", from.saturating_add(self.bucket))?;
            counts(row, out)?;
            total.busy += row.busy;
            total.free += row.free;
            total.front_busy += row.front_busy;
            total.front_free += row.front_free;
            total.unused += row.unused;
        }
        write!(out, "{RULE}\n  Total        ")?;
        counts(&total, out)
    }
}

fn counts(row: &Counts, out: &mut dyn Write) -> fmt::Result {
    let average = row
        .unused
        .checked_div(row.busy + row.front_busy)
        .unwrap_or(0);
    writeln!(
        out,
        "{:9}{:7}{:7}{:7}{:11}{average:7}",
        row.busy, row.free, row.front_busy, row.front_free, row.unused
    )
}

impl Visitor for Histogram<'_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        match block.kind {
            Kind::Lfh => {}
            Kind::Lookaside => {
                self.leave_out(block.entry);
                // The header of a cached block counts as unused.
                let unit = self.unit;
                let row = self.row(block.block_size);
                row.front_free += 1;
                row.unused += unit;
                return CONTINUE;
            }
            _ => {
                self.entry = block.entry;
                return CONTINUE;
            }
        }
        let busy = block.state == State::Busy;
        let row = self.row(block.block_size);
        if busy {
            row.front_busy += 1;
            row.unused += block.block_size.saturating_sub(block.size);
        } else {
            row.front_free += 1;
        }
        let units = (block.block_size / self.unit) as usize;
        let units = units.min(LFH_SIZES - 1);
        match &mut self.container {
            Some((container, any_busy, _)) if *container == block.container => *any_busy |= busy,
            _ => {
                self.finish_container();
                self.leave_out(self.entry);
                self.container = Some((block.container, busy, units));
                self.slots[units].containers += 1;
            }
        }
        self.slots[units].blocks += 1;
        CONTINUE
    }
}
