//! `~`, `k`, `!uniqstack`: threads and their stacks.

use std::{collections::BTreeMap, fmt::Write};

use super::{CommandError, Scope, Session, line, wrong};
use crate::words::{self, StackForm};
use ntheap::{
    dump::{Architecture, Context, Thread},
    layout::Bitness,
    process::Process,
    unwind,
};

/// Frames that `k` shows where no number is typed: as many as the debugger's `.kframes` says.
const FRAMES: u64 = 0x100;

const START_FORM: &str =
    "k takes = STACK [INSTRUCTION [COUNT]], of 32-bit code = FRAME [STACK INSTRUCTION [COUNT]]";

pub(super) const NO_REGISTERS: CommandError = CommandError::Unavailable {
    reason: "the dump has no registers of this thread",
};

/// The thread that the debugger would begin with: that of the exception, else the first.
pub(super) fn first(process: &Process<'_, '_>) -> usize {
    let exception = process.dump.exception.as_ref();
    let of_exception = |thread: &Thread| Some(thread.id) == exception.map(|e| e.thread);
    process
        .dump
        .threads
        .iter()
        .position(of_exception)
        .unwrap_or(0)
}

/// Whether a command shows a stack: `k` and letters, and perhaps a number.
pub(super) fn is_stack(name: &str) -> bool {
    let Some(letters) = name.strip_prefix('k') else {
        return false;
    };
    let letters = letters.trim_end_matches(|c: char| c.is_ascii_hexdigit() && c.is_ascii_digit());
    letters.len() <= 6 && letters.chars().all(|c| "bcdfnpPvLMlm".contains(c))
}

/// Which threads a word behind `~` names.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Which {
    All,
    One(usize),
}

impl Session<'_, '_> {
    /// `~`, `~*`, `~N`, `~.`, `~#`, `~~[ID]`, with `s`, `e COMMAND`, `k`, `r` and their like behind.
    pub(super) fn thread_command(
        &mut self,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let threads = &self.process.dump.threads;
        if threads.is_empty() {
            return Err(CommandError::Unavailable {
                reason: "the dump has no list of threads",
            });
        }
        let (which, command) = self.threads_named(rest)?;
        let command = command.trim_start();
        let indices = match which {
            None | Some(Which::All) => 0..threads.len(),
            Some(Which::One(index)) => index..index + 1,
        };
        let (current, verbose) = (self.scope.thread, which.is_some());
        match command {
            "" => {
                for index in indices {
                    words::thread(self.process, self.names, index, current, verbose, out)?;
                }
                return Ok(());
            }
            "s" | "S" => {
                self.scope = Scope::of_thread(indices.start);
                return self.registers("", out);
            }
            "f" | "u" | "n" | "m" => {
                return Err(CommandError::Unavailable {
                    reason: "a dump can't be run or changed",
                });
            }
            _ => {}
        }
        // `~*e !heap -s`, also without a space: `~*e? @$tid`.
        let executed = command
            .strip_prefix(['e', 'E'])
            .filter(|rest| !rest.starts_with(|c: char| c.is_ascii_alphanumeric()));
        let command = executed.map_or(command, str::trim);
        if let Some(Which::One(index)) = which {
            let scope = Scope::of_thread(index);
            return self.within(scope, |session| session.commands(command, out));
        }
        let mut result = Ok(());
        for index in indices {
            // Each is named above what is shown of it.
            writeln!(out)?;
            words::thread(self.process, self.names, index, current, false, out)?;
            let scope = Scope::of_thread(index);
            if !self.within(scope, |session| session.body(command, &mut result, out))? {
                break;
            }
        }
        result
    }

