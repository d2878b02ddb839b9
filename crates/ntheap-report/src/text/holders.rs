//! Who holds a block, in words: variables by name, stacks by thread and frame, blocks by type and
//! offset.

use std::{
    fmt::{self, Write},
    sync::Arc,
};

use ntheap::{
    dump::RegionState,
    graph::{Graph, Holder, Link, Place, RootKind, TypeOf},
    names::{Name, NameSource, part_of_object, part_of_variable},
    printable::printable,
    process::Process,
    usage::Owner,
};

/// Describes holders.
pub struct Holders<'h, 'p, 'a> {
    /// The graph.
    pub graph: &'h Graph<'p, 'a>,
    /// Names of variables and functions.
    pub names: &'h dyn NameSource,
    /// Types of blocks.
    pub type_of: TypeOf<'h>,
}

impl fmt::Debug for Holders<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Holders").finish_non_exhaustive()
    }
}

impl Holders<'_, '_, '_> {
    /// The type of a block, where it is known.
    #[must_use]
    pub fn type_name(&self, block: u32) -> Option<Arc<str>> {
        (self.type_of)(self.graph.index().block(block).0)
    }

    /// A block by address, type and size.
    #[must_use]
    pub fn block(&self, block: u32) -> String {
        let (address, size) = self.graph.index().block(block);
        match self.type_name(block) {
            Some(name) => format!("{address:x} {name} ({size:#x} bytes)"),
            None => format!("{address:x} ({size:#x} bytes)"),
        }
    }

    /// A block by type, or by address and size.
    #[must_use]
    pub fn short(&self, block: u32) -> String {
        match self.type_name(block) {
            Some(name) => name.to_string(),
            None => self.block(block),
        }
    }

    /// The field of a block or a variable in which a pointer lies, where a PDB describes it.
    #[must_use]
    pub fn field(&self, link: &Link) -> Option<String> {
        let process = self.graph.process();
        let part = match (link.holder, link.place) {
            (Holder::Block(block), _) => {
                let (address, _) = self.graph.index().block(block);
                let class = self.type_name(block)?;
                let of = (process.dump, process.bitness);
                part_of_object(self.names, of, (&class, address), link.at?)
            }
            (Holder::Root(area), Place::Memory(at)) => {
                let area = &self.graph.areas()[area];
                matches!(area.owner, Owner::Image(_)).then_some(())?;
                part_of_variable(self.names, process.dump, at)
            }
            (Holder::Root(_), Place::Register(_)) => None,
        };
        part.map(|part| part.path).filter(|path| !path.is_empty())
    }

    /// That field behind a place, in brackets.
    fn bracketed(&self, link: &Link) -> String {
        let field = self.field(link);
        field.map_or_else(String::new, |field| format!(" ({})", printable(&field)))
    }

    /// Where a pointer lies: `depot!g_state+0x8 (queue)`, `depot::Service+0x10 (listeners) at
    /// 21ab6d00100`.
    #[must_use]
    pub fn place(&self, link: &Link) -> String {
        match link.holder {
            Holder::Root(area) => self.root(area, link.place) + &self.bracketed(link),
            Holder::Block(block) => {
                let (address, _) = self.graph.index().block(block);
                let at = link.at.unwrap_or(0);
                match self.type_name(block) {
                    Some(name) => format!("{name}+{at:#x}{} at {address:x}", self.bracketed(link)),
                    None => format!("{address:x}+{at:#x}"),
                }
            }
        }
    }

    fn root(&self, area: usize, place: Place) -> String {
        let area = &self.graph.areas()[area];
        let at = match place {
            Place::Register(name) => {
                let thread = match area.owner {
                    Owner::Stack(thread) => thread,
                    _ => 0,
                };
                return format!("register {name} of thread {thread:x}");
            }
            Place::Memory(at) => at,
        };
        let process = self.graph.process();
        match (area.owner, area.kind) {
            (Owner::Image(_), _) => self.variable(at),
            (Owner::Stack(thread), _) => self.stack(thread, at),
            (Owner::Teb(thread), _) => format!("TEB of thread {thread:x} at {at:x}"),
            (Owner::Peb, _) => format!("process environment at {at:x}"),
            (Owner::Heap(heap), RootKind::FrontEnd) => format!("front end of heap {heap:x}"),
            (_, RootKind::Damaged) => format!("damaged memory of a heap at {at:x}"),
            (owner, _) => format!("{} at {at:x}", owner.describe(process.dump)),
        }
    }

    fn variable(&self, at: u64) -> String {
        let process = self.graph.process();
        match (self.names.name(at), process.dump.module_at(at)) {
            (Some(name), _) => name.to_string(),
            (None, Some(module)) => Name {
                module: module.name().to_owned(),
                displacement: at - module.base,
                ..Name::default()
            }
            .to_string(),
            (None, None) => format!("image at {at:x}"),
        }
    }

    fn stack(&self, thread: u32, at: u64) -> String {
        let frame = caller(self.graph.process(), at).and_then(|caller| self.names.name(caller));
        match frame {
            Some(frame) => format!("stack of thread {thread:x} at {at:x}, below {frame}"),
            None => format!("stack of thread {thread:x} at {at:x}"),
        }
    }

    /// The way to a block, a line a step.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn way(&self, links: &[Link], indent: usize, out: &mut dyn Write) -> fmt::Result {
        /// Steps that are shown at each end of a long way.
        const ENDS: usize = 12;
        for (step, link) in links.iter().enumerate() {
            if links.len() > 2 * ENDS + 1 && (ENDS..links.len() - ENDS).contains(&step) {
                if step == ENDS {
                    writeln!(out, "{:indent$}   ... {} steps", "", links.len() - 2 * ENDS)?;
                }
                continue;
            }
            match link.holder {
                Holder::Root(_) => writeln!(out, "{:indent$}{}", "", self.place(link))?,
                Holder::Block(_) => writeln!(
                    out,
                    "{:indent$}   +{:#x}{}",
                    "",
                    link.at.unwrap_or(0),
                    self.bracketed(link)
                )?,
            }
            write!(out, "{:indent$}-> {}", "", self.block(link.target))?;
            if link.offset != 0 {
                write!(out, ", by its +{:#x}", link.offset)?;
                if let Some(rule) = link.rules.name() {
                    write!(out, " ({rule})")?;
                }
            }
            writeln!(out)?;
        }
        Ok(())
    }
}

/// The return address next above a place of a stack: that of the call in whose frame it lies, or
/// whose arguments it is among.
fn caller(process: &Process<'_, '_>, at: u64) -> Option<u64> {
    const FARTHEST: u64 = 0x1000;
    const EXECUTABLE: u32 = 0xf0;
    let word = process.bitness.pointer_size();
    (0..FARTHEST / word).find_map(|step| {
        let value = process
            .memory()
            .pointer(at.checked_add(step * word)?, process.bitness)?;
        process.dump.module_at(value)?;
        let region = process.dump.region_at(value);
        let code = region.is_none_or(|region| {
            region.state == RegionState::Commit && region.protection & EXECUTABLE != 0
        });
        code.then_some(value)
    })
}
