//! `|`, `||`, `vertarget`, `!peb`, `!teb`, `!handle`, …: what the dump tells of process and system.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, CriticalSection, HandleRows};

impl Session<'_, '_> {
    /// `|` and `||`: the process and the system; there is one of each.
    pub(super) fn processes(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let rest = rest.trim_start_matches(['*', '.', '#', '0']).trim();
        if !rest.is_empty() && rest != "s" {
            // `||0s; |* COMMAND`.
            return self.commands(rest.trim_start_matches("e "), out);
        }
        match name {
            "|" => Ok(words::process(self.process, out)?),
            _ => Ok(words::system(self.process, &self.dump_name, out)?),
        }
    }

    /// `vertarget`, `version`, `.time`.
    pub(super) fn target(&mut self, name: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        if name != ".time" {
            words::target(self.process, out)?;
        }
        words::times(self.process, out)?;
        if name == "version" {
            self.may_show_contents()
                .and_then(|()| Ok(words::command_line(self.process, out)?))?;
        }
        Ok(())
    }

    pub(super) fn environment(
        &mut self,
        name: &str,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let no_block = CommandError::Unavailable {
            reason: "the environment block is not in the dump",
        };
        let process = self.process;
        let operand = operands.first().copied();
        match name {
            "!gflag" => {
                if operand.is_some_and(|operand| operand != "-?") {
                    return Err(CommandError::Unavailable {
                        reason: "a dump can't be changed; !gflag alone shows the flags",
                    });
                }
                let flags = process.nt_global_flag.ok_or(no_block)?;
                Ok(words::global_flags(flags, out)?)
            }
            "!peb" => {
                let peb = match operand {
                    Some(operand) => self.value(operand)?,
                    None => process.peb.ok_or(no_block)?,
                };
                Ok(words::peb(process, peb, self.contents, out)?)
            }
            "!envvar" => {
                self.may_show_contents()?;
                let wanted =
                    operand.ok_or_else(|| wrong(name, "the name of a variable is expected"))?;
                let found = words::environment_variable(process, wanted);
                let value =
                    found.ok_or_else(|| wrong(wanted, "no such variable is in the dump"))?;
                Ok(writeln!(out, "        {wanted} = {value}")?)
            }
            "!teb" => {
                let teb = match operand {
                    Some(operand) => Some(self.value(operand)?),
                    None => self.pseudo_register("$teb"),
                };
                Ok(words::teb(process, teb.ok_or(no_block)?, out)?)
            }
            "!dlls" => {
                let address = match operand.filter(|operand| !operand.starts_with('-')) {
                    Some(operand) => Some(self.value(operand)?),
                    None => match operands {
                        ["-c", address, ..] => Some(self.value(address)?),
                        _ => None,
                    },
                };
                let order = operand.unwrap_or_default();
                let whole = self.contents;
                Ok(words::loaded_modules(process, order, address, whole, out)?)
            }
            "!handle" => {
                let handles = process.dump.handles();
                let handles = handles.ok_or(CommandError::Unavailable {
                    reason: "the dump has no list of handles; written with -ma or MiniDumpWithHandleData \
                             it has one",
                })?;
                let number =
                    |index: usize| operands.get(index).map(|text| self.value(text)).transpose();
                let only = number(0)?.filter(|&handle| handle != 0);
                let flags = number(1)?;
                let kind = operands.get(2).copied();
                let wanted = HandleRows {
                    only,
                    flags,
                    kind,
                    names: self.contents,
                };
                Ok(words::handles(process, &handles, &wanted, out)?)
            }
            "!avrf" => self.verifier(operands, out),
            "!cs" => self.critical_sections(operands, out),
            _ => {
                let verbose = operands.iter().any(|word| word.eq_ignore_ascii_case("-v"));
                let sections = self.sections()?;
                Ok(words::locks(process, self.names, &sections, verbose, out)?)
            }
        }
    }

    fn sections(&self) -> Result<Vec<CriticalSection>, CommandError> {
        let symbol = self.names.address_of("ntdll!RtlCriticalSectionList");
        words::critical_sections(self.process, symbol).ok_or(CommandError::Unavailable {
            reason: "the list of critical sections was not found: it needs ntdll's PDB (--symbols), or \
                     the loader's lock in the dump",
        })
    }

