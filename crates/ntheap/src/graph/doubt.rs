//! What the dump does not show of who holds what.

use std::fmt;

use super::{Area, GraphData, Index, RootKind};
use crate::{address_space::AddressSpace, layout::Bitness, process::Process};

/// Modules whose pointers are compressed, encoded or kept where no marker looks, by the beginning of
/// their file names.
const OPAQUE: [(&str, &str); 14] = [
    ("chrome", "compressed pointers"),
    ("msedge", "compressed pointers"),
    ("libcef", "compressed pointers"),
    ("electron", "compressed pointers"),
    ("node.", "compressed pointers"),
    ("v8", "compressed pointers"),
    ("xul.", "tagged values"),
    ("mozjs", "tagged values"),
    ("jscript9", "tagged values"),
    ("chakra", "tagged values"),
    ("jvm.", "compressed pointers"),
    ("coreclr", "handles of a collector"),
    ("clr.", "handles of a collector"),
    ("mono-2.0", "handles of a collector"),
];

/// What could make a lost block a held one, and the other way round.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Doubt {
    /// Bytes of roots that are not in the dump.
    pub unread_roots: u64,
    /// Bytes of blocks that are not in the dump: their pointers are not known.
    pub unread_blocks: u64,
    /// Bytes of heaps that are not in the dump: there may be blocks, and pointers in them.
    pub unread_heaps: u64,
    /// Bytes of heaps in which no blocks could be proved. Every word there is taken for a root.
    pub damaged: u64,
    /// Things of the heaps that were found broken and may have cost blocks.
    pub losses: u64,
    /// Whether parts of the file, of the process's lists or of the heaps could not be read or proved.
    pub incomplete: bool,
    /// Whether the dump says which memory the process has. If not, what it holds is all there is to
    /// look at, and all of it is taken for writable.
    pub described: bool,
    /// Threads of the dump.
    pub threads: usize,
    /// Threads without registers: their whole stacks are roots, but what a register alone led to
    /// is not known.
    pub without_context: usize,
    /// Blocks that were left out because another begins at the same place.
    pub conflicts: u64,
    /// Pointers that chance may have made, judged by the words that point between blocks.
    pub chance_hits: f64,
    /// Whether addresses are so few that chance matters.
    pub narrow: bool,
    /// Modules that keep pointers in forms that no marker knows, with the form.
    pub opaque_modules: Vec<(String, &'static str)>,
}

/// How much of the blocks the dump holds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    /// Bytes of all blocks.
    bytes: u64,
    /// Those of them that are not in the dump.
    unread: u64,
}

impl Held {
    pub(super) fn of(memory: &AddressSpace<'_>, index: &Index) -> Self {
        let (ranges, mut range, mut blocks) = (memory.ranges(), 0, Held::default());
        for (address, size) in index.blocks() {
            blocks.bytes = blocks.bytes.saturating_add(size);
            while ranges
                .get(range)
                .is_some_and(|range| range.end() <= address)
            {
                range += 1;
            }
            let end = address.saturating_add(size);
            let held = ranges
                .get(range)
                .is_some_and(|r| r.start <= address && end <= r.end());
            if !held {
                blocks.unread = blocks.unread.saturating_add(memory.missing(address, size));
            }
        }
        blocks
    }
}

impl Doubt {
    /// `unread` are the bytes of heaps that walks could not read, and all of theirs that the dump does
    /// not hold.
    pub(super) fn of(
        process: &Process<'_, '_>,
        graph: &GraphData,
        blocks: &Held,
        unread: (u64, u64),
        described: bool,
    ) -> Self {
        let memory = process.memory();
        let whole = |area: &&Area| area.kind != RootKind::Register;
        let mut doubt = Doubt {
            losses: graph.losses.lossy_findings(),
            incomplete: !graph.losses.complete(),
            described,
            threads: process.dump.threads.len(),
            without_context: graph.threads.without_context,
            conflicts: graph.index.conflicts(),
            narrow: process.bitness == Bitness::X86,
            ..Doubt::default()
        };
        for area in graph.areas.iter().filter(whole) {
            let size = area.end - area.start;
            doubt.unread_roots += memory.missing(area.start, size);
            if area.kind == RootKind::Damaged {
                doubt.damaged = doubt.damaged.saturating_add(size);
            }
        }
        doubt.unread_blocks = blocks.unread;
        // Where what is missing tells how to go on, no walk comes to know how much is.
        let elsewhere = unread.1.saturating_sub(doubt.unread_blocks);
        doubt.unread_heaps = unread.0.max(elsewhere);
        let (low, high) = graph.index.span();
        let idle = (high - low).saturating_sub(blocks.bytes).max(1);
        doubt.chance_hits = graph.counts.near_misses as f64 * blocks.bytes as f64 / idle as f64;
        doubt.opaque_modules = opaque(process);
        doubt
    }

