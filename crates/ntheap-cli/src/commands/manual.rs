//! `ntheap completions` and `ntheap man`: what a shell and `man` need to know of this program, made of
//! the definitions of its arguments.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_complete::Shell;

use crate::{
    failure::{Failure, Status},
    output::Output,
};

/// `ntheap completions`.
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

/// `ntheap man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder to write the pages to, one for each command [default: this page to standard output]
    #[arg(value_name = "FOLDER")]
    folder: Option<PathBuf>,
}

pub(crate) fn completions(
    args: &Completions,
    mut command: Command,
    output: &mut Output,
) -> Result<Status, Failure> {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut command, "ntheap", &mut text);
    output.bytes(&text)?;
    Ok(Status::Complete)
}

pub(crate) fn man(
    args: &Man,
    mut command: Command,
    output: &mut Output,
) -> Result<Status, Failure> {
    command.build();
    match &args.folder {
        None => clap_mangen::Man::new(command).render(output.writer())?,
        Some(folder) => {
            std::fs::create_dir_all(folder)?;
            clap_mangen::generate_to(command, folder)?;
        }
    }
    Ok(Status::Complete)
}
