//! From the words of a command to the module that prints it.

use std::fmt::Write;

use super::{CommandError, Session, line};
use crate::words::{self, Detail, ReportOptions, SummaryOptions};
use ntheap::{
    dump::Module,
    layout::Bitness,
    names::matches_pattern,
    stats::{self, Order},
    traces::Traces,
};

/// The commands, as a user types them.
pub const COMMANDS: &[&str] = &[
    "!address", "!heap", ".echo", ".effmach", ".lines", "?", "da", "db", "dc", "dd", "dds", "dp",
    "dps", "dq", "dqs", "dt", "du", "dw", "lm", "ln", "x",
];

impl Session<'_, '_> {
    pub(super) fn dispatch(
        &mut self,
        command: &str,
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let (name, rest) = line::name(command);
        let arguments: Vec<&str> = rest.split_whitespace().collect();
        match name.as_str() {
            "!heap" => {
                let words = line::heap_words(rest);
                match words.first() {
                    Some(word) if word.eq_ignore_ascii_case("-i") => self.detail(&words[1..], out),
                    _ => self.heap(&words, out),
                }
            }
            "!address" => self.address(&arguments, out),
            "lm" => self.modules(&arguments, out),
            "ln" => {
                let address = self.value(rest)?;
                let lines = self.lines;
                Ok(words::nearest(
                    self.process,
                    self.names,
                    address,
                    lines,
                    out,
                )?)
            }
            "x" => self.search(&arguments, out),
            "?" => self.number(rest, out),
            ".echo" => Ok(writeln!(out, "{}", rest.trim_matches('"'))?),
            ".lines" => {
                self.lines = !self.lines;
                let state = if self.lines { "" } else { "not " };
                Ok(writeln!(
                    out,
                    "Line number information will {state}be loaded"
                )?)
            }
            "dt" => self.dt(&arguments, out),
            ".effmach" => self.machine(&arguments, out),
            "da" | "db" | "dc" | "dd" | "dds" | "dp" | "dps" | "dq" | "dqs" | "du" | "dw" => {
                self.memory(&name, &arguments, out)
            }
            letters if letters.starts_with("lm") => {
                let letters = std::iter::once(&letters[2..]);
                let words: Vec<&str> = letters.chain(arguments.iter().copied()).collect();
                self.modules(&words, out)
            }
            known if line::HARMLESS.contains(&known) => Ok(()),
            _ => Err(match line::refusal(&name) {
                Some(reason) => CommandError::Unavailable { reason },
                None => CommandError::Unknown {
                    nearest: nearest(&name, COMMANDS),
                    typed: name,
                },
            }),
        }
    }

    /// `? EXPRESSION`.
    fn number(&self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let value = self.value(text)?;
        let shown = words::back_quoted(value, self.process.bitness);
        // As a signed number of the process's pointers.
        let signed = match self.process.bitness {
            Bitness::X64 => value as i64,
            Bitness::X86 => i64::from(value as i32),
        };
        Ok(writeln!(out, "Evaluate expression: {signed} = {shown}")?)
    }

    /// `lm`, `lm m PATTERN` and `lm a ADDRESS`, the letters also behind `lm` at once.
    fn modules(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let operand = |text: &&str| self.value(text);
        match operands {
            [] => Ok(words::modules(self.process, self.names, &|_| true, out)?),
            [option, pattern] if option.eq_ignore_ascii_case("m") => {
                let pattern = pattern.to_ascii_lowercase();
                let matches = |name: &str| matches_pattern(&pattern, &name.to_ascii_lowercase());
                let wanted = |module: &Module| matches(module.name());
                Ok(words::modules(self.process, self.names, &wanted, out)?)
            }
            [option, address] if option.eq_ignore_ascii_case("a") => {
                let address = operand(address)?;
                let wanted = |module: &Module| (module.base..module.end()).contains(&address);
                Ok(words::modules(self.process, self.names, &wanted, out)?)
            }
            _ => Err(CommandError::Operand {
                text: operands.join(" "),
                reason: "lm takes nothing, m PATTERN or a ADDRESS",
            }),
        }
    }

    fn address(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        match operands.first() {
            Some(word) if word.eq_ignore_ascii_case("-summary") => {
                Ok(words::address_summary(self.heaps, &self.traces, out)?)
            }
            Some(word) if !word.starts_with('-') => {
                let address = self.value(&operands.join(" "))?;
                Ok(words::address(self.heaps, &self.traces, address, out)?)
            }
            other => Err(CommandError::Operand {
                text: other.copied().unwrap_or("!address").to_owned(),
                reason: "an address or -summary is expected",
            }),
        }
    }

