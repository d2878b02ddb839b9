//! `db`, `dd`, `da` and their like: where, how much, and how it is shown.

use std::fmt::Write;

use super::{CommandError, Session, wrong};
use crate::words::{self, Display, Shown, Target};

/// What is not typed by mistake fits a screen a thousand times over.
const MOST: u64 = 1 << 20;

/// How a command shows memory, and how many elements where none is typed.
fn display(name: &str, pointer: u64) -> Option<(Display, u64)> {
    let lines = 128 / pointer;
    Some(match name {
        "db" => (Display::Bytes, 128),
        "dw" => (Display::Numbers(2), 64),
        "dd" => (Display::Numbers(4), 32),
        "dq" => (Display::Numbers(8), 16),
        "dp" => (Display::Numbers(pointer as u8), lines),
        "dc" => (Display::Characters(4), 32),
        "dW" => (Display::Characters(2), 64),
        "df" => (Display::Floats(4), 16),
        "dD" => (Display::Floats(8), 15),
        "dyb" => (Display::Bits(1), 32),
        "dyd" => (Display::Bits(4), 8),
        "dps" => (Display::Symbols(pointer), lines),
        "dds" => (Display::Symbols(4), 32),
        "dqs" => (Display::Symbols(8), 16),
        "dpp" => (Display::Targets(pointer, Target::Pointer), lines),
        "ddp" => (Display::Targets(4, Target::Pointer), 32),
        "dqp" => (Display::Targets(8, Target::Pointer), 16),
        "dpa" => (Display::Targets(pointer, Target::Ascii), lines),
        "dda" => (Display::Targets(4, Target::Ascii), 32),
        "dqa" => (Display::Targets(8, Target::Ascii), 16),
        "dpu" => (Display::Targets(pointer, Target::Unicode), lines),
        "ddu" => (Display::Targets(4, Target::Unicode), 32),
        "dqu" => (Display::Targets(8, Target::Unicode), 16),
        "da" => (Display::Ascii, MOST),
        "du" => (Display::Unicode, MOST),
        "ds" => (Display::Counted(1), 1),
        "dS" => (Display::Counted(2), 1),
        "dl" => (Display::List, 32),
        _ => return None,
    })
}

impl Session<'_, '_> {
    /// Whether a command shows memory.
    pub(super) fn is_display(&self, name: &str) -> bool {
        name == "d"
            || display(name, 8).is_some()
            || display(&name.to_ascii_lowercase(), 8).is_some()
    }

    /// `db ADDRESS`, `db ADDRESS L20`, `db FROM TO`; without an address goes on behind what was
    /// shown last. `d` is what was typed last.
    pub(super) fn memory(
        &mut self,
        name: &str,
        operands: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.may_show_contents()?;
        if name != "d" {
            self.last_display = name.to_owned();
        }
        let pointer = self.process.bitness.pointer_size();
        let name = self.last_display.clone();
        let found =
            display(&name, pointer).or_else(|| display(&name.to_ascii_lowercase(), pointer));
        let (display, default) = found.unwrap_or((Display::Bytes, 128));
        let mut operands = operands.trim();
        let mut columns = None;
        if let Some(rest) = operands.strip_prefix("/c") {
            let (count, rest) = rest
                .trim_start()
                .split_once(' ')
                .unwrap_or((rest.trim(), ""));
            columns = Some(self.value(count)?.clamp(1, 64));
            operands = rest.trim();
        }
        // `dl`: backwards along a list.
        let backwards = name == "dl" && operands.starts_with(['b', 'B']) && {
            let rest = &operands[1..];
            rest.starts_with(' ') || rest.is_empty()
        };
        if backwards {
            operands = operands[1..].trim_start();
        }
        let (address, count) = if display == Display::List {
            self.list_range(operands)?
        } else {
            self.range(operands, display.size())?
        };
        let address = match address {
            Some(address) => address,
            None => self
                .next_address
                .ok_or_else(|| wrong(&name, "an address is expected"))?,
        };
        let shown = Shown {
            display,
            address,
            count: count.unwrap_or(default).min(MOST),
            columns,
            backwards,
        };
        let bytes = words::display(self.process, self.names, &shown, out)?;
        self.next_address = Some(address.wrapping_add(bytes));
        Ok(())
    }

    /// `dl ADDRESS [COUNT [SIZE]]`.
    fn list_range(&self, operands: &str) -> Result<(Option<u64>, Option<u64>), CommandError> {
        if operands.is_empty() {
            return Ok((None, None));
        }
        let (address, rest) = self.value_at(operands)?;
        let count = match rest.trim() {
            "" => None,
            rest => Some(self.value_at(rest.trim_start_matches(['l', 'L']))?.0),
        };
        Ok((Some(address), count))
    }

    /// The address and the number of elements, as far as they were typed.
    pub(super) fn range(
        &self,
        operands: &str,
        size: u64,
    ) -> Result<(Option<u64>, Option<u64>), CommandError> {
        if operands.is_empty() {
            return Ok((None, None));
        }
        let (address, count, rest) = self.range_at(operands, size)?;
        match rest {
            "" => Ok((address, count)),
            rest => Err(wrong(rest, "an operator is missing")),
        }
    }

    /// A range that a text begins with, and what stands behind it.
    pub(super) fn range_at<'t>(
        &self,
        text: &'t str,
        size: u64,
    ) -> Result<(Option<u64>, Option<u64>, &'t str), CommandError> {
        let text = text.trim_start();
        if let Some((count, rest)) = self.length_at(text)? {
            return Ok((None, Some(count), rest));
        }
        let (address, rest) = self.value_at(text)?;
        let rest = rest.trim_start();
        if rest.is_empty() {
            return Ok((Some(address), None, ""));
        }
        match self.length_at(rest)? {
            // A length below 0 ends at the address.
            Some((count, rest)) if (count as i64) < 0 => {
                let bytes = count.wrapping_neg().saturating_mul(size);
                let start = address.saturating_sub(bytes);
                Ok((Some(start), Some(count.wrapping_neg()), rest))
            }
            Some((count, rest)) => Ok((Some(address), Some(count), rest)),
            None => {
                let (end, rest) = self.value_at(rest)?;
                let bytes = end.checked_sub(address);
                let bytes =
                    bytes.ok_or_else(|| wrong(text, "the end lies in front of the beginning"))?;
                Ok((Some(address), Some((bytes / size).saturating_add(1)), rest))
            }
        }
    }

    /// `L20`, `L?20`, if that stands here.
    fn length_at<'t>(&self, text: &'t str) -> Result<Option<(u64, &'t str)>, CommandError> {
        let Some(length) = text.strip_prefix(['l', 'L']) else {
            return Ok(None);
        };
        // `L?` lifts a limit of the debugger's own.
        let (length, sure) = match length.strip_prefix('?') {
            Some(length) => (length, true),
            None => (length, false),
        };
        let length = length.trim_start();
        // The length is one term: what follows it is another operand.
        let end = length
            .char_indices()
            .scan(0usize, |depth, (at, c)| {
                match c {
                    '(' => *depth += 1,
                    ')' => *depth = depth.saturating_sub(1),
                    _ => {}
                }
                Some((at, c.is_whitespace() && *depth == 0))
            })
            .find(|(_, ends)| *ends)
            .map_or(length.len(), |(at, _)| at);
        match self.value(&length[..end]) {
            Ok(count) => Ok(Some((count, length[end..].trim_start()))),
            Err(error) if sure => Err(error),
            // A symbol that begins with this letter.
            Err(_) => Ok(None),
        }
    }
}
