//! From the words of a command to the module that prints it.

use std::fmt::Write;

use super::{CommandError, Scope, Session, line, refusals};
use crate::words;
use ntheap::{layout::Bitness, traces::Traces};

/// The commands, as a user types them.
pub const COMMANDS: &[&str] = &[
    "!address",
    "!analyze",
    "!avrf",
    "!cs",
    "!dh",
    "!dlls",
    "!envvar",
    "!error",
    "!findstack",
    "!for_each_frame",
    "!for_each_module",
    "!gflag",
    "!gle",
    "!handle",
    "!heap",
    "!list",
    "!lmi",
    "!locks",
    "!peb",
    "!runaway",
    "!str",
    "!teb",
    "!uniqstack",
    "!ustr",
    "!vadump",
    "!vprot",
    ".block",
    ".break",
    ".catch",
    ".chain",
    ".continue",
    ".cxr",
    ".do",
    ".dumpdebug",
    ".echo",
    ".ecxr",
    ".effmach",
    ".exr",
    ".for",
    ".foreach",
    ".formats",
    ".frame",
    ".if",
    ".imgscan",
    ".lastevent",
    ".leave",
    ".lines",
    ".printf",
    ".symopt",
    ".sympath",
    ".time",
    ".ttime",
    ".while",
    "?",
    "??",
    "$$>a<",
    "$<",
    "ad",
    "al",
    "as",
    "c",
    "d",
    "dD",
    "dW",
    "da",
    "db",
    "dc",
    "dd",
    "dda",
    "ddp",
    "ddu",
    "dds",
    "df",
    "dl",
    "dp",
    "dpa",
    "dpp",
    "dps",
    "dpu",
    "dq",
    "dqa",
    "dqp",
    "dqs",
    "dqu",
    "ds",
    "dS",
    "dt",
    "du",
    "dw",
    "dyb",
    "dyd",
    "j",
    "k",
    "kb",
    "kc",
    "kd",
    "kn",
    "kp",
    "kP",
    "kv",
    "lm",
    "lmv",
    "ln",
    "n",
    "r",
    "s",
    "version",
    "vertarget",
    "x",
    "z",
    "|",
    "||",
    "~",
];

impl Session<'_, '_> {
    pub(super) fn dispatch(
        &mut self,
        command: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let (name, rest) = line::name(command);
        if rest == "-?"
            && let Some(usage) = usage(&name)
        {
            return Ok(writeln!(out, "{name} {usage}")?);
        }
        if let Some(result) = self.control(&name, rest, out) {
            return result;
        }
        if let Some(result) = self.alias(&name, rest, out) {
            return result;
        }
        if let Some(result) = self.set_up(&name, rest, out) {
            return result;
        }
        let words = line::words(rest);
        match name.as_str() {
            "!heap" => {
                let words = line::heap_words(rest);
                let result = match words.first() {
                    Some(word) if word.eq_ignore_ascii_case("-i") => self.detail(&words[1..], out),
                    _ => self.heap(&words, out),
                };
                self.run.looked_into_heaps_with(&result);
                result
            }
            "!address" => {
                let result = self.address(rest, out);
                self.run.looked_into_heaps_with(&result);
                result
            }
            "!vprot" | "!vadump" => self.protection(&name, rest, out),
            "!error" => self.error_code(&words, out),
            "!gle" => self.last_error(&words, out),
            "!analyze" => self.analyze(&words, out),
            "!findstack" => self.find_stack(&words, out),
            "!runaway" | ".ttime" => self.thread_times(&name, &words, out),
            "!lmi" => self.module_info(rest, out),
            "!dh" => self.image_headers(&words, out),
            ".imgscan" => Ok(words::images(self.process, out)?),
            ".frame" => self.frame(rest, out),
            ".dumpdebug" => Ok(words::streams(self.process, out)?),
            "c" => self.compare_memory(rest, out),
            "!str" => self.memory("ds", rest, out),
            "!ustr" => self.memory("dS", rest, out),
            "lm" => self.modules(&words, out),
            "ln" => {
                let address = match rest {
                    "" => self.value("@$ip")?,
                    _ => self.value(rest)?,
                };
                let lines = self.lines;
                Ok(words::nearest(
                    self.process,
                    self.names,
                    address,
                    lines,
                    out,
                )?)
            }
            "x" => self.search_symbols(&words, out),
            "s" => self.search_memory(rest, out),
            "?" => self.number(rest, out),
            "!help" | ".help" | ".extmatch" => self.number("", out),
            "??" => self.typed_number(rest, out),
            ".formats" => self.formats(rest, out),
            ".printf" => self.print_formatted(rest, out),
            "n" => self.set_radix(rest, out),
            ".echo" => Ok(writeln!(out, "{}", rest.trim_matches('"'))?),
            ".lines" => {
                self.lines = match rest {
                    "-e" => true,
                    "-d" => false,
                    _ => !self.lines,
                };
                let state = if self.lines { "" } else { "not " };
                Ok(writeln!(
                    out,
                    "Line number information will {state}be loaded"
                )?)
            }
            "dt" => self.dt(&words, out),
            ".effmach" => self.machine(&words, out),
            "~" => self.thread_command(rest, out),
            "|" | "||" => self.processes(&name, rest, out),
            "r" => self.registers(rest, out),
            ".ecxr" | ".cxr" => self.take_context(&name, rest, out),
            ".exr" | ".lastevent" => self.exception(&name, rest, out),
            "vertarget" | "version" | ".time" => self.target(&name, out),
            "!peb" | "!teb" | "!dlls" | "!gflag" | "!locks" | "!handle" | "!envvar" | "!cs"
            | "!avrf" => self.environment(&name, &words, out),
            "!uniqstack" => self.unique_stacks(rest, out),
            display if self.is_display(display) => self.memory(display, rest, out),
            stack if super::threads::is_stack(stack) => self.stack(stack, rest, out),
            letters if letters.starts_with("lm") => {
                let letters = std::iter::once(&letters[2..]);
                let words: Vec<&str> = letters.chain(words.iter().copied()).collect();
                self.modules(&words, out)
            }
            known if refusals::HARMLESS.contains(&known) => Ok(()),
            _ => Err(match refusals::refusal(&name) {
                Some(reason) => CommandError::Unavailable { reason },
                // What is far from every command is no misspelt one, but another extension's.
                None if is_foreign(&name) => CommandError::Unavailable {
                    reason: refusals::FOREIGN,
                },
                None => CommandError::Unknown {
                    nearest: nearest(&name, COMMANDS),
                    typed: name,
                },
            }),
        }
    }

