//! `.frame`, `!for_each_frame`, `!findstack`: functions of stacks.

use std::fmt::Write;

use super::{CommandError, Session, line, threads::NO_REGISTERS, wrong};
use crate::words::{self, StackForm};
use ntheap::{names::matches_pattern, unwind};

/// Frames that are looked at.
const FRAMES: usize = 0x100;

impl Session<'_, '_> {
    /// The rows of the current thread's stack, as `kn` prints them.
    fn numbered_rows(&self) -> Result<Vec<String>, CommandError> {
        let context = self.current_context().ok_or(NO_REGISTERS)?;
        let stack = unwind::walk(self.process, &context, FRAMES);
        let form = StackForm {
            numbers: true,
            lines: self.lines,
            ..StackForm::default()
        };
        let mut text = String::new();
        words::stack(self.process, self.names, &stack, &form, &mut text)?;
        let rows = text.lines().skip(1);
        let rows = rows.filter(|row| !row.starts_with("WARNING"));
        Ok(rows.map(str::to_owned).collect())
    }

    /// `.frame [N]`: the function that is looked at; with a number, that one from now on.
    pub(super) fn frame(&mut self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut words = text.split_whitespace();
        let mut number = words.next();
        if matches!(number, Some("/c" | "/r")) {
            let rest = words.next();
            if rest.is_some() {
                return Err(CommandError::Unavailable {
                    reason: "registers of callers are not shown; `.frame N` names the function, \
                             `kn` all of them, `dps` what lies on the stack",
                });
            }
            number = None;
        }
        let rows = self.numbered_rows()?;
        let index = match number {
            Some(text) => usize::try_from(self.value(text)?).unwrap_or(usize::MAX),
            None => self.frame,
        };
        let row = rows.get(index);
        let row = row.ok_or_else(|| wrong(text, "the stack has no such frame"))?;
        self.frame = index;
        Ok(writeln!(out, "{row}")?)
    }

    /// `!for_each_frame COMMAND`: a command for each function of the stack, with `$frame`.
    pub(super) fn for_each_frame(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let rows = self.numbered_rows()?;
        let command = line::unquoted(text);
        let before = self.frame;
        let mut result = Ok(());
        for (index, row) in rows.iter().enumerate() {
            writeln!(out, "_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _\n{row}")?;
            self.frame = index;
            match self.commands(command, out) {
                Err(CommandError::Output) => return Err(CommandError::Output),
                carried_out => result = result.and(carried_out),
            }
            if self.run.has_quit() || self.process.dump.is_out_of_time() {
                break;
            }
        }
        self.frame = before;
        result
    }

    /// `!findstack TEXT [LEVEL]`: the threads with such a function on their stack; level 0 names the
    /// threads, 1 (if none is typed) the functions too, 2 shows the whole stacks.
    pub(super) fn find_stack(
        &mut self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let Some((&wanted, rest)) = operands.split_first() else {
            return Err(wrong(
                "!findstack",
                "a function, a module or a part of a name is expected",
            ));
        };
        let level = match rest.iter().find(|word| !word.starts_with('-')) {
            Some(level) => self.value(level)?,
            None => 1,
        };
        let pattern = format!("*{}*", wanted.to_ascii_lowercase());
        let before = (self.thread, self.context);
        let count = self.process.dump.threads.len();
        let mut found = 0;
        for index in 0..count {
            (self.thread, self.context) = (index, None);
            let Ok(rows) = self.numbered_rows() else {
                continue;
            };
            let is_match =
                |row: &&String| matches_pattern(&pattern, &site(row).to_ascii_lowercase());
            let matching = rows.iter().filter(is_match).count();
            if matching == 0 {
                continue;
            }
            found += 1;
            writeln!(out, "Thread {index:03}, {matching} frame(s) match")?;
            for row in &rows {
                let mark = if is_match(&row) { '*' } else { ' ' };
                if level >= 2 || (level == 1 && mark == '*') {
                    writeln!(out, "        {mark} {row}")?;
                }
            }
            writeln!(out)?;
        }
        (self.thread, self.context) = before;
        if found == 0 {
            writeln!(out, "No stack has {wanted}: {count} threads")?;
        }
        Ok(())
    }
}

/// The function that a row of a stack names, which stands behind its addresses.
fn site(row: &str) -> &str {
    let addresses = |word: &str| {
        let digits = |c: char| c.is_ascii_hexdigit() || "`-".contains(c);
        word.is_empty() || word.chars().all(digits)
    };
    let row = row
        .trim_start_matches(|c: char| c.is_ascii_hexdigit())
        .trim_start();
    let row = row.strip_prefix("(Inline Function)").unwrap_or(row);
    let row = row.strip_prefix("(Inline)").unwrap_or(row);
    let mut rest = row;
    while let Some((word, behind)) = rest.split_once(' ') {
        if !addresses(word) {
            break;
        }
        rest = behind;
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_names_its_function_behind_the_addresses() {
        assert_eq!(
            site("0a 00000088`b6ddfd58 00007ff6`d2ce1d39 ntdll!NtDelayExecution+0x14"),
            "ntdll!NtDelayExecution+0x14"
        );
        assert_eq!(site("01 0014f9e4 77d02ca1 add!main"), "add!main");
        assert_eq!(
            site("02 (Inline Function) --------`-------- a!f<int, 3>+0x1"),
            "a!f<int, 3>+0x1"
        );
    }
}
