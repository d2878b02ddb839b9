//! `ntheap exec`: the debugger's commands.

use std::fmt;

use ntheap::debugger::{CommandError, Session};
use ntheap_symbols::DumpNames;

use super::text_only;
use crate::{
    args::{Common, Exec},
    failure::{Failure, Status},
    input::Input,
    output::Output,
    symbols,
};

pub(crate) fn run(args: &Exec, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    text_only(common)?;
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    let process = input.process(&dump, common)?;
    let other = input.other_side(&process);
    let status = input.report_problems(&process);
    let names = DumpNames::new(&dump, input.symbols());
    let mut session = Session::new(&process, &names);
    if let Some(other) = &other {
        session = session.with_other_side(other);
    }
    for command in &args.commands {
        if args.commands.len() > 1 {
            output.text(|out| writeln!(out, "0:000> {command}"))?;
        }
        let mut result = Ok(());
        output.text(|out| match session.execute(command, out) {
            Err(CommandError::Output) => Err(fmt::Error),
            other => {
                result = other;
                Ok(())
            }
        })?;
        if let Err(error) = result {
            output.flush()?;
            return Err(Failure::Usage(format!("{command}: {error}")));
        }
    }
    symbols::report(&dump, input.symbols());
    Ok(status)
}