    /// Bytes that may hold pointers and are not in the dump.
    #[must_use]
    pub fn unseen(&self) -> u64 {
        let heaps = self.unread_heaps.saturating_add(self.unread_blocks);
        self.unread_roots.saturating_add(heaps)
    }

    /// Whether what is called lost may be held by something that was not seen.
    #[must_use]
    pub fn may_accuse_falsely(&self) -> bool {
        self.unseen() > 0
            || self.losses > 0
            || self.incomplete
            || !self.described
            || self.threads == 0
            || self.without_context > 0
    }
}

fn opaque(process: &Process<'_, '_>) -> Vec<(String, &'static str)> {
    let mut found: Vec<(String, &'static str)> = Vec::new();
    for module in &process.dump.modules {
        let name = module.file_name().to_ascii_lowercase();
        let form = OPAQUE.iter().find(|(start, _)| name.starts_with(start));
        if let Some(&(_, form)) = form
            && !found.iter().any(|known| known.0 == module.file_name())
        {
            found.push((module.file_name().to_owned(), form));
        }
    }
    found
}

/// A number of things.
fn counted(number: u64, thing: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{number} {thing}{plural}")
}

impl fmt::Display for Doubt {
    /// One sentence a line; nothing where there is no doubt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = |text: String| writeln!(f, "{text}");
        if self.unseen() > 0 {
            line(format!(
                "{} that may hold pointers {} not in the dump ({} of roots, {} of blocks, {} of heaps): what is called lost may be held there",
                counted(self.unseen(), "byte"),
                if self.unseen() == 1 { "is" } else { "are" },
                self.unread_roots,
                self.unread_blocks,
                self.unread_heaps
            ))?;
        }
        if !self.described {
            line("the dump does not say which memory the process has: all that it holds outside the heaps is taken for writable, and what it lacks is not known".to_owned())?;
        }
        if self.losses > 0 {
            line(format!(
                "the heaps are damaged or incomplete in {}: blocks may be missing, and pointers in them; {} without provable blocks taken for roots",
                counted(self.losses, "place"),
                match self.damaged {
                    1 => "1 byte is".to_owned(),
                    bytes => format!("{bytes} bytes are"),
                }
            ))?;
        } else if self.incomplete && self.unseen() == 0 {
            line("parts of the file, of the process's lists or of the heaps could not be read: pointers may lie there".to_owned())?;
        }
        if self.threads == 0 {
            line("no thread is in the dump: whole stacks are taken for roots, and no register is known".to_owned())?;
        } else if self.without_context > 0 {
            line(format!(
                "{} of {} no registers in the dump: whole stacks are taken for roots, and what a register alone led to is not known",
                self.without_context,
                match self.threads {
                    1 => "1 thread has".to_owned(),
                    threads => format!("{threads} threads have"),
                }
            ))?;
        }
        if self.conflicts > 0 {
            line(format!(
                "{} where others do, left out",
                match self.conflicts {
                    1 => "1 block that begins".to_owned(),
                    blocks => format!("{blocks} blocks that begin"),
                }
            ))?;
        }
        if self.narrow && self.chance_hits >= 0.5 {
            line(format!(
                "32-bit addresses: about {:.0} pointers may be numbers that look like addresses and hide as many lost blocks",
                self.chance_hits
            ))?;
        }
        for (module, form) in &self.opaque_modules {
            line(format!("{module} is loaded: its {form} are not followed"))?;
        }
        Ok(())
    }
}
