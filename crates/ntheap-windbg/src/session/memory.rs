//! `db`, `dd`, `da` and their like: where, how much, and how it is shown.

use std::fmt::Write;

use super::{CommandError, Session, SymbolLookup, evaluate};
use crate::words::{self, Display};

/// What is not typed by mistake fits a screen a thousand times over.
const MOST: u64 = 1 << 20;

struct Terms<'s, 'p, 'a>(&'s Session<'p, 'a>);

impl SymbolLookup for Terms<'_, '_, '_> {
    fn address_of(&self, name: &str) -> Option<u64> {
        let process = self.0.process;
        match name.trim_start_matches('@').to_ascii_lowercase().as_str() {
            "$peb" => return process.peb,
            // The other side's threads have a block of their own.
            "$teb" if !process.wow64 => return process.dump.threads.first().map(|t| t.teb),
            _ => {}
        }
        if let Some(address) = self.0.names.address_of(name) {
            return Some(address);
        }
        let modules = &process.dump.modules;
        let module = modules.iter().find(|m| m.name().eq_ignore_ascii_case(name));
        module.map(|module| module.base)
    }

    fn read(&self, address: u64, size: u64) -> Option<u64> {
        self.0.may_show_contents().ok()?;
        let memory = self.0.process.memory();
        match size {
            1 => memory.u8(address).map(u64::from),
            2 => memory.u16(address).map(u64::from),
            4 => memory.u32(address).map(u64::from),
            8 => memory.u64(address),
            _ => memory.pointer(address, self.0.process.bitness),
        }
    }
}

impl Session<'_, '_> {
    pub(super) fn value(&self, text: &str) -> Result<u64, CommandError> {
        evaluate(text, &Terms(self))
    }

    /// `db ADDRESS`, `db ADDRESS L20`, `db FROM TO`; without an address goes on behind what was
    /// shown last.
    pub(super) fn memory(
        &mut self,
        name: &str,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.may_show_contents()?;
        let pointer = self.process.bitness.pointer_size();
        let (display, size, default) = match name.to_ascii_lowercase().as_str() {
            "db" => (Display::Bytes, 1, 128),
            "dw" => (Display::Numbers(2), 2, 64),
            "dd" => (Display::Numbers(4), 4, 32),
            "dq" => (Display::Numbers(8), 8, 16),
            "dp" => (Display::Numbers(pointer as u8), pointer, 128 / pointer),
            "dc" => (Display::Characters, 4, 32),
            "dps" => (Display::Symbols(pointer), pointer, 128 / pointer),
            "dds" => (Display::Symbols(4), 4, 32),
            "dqs" => (Display::Symbols(8), 8, 16),
            "da" => (Display::Ascii, 1, MOST),
            _ => (Display::Unicode, 2, MOST),
        };
        let (address, count) = self.range(operands, size)?;
        let address = match address {
            Some(address) => address,
            None => self.next_address.ok_or_else(|| CommandError::Operand {
                text: name.to_owned(),
                reason: "an address is expected",
            })?,
        };
        let count = count.unwrap_or(default).min(MOST);
        let (process, names) = (self.process, self.names);
        let shown = words::display(process, names, display, address, count, out)?;
        self.next_address = Some(address.wrapping_add(shown));
        Ok(())
    }

    /// The address and the number of elements, as far as they were typed.
    fn range(
        &self,
        operands: &[&str],
        size: u64,
    ) -> Result<(Option<u64>, Option<u64>), CommandError> {
        let Some((&last, others)) = operands.split_last() else {
            return Ok((None, None));
        };
        let whole = || self.value(&operands.join(" "));
        let start = || match others {
            [] => Ok(None),
            others => self.value(&others.join(" ")).map(Some),
        };
        if let Some(length) = last.strip_prefix(['l', 'L']) {
            // `L?` lifts a limit of the debugger's own.
            let length = length.strip_prefix('?').unwrap_or(length);
            if let Ok(count) = self.value(length) {
                return Ok((start()?, Some(count)));
            }
        }
        // Two addresses, or one in several words.
        if let Ok(address) = whole() {
            return Ok((Some(address), None));
        }
        match (start(), self.value(last)) {
            (Ok(Some(from)), Ok(to)) => {
                let count = to
                    .checked_sub(from)
                    .map(|bytes| (bytes / size).saturating_add(1));
                let count = count.ok_or_else(|| CommandError::Operand {
                    text: last.to_owned(),
                    reason: "the end lies in front of the beginning",
                })?;
                Ok((Some(from), Some(count)))
            }
            _ => Ok((Some(whole()?), None)),
        }
    }
}
