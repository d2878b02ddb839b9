//! The debugger's own command language, over one dump.
//!
//! A [`Session`] takes the commands that are typed at the debugger's prompt and prints what the
//! debugger would print.

mod address;
mod alias;
mod branches;
mod command;
mod detail;
mod dt;
mod errors;
mod follow;
mod frames;
mod heap;
mod images;
mod line;
mod memory;
mod modules;
mod number;
mod parse;
mod program;
mod refusals;
mod registers;
mod scope;
mod search;
mod setup;
mod system;
mod terms;
mod threads;

use std::{
    collections::BTreeMap,
    fmt::{self, Write},
};

pub use command::COMMANDS;
pub use parse::{SymbolLookup, evaluate};
use scope::Scope;

use ntheap::{heap::Heaps, losses::Losses, names::NameSource, process::Process, traces::Traces};

/// Why a command was not carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum CommandError {
    /// No such command.
    Unknown {
        /// What was typed.
        typed: String,
        /// The known command that is most like it.
        nearest: &'static str,
    },
    /// An operand can't be understood.
    Operand {
        /// The operand.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The command is known but can't be carried out on this dump.
    Unavailable {
        /// Why.
        reason: &'static str,
    },
    /// The output could not be written.
    Output,
    /// The time is up that [`Dump::stop_at`](ntheap::dump::Dump::stop_at) set: what was printed until
    /// then is all there is.
    OutOfTime,
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Unknown { typed, nearest } => {
                write!(f, "unknown command {typed}; the nearest one is {nearest}")
            }
            CommandError::OutOfTime => f.write_str("stopped: the time is up"),
            CommandError::Operand { text, reason } => write!(f, "{text}: {reason}"),
            CommandError::Unavailable { reason } => f.write_str(reason),
            CommandError::Output => write!(f, "the output could not be written"),
        }
    }
}

impl std::error::Error for CommandError {}

/// The error of an operand that can't be understood.
fn wrong(text: &str, reason: &'static str) -> CommandError {
    CommandError::Operand {
        text: text.to_owned(),
        reason,
    }
}

impl CommandError {
    /// Whether nothing more is carried out behind it, whatever stands there.
    const fn ends_line(&self) -> bool {
        matches!(self, CommandError::Output | CommandError::OutOfTime)
    }
}

/// Adds what came of a command to what came of those in front of it, of which the first error counts.
/// An error here is one that ends the line.
fn add(
    result: &mut Result<(), CommandError>,
    carried_out: Result<(), CommandError>,
) -> Result<(), CommandError> {
    match carried_out {
        Err(error) if error.ends_line() => return Err(error),
        Err(error) if result.is_ok() => *result = Err(error),
        _ => {}
    }
    Ok(())
}

impl From<fmt::Error> for CommandError {
    fn from(_: fmt::Error) -> Self {
        CommandError::Output
    }
}

/// What came of a line of commands.
#[derive(Debug)]
#[must_use]
pub struct Executed<'p> {
    /// What could not be read of the heaps that a command looked into; `None` if none did.
    pub losses: Option<&'p Losses>,
    /// The first command that was wrong, or what ended the line: [`CommandError::Output`],
    /// [`CommandError::OutOfTime`].
    pub result: Result<(), CommandError>,
}

/// A process, names for its addresses, and what commands remember.
pub struct Session<'p, 'a> {
    heaps: &'p Heaps<'p, 'a>,
    process: &'p Process<'p, 'a>,
    /// The heaps of the other side of a 32-bit process on 64-bit Windows.
    other_side: Option<&'p Heaps<'p, 'a>>,
    names: &'p dyn NameSource,
    traces: Traces<'p, 'a>,
    /// Whether `.lines` switched source lines on.
    lines: bool,
    /// The heap that `!heap -i` set.
    assumed_heap: Option<u64>,
    /// Behind the memory that was shown last.
    next_address: Option<u64>,
    /// The memory command that was carried out last, which `d` repeats.
    last_display: String,
    /// Whether what lies in memory may be shown.
    contents: bool,
    /// What the dump is called.
    dump_name: String,
    /// Where symbols are looked for, as `.sympath` shows it.
    symbol_path: String,
    scope: Scope,
    /// The element that `!list` has come to: `$extret`.
    list_element: u64,
    /// Reads scripts.
    scripts: Option<&'p ScriptReader>,
    /// Base of numbers without a prefix.
    radix: u32,
    /// `$t0` to `$t19`.
    pseudo_registers: [u64; 20],
    /// Names that stand for other text.
    aliases: BTreeMap<String, String>,
    run: program::Run,
}