    /// `!cs [-s] [-l] [-o] [ADDRESS [END]]`: all critical sections, those that are locked (`-l`), or
    /// one.
    fn critical_sections(
        &self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let mut locked = false;
        let mut typed = Vec::new();
        for &word in operands {
            match word {
                "-l" | "-L" => locked = true,
                // Who owns it is always told; stacks of where they were made are not recorded.
                "-o" | "-s" | "-O" | "-S" => {}
                _ if word.starts_with('-') => {
                    return Err(wrong(
                        word,
                        "!cs takes -l, -o, -s and an address or a range",
                    ));
                }
                _ => typed.push(word),
            }
        }
        let mut sections = match typed[..] {
            [] => self.sections()?,
            [address] => {
                let section = CriticalSection::at(self.process, self.value(address)?);
                vec![
                    section
                        .ok_or_else(|| wrong(address, "the critical section is not in the dump"))?,
                ]
            }
            [from, to] => {
                let range = self.value(from)?..=self.value(to)?;
                let mut sections = self.sections()?;
                sections.retain(|section| range.contains(&section.address()));
                sections
            }
            [_, _, third, ..] => return Err(wrong(third, "!cs takes an address or a range")),
        };
        if locked && typed.len() != 1 {
            sections.retain(CriticalSection::is_locked);
        }
        words::critical_section_details(self.process, self.names, &sections, out)?;
        if sections.is_empty() {
            let which = if locked { "locked" } else { "there" };
            writeln!(out, "No critical section is {which}")?;
        }
        Ok(())
    }

    /// `!avrf`: whether the verifier was on. What it logged is not read.
    fn verifier(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        /// `FLG_APPLICATION_VERIFIER` and `FLG_HEAP_PAGE_ALLOCS`.
        const VERIFIER: u32 = 0x100;
        const PAGE_HEAP: u32 = 0x0200_0000;
        if !operands.is_empty() {
            return Err(CommandError::Unavailable {
                reason: "logs of Application Verifier are not read: `!heap -p` tells of page heap, \
                         `!heap -p -a A` shows the stack of a block, `ntheap verify` looks for damage",
            });
        }
        let flags = self.process.nt_global_flag.unwrap_or(0);
        writeln!(out, "Global flags: {flags:08x}")?;
        if flags & VERIFIER == 0 {
            writeln!(out, "Application verifier is not enabled for this process.")?;
        } else {
            writeln!(out, "Application verifier is enabled for this process.")?;
        }
        if flags & PAGE_HEAP != 0 {
            writeln!(
                out,
                "Page heap has been used for this process: see !heap -p."
            )?;
        }
        Ok(())
    }

    /// `!vprot [ADDRESS]`, `!vadump [-v]`.
    pub(super) fn protection(
        &self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        if self.process.dump.regions.is_empty() {
            return Err(CommandError::Unavailable {
                reason: "the dump does not list the regions of the address space; `!address ADDRESS` \
                         tells what else is known",
            });
        }
        if name == "!vadump" {
            let verbose = rest.eq_ignore_ascii_case("-v");
            return Ok(words::all_regions(self.process, verbose, out)?);
        }
        let rest = if rest.is_empty() { "@$ip" } else { rest };
        let address = self.value(rest)?;
        match words::region_protection(self.process, address, out)? {
            true => Ok(()),
            false => Err(wrong(
                rest,
                "the dump lists no region that holds this address",
            )),
        }
    }

    /// `!runaway [FLAGS]`, `.ttime`.
    pub(super) fn thread_times(
        &self,
        name: &str,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        const NO_TIMES: CommandError = CommandError::Unavailable {
            reason: "the dump does not tell how long its threads ran: written with \
                     MiniDumpWithThreadInfo it would; `.time` shows the process's times, `~*k` its \
                     stacks",
        };
        let dump = self.process.dump;
        let infos = dump.thread_infos();
        if name == ".ttime" {
            let thread = dump.threads.get(self.scope.thread).ok_or(NO_TIMES)?;
            let info = infos.iter().find(|info| info.id == thread.id);
            return Ok(words::thread_times(info.ok_or(NO_TIMES)?, out)?);
        }
        if infos.is_empty() {
            return Err(NO_TIMES);
        }
        let flags = match operands.first() {
            Some(flags) => self.value(flags)?,
            None => 1,
        };
        Ok(words::runaway(self.process, &infos, flags, out)?)
    }
}