    /// The threads that a text names, and what stands behind.
    fn threads_named<'t>(&self, text: &'t str) -> Result<(Option<Which>, &'t str), CommandError> {
        let threads = &self.process.dump.threads;
        let one = |index: usize| match index < threads.len() {
            true => Ok(Some(Which::One(index))),
            false => Err(wrong(text, "there is no such thread")),
        };
        let of_id = |id: u64| {
            let found = threads.iter().position(|thread| u64::from(thread.id) == id);
            one(found.unwrap_or(usize::MAX))
        };
        if let Some(rest) = text.strip_prefix('*') {
            return Ok((Some(Which::All), rest));
        }
        if let Some(rest) = text.strip_prefix('.') {
            return Ok((one(self.scope.thread)?, rest));
        }
        if let Some(rest) = text.strip_prefix('#') {
            return Ok((one(first(self.process))?, rest));
        }
        if let Some(inner) = text.strip_prefix("~[") {
            let (id, rest) = inner
                .split_once(']')
                .ok_or_else(|| wrong(text, "a closing bracket is missing"))?;
            return Ok((of_id(self.value(id)?)?, rest));
        }
        if let Some(inner) = text.strip_prefix('[') {
            let (index, rest) = inner
                .split_once(']')
                .ok_or_else(|| wrong(text, "a closing bracket is missing"))?;
            let index = usize::try_from(self.value(index)?).unwrap_or(usize::MAX);
            return Ok((one(index)?, rest));
        }
        let end = text
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(text.len());
        match text[..end].parse::<usize>() {
            Ok(index) => Ok((one(index)?, &text[end..])),
            Err(_) if end > 0 => Err(wrong(text, "there is no such thread")),
            Err(_) if text.is_empty() => Ok((None, "")),
            Err(_) => Ok((one(self.scope.thread)?, text)),
        }
    }

    /// `k` and its letters: `[= FRAME STACK CODE] [FRAMES]`.
    pub(super) fn stack(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let letters = &name[1..];
        let digits = letters
            .find(|c: char| c.is_ascii_digit())
            .unwrap_or(letters.len());
        let (letters, number) = letters.split_at(digits);
        let mut count = match number {
            "" => FRAMES,
            number => self.value(number)?,
        };
        let mut rest = rest.trim();
        let mut context = self.current_context();
        // From another place: `k = STACK [INSTRUCTION]`, of 32-bit code `k = FRAME STACK INSTRUCTION`.
        if let Some(places) = rest.strip_prefix('=') {
            let (start, behind) = self.start_of_stack(places)?;
            context = Some(start);
            rest = behind;
        }
        if let Some(length) = rest.strip_prefix(['L', 'l']) {
            rest = length.trim();
        }
        if !rest.is_empty() {
            count = self.value(rest)?;
        }
        let Some(context) = context else {
            return Err(NO_REGISTERS);
        };
        if letters.contains('d') {
            return self.raw_stack(&context, count, out);
        }
        let form = StackForm {
            numbers: letters.contains(['n', 'f', 'M', 'm']),
            parameters: letters.contains(['b', 'v']),
            signatures: letters.contains(['p', 'P']),
            sizes: letters.contains('f'),
            calls_only: letters.contains('c'),
            lines: self.lines && !letters.contains(['L', 'l']),
        };
        let most = usize::try_from(count).unwrap_or(usize::MAX);
        let stack = unwind::walk(self.process, &context, most);
        if form.parameters {
            self.may_show_contents()?;
        }
        Ok(words::stack(self.process, self.names, &stack, &form, out)?)
    }

    /// The registers that a stack is followed from where they are typed, and what stands behind them:
    /// of 64-bit code the stack pointer and, if it is not the thread's, the instruction; of 32-bit code
    /// frame pointer, stack pointer and instruction.
    fn start_of_stack<'t>(&self, text: &'t str) -> Result<(Context, &'t str), CommandError> {
        let mut words = line::words(text);
        let is_length = |word: &&str| word.starts_with(['L', 'l']) && self.value(word).is_err();
        let length = words.iter().position(is_length);
        let places: Vec<&str> = words.drain(..length.unwrap_or(words.len())).collect();
        // A last number is how many functions are wanted.
        let most = match self.process.bitness {
            Bitness::X86 => 3,
            Bitness::X64 => 2,
        };
        let count = match places.len() > most {
            true => places.get(most),
            false => words.first(),
        };
        if places.len() > most + 1 {
            return Err(wrong(text, START_FORM));
        }
        let behind = count.map_or("", |word| {
            let at = word.as_ptr() as usize - text.as_ptr() as usize;
            &text[at..]
        });
        let values = places.iter().take(most).map(|word| self.value(word));
        let values = values.collect::<Result<Vec<u64>, _>>()?;
        let current = self.current_context();
        let instruction = current.map(|context| context.instruction_pointer());
        let (frame, stack, instruction) = match (self.process.bitness, values.as_slice()) {
            (Bitness::X86, &[frame, stack, instruction]) => (frame, stack, Some(instruction)),
            (Bitness::X86, &[frame]) => (frame, frame, instruction),
            (Bitness::X64, &[stack, instruction]) => (stack, stack, Some(instruction)),
            (Bitness::X64, &[stack]) => (stack, stack, instruction),
            _ => return Err(wrong(text, START_FORM)),
        };
        let architecture = match self.process.bitness {
            Bitness::X86 => Architecture::X86,
            Bitness::X64 => Architecture::X64,
        };
        let instruction = instruction.ok_or(NO_REGISTERS)?;
        let context = Context::starting_at(architecture, instruction, stack, frame);
        Ok((context, behind))
    }

    /// `kd`: what lies on the stack.
    fn raw_stack(
        &mut self,
        context: &Context,
        count: u64,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let operands = format!("{:#x} L{:x}", context.stack_pointer(), count);
        self.memory("dps", &operands, out)
    }

    /// `!uniqstack`: each stack once, however many threads have it.
    pub(super) fn unique_stacks(
        &mut self,
        rest: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let options = rest.to_ascii_lowercase();
        let form = StackForm {
            numbers: options.contains("-n"),
            parameters: options.contains("-b") || options.contains("-v"),
            signatures: options.contains("-p"),
            lines: self.lines,
            ..StackForm::default()
        };
        if form.parameters {
            self.may_show_contents()?;
        }
        let threads = &self.process.dump.threads;
        writeln!(out, "Processing {} threads, please wait\n", threads.len())?;
        let mut known = BTreeMap::<Vec<u64>, usize>::new();
        let mut doubles = Vec::new();
        for (index, thread) in threads.iter().enumerate() {
            let Some(context) = self.process.thread_context(thread) else {
                continue;
            };
            let stack = unwind::walk(self.process, &context, FRAMES as usize);
            let addresses = stack.frames.iter().map(|frame| frame.instruction).collect();
            if known.contains_key(&addresses) {
                doubles.push(index.to_string());
                continue;
            }
            known.insert(addresses, index);
            words::thread(
                self.process,
                self.names,
                index,
                self.scope.thread,
                true,
                out,
            )?;
            words::stack(self.process, self.names, &stack, &form, out)?;
            writeln!(out)?;
        }
        writeln!(out, "Total threads: {}", threads.len())?;
        if !doubles.is_empty() {
            let list = doubles.join(", ");
            let count = doubles.len();
            writeln!(
                out,
                "Duplicate callstacks: {count} (windbg thread #s follow):\n{list}"
            )?;
        }
        Ok(())
    }
}
