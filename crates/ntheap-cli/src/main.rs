//! `ntheap`: which heap grew, which block size, from which call stack.
#![forbid(unsafe_code)]

#[macro_use]
mod said;

mod args;
mod commands;
mod completion;
mod failure;
mod input;
mod numbers;
mod options;
mod output;
mod pager;
mod privacy;
mod symbols;

use std::process::ExitCode;

use clap::Parser;

use args::Arguments;
use failure::Failure;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    privacy::set(arguments.common.private);
    let result = commands::run(&arguments);
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

fn report(failure: &Failure) {
    say!("ntheap: {failure}");
    if let Some(hint) = failure.hint() {
        say!("hint: {hint}");
    }
}
