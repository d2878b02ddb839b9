//! `ntheap exec`: the debugger's commands.

use clap::Args;
use std::fmt;
use std::path::PathBuf;

use ntheap::heap::Heaps;
use ntheap_symbols::DumpNames;
use ntheap_windbg::CommandError;

use super::{read_script, session, text_only};
use crate::{
    failure::{Failure, Status},
    input::{Input, Reporter},
    options::Common,
    output::Output,
    privacy, symbols,
};

/// `ntheap exec`.
#[derive(Debug, Args)]
pub(crate) struct Exec {
    /// The dump
    dump: PathBuf,
    /// Commands, each one argument: '!heap -s'; several in one: '!heap -s;lm'
    #[arg(required_unless_present = "script", value_name = "COMMAND")]
    commands: Vec<String>,
    /// A script: each of its lines is a command line; those on the command line come first
    #[arg(short = 'c', long = "script", value_name = "FILE")]
    script: Option<PathBuf>,
}

pub(crate) fn run(args: &Exec, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    text_only(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process_without_heaps(&dump, common)?;
    let other = input.other_side(&process);
    let heaps = Heaps::listed(&process);
    let other = other.as_ref().map(Heaps::listed);
    let names = DumpNames::new(&dump, input.symbols()).with_file_names_only(privacy::is_on());
    let mut session = session(&input, common, (&heaps, other.as_ref()), &names);
    let mut reporter = Reporter::new(&input, &process);
    let mut commands = args.commands.clone();
    if let Some(path) = &args.script {
        let text = read_script(&path.to_string_lossy());
        let text = text.map_err(|error| Failure::Usage(format!("{}: {error}", path.display())))?;
        commands.extend(text.lines().map(str::to_owned));
    }
    let count = commands.len();
    let mut failed = 0;
    let mut out_of_time = false;
    for command in &commands {
        if count > 1 {
            let prompt = session.prompt();
            output.text(|out| writeln!(out, "{prompt}{command}"))?;
        }
        let mut executed = None;
        output.text(|out| {
            let done = executed.insert(session.execute(command, out));
            match done.result {
                Err(CommandError::Output) => Err(fmt::Error),
                _ => Ok(()),
            }
        })?;
        let (read, result) = match executed {
            Some(executed) => (executed.losses, executed.result),
            None => (None, Ok(())),
        };
        reporter.report(read);
        if result == Err(CommandError::OutOfTime) {
            output.flush()?;
            say!("ntheap: {command}: {} (--timeout)", CommandError::OutOfTime);
            out_of_time = true;
            break;
        }
        if let Err(error) = result {
            output.flush()?;
            let failure = Failure::Usage(format!("{command}: {error}"));
            if count == 1 {
                return Err(failure);
            }
            // As in the debugger, the next command does not wait for this one to be right.
            say!("ntheap: {failure}");
            failed += 1;
        }
        if session.has_quit() {
            break;
        }
    }
    if failed > 0 {
        output.flush()?;
        let text = format!("{failed} of {count} commands could not be carried out");
        return Err(Failure::Usage(text));
    }
    let status = match out_of_time {
        true => Status::Partial,
        false => reporter.status(),
    };
    Ok(status.and(symbols::report(&dump, input.symbols())))
}
