//! `|`, `||`, `vertarget`, `!peb`, `!teb`, `!handle`, …: what the dump tells of process and system.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words;

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
                self.may_show_contents()?;
                let peb = match operand {
                    Some(operand) => self.value(operand)?,
                    None => process.peb.ok_or(no_block)?,
                };
                Ok(words::peb(process, peb, out)?)
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
                Ok(words::loaded_modules(process, order, address, out)?)
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
                Ok(words::handles(process, &handles, only, flags, kind, out)?)
            }
            _ => {
                let symbol = self.names.address_of("ntdll!RtlCriticalSectionList");
                let verbose = operands.iter().any(|word| word.eq_ignore_ascii_case("-v"));
                let found = words::locks(process, self.names, symbol, verbose, out)?;
                match found {
                    true => Ok(()),
                    false => Err(CommandError::Unavailable {
                        reason: "the list of critical sections was not found: it needs ntdll's PDB \
                                 (--symbols), or the loader's lock in the dump",
                    }),
                }
            }
        }
    }
}
