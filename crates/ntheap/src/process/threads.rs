//! The side of a thread that a process has: registers and environment block of a WOW64 thread are
//! those of its 32-bit side.

use super::{Process, wow64_tebs};
use crate::{
    dump::{Architecture, Context, Dump, Thread},
    layout::{Bitness, Layouts},
};

impl Process<'_, '_> {
    /// Registers of a thread on this side, if the dump has them.
    #[must_use]
    pub fn thread_context(&self, thread: &Thread) -> Option<Context> {
        match (self.wow64, self.bitness) {
            (true, Bitness::X86) => {
                let layouts = Layouts::for_build(self.build, Bitness::X64);
                wow64_context(self.dump, thread, &layouts)
            }
            _ => thread.context,
        }
    }

    /// Address of a thread's environment block on this side.
    #[must_use]
    pub fn thread_block(&self, thread: &Thread) -> Option<u64> {
        match (self.wow64, self.bitness) {
            (true, Bitness::X86) => wow64_tebs(self.dump, thread.teb).next(),
            _ => Some(thread.teb).filter(|&teb| teb != 0),
        }
    }

    /// Registers of the exception that the dump was written for; on the 32-bit side of a WOW64
    /// process those of its thread.
    #[must_use]
    pub fn exception_context(&self) -> Option<Context> {
        let exception = self.dump.exception.as_ref()?;
        match (self.wow64, self.bitness) {
            (true, Bitness::X86) => {
                let of_exception = |context: &Context| context.architecture() == Architecture::X86;
                let own = exception.context.filter(of_exception);
                own.or_else(|| {
                    let threads = &self.dump.threads;
                    let thread = threads.iter().find(|t| t.id == exception.thread)?;
                    self.thread_context(thread)
                })
            }
            _ => exception.context,
        }
    }
}

/// The registers of the 32-bit side of a WOW64 thread: its 64-bit side keeps them on its stack,
/// with the address in the slot 1 of its thread-local storage.
pub(crate) fn wow64_context(
    dump: &Dump<'_>,
    thread: &Thread,
    layouts: &Layouts,
) -> Option<Context> {
    /// Slot of the address, and the flags in front of the context.
    const SLOT: u64 = 1;
    const FLAGS: u64 = 4;
    const CONTEXT: u64 = 0x2cc;
    let slots = dump
        .memory
        .at(thread.teb, layouts.bitness)
        .address(layouts.teb.tls_slots)?;
    let area = dump.memory.u64(slots.checked_add(SLOT * 8)?)?;
    let bytes = dump.memory.slice(area.checked_add(FLAGS)?, CONTEXT)?;
    Context::read(bytes, Architecture::X86)
}

/// The addresses of a thread's stack, from all that is reserved for it to its base, as the thread's
/// environment block has them.
pub(crate) fn stack_of(dump: &Dump<'_>, teb: u64, layouts: &Layouts) -> Option<(u64, u64)> {
    let block = dump.memory.at(teb, layouts.bitness);
    let base = block.pointer(layouts.nt_tib.stack_base)?;
    let limit = block.pointer(layouts.nt_tib.stack_limit)?;
    let bottom = block
        .pointer(layouts.teb.deallocation_stack)
        .filter(|&bottom| bottom != 0 && bottom <= limit)
        .unwrap_or(limit);
    (bottom < base).then_some((bottom, base))
}
