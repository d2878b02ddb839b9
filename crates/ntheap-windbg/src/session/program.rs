//! What carries out commands: lines of them, loops and conditions over them, scripts.
//!
//! Loops end: each line carries out so many commands at most, inside brackets so deep, and collects so
//! much text.

use std::fmt::Write;

use super::{CommandError, Session, add, line, wrong};

/// Commands that a line carries out, with all its loops.
const MOST_COMMANDS: u32 = 1 << 18;
/// Loops inside loops, scripts that call scripts.
const DEEPEST: u32 = 32;
/// Bytes that the commands in `.foreach`'s brackets may print.
const MOST_TEXT: usize = 64 << 20;

/// What a line has done so far.
#[derive(Debug, Default)]
pub(super) struct Run {
    carried_out: u32,
    depth: u32,
    flow: Flow,
    heaps: bool,
}

impl Run {
    /// Notes one more command; whether the line may carry it out.
    fn count(&mut self) -> Result<(), CommandError> {
        self.carried_out += 1;
        match self.is_exhausted() {
            true => Err(TOO_MANY),
            false => Ok(()),
        }
    }

    fn is_exhausted(&self) -> bool {
        self.carried_out > MOST_COMMANDS
    }

    pub(super) fn has_quit(&self) -> bool {
        self.flow == Flow::Quit
    }

    pub(super) fn looked_into_heaps(&self) -> bool {
        self.heaps
    }

    /// Notes that a command looked into heaps, if it was carried out.
    pub(super) fn looked_into_heaps_with(&mut self, result: &Result<(), CommandError>) {
        self.heaps |= matches!(result, Ok(()) | Err(CommandError::Output));
    }
}

/// Which command comes next.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Flow {
    #[default]
    Next,
    /// Behind the loop.
    Break,
    /// At the loop's beginning.
    Continue,
    /// Behind the block.
    Leave,
    /// None.
    Quit,
}

const TOO_MANY: CommandError = CommandError::Unavailable {
    reason: "stopped: a line carries out 262,144 commands at most, 32 deep",
};

/// Takes text up to a length.
struct Captured(String);

impl Write for Captured {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        if self.0.len() + text.len() > MOST_TEXT {
            return Err(std::fmt::Error);
        }
        self.0.push_str(text);
        Ok(())
    }
}

impl Session<'_, '_> {
    /// Carries out commands; a wrong one does not keep the others from being carried out.
    pub(super) fn commands(&mut self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        if self.run.depth >= DEEPEST {
            return Err(TOO_MANY);
        }
        self.run.depth += 1;
        let result = self.carry_out(text, out);
        self.run.depth -= 1;
        result
    }

    fn carry_out(&mut self, text: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut result = Ok(());
        let commands = line::commands(text);
        let mut next = 0;
        while let Some(command) = commands.get(next) {
            if self.run.flow != Flow::Next {
                break;
            }
            next += 1;
            self.count()?;
            let expanded = self.with_aliases(command);
            // `z (CONDITION)` repeats what stands in front of it in the line.
            let carried_out = match line::name(&expanded) {
                (name, condition) if name == "z" => self.value(condition).map(|condition| {
                    if condition != 0 {
                        next = 0;
                    }
                }),
                _ => self.dispatch(&expanded, out),
            };
            add(&mut result, carried_out)?;
        }
        result
    }

    /// Notes one more command; whether the line may carry it out.
    fn count(&mut self) -> Result<(), CommandError> {
        self.run.count()?;
        self.in_time()
    }

    /// Whether there is time for more.
    pub(super) fn in_time(&self) -> Result<(), CommandError> {
        match self.process.dump.is_out_of_time() {
            true => Err(CommandError::OutOfTime),
            false => Ok(()),
        }
    }

