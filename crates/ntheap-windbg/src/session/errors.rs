//! `!error`, `!gle`, `!analyze`: what went wrong.

use std::fmt::Write;

use super::{CommandError, Session, registers::NO_EXCEPTION, wrong};
use crate::words::{self, CodeKind, StackForm};
use ntheap::unwind;

/// Frames that `!analyze` shows.
const FRAMES: usize = 0x40;

impl Session<'_, '_> {
    /// `!error CODE [1]`; with 1 the code is a status.
    pub(super) fn error_code(
        &self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let Some((code, rest)) = operands.split_first() else {
            return Err(wrong("!error", "a number is expected: !error CODE [1]"));
        };
        let value = self.value(code)?;
        // What was widened with its sign is meant as it was.
        let code = match value >> 32 {
            0 | 0xffff_ffff => value as u32,
            _ => return Err(wrong(code, "codes of errors have 32 bits")),
        };
        let kind = match rest.first() {
            None => None,
            Some(text) => match self.value(text)? {
                0 => Some(CodeKind::Win32),
                _ => Some(CodeKind::Status),
            },
        };
        Ok(words::error_code(code, kind, out)?)
    }

    /// `!gle [-all]`: the last error of the thread, or of all.
    pub(super) fn last_error(
        &mut self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let process = self.process;
        let all = operands.iter().any(|o| o.eq_ignore_ascii_case("-all"));
        if !all {
            let teb = self.pseudo_register("$teb");
            let teb = teb.ok_or(CommandError::Unavailable {
                reason: "the thread's environment block is not known",
            })?;
            return Ok(words::last_error(process, teb, out)?);
        }
        for (index, thread) in process.dump.threads.iter().enumerate() {
            writeln!(out, "Last error for thread {index:x}:")?;
            if let Some(teb) = process.thread_block(thread) {
                words::last_error(process, teb, out)?;
            }
            writeln!(out)?;
        }
        Ok(())
    }

    /// `!analyze [-v]`: the exception, where it was raised, and what ntdll noted of a damaged heap.
    /// `-show CODE` is `!error`; `-hang` shows the locks that are held and the stacks.
    pub(super) fn analyze(
        &mut self,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let is = |name: &str| operands.iter().any(|o| o.eq_ignore_ascii_case(name));
        if let [option, code, ..] = operands
            && option.eq_ignore_ascii_case("-show")
        {
            return self.error_code(&[*code], out);
        }
        let stars = "*".repeat(79);
        let line = |text: &str| format!("*{text:^77}*");
        let caption = match is("-hang") {
            true => "Hang Analysis",
            false => "Exception Analysis",
        };
        writeln!(out, "{stars}\n{}\n{}", line(""), line(caption))?;
        writeln!(out, "{}\n{stars}\n", line(""))?;
        if is("-hang") {
            // Without the list of locks the stacks tell.
            match self.environment("!locks", &[], out) {
                Err(error) if error.ends_line() => return Err(error),
                Err(error) => writeln!(out, "{error}")?,
                Ok(()) => {}
            }
            return self.unique_stacks("", out);
        }
        self.exception_analysis(out)
    }

    fn exception_analysis(&mut self, out: &mut dyn Write) -> Result<(), CommandError> {
        let process = self.process;
        let dump = process.dump;
        let context = match &dump.exception {
            Some(exception) => {
                writeln!(out, "EXCEPTION_RECORD:  (.exr -1)")?;
                words::exception(process, self.names, exception, out)?;
                writeln!(out, "\nFAULTING_THREAD:  {:08x}", exception.thread)?;
                process.exception_context()
            }
            None => {
                writeln!(out, "The dump was not written for an exception.")?;
                self.current_context()
            }
        };
        if let Some(program) = process.program() {
            let name = ntheap::printable::printable(program.file_name());
            writeln!(out, "PROCESS_NAME:  {name}")?;
        }
        if let Some(exception) = &dump.exception {
            write!(out, "\nERROR_CODE: ")?;
            words::error_code(exception.code, Some(CodeKind::Status), out)?;
        }
        words::heap_failure(process, self.names, out)?;
        let Some(context) = context else {
            return Err(NO_EXCEPTION);
        };
        let stack = unwind::walk(process, &context, FRAMES);
        writeln!(out, "\nSTACK_TEXT:  ")?;
        let form = StackForm {
            lines: self.lines,
            ..StackForm::default()
        };
        words::stack(process, self.names, &stack, &form, out)?;
        // The first function that is not one of the system's, as the debugger counts.
        let own = stack.frames.iter().find_map(|frame| {
            let mut functions = words::functions(self.names, frame).into_iter();
            let name = functions.find(|name| !name.inlined)?;
            (!ntheap::names::is_allocator(&name.module)).then_some((frame, name))
        });
        if let Some((frame, name)) = own {
            writeln!(out, "\nSYMBOL_NAME:  {name}")?;
            let module = dump.module_at(frame.instruction);
            let image = module.map_or("", |module| module.file_name());
            let image = ntheap::printable::printable(image);
            writeln!(out, "MODULE_NAME: {}\nIMAGE_NAME:  {image}", name.module)?;
        }
        writeln!(
            out,
            "\nFollowup: `ntheap verify` looks for damage in the heaps and who wrote it.\n---------"
        )?;
        Ok(())
    }
}
