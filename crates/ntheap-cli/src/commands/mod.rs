//! One module a command.

mod address;
mod block;
mod blocks;
mod by_stack;
mod diff;
mod exec;
mod filter;
mod info;
mod shell;
pub(crate) mod stacks;
mod stat;
mod summary;
mod symbol;
pub(crate) mod types;
pub(crate) mod umdh;
mod verify;

use std::fmt;

use ntheap_windbg::Session;
use serde::Serialize;

use crate::{
    args::{Arguments, Command, Common, Format},
    failure::{Failure, Status},
    output::Output,
};

/// Runs the command.
pub(crate) fn run(arguments: &Arguments) -> Result<Status, Failure> {
    let common = &arguments.common;
    let mut output = Output::new();
    let status = match &arguments.command {
        Command::Address(args) => address::run(args, common, &mut output),
        Command::Verify { dump } => verify::run(dump, common, &mut output),
        Command::Diff(args) => diff::run(args, common, &mut output),
        Command::Summary { dump, style } => summary::run(dump, *style, common, &mut output),
        Command::Stat(args) => stat::run(args, common, &mut output),
        Command::Filter(args) => filter::run(args, common, &mut output),
        Command::Blocks(args) => blocks::run(args, common, &mut output),
        Command::Info { dump } => info::run(dump, common, &mut output),
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

/// A JSON document: its version and command, then the report.
#[derive(Serialize)]
struct Document<T> {
    schema: u32,
    command: &'static str,
    #[serde(flatten)]
    report: T,
}

fn document<T: Serialize>(command: &'static str, report: T) -> Document<T> {
    Document {
        schema: ntheap_report::json::SCHEMA,
        command,
        report,
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

/// A program's name for a command that somebody may copy to a shell: what would do more there than name
/// the program is not repeated.
fn shell_word(program: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "._-".contains(c);
    let is_quotable = |c: char| is_plain(c) || " ()+,=@[]{}~".contains(c);
    if program.is_empty() || program.starts_with('-') || !program.chars().all(is_quotable) {
        return "PROGRAM.exe".to_owned();
    }
    match program.chars().all(is_plain) {
        true => program.to_owned(),
        false => format!("\"{program}\""),
    }
}

#[cfg(test)]
mod tests {
    use super::shell_word;

    #[test]
    fn programs_in_commands() {
        assert_eq!(shell_word("order-svc.exe"), "order-svc.exe");
        assert_eq!(shell_word("order svc (2).exe"), "\"order svc (2).exe\"");
        for name in [
            "",
            "a&calc.exe",
            "a\"b",
            "$(x)",
            "`x`",
            "-x",
            "%x%",
            "a\nb",
            "a;b",
            "a|b",
        ] {
            assert_eq!(shell_word(name), "PROGRAM.exe", "{name:?}");
        }
    }
}