    /// The commands that say which commands are carried out; `None` for all others.
    pub(super) fn control(
        &mut self,
        name: &str,
        rest: &str,
        out: &mut dyn Write,
    ) -> Option<Result<(), CommandError>> {
        Some(match name {
            "q" | "qq" | "qd" | ".quit" | ".exit" => self.leave(Flow::Quit),
            ".break" => self.leave(Flow::Break),
            ".continue" => self.leave(Flow::Continue),
            ".leave" => self.leave(Flow::Leave),
            ".block" | ".catch" => self.block(name, rest, out),
            ".if" => self.condition(rest, out),
            ".else" | ".elsif" => Err(wrong(name, "there is no .if in front of it")),
            ".while" => self.repeat_while(rest, out),
            ".do" => self.repeat_do(rest, out),
            ".for" => self.repeat_for(rest, out),
            ".foreach" => self.for_each(rest, out),
            "!for_each_module" => self.for_each_module(rest, out),
            "!for_each_frame" => self.for_each_frame(rest, out),
            "!list" => self.follow_list(rest, out),
            "j" => self.choose(rest, out),
            _ if name.starts_with('$') => self.script(&format!("{name}{rest}"), out),
            _ => return None,
        })
    }

    fn leave(&mut self, flow: Flow) -> Result<(), CommandError> {
        self.run.flow = flow;
        Ok(())
    }

    /// Carries out the commands of a loop's body once; whether the loop goes on.
    pub(super) fn body(
        &mut self,
        commands: &str,
        result: &mut Result<(), CommandError>,
        out: &mut dyn Write,
    ) -> Result<bool, CommandError> {
        // An empty body counts, too, or it would be repeated for ever.
        self.count()?;
        match self.commands(commands, out) {
            Err(error) if self.run.is_exhausted() => return Err(error),
            carried_out => add(result, carried_out)?,
        }
        Ok(match self.run.flow {
            Flow::Next => true,
            Flow::Continue => {
                self.run.flow = Flow::Next;
                true
            }
            Flow::Break => {
                self.run.flow = Flow::Next;
                false
            }
            Flow::Leave | Flow::Quit => false,
        })
    }

    fn block(&mut self, name: &str, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let (commands, _) = block_of(rest)?;
        let result = self.commands(commands, out);
        if self.run.flow == Flow::Leave {
            self.run.flow = Flow::Next;
        }
        // What is caught is said, and no error of the line.
        match result {
            Err(error) if name == ".catch" && !error.ends_line() => Ok(writeln!(out, "{error}")?),
            result => result,
        }
    }

    fn condition(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let mut rest = rest;
        loop {
            let (condition, behind) = brackets_of(rest)?;
            let (commands, behind) = block_of(behind)?;
            if self.value(condition)? != 0 {
                return self.commands(commands, out);
            }
            let behind = behind.trim_start();
            if let Some(behind) = behind.strip_prefix(".elsif") {
                rest = behind;
            } else if let Some(behind) = behind.strip_prefix(".else") {
                let (commands, _) = block_of(behind)?;
                return self.commands(commands, out);
            } else {
                return Ok(());
            }
        }
    }

    fn repeat_while(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let (condition, behind) = brackets_of(rest)?;
        let (commands, _) = block_of(behind)?;
        let mut result = Ok(());
        while self.value(condition)? != 0 && self.body(commands, &mut result, out)? {}
        result
    }

    fn repeat_do(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let (commands, behind) = block_of(rest)?;
        let (condition, _) = brackets_of(behind)?;
        let mut result = Ok(());
        while self.body(commands, &mut result, out)? && self.value(condition)? != 0 {}
        result
    }

    fn repeat_for(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let (head, behind) = brackets_of(rest)?;
        let (commands, _) = block_of(behind)?;
        let parts: Vec<&str> = head.split(';').map(str::trim).collect();
        let [first, condition, next] = parts[..] else {
            return Err(wrong(head, "a start, a condition and a step are expected"));
        };
        let mut result = Ok(());
        let started = self.commands(first, out);
        add(&mut result, started)?;
        loop {
            if !condition.is_empty() && self.value(condition)? == 0 {
                break;
            }
            if !self.body(commands, &mut result, out)? {
                break;
            }
            let stepped = self.commands(next, out);
            add(&mut result, stepped)?;
        }
        result
    }

