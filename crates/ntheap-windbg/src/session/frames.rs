//! `.frame`, `!for_each_frame`, `!findstack`: functions of stacks.

use std::fmt::Write;

use super::{CommandError, Scope, Session, line, threads::NO_REGISTERS, wrong};
use crate::words::{self, StackForm, StackRow};
use ntheap::{dump::Context, names::matches_pattern, unwind};

/// Frames that are looked at.
const FRAMES: usize = 0x100;

impl Session<'_, '_> {
    /// The rows of a stack, as `kn` prints them.
    fn numbered_rows(&self, context: &Context) -> Result<Vec<StackRow>, CommandError> {
        let stack = unwind::walk(self.process, context, FRAMES);
        let form = StackForm {
            numbers: true,
            lines: self.lines,
            ..StackForm::default()
        };
        Ok(words::stack_rows(self.process, self.names, &stack, &form)?)
    }

    /// The rows of the current thread's stack.
    fn current_rows(&self) -> Result<Vec<StackRow>, CommandError> {
        self.numbered_rows(&self.current_context().ok_or(NO_REGISTERS)?)
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
        let rows = self.current_rows()?;
        let index = match number {
            Some(text) => usize::try_from(self.value(text)?).unwrap_or(usize::MAX),
            None => self.scope.frame,
        };
        let row = rows.get(index);
        let row = row.ok_or_else(|| wrong(text, "the stack has no such frame"))?;
        self.scope.frame = index;
        Ok(writeln!(out, "{row}")?)
    }

    /// `!for_each_frame COMMAND`: a command for each function of the stack, with `$frame`.
    pub(super) fn for_each_frame(
        &mut self,
        text: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let rows = self.current_rows()?;
        let command = line::unquoted(text);
        let mut result = Ok(());
        for (index, row) in rows.iter().enumerate() {
            writeln!(out, "_ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _ _\n{row}")?;
            let scope = Scope {
                frame: index,
                ..self.scope
            };
            if !self.within(scope, |session| session.body(command, &mut result, out))? {
                break;
            }
        }
        result
    }

    /// `!findstack TEXT [LEVEL]`: the threads with such a function on their stack; level 0 names the
    /// threads, 1 (if none is typed) the functions too, 2 shows the whole stacks.
    pub(super) fn find_stack(
        &self,
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
        let pattern = format!("*{wanted}*");
        let is_match = |row: &&StackRow| matches_pattern(&pattern, &row.site);
        let threads = &self.process.dump.threads;
        let mut found = 0;
        for (index, thread) in threads.iter().enumerate() {
            self.in_time()?;
            let Some(context) = self.process.thread_context(thread) else {
                continue;
            };
            let rows = self.numbered_rows(&context)?;
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
        if found == 0 {
            writeln!(out, "No stack has {wanted}: {} threads", threads.len())?;
        }
        Ok(())
    }
}
