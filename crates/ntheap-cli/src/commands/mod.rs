//! One module a command.

pub(crate) mod address;
pub(crate) mod block;
pub(crate) mod blocks;
mod by_stack;
pub(crate) mod diff;
pub(crate) mod exec;
pub(crate) mod filter;
pub(crate) mod info;
pub(crate) mod shell;
pub(crate) mod stacks;
pub(crate) mod stat;
pub(crate) mod summary;
pub(crate) mod symbol;
pub(crate) mod types;
pub(crate) mod umdh;
pub(crate) mod verify;

use std::fmt;

use ntheap_windbg::Session;

use crate::{
    args::{Arguments, Command},
    failure::{Failure, Status},
    options::{Common, Format},
    output::Output,
};

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Status, Failure> {
    let common = &arguments.common;
    let mut output = Output::new();
    let status = match &arguments.command {
        Command::Address(args) => address::run(args, common, &mut output),
        Command::Verify(args) => verify::run(args, common, &mut output),
        Command::Diff(args) => diff::run(args, common, &mut output),
        Command::Summary(args) => summary::run(args, common, &mut output),
        Command::Stat(args) => stat::run(args, common, &mut output),
        Command::Filter(args) => filter::run(args, common, &mut output),
        Command::Blocks(args) => blocks::run(args, common, &mut output),
        Command::Info(args) => info::run(args, common, &mut output),
        Command::Stacks(args) => stacks::run(args, common, &mut output),
        Command::Umdh(args) => umdh::run(args, common, &mut output),
        Command::Block(args) => block::run(args, common, &mut output),
        Command::Types(args) => types::run(args, common, &mut output),
        Command::Symbol(args) => symbol::run(args, common, &mut output),
        Command::Exec(args) => exec::run(args, common, &mut output),
        Command::Shell(args) => shell::run(args, common, &mut output),
    }?;
    output.finish()?;
    Ok(status)
}

/// The form of output of a command that has no record form.
fn document_format(common: &Common) -> Result<Format, Failure> {
    match common.format {
        Some(Format::Jsonl) => Err(Failure::Usage(
            "--format jsonl is for blocks and filter; use json here".to_owned(),
        )),
        other => Ok(other.unwrap_or(Format::Text)),
    }
}

/// Carries out one of the debugger's commands, for a command of ours that shows the same.
fn debugger(session: &mut Session<'_, '_>, command: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    match session.execute(command, out) {
        Ok(_) => Ok(()),
        Err(_) => Err(fmt::Error),
    }
}

/// Commands that print what the debugger prints have no other form.
fn text_only(common: &Common) -> Result<(), Failure> {
    match common.format {
        None | Some(Format::Text) => Ok(()),
        Some(_) => Err(Failure::Usage(
            "the debugger's commands print text; summary, stat, filter, blocks, block and symbol \
             have --format"
                .to_owned(),
        )),
    }
}