    /// `.foreach [/pS N] [/ps N] (NAME {COMMANDS}) {COMMANDS}`: for each word that the first commands
    /// print; also with a string of words, and with the words of a file.
    fn for_each(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let (mut first, mut skip) = (0, 0);
        let (mut rest, mut of_file) = (rest.trim_start(), false);
        while let Some(option) = rest.strip_prefix('/') {
            let end = option.find(|c: char| c.is_whitespace() || c == '(');
            let (option, behind) = option.split_at(end.unwrap_or(option.len()));
            rest = behind.trim_start();
            let number = match option {
                "pS" => &mut first,
                "ps" => &mut skip,
                "f" => {
                    of_file = true;
                    continue;
                }
                _ => return Err(wrong(option, ".foreach knows /pS, /ps and /f")),
            };
            let end = rest.find(|c: char| c.is_whitespace() || c == '(');
            let (text, behind) = rest.split_at(end.unwrap_or(rest.len()));
            *number = usize::try_from(self.value(text)?).unwrap_or(usize::MAX);
            rest = behind.trim_start();
        }
        let (head, behind) = brackets_of(rest)?;
        let (commands, _) = block_of(behind)?;
        let head = head.trim();
        let end = head.find(|c: char| c.is_whitespace() || c == '{' || c == '"');
        let (variable, source) = head.split_at(end.unwrap_or(head.len()));
        let source = source.trim();
        let mut result = Ok(());
        let text = if let Some((commands, _)) = line::bracketed(source, '{', '}') {
            let mut captured = Captured(String::new());
            match self.commands(commands, &mut captured) {
                Err(CommandError::Output) => {
                    return Err(CommandError::Unavailable {
                        reason: "the commands in .foreach's brackets print too much",
                    });
                }
                carried_out => result = carried_out,
            }
            captured.0
        } else if of_file {
            self.read_script(source.trim_matches('"'))?
        } else {
            source.trim_matches('"').to_owned()
        };
        if variable.is_empty() {
            return Err(wrong(head, "a name and {commands} are expected"));
        }
        let mut words = text.split_whitespace().skip(first);
        while let Some(word) = words.next() {
            let commands = replaced(commands, variable, word);
            if !self.body(&commands, &mut result, out)? {
                break;
            }
            // As many are passed over.
            if skip > 0 {
                words.by_ref().take(skip).for_each(drop);
            }
        }
        result
    }

    /// `!for_each_module COMMANDS`: with `@#ModuleName`, `@#Base`, `@#End`, `@#Size` of each.
    fn for_each_module(&mut self, rest: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let commands = line::unquoted(rest);
        if commands.is_empty() {
            return self.dispatch("lm", out);
        }
        let mut modules: Vec<_> = self.process.dump.modules.iter().collect();
        modules.sort_by_key(|module| module.base);
        let mut result = Ok(());
        for module in modules {
            let mut text = commands.to_owned();
            let image = module.file_name();
            for (name, value) in [
                ("ModuleName", module.name().to_owned()),
                ("ImageName", image.to_owned()),
                ("LoadedImageName", module.path.clone()),
                ("Base", format!("{:#x}", module.base)),
                ("End", format!("{:#x}", module.end())),
                ("Size", format!("{:#x}", module.size)),
            ] {
                text = text.replace(&format!("${{@#{name}}}"), &value);
                text = text.replace(&format!("@#{name}"), &value);
            }
            if !self.body(&text, &mut result, out)? {
                break;
            }
        }
        result
    }