    fn search(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let pattern = operands.join(" ");
        if !pattern.contains('!') {
            return Err(CommandError::Operand {
                text: pattern,
                reason: "a pattern is MODULE!NAME, with * and ?",
            });
        }
        Ok(words::search(self.process, self.names, &pattern, out)?)
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
            }
        }
        let (_, text) = names(self.process.bitness);
        Ok(writeln!(out, "Effective machine: {text}")?)
    }

    /// A heap, by handle or by the index that lists show; 0 or nothing stands for all.
    fn heap_operand(&self, text: Option<&&str>) -> Result<Option<u64>, CommandError> {
        let Some(text) = text else {
            return Ok(None);
        };
        let value = self.value(text)?;
        if value == 0 {
            return Ok(None);
        }
        let heaps = &self.process.heaps;
        let by_index = || heaps.get(usize::try_from(value).ok()?.checked_sub(1)?);
        let normal = &self.process.normal_heaps;
        if heaps.iter().chain(normal).any(|heap| heap.handle == value) {
            return Ok(Some(value));
        }
        by_index()
            .map(|heap| Some(heap.handle))
            .ok_or_else(|| CommandError::Operand {
                text: (*text).to_owned(),
                reason: "not the handle of a heap",
            })
    }

    fn heap(&self, arguments: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let Some((option, rest)) = arguments.split_first() else {
            return Ok(words::list(self.heaps, out)?);
        };
        match option.to_ascii_lowercase().as_str() {
            "-?" => Ok(out.write_str(line::HEAP_USAGE)?),
            _ if rest.contains(&"-?") => Ok(out.write_str(line::HEAP_USAGE)?),
            // A heap alone, or 0 for all.
            heap if !heap.starts_with('-') => {
                let only = self.heap_operand(Some(option))?;
                Ok(words::headers(self.heaps, only, Detail::default(), out)?)
            }
            "-triage" if !rest.is_empty() => Err(CommandError::Operand {
                text: rest.join(" "),
                reason: "-triage looks into all heaps and takes no operand",
            }),
            "-h" => self.headers(Detail::ENTRIES, rest, out),
            "-a" => self.headers(Detail::ALL, rest, out),
            "-m" => self.headers(Detail::SEGMENTS, rest, out),
            "-f" => self.headers(Detail::FREE, rest, out),
            "-v" => self.headers(Detail::FIELDS, rest, out),
            "-hl" => self.headers(Detail::SLOTS, rest, out),
            "-p" => self.heap_p(rest, out),
            "-s" => self.summary(rest, out),
            "-stat" => self.stat(rest, out),
            "-flt" => self.filter(rest, out),
            "-triage" => Ok(words::triage(self.heaps, out)?),
            "-l" => {
                let (heaps, traces) = (self.heaps, &self.traces);
                Ok(words::unreachable(heaps, traces, self.names, out)?)
            }
            "-g" => Ok(words::global_tags(self.heaps, out)?),
            _ if option == &"-T" => match self.heap_operand(rest.first())? {
                Some(handle) => Ok(words::pseudo_tags(self.heaps, handle, out)?),
                None => self.headers(Detail::default(), &[], out),
            },
            "-t" => self.headers(Detail::default(), &[], out),
            "-k" => {
                let only = self.heap_operand(rest.first())?;
                Ok(words::headers(self.heaps, only, Detail::default(), out)?)
            }
            "-x" => {
                let verbose = rest.iter().any(|word| word.eq_ignore_ascii_case("-v"));
                let operand = rest.iter().find(|word| !word.starts_with('-'));
                let address = self.value(operand.copied().unwrap_or_default())?;
                Ok(words::find(self.heaps, address, verbose, out)?)
            }
            _ => Err(CommandError::Unknown {
                typed: format!("!heap {option}"),
                nearest: "!heap",
            }),
        }
    }

    fn headers(
        &self,
        detail: Detail,
        operands: &[&str],
        out: &mut dyn Write,
    ) -> Result<(), CommandError> {
        let only = self.heap_operand(operands.first())?;
        let detail = if operands.is_empty() {
            Detail::default()
        } else {
            detail
        };
        Ok(words::headers(self.heaps, only, detail, out)?)
    }

    fn summary(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let flag = |name| operands.iter().any(|word| word.eq_ignore_ascii_case(name));
        let options = SummaryOptions {
            verbose: flag("-v"),
            ..SummaryOptions::named(self.process, self.names)
        };
        let after = |name: &str| {
            let at = operands
                .iter()
                .position(|word| word.eq_ignore_ascii_case(name))?;
            operands.get(at + 1)
        };
        let operand = after("-h").or_else(|| operands.iter().find(|word| !word.starts_with('-')));
        if let Some(handle) = self.heap_operand(operand)? {
            // Of a page heap the debugger knows the normal heap alone.
            let listed = self.heaps.iter().find(|heap| heap.handle() == handle);
            let heap = listed.ok_or_else(|| CommandError::Operand {
                text: format!("{handle:x}"),
                reason: "not the handle of a heap",
            })?;
            let mut report = ReportOptions {
                verbose: options.verbose,
                entries: flag("-a"),
                ..ReportOptions::default()
            };
            if let Some(text) = after("-b") {
                report.bucket = Some(self.value(text)?);
            }
            return Ok(words::report(self.process, heap, report, out)?);
        }
        Ok(words::summary(self.heaps, &options, self.names, out)?)
    }

    fn stat(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let bitness = self.process.bitness;
        let after = |name: &str| {
            let at = operands
                .iter()
                .position(|word| word.eq_ignore_ascii_case(name))?;
            operands.get(at + 1..)
        };
        let Some(handle) = after("-h") else {
            return Ok(words::heap_sizes(self.heaps, bitness, out)?);
        };
        let group = after("-grp").unwrap_or_default();
        let order = match group
            .first()
            .map(|word| word.to_ascii_uppercase())
            .as_deref()
        {
            Some("A") => Order::Size,
            Some("B") => Order::Blocks,
            None | Some("S") => Order::Total,
            Some(_) => {
                return Err(CommandError::Operand {
                    text: group[0].to_owned(),
                    reason: "-grp takes A (size), B (count) or S (total)",
                });
            }
        };
        let rows = match group.get(1) {
            Some(text) => usize::try_from(self.value(text)?).unwrap_or(usize::MAX),
            None => words::DEFAULT_ROWS,
        };
        let handle = match handle.first() {
            Some(text) => self.value(text)?,
            None => 0,
        };
        let statistics = stats::collect(self.heaps);
        if handle == 0 {
            words::all_block_sizes(&statistics, bitness, order, rows, out)?;
        } else {
            let behind = stats::behind_page_heap(self.heaps, handle);
            let heap = statistics.iter().find(|heap| heap.handle == handle);
            words::block_sizes(handle, heap.or(behind.as_ref()), bitness, order, rows, out)?;
        }
        Ok(())
    }

    fn filter(&self, operands: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let wrong = || {
            // The message of the debugger, for the criteria that it does not understand either.
            format!("cound not parse flt criteria -flt {}\n", operands.join(" "))
        };
        let number = |index: usize| {
            let text = operands.get(index)?;
            self.value(text).ok().filter(|&value| value != 0)
        };
        let kind = operands.first().map(|word| word.to_ascii_lowercase());
        let sizes = match kind.as_deref() {
            Some("s") => number(1).map(|size| size..=size),
            // The upper bound, which is not 0, is not taken in.
            Some("r") => number(1).zip(number(2)).map(|(from, to)| from..=to - 1),
            _ => None,
        };
        let Some(sizes) = sizes else {
            return Ok(out.write_str(&wrong())?);
        };
        words::filter(self.heaps, sizes, self.names, out)?;
        Ok(())
    }

    fn heap_p(&self, arguments: &[&str], out: &mut dyn Write) -> Result<(), CommandError> {
        let Some((option, rest)) = arguments.split_first() else {
            return Ok(words::overview(self.heaps, &self.traces, out)?);
        };
        match option.to_ascii_lowercase().as_str() {
            "-all" => Ok(words::blocks(self.heaps, self.names, None, out)?),
            "-h" => {
                let only = self.heap_operand(rest.first())?;
                Ok(words::blocks(self.heaps, self.names, only, out)?)
            }
            "-a" => {
                let address = self.value(rest.first().copied().unwrap_or_default())?;
                let traces = &self.traces;
                Ok(words::block_at(
                    self.heaps, traces, self.names, address, out,
                )?)
            }
            _ => Err(CommandError::Unknown {
                typed: format!("!heap -p {option}"),
                nearest: "!heap -p",
            }),
        }
    }
}

/// The candidate that takes the fewest changes of a character.
fn nearest(typed: &str, candidates: &[&'static str]) -> &'static str {
    candidates
        .iter()
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
