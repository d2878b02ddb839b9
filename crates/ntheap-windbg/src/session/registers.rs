//! `r`, `.ecxr`, `.cxr`, `.exr`, `.lastevent`: registers and the exception.

use std::fmt::Write;

use super::{CommandError, Scope, Session, terms, wrong};
use crate::words;
use ntheap::{
    dump::{Architecture, Context},
    layout::Bitness,
};

pub(super) const NO_EXCEPTION: CommandError = CommandError::Unavailable {
    reason: "the dump was not written for an exception, or has no registers of it; `~*k` shows all \
             stacks",
};

impl Session<'_, '_> {
    /// A register of the current thread by its name, parts of it (`al`, `r8d`) too.
    pub(super) fn register(&self, name: &str) -> Option<u64> {
        let name = name.to_ascii_lowercase();
        let context = self.current_context()?;
        match name.as_str() {
            "rip" | "eip" | "pc" => return Some(context.instruction_pointer()),
            "efl" | "eflags" => return Some(context.processor_flags().into()),
            _ => {}
        }
        if let Some(value) = context.register(&name) {
            return Some(value);
        }
        if let Some((_, value)) = context.segments().find(|segment| segment.0 == name) {
            return Some(value.into());
        }
        self.part(&context, &name)
    }

    /// A part of a register: `eax` of `rax`, `r8d` and `r8w` of `r8`, `ax`, `al`, `ah`.
    fn part(&self, context: &Context, name: &str) -> Option<u64> {
        let whole = |name: &str| {
            context
                .register(&format!("r{name}"))
                .or_else(|| context.register(&format!("e{name}")))
        };
        if let Some(low) = name.strip_prefix('e').and_then(whole) {
            return Some(low & u64::from(u32::MAX));
        }
        for (suffix, mask) in [('d', u64::from(u32::MAX)), ('w', 0xffff), ('b', 0xff)] {
            let numbered = name
                .strip_suffix(suffix)
                .filter(|name| name.starts_with('r'));
            if let Some(value) = numbered.and_then(|name| context.register(name)) {
                return Some(value & mask);
            }
        }
        match name.len() {
            2 if name.ends_with(['x', 'i', 'p']) => Some(whole(name)? & 0xffff),
            2 if name.ends_with('l') => Some(whole(&name.replace('l', "x"))? & 0xff),
            2 if name.ends_with('h') => Some(whole(&name.replace('h', "x"))? >> 8 & 0xff),
            _ => None,
        }
    }

    /// `r`, `r NAME, NAME`, `r $t0 = EXPRESSION`.
    pub(super) fn registers(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        if text.is_empty() {
            let Some(context) = self.current_context() else {
                return Err(CommandError::Unavailable {
                    reason: "the dump has no registers of this thread",
                });
            };
            return Ok(words::registers(self.process, self.names, &context, out)?);
        }
        if text.starts_with("M ") || text.starts_with(['F', 'X', 'Y']) {
            return Err(CommandError::Unavailable {
                reason: "of registers the general ones are shown, by `r`",
            });
        }
        // `$u0` to `$u9` stand for text.
        if let Some((name, value)) = text.split_once('=')
            && name.trim_start().trim_start_matches('@').starts_with("$.u")
        {
            let name = format!("$u{}", &name.trim()[3..]);
            self.aliases.insert(name, value.trim().to_owned());
            return Ok(());
        }
        for part in text.split(',') {
            let (name, value) = match part.split_once('=') {
                Some((name, value)) => (name.trim(), Some(value.trim())),
                None => (part.trim(), None),
            };
            // `$t0=` and `?` ask for a value that nobody types here.
            let Some(value) = value.filter(|value| !value.is_empty()) else {
                self.one_register(name, out)?;
                continue;
            };
            let Some(index) = terms::variable(name) else {
                return Err(CommandError::Unavailable {
                    reason: "a dump can't be changed: $t0 to $t19 alone take values",
                });
            };
            // Of `r? $t0 = @@c++(…)` the value counts, not the type.
            self.pseudo_registers[index] = self.value(value)?;
        }
        Ok(())
    }

    fn one_register(&self, name: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let name = name.trim_start_matches('?').trim();
        // How it is shown (`rax:ub`) is not told apart.
        let (bare, _) = name.split_once(':').unwrap_or((name, ""));
        let bare = bare.trim_start_matches('@');
        let value = self.pseudo_register(bare).or_else(|| self.register(bare));
        let value = value.ok_or_else(|| wrong(name, "no such register is known"))?;
        let width = match (bare.starts_with('$'), self.process.bitness) {
            (false, _) if matches!(bare, "cs" | "ds" | "es" | "fs" | "gs" | "ss") => 4,
            (false, _) if bare == "efl" => 8,
            (_, Bitness::X86) => 8,
            _ => 16,
        };
        Ok(writeln!(out, "{bare}={value:0width$x}")?)
    }

    /// `.ecxr`: the registers of the exception; `.cxr ADDRESS`: those of a `CONTEXT`; `.cxr`: the
    /// thread's again.
    pub(super) fn take_context(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let context = if name == ".ecxr" {
            let exception = self.process.dump.exception.as_ref().ok_or(NO_EXCEPTION)?;
            let threads = &self.process.dump.threads;
            let context = self.process.exception_context().ok_or(NO_EXCEPTION)?;
            if let Some(index) = threads.iter().position(|t| t.id == exception.thread) {
                self.scope.thread = index;
            }
            context
        } else if rest.is_empty() || rest == "0" {
            self.scope = Scope::of_thread(self.scope.thread);
            return Ok(writeln!(out, "Resetting default scope")?);
        } else {
            /// More than any processor's `CONTEXT` has.
            const LARGEST: usize = 0x4d0;
            let address = self.value(rest)?;
            let mut bytes = [0; LARGEST];
            let read = self.process.memory().read(address, &mut bytes);
            let architecture = match self.process.bitness {
                Bitness::X86 => Architecture::X86,
                Bitness::X64 => Architecture::X64,
            };
            Context::read(&bytes[..read], architecture)
                .ok_or_else(|| wrong(rest, "there is no CONTEXT at this address"))?
        };
        self.scope = Scope {
            context: Some(context),
            ..Scope::of_thread(self.scope.thread)
        };
        Ok(words::registers(self.process, self.names, &context, out)?)
    }

    /// `.exr -1`, `.exr ADDRESS`, `.lastevent`.
    pub(super) fn exception(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        if name == ".lastevent" {
            return Ok(words::last_event(self.process, self.scope.thread, out)?);
        }
        match rest {
            "-1" | "" => {
                let exception = self.process.dump.exception.as_ref().ok_or(NO_EXCEPTION)?;
                Ok(words::exception(self.process, self.names, exception, out)?)
            }
            address => {
                let address = self.value(address)?;
                let shown = words::exception_at(self.process, self.names, address, out)?;
                match shown {
                    true => Ok(()),
                    false => Err(wrong(rest, "there is no EXCEPTION_RECORD in the dump")),
                }
            }
        }
    }
}