    /// `$<FILE`, `$><FILE`, `$$<FILE`, `$$><FILE` and `$$>a<FILE ARGUMENTS`.
    fn script(&mut self, command: &str, out: &mut dyn Write) -> Result<(), CommandError> {
        let kinds = ["$$>a<", "$$><", "$$<", "$><", "$<"];
        let found = kinds.iter().find_map(|kind| {
            let rest = command.get(kind.len()..)?;
            command[..kind.len()]
                .eq_ignore_ascii_case(kind)
                .then_some((*kind, rest.trim()))
        });
        let Some((kind, operand)) = found else {
            return Err(CommandError::Unknown {
                typed: command.to_owned(),
                nearest: "$$>a<FILE",
            });
        };
        let (file, arguments) = match kind {
            "$$>a<" => {
                let words = line::words(operand);
                let (file, arguments) = words.split_first().unwrap_or((&"", &[]));
                (file.trim_matches('"'), arguments.to_vec())
            }
            _ => (operand.trim_matches('"'), Vec::new()),
        };
        let mut text = self.read_script(file)?;
        for index in 0..32 {
            let place = format!("${{$arg{}}}", index + 1);
            let argument = arguments
                .get(index)
                .map_or("", |text| text.trim_matches('"'));
            text = text.replace(&place, argument);
        }
        // A block of commands may go over lines; otherwise each line is as if it were typed.
        if kind.contains("><") || kind == "$$>a<" {
            return self.commands(&text, out);
        }
        let mut result = Ok(());
        for line in text.lines() {
            if self.run.flow != Flow::Next {
                break;
            }
            writeln!(out, "{}{line}", self.prompt())?;
            let carried_out = self.commands(line, out);
            if let Err(error) = &carried_out
                && !error.ends_line()
            {
                writeln!(out, "{error}")?;
            }
            add(&mut result, carried_out)?;
        }
        result
    }

    fn read_script(&self, path: &str) -> Result<String, CommandError> {
        let Some(reader) = self.scripts else {
            return Err(CommandError::Unavailable {
                reason: "scripts are not read here",
            });
        };
        reader(path).map_err(|_| wrong(path, "the script can't be read"))
    }
}

/// The condition in round brackets, and what stands behind it.
fn brackets_of(text: &str) -> Result<(&str, &str), CommandError> {
    line::bracketed(text, '(', ')').ok_or_else(|| wrong(text, "(…) is expected"))
}

/// The commands in braces, and what stands behind them.
fn block_of(text: &str) -> Result<(&str, &str), CommandError> {
    line::bracketed(text, '{', '}').ok_or_else(|| wrong(text, "{…} is expected"))
}

/// A text with a value for each place of a variable: `${NAME}`, and the name alone where it is a word
/// of its own (`-a` is none of `a`).
pub(super) fn replaced(text: &str, name: &str, value: &str) -> String {
    let text = text.replace(&format!("${{{name}}}"), value);
    let parts = |c: char| c.is_whitespace() || ";,(){}\"'<>=".contains(c);
    let ends = |c: char| parts(c) || "+-*:".contains(c);
    let mut done = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some(at) = rest.find(name) {
        let (before, behind) = (&rest[..at], &rest[at + name.len()..]);
        let front = before.chars().next_back().or(done.chars().next_back());
        let alone = front.is_none_or(parts) && behind.chars().next().is_none_or(ends);
        done.push_str(before);
        done.push_str(if alone { value } else { name });
        rest = behind;
    }
    done.push_str(rest);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_replaced_where_they_stand_alone() {
        assert_eq!(replaced("dd a;db ${a}+a", "a", "10"), "dd 10;db 10+a");
        assert_eq!(replaced("!heap -p -a a", "a", "10"), "!heap -p -a 10");
        assert_eq!(replaced("? poi(a+8)", "a", "10"), "? poi(10+8)");
        assert_eq!(replaced("da a L1", "a", "10"), "da 10 L1");
        assert_eq!(replaced("aa", "a", "1"), "aa");
        assert_eq!(replaced("", "a", "1"), "");
        assert_eq!(replaced("é a é", "a", "x"), "é x é");
    }
}
