//! Page heap, full and light: verifier.dll's of Vista and later, ntdll's own of XP.
//!
//! * [`Root`]: what page heap keeps of the whole heap;
//! * [`PageBlock`]: blocks with pages of their own, from a tree (busy) and a queue (freed);
//! * [`BlockInformation`]: what lies in front of the program's data;
//! * `light`: blocks of the normal heap behind the page heap.
//!
//! ```no_run
//! use ntheap::{dump::{Dump, DumpFile}, heap::{Heap, Heaps}, process::Process};
//!
//! # fn main() -> Result<(), ntheap::Error> {
//! let file = DumpFile::open("app.dmp".as_ref())?;
//! let dump = Dump::parse(file.bytes())?;
//! let process = Process::of(&dump)?;
//! for heap in &Heaps::of(&process) {
//!     if let Heap::Page(heap) = heap
//!         && let Some(block) = heap.block_at(0x1d3f_ffe0)
//!     {
//!         println!("DPH_HEAP_BLOCK {:x}, freed: {}", block.node, block.has_freeing_trace());
//!     }
//! }
//! # Ok(())
//! # }
//! ```

mod information;
mod light;
mod nodes;
mod root;
mod search;

pub use information::{BlockInformation, Stamp};
pub use nodes::PageBlock;
pub use root::Root;
pub(crate) use search::informations;

use super::{Heap, LockState};
use crate::{
    address_space::AddressSpace,
    blocks::{CONTINUE, Finding, FindingKind, Flow, State, Trace, Visitor},
    layout::Layouts,
    process::{HeapKind, HeapRef, Process},
};
use information::information_size;
use light::LightVisitor;
use nodes::Nodes;

/// What page heap fills the bytes between a full block and the end of its page with.
const FULL_SUFFIX: u8 = 0xd0;

/// A page heap with its root read and its full blocks listed.
#[derive(Debug)]
pub struct PageHeap<'p, 'a> {
    memory: &'p AddressSpace<'a>,
    layouts: &'p Layouts,
    /// The entry of the process's heap list.
    pub reference: HeapRef,
    /// The page heap's root.
    pub root: Root,
    /// The full blocks that are in use, by ascending address (XP: in the order of its list).
    pub busy: Vec<PageBlock>,
    /// The full blocks that were freed and are still kept, those freed first in front.
    pub freed: Vec<PageBlock>,
    /// The heap behind this one, which holds the light blocks.
    normal: Option<Box<Heap<'p, 'a>>>,
    findings: Vec<Finding>,
}

/// The trace that a field of a page heap structure points to.
fn trace_at(field: Option<u64>, xp: bool) -> Trace {
    match field {
        None | Some(0) => Trace::None,
        Some(address) if xp => Trace::TraceBlock(address),
        Some(address) => Trace::Entry(address),
    }
}

impl<'p, 'a> PageHeap<'p, 'a> {
    /// Reads the root and the records of all full blocks. What is broken is reported by the walk.
    #[must_use]
    pub fn open(process: &'p Process<'_, 'a>, reference: &HeapRef) -> Self {
        let memory = process.memory();
        let layouts = &process.layouts;
        let mut root = Root::read(memory, layouts, reference.handle);
        let lost = process
            .lost_roots
            .iter()
            .find(|root| root.handle == reference.handle);
        if let Some(lost) = lost {
            root.normal_heap = lost.normal.unwrap_or(0);
        }
        let mut nodes = Nodes::new(process, root);
        let (busy, freed) = (nodes.busy(), nodes.freed());
        let problems = nodes.problems;
        let normal = process
            .normal_heaps
            .iter()
            .find(|heap| heap.handle == root.normal_heap && heap.kind != HeapKind::PageHeap)
            .map(|heap| Box::new(Heap::open(process, heap)));
        let mut heap = PageHeap {
            memory,
            layouts,
            reference: *reference,
            root,
            busy,
            freed,
            normal,
            findings: Vec::new(),
        };
        for (address, kind) in problems {
            heap.findings.push(heap.finding(address, 0, kind));
        }
        let counted = heap.root.busy_blocks == heap.busy.len() as u64;
        if process.may_search() && (lost.is_some() || !counted || !heap.findings.is_empty()) {
            heap.search_blocks();
        }
        if lost.is_none() {
            heap.check_counts();
        }
        heap
    }

    /// Compares the root's counts with what was found.
    fn check_counts(&mut self) {
        // The count of the later builds includes light blocks, which are not known yet.
        let freed = self.root.freed_blocks.filter(|_| self.root.xp);
        let checks = [
            (
                "busy page heap blocks",
                Some(self.root.busy_blocks),
                self.busy.len(),
            ),
            ("freed page heap blocks", freed, self.freed.len()),
        ];
        for (total, recorded, found) in checks {
            let found = found as u64;
            // What is not in the dump can't be counted.
            let absent =
                |finding: &Finding| matches!(finding.kind, FindingKind::MissingStructure { .. });
            if self.findings.iter().any(absent) {
                continue;
            }
            if let Some(recorded) = recorded.filter(|&recorded| recorded != found) {
                let kind = FindingKind::Totals {
                    total,
                    recorded,
                    found,
                };
                self.findings.push(self.finding(self.root.address, 0, kind));
            }
        }
        if self.normal.is_none() {
            let structure = "_HEAP of the normal heap";
            let kind = FindingKind::MissingStructure { structure };
            self.findings
                .push(self.finding(self.root.normal_heap, 0, kind));
        }
    }