    fn machine(&mut self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let names = |bitness| match bitness {
            Bitness::X86 => ("x86", "x86 compatible (x86)"),
            Bitness::X64 => ("amd64", "x64 (AMD64)"),
        };
        if let Some(wanted) = operands.first() {
            let wanted = wanted.to_ascii_lowercase();
            if !matches!(wanted.as_str(), "x86" | "amd64" | "x64" | "." | "#") {
                return Err(CommandError::Operand {
                    text: wanted,
                    reason: "not a machine: x86 or amd64",
                });
            }
            let current = names(self.process.bitness).0;
            let stays = wanted == "."
                || wanted == current
                || (wanted, current) == ("x64".to_owned(), "amd64");
            if !stays {
                let Some(other) = self.other_side else {
                    return Err(CommandError::Unavailable {
                        reason: "the process has one machine only",
                    });
                };
                self.other_side = Some(self.heaps);
                self.heaps = other;
                self.process = other.process();
                self.traces = Traces::of(self.process);
                self.assumed_heap = None;
                self.scope = Scope::of_thread(self.scope.thread);
            }
        }
        let (_, text) = names(self.process.bitness);
        Ok(writeln!(out, "Effective machine: {text}")?)
    }
}

/// What stands behind the name of an extension's command.
fn usage(name: &str) -> Option<&'static str> {
    Some(match name {
        "!analyze" => "[-v | -hang | -show CODE]",
        "!avrf" => "",
        "!cs" => "[-l] [ADDRESS | FROM TO]",
        "!dh" => "[-f] [-s] MODULE",
        "!dlls" => "[-l | -i | -m] [ADDRESS]",
        "!envvar" => "NAME",
        "!error" => "CODE [1]",
        "!findstack" => "TEXT [0 | 1 | 2]",
        "!for_each_frame" | "!for_each_module" => "COMMANDS",
        "!gflag" => "",
        "!teb" | "!peb" => "[ADDRESS]",
        "!gle" => "[-all]",
        "!handle" => "[HANDLE [FLAGS [TYPE]]]: of flags 1 is the type, 2 rights, 4 the name",
        "!list" => "-t [MODULE!]TYPE.FIELD [-x \"COMMANDS\"] [-e] [-m COUNT] ADDRESS",
        "!lmi" => "MODULE",
        "!locks" => "[-v]",
        "!runaway" => "[FLAGS]: 1 time in user mode, 2 in the kernel, 4 since the thread began",
        "!uniqstack" => "[-b] [-p] [-n]",
        "!vadump" => "[-v]",
        "!vprot" => "[ADDRESS]",
        _ => return None,
    })
}

/// Whether a name is that of an extension which is not like any command here.
fn is_foreign(name: &str) -> bool {
    // In a short name one other character is another word.
    let alike = if name.len() > 5 { 2 } else { 1 };
    name.starts_with('!') && distance(name, nearest(name, COMMANDS)) > alike
}

/// The candidate that takes the fewest changes of a character; of extensions' commands an extension's.
fn nearest(typed: &str, candidates: &[&'static str]) -> &'static str {
    let extension = typed.starts_with('!');
    candidates
        .iter()
        .filter(|candidate| candidate.starts_with('!') == extension)
        .min_by_key(|candidate| distance(typed, candidate))
        .copied()
        .unwrap_or_default()
}

/// Number of inserted, removed and changed characters.
fn distance(a: &str, b: &str) -> usize {
    // More than any command has: what is longer is no misspelt command.
    const LONGEST: usize = 64;
    let a: Vec<char> = a.to_lowercase().chars().take(LONGEST).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (line, right) in b.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, left) in a.iter().enumerate() {
            let changed = diagonal + usize::from(*left != right);
            diagonal = row[column + 1];
            row[column + 1] = changed.min(row[column] + 1).min(diagonal + 1);
        }
    }
    row[a.len()]
}
