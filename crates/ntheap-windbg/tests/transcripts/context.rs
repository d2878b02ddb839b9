//! What a correction may look at: the command, the process, what a walk of its heaps finds, and our
//! output.

use std::{
    cell::{OnceCell, RefCell},
    collections::BTreeSet,
};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    heap::{
        Heap, Heaps,
        nt::{NtHeap, RawEntry},
    },
    names::NameSource,
    process::{HeapKind, Process},
};
use ntheap_windbg::{CommandError, Session};

use crate::{
    corrections::correct,
    lines::{Lines, Ours, hex, key, split},
    lists::without_chain,
    transcript::{Transcript, Typed},
};

/// `FLG_USER_STACK_TRACE_DB`.
const TRACES: u32 = 0x1000;

/// A dump, walked once for all commands.
pub(crate) struct Model<'c, 'a> {
    pub(crate) heaps: &'c Heaps<'c, 'a>,
    pub(crate) transcript: &'c Transcript,
    pub(crate) session: RefCell<Session<'c, 'a>>,
    walks: OnceCell<Vec<Walk>>,
}

impl<'c, 'a> Model<'c, 'a> {
    pub(crate) fn new(
        heaps: &'c Heaps<'c, 'a>,
        names: &'c dyn NameSource,
        transcript: &'c Transcript,
    ) -> Self {
        Model {
            heaps,
            transcript,
            session: RefCell::new(Session::new(heaps, names)),
            walks: OnceCell::new(),
        }
    }

    /// The NT heaps of the process, those behind page heaps included.
    pub(crate) fn nt_heaps(&self) -> impl Iterator<Item = &'c NtHeap<'c, 'a>> {
        let all = self.heaps.iter().chain(self.heaps.normal());
        all.filter_map(|heap| match heap {
            Heap::Nt(heap) => Some(&**heap),
            _ => None,
        })
    }

    /// The walks of all heaps, in the order of the process.
    pub(crate) fn walks(&self) -> &[Walk] {
        self.walks
            .get_or_init(|| self.heaps.iter().map(Walk::of).collect())
    }
}

/// One command over one dump.
pub(crate) struct Context<'c, 'a> {
    pub(crate) model: &'c Model<'c, 'a>,
    pub(crate) process: &'c Process<'c, 'a>,
    pub(crate) command: &'c Typed,
    /// What was typed, by the name that both extensions' commands have here.
    pub(crate) typed: String,
    /// Whether the extension is that of 2023.
    pub(crate) newer: bool,
    pub(crate) ours: Ours,
    /// The classes of what was corrected.
    pub(crate) used: RefCell<BTreeSet<&'static str>>,
}

impl<'c, 'a> Context<'c, 'a> {
    /// The context of a command, which is carried out.
    pub(crate) fn new(model: &'c Model<'c, 'a>, command: &'c Typed) -> Self {
        Self::of(model, command, command.typed())
    }

    /// The context of another command, whose output was printed in place of that of this one.
    pub(crate) fn of(model: &'c Model<'c, 'a>, command: &'c Typed, typed: String) -> Self {
        let mut ours = String::new();
        let result = model.session.borrow_mut().execute(&typed, &mut ours).result;
        if let Err(error @ (CommandError::Unknown { .. } | CommandError::Unavailable { .. })) =
            result
        {
            ours = error.to_string();
        }
        Context {
            model,
            process: model.heaps.process(),
            command,
            newer: command.newer,
            ours: Ours::new(without_chain(&typed, split(&ours))),
            typed,
            used: RefCell::default(),
        }
    }

    pub(crate) fn is(&self, start: &str) -> bool {
        self.typed.starts_with(start)
    }

    /// The dump and the command.
    pub(crate) fn label(&self) -> String {
        format!("{}: {}", self.model.transcript.label, self.command.typed)
    }

    /// Puts our output in place of theirs, if theirs is proved to be what an error makes of it.
    pub(crate) fn instead(&self, theirs: &mut Lines, proved: bool) -> bool {
        if proved {
            theirs.clone_from(&self.ours.lines);
        }
        proved
    }

    /// Whether lines are what another command prints, or proved to be.
    pub(crate) fn is_proved_for(&self, typed: String, mut lines: Lines) -> bool {
        let context = Context::of(self.model, self.command, typed);
        let same = correct(&context, &mut lines);
        if same {
            self.used.borrow_mut().extend(context.used.take());
        }
        same
    }

    /// Whether a row is the one that `-x` prints of an entry, or proved to be.
    pub(crate) fn is_row_of(&self, entry: u64, row: &str) -> Option<bool> {
        let typed = format!("!heap -x {entry:x}");
        let mut lines = Context::of(self.model, self.command, typed.clone())
            .ours
            .lines;
        let right = lines
            .iter_mut()
            .find(|line| hex(key(line)) == Some(entry))?;
        row.clone_into(right);
        Some(self.is_proved_for(typed, lines))
    }

