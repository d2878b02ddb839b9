//! `ntheap`: which heap grew, which block size, from which call stack.
#![forbid(unsafe_code)]

#[macro_use]
mod said;

mod args;
mod commands;
mod completion;
mod deadline;
mod failure;
mod fingerprints;
mod input;
mod labels;
mod numbers;
mod options;
mod output;
mod pager;
mod patterns;
mod privacy;
mod progress;
mod symbols;
mod tables;

use std::{
    path::Path,
    process::{self, ExitCode},
};

use clap::{
    CommandFactory, Parser,
    error::{ContextKind, ContextValue},
};

use args::{Arguments, Command};
use failure::{Failure, Status};
use output::Output;

fn main() -> ExitCode {
    let arguments = Arguments::try_parse().unwrap_or_else(|error| refuse(error));
    privacy::set(arguments.common.private);
    said::be_quiet(arguments.common.quiet);
    progress::ask(arguments.common.progress);
    let result = run(&arguments);
    // Whatever was printed, or went wrong, came of a file that was not the same all the time.
    let changed = input::changed();
    changed.iter().for_each(report);
    match result {
        _ if !changed.is_empty() => ExitCode::from(2),
        Ok(status) => status.exit_code(),
        // The reader went away (`ntheap blocks … | head`): that is no failure of ours.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            report(&failure);
            ExitCode::from(2)
        }
    }
}

/// Ends with what clap says of the arguments; to who names a dump where a command belongs with the
/// commands that take one.
fn refuse(error: clap::Error) -> ! {
    let given = match error.get(ContextKind::InvalidSubcommand) {
        Some(ContextValue::String(given)) if Path::new(given).is_file() => given.as_str(),
        _ => error.exit(),
    };
    said::line(format_args!(
        "ntheap: {given} is a file, where a command belongs\n\
         hint: `ntheap info {given}` looks at a dump, `ntheap diff BEFORE AFTER` compares two"
    ));
    process::exit(2)
}

fn report(failure: &Failure) {
    said::line(format_args!("ntheap: {failure}"));
    if let Some(hint) = failure.hint() {
        said::line(format_args!("hint: {hint}"));
    }
}

/// Uses so many threads for everything that is done on all cores.
fn use_threads(threads: usize) -> Result<(), Failure> {
    /// More than any machine has.
    const MOST: usize = 1024;
    if !(1..=MOST).contains(&threads) {
        return Err(Failure::Usage(format!(
            "--threads {threads}: 1 to {MOST} can work"
        )));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
    pool.build_global()
        .map_err(|error| Failure::Usage(format!("--threads {threads}: {error}")))
}

/// Runs the command.
fn run(arguments: &Arguments) -> Result<Status, Failure> {
    let common = &arguments.common;
    deadline::start(common.timeout)?;
    if let Some(threads) = common.threads {
        use_threads(threads)?;
    }
    let mut output = Output::new(common.paginate);
    let status = match &arguments.command {
        Command::Address(args) => commands::address::run(args, common, &mut output),
        Command::Verify(args) => commands::verify::run(args, common, &mut output),
        Command::Diff(args) => commands::diff::run(args, common, &mut output),
        Command::Summary(args) => commands::summary::run(args, common, &mut output),
        Command::Stat(args) => commands::stat::run(args, common, &mut output),
        Command::Filter(args) => commands::filter::run(args, common, &mut output),
        Command::Blocks(args) => commands::blocks::run(args, common, &mut output),
        Command::Info(args) => commands::info::run(args, common, &mut output),
        Command::Report(args) => commands::report::run(args, common, &mut output),
        Command::Export(args) => commands::export::run(args, common, &mut output),
        Command::Fingerprint(args) => commands::fingerprint::run(args, common, &mut output),
        Command::Scan(args) => commands::scan::run(args, common, &mut output),
        Command::Stacks(args) => commands::stacks::run(args, common, &mut output),
        Command::Umdh(args) => commands::umdh::run(args, common, &mut output),
        Command::Block(args) => commands::block::run(args, common, &mut output),
        Command::Leaks(args) => commands::leaks::run(args, common, &mut output),
        Command::Owners(args) => commands::owners::run(args, common, &mut output),
        Command::Types(args) => commands::types::run(args, common, &mut output),
        Command::Symbol(args) => commands::symbol::run(args, common, &mut output),
        Command::Exec(args) => commands::exec::run(args, common, &mut output),
        Command::Completions(args) => {
            commands::manual::completions(args, Arguments::command(), &mut output)
        }
        #[cfg(feature = "mcp")]
        Command::Mcp(args) => {
            // The protocol has standard output for itself.
            drop(output);
            return commands::mcp::run(args, common);
        }
        Command::Man(args) => commands::manual::man(args, Arguments::command(), &mut output),
        Command::Shell(args) => commands::shell::run(args, common, &mut output),
    }?;
    output.finish()?;
    Ok(status)
}