    /// Handle of the page heap.
    #[must_use]
    pub fn handle(&self) -> u64 {
        self.reference.handle
    }

    /// Handle of the normal heap behind this one.
    #[must_use]
    pub fn normal_heap(&self) -> u64 {
        self.root.normal_heap
    }

    /// The normal heap behind this one, whose light blocks the walk of this heap reports.
    #[must_use]
    pub fn normal(&self) -> Option<&Heap<'p, 'a>> {
        self.normal.as_deref()
    }

    /// Who holds the page heap's critical section.
    #[must_use]
    pub fn lock_state(&self) -> Option<LockState> {
        LockState::read(self.memory, self.layouts, self.root.lock)
    }

    /// What was found broken while the heap was opened.
    #[must_use]
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The full blocks, busy and freed.
    pub fn blocks(&self) -> impl Iterator<Item = &PageBlock> {
        self.busy.iter().chain(&self.freed)
    }

    /// The full block that has `address` in its pages, be it busy or freed. Pages of a freed block
    /// may have been given to a busy one since.
    #[must_use]
    pub fn block_at(&self, address: u64) -> Option<&PageBlock> {
        self.blocks()
            .find(|block| (block.virtual_block..block.end()).contains(&address))
    }

    /// The information in front of the data at `address`: of a light block, or of a full one whose
    /// pages are in the dump.
    #[must_use]
    pub fn information(&self, address: u64) -> Option<BlockInformation> {
        let at = address.checked_sub(information_size(self.layouts))?;
        BlockInformation::read(self.memory, self.layouts, at)
    }

    /// One part for the full blocks, then those of the normal heap.
    pub(super) fn parts(&self) -> usize {
        1 + self.normal.as_ref().map_or(0, |heap| heap.parts().count())
    }

    /// The memory that it lies in.
    pub(super) fn memory(&self) -> &'p AddressSpace<'a> {
        self.memory
    }

    pub(super) fn walk_part(&self, part: usize, visitor: &mut dyn Visitor) -> Flow {
        if let Some(part) = part.checked_sub(1) {
            let Some(normal) = &self.normal else {
                return CONTINUE;
            };
            let mut visitor = LightVisitor {
                heap: self,
                visitor,
            };
            return normal.walk_part(super::Part(part), &mut visitor);
        }
        for block in self.blocks() {
            if let Some(part) = self.damage(block) {
                let kind = FindingKind::PageHeapDamage { part };
                visitor.finding(self.finding(block.address, 0, kind))?;
            }
            visitor.block(&block.block(self.handle()))?;
        }
        self.findings
            .iter()
            .cloned()
            .try_for_each(|finding| visitor.finding(finding))
    }

    fn finding(&self, address: u64, bytes: u64, kind: FindingKind) -> Finding {
        Finding {
            heap: self.handle(),
            address,
            bytes,
            kind,
        }
    }

    /// What of page heap's bytes around a busy full block is not as page heap wrote it. Pages of
    /// freed blocks can't be accessed, so nothing can be said of them.
    fn damage(&self, block: &PageBlock) -> Option<&'static str> {
        if block.state != State::Busy || !block.certainty.is_certain() {
            return None;
        }
        // Without an information in front the block begins its page: the guard page is in front.
        if block.address > block.virtual_block
            && let Some(at) = block.address.checked_sub(information_size(self.layouts))
            && self.memory.readable(at, information_size(self.layouts))
                == information_size(self.layouts)
        {
            let sound =
                BlockInformation::read(self.memory, self.layouts, at).is_some_and(|found| {
                    found.intact
                        && found.stamp.full
                        && found.stamp.state == State::Busy
                        && found.root == self.root.address
                        && found.requested == block.requested
                });
            if !sound {
                return Some("the information in front of its data");
            }
        }
        let end = block.address.saturating_add(block.requested);
        let slack = block
            .virtual_block
            .saturating_add(block.accessible())
            .saturating_sub(end);
        // More than alignment adds is no suffix: the block was put at the start of its pages.
        let is_suffix = slack < self.layouts.bitness.unit();
        (is_suffix && !self.holds_fill(end, FULL_SUFFIX, slack))
            .then_some("the fill behind its data")
    }

    /// Whether the bytes at `address`, as far as they are in the dump, have the value `fill`.
    fn holds_fill(&self, address: u64, fill: u8, size: u64) -> bool {
        let size = self
            .memory
            .readable(address, size.min(self.layouts.bitness.unit()));
        self.memory
            .slice(address, size)
            .is_none_or(|bytes| bytes.iter().all(|&byte| byte == fill))
    }
}
