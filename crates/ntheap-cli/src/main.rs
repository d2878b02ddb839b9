//! `ntheap`: which heap grew, which block size, from which call stack.
#![forbid(unsafe_code)]

mod args;
mod commands;
mod completion;
mod failure;
mod input;
mod numbers;
mod output;
mod pager;
mod symbols;

use std::process::ExitCode;

use clap::Parser;

use args::Arguments;
use failure::Failure;

fn main() -> ExitCode {
    match commands::run(&Arguments::parse()) {
        Ok(status) => status.exit_code(),
        // The reader went away (`ntheap blocks … | head`): that is no failure of ours.
        Err(Failure::ClosedPipe) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ntheap: {failure}");
            if let Some(hint) = failure.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::from(2)
        }
    }
}
