//! The debugger's own command language, over one dump.
//!
//! A [`Session`] takes the commands that are typed at the debugger's prompt and prints what the
//! debugger would print.

mod command;
mod detail;
mod dt;
mod line;
mod memory;
mod parse;

use std::fmt::{self, Write};

pub use command::COMMANDS;
pub use parse::{SymbolLookup, evaluate};

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
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::Unknown { typed, nearest } => {
                write!(f, "unknown command {typed}; the nearest one is {nearest}")
            }
            CommandError::Operand { text, reason } => write!(f, "{text}: {reason}"),
            CommandError::Unavailable { reason } => f.write_str(reason),
            CommandError::Output => write!(f, "the output could not be written"),
        }
    }
}

impl std::error::Error for CommandError {}

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
    /// The first command that was wrong, or [`CommandError::Output`], which ends the line.
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
    /// Whether what lies in memory may be shown.
    contents: bool,
}

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
            contents: true,
        }
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
    /// as that. As in the debugger, no command waits for another to be right.
    pub fn execute(&mut self, line: &str, out: &mut dyn Write) -> Executed<'p> {
        let mut error = None;
        let mut read = false;
        for command in line::commands(line) {
            let (name, _) = line::name(command);
            if matches!(name.as_str(), "q" | "qq" | "qd") {
                break;
            }
            let result = self.dispatch(command, out);
            read |= matches!(name.as_str(), "!heap" | "!address")
                && matches!(result, Ok(()) | Err(CommandError::Output));
            match result {
                Err(CommandError::Output) => {
                    error = Some(CommandError::Output);
                    break;
                }
                Err(wrong) => error = error.or(Some(wrong)),
                Ok(()) => {}
            }
        }
        Executed {
            losses: read.then(|| self.heaps.losses()),
            result: error.map_or(Ok(()), Err),
        }
    }
}