/// What reads the text of a script: `$$>a<FILE`.
pub type ScriptReader = dyn Fn(&str) -> std::io::Result<String> + Sync;

impl fmt::Debug for Session<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

impl<'p, 'a> Session<'p, 'a> {
    /// A session over a process and its heaps.
    #[must_use]
    pub fn new(heaps: &'p Heaps<'p, 'a>, names: &'p dyn NameSource) -> Self {
        let process = heaps.process();
        Session {
            heaps,
            process,
            other_side: None,
            names,
            traces: Traces::of(process),
            lines: false,
            assumed_heap: None,
            next_address: None,
            last_display: "db".to_owned(),
            contents: true,
            dump_name: String::new(),
            symbol_path: String::new(),
            scope: Scope::of_thread(threads::first(process)),
            list_element: 0,
            scripts: None,
            radix: 16,
            pseudo_registers: [0; 20],
            aliases: BTreeMap::new(),
            run: program::Run::default(),
        }
    }

    /// The session with the name of the dump, as `||` shows it.
    #[must_use]
    pub fn with_dump_name(mut self, name: impl Into<String>) -> Self {
        self.dump_name = name.into();
        self
    }

    /// The session with the path that symbols are looked for in, as `.sympath` shows it.
    #[must_use]
    pub fn with_symbol_path(mut self, path: impl Into<String>) -> Self {
        self.symbol_path = path.into();
        self
    }

    /// The session with a reader of scripts; without one, scripts (`$$>a<FILE`) are refused.
    #[must_use]
    pub fn with_scripts(mut self, scripts: &'p ScriptReader) -> Self {
        self.scripts = Some(scripts);
        self
    }

    /// The debugger's prompt, for instance `0:000> `: with the number of the current thread.
    #[must_use]
    pub fn prompt(&self) -> String {
        format!("0:{:03}> ", self.scope.thread)
    }

    /// Whether `q` was carried out.
    #[must_use]
    pub fn has_quit(&self) -> bool {
        self.run.has_quit()
    }

    /// The session with the other side of the process, which `.effmach` switches to.
    #[must_use]
    pub fn with_other_side(mut self, other: &'p Heaps<'p, 'a>) -> Self {
        self.other_side = Some(other);
        self
    }

    /// The session with source lines switched on, as `.lines` does.
    #[must_use]
    pub fn with_source_lines(mut self) -> Self {
        self.lines = true;
        self
    }

    /// Refuses, if `without`, to show what lies in memory: for output that is to be given away.
    #[must_use]
    pub fn without_contents(mut self, without: bool) -> Self {
        self.contents = !without;
        self
    }

    fn may_show_contents(&self) -> Result<(), CommandError> {
        match self.contents {
            true => Ok(()),
            false => Err(CommandError::Unavailable {
                reason: "contents of memory are left out (--private)",
            }),
        }
    }

    /// The side of the process that commands speak of.
    #[must_use]
    pub fn process(&self) -> &'p Process<'p, 'a> {
        self.process
    }

    /// Carries out the commands of a line, which semicolons part; `q` ends it. Of one that looks into
    /// heaps it says what of them could not be read: what the debugger would print is as incomplete
    /// as that. As in the debugger, no command waits for another to be right: the error is that of
    /// the first one that is wrong.
    pub fn execute(&mut self, line: &str, out: &mut dyn Write) -> Executed<'p> {
        self.run = program::Run::default();
        let result = self.commands(line, out);
        let read = self.run.looked_into_heaps();
        Executed {
            losses: read.then(|| self.heaps.losses()),
            result,
        }
    }
}