    pub(crate) fn is_xp(&self) -> bool {
        self.process.layouts.heap.encoding.is_none()
    }

    pub(crate) fn has_traces(&self) -> bool {
        self.process.nt_global_flag.unwrap_or(0) & TRACES != 0
    }

    pub(crate) fn has_segment_heaps(&self) -> bool {
        let mut heaps = self.process.heaps.iter();
        heaps.any(|heap| heap.kind == HeapKind::Segment)
    }

    pub(crate) fn is_segment_heap(&self, handle: u64) -> bool {
        let mut heaps = self.process.heaps.iter();
        heaps.any(|heap| heap.handle == handle && heap.kind == HeapKind::Segment)
    }

    /// Digits of a pointer.
    pub(crate) fn digits(&self) -> usize {
        2 * self.process.bitness.pointer_size() as usize
    }

    pub(crate) fn unit(&self) -> u64 {
        self.process.bitness.unit()
    }

    pub(crate) fn nt(&self, handle: u64) -> Option<&'c NtHeap<'c, 'a>> {
        self.model.nt_heaps().find(|heap| heap.handle() == handle)
    }

    /// The header of the entry at an address in a segment, and its heap.
    pub(crate) fn raw(&self, at: u64) -> Option<(&'c NtHeap<'c, 'a>, RawEntry)> {
        let heap = self.model.nt_heaps().find(|heap| {
            let mut segments = heap.segments.iter();
            segments.any(|s| (s.base..s.base + s.reserved).contains(&at))
        })?;
        Some((heap, heap.raw_entry_at(at)?))
    }

    /// The block whose entry is at an address.
    pub(crate) fn block(&self, entry: u64) -> Option<&'c Block> {
        let blocks = self.model.heaps.index().blocks();
        let first = blocks.partition_point(|block| block.extent().0 < entry);
        let mut here = blocks[first..]
            .iter()
            .take_while(|block| block.extent().0 <= entry);
        here.find(|block| block.entry == entry)
    }

    /// The innermost block that holds an address.
    pub(crate) fn block_at(&self, address: u64) -> Option<&'c Block> {
        self.model.heaps.index().at(address)
    }

    /// The walk of the heap with this handle, or of the page heap that has it as its normal heap.
    pub(crate) fn walk(&self, handle: u64) -> Option<&'c Walk> {
        let mut walks = self.model.walks().iter();
        walks.find(|walk| walk.nt_handle == Some(handle) || walk.handle == handle)
    }
}

/// The blocks of a heap, and what of them the 2015 extension is bound to miss.
///
/// It steps through an LFH container while a slot ends before its container's block does, instead of
/// counting slots. So it misses a slot that ends exactly there, and where more than a whole slot is
/// left behind the last one it reads a header that is none, which ends the list of the heap.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) handle: u64,
    /// Of an NT heap and of the normal heap of a page heap.
    pub(crate) nt_handle: Option<u64>,
    pub(crate) front_end: u64,
    /// The blocks in the order of the walk.
    pub(crate) blocks: Vec<Block>,
    /// Entries of slots that end where their container does.
    pub(crate) ends: BTreeSet<u64>,
    /// How many blocks are listed till the first container with room for one more slot ends the list.
    pub(crate) stop: Option<usize>,
    /// How many blocks come before the first with a light prefix.
    pub(crate) light: Option<usize>,
    /// The container that the walk is in, and its last slot.
    container: Option<Block>,
    last: Option<Block>,
}

impl Walk {
    fn of(opened: &Heap<'_, '_>) -> Self {
        let mut walk = Walk {
            handle: opened.handle(),
            nt_handle: opened.nt().map(NtHeap::handle),
            front_end: opened.nt().map_or(0, |heap| heap.header.front_end.address),
            ..Walk::default()
        };
        let _ = opened.walk(&mut walk);
        walk.end_container();
        let mut blocks = walk.blocks.iter();
        walk.light = blocks.position(|block| block.kind == Kind::PageLight);
        walk
    }

    /// Where in the order of the walk a block is.
    pub(crate) fn position(&self, entry: u64) -> Option<usize> {
        self.blocks.iter().position(|block| block.entry == entry)
    }

    fn end_container(&mut self) {
        if let (Some(container), Some(last)) = (self.container.take(), self.last.take()) {
            let end = container.entry + container.block_size;
            let slots_end = last.entry + last.block_size;
            if slots_end == end {
                self.ends.insert(last.entry);
            }
            if end.saturating_sub(slots_end) > last.block_size {
                self.stop.get_or_insert(self.blocks.len());
            }
        }
    }
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.kind == Kind::Lfh {
            self.last = Some(*block);
        } else {
            self.end_container();
            self.container = Some(*block);
        }
        self.blocks.push(*block);
        CONTINUE
    }
}
