//! `j`, `z`, `c`: older ways to choose, to repeat, to compare.

use std::fmt::Write;

use super::{CommandError, Session, wrong};

/// Differences that `c` lists.
const MOST_DIFFERENCES: usize = 1 << 16;
/// Bytes that `c` compares between two looks at the clock.
const BYTES_IN_TIME: u64 = 1 << 12;

impl Session<'_, '_> {
    /// `j EXPRESSION 'COMMANDS' ; 'COMMANDS'`, also with brackets and without quotes.
    pub(super) fn choose(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let rest = rest.trim();
        if rest.is_empty() {
            return Err(wrong("j", "a condition and commands are expected"));
        }
        let (condition, commands) = self.value_at(rest)?;
        let mut parts = Vec::new();
        let (mut quoted, mut start) = (None, 0);
        for (at, c) in commands.char_indices() {
            match (quoted, c) {
                (None, '\'' | '"') => quoted = Some(c),
                (Some(open), c) if c == open => quoted = None,
                (None, ';') => {
                    parts.push(&commands[start..at]);
                    start = at + 1;
                }
                _ => {}
            }
        }
        parts.push(&commands[start..]);
        let chosen = parts
            .get(usize::from(condition == 0))
            .copied()
            .unwrap_or_default();
        let chosen = chosen.trim();
        let bare = |quote: char| chosen.strip_prefix(quote)?.strip_suffix(quote);
        let chosen = bare('\'').or_else(|| bare('"')).unwrap_or(chosen);
        self.commands(chosen, out)
    }

    /// `c RANGE ADDRESS`: the bytes that differ.
    pub(super) fn compare_memory(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        self.may_show_contents()?;
        let (start, count, rest) = self.range_at(text, 1)?;
        let (Some(start), Some(count)) = (start, count) else {
            return Err(wrong(text, "c takes a range (ADDRESS L20) and an address"));
        };
        let other = self.value(rest)?;
        let memory = self.process.memory();
        let readable = memory
            .readable(start, count)
            .min(memory.readable(other, count));
        let quoted = |address| crate::words::back_quoted(address, self.process.bitness);
        let mut listed = 0;
        for offset in 0..readable {
            if offset.is_multiple_of(BYTES_IN_TIME) {
                self.in_time()?;
            }
            let places = (start.checked_add(offset), other.checked_add(offset));
            let (Some(left), Some(right)) = places else {
                break;
            };
            let (Some(a), Some(b)) = (memory.u8(left), memory.u8(right)) else {
                break;
            };
            if a != b {
                writeln!(
                    out,
                    "{}  {a:02x} - {}  {b:02x}",
                    quoted(left),
                    quoted(right)
                )?;
                listed += 1;
            }
            if listed >= MOST_DIFFERENCES {
                return Err(CommandError::Unavailable {
                    reason: "stopped: no more differences are listed",
                });
            }
        }
        match readable < count {
            true => Err(wrong(text, "not all of the memory is in the dump")),
            false => Ok(()),
        }
    }
}
