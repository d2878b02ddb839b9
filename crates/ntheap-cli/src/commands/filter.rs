//! `ntheap filter`: `!heap -flt`.

use clap::Args;
use ntheap_windbg as windbg;
use std::path::PathBuf;

use super::blocks::{Selection, write_blocks};
use crate::{
    failure::{Failure, Status},
    input::Input,
    numbers,
    options::{Common, Format},
    output::Output,
};

/// `ntheap filter`.
#[derive(Debug, Args)]
pub(crate) struct Filter {
    /// The dump
    dump: PathBuf,
    /// Blocks of this size
    #[arg(
        long,
        value_name = "N",
        required_unless_present = "range",
        conflicts_with = "range"
    )]
    size: Option<String>,
    /// Blocks of these sizes, both included
    #[arg(long, num_args = 2, value_names = ["MIN", "MAX"])]
    range: Option<Vec<String>>,
}

pub(crate) fn run(args: &Filter, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let number = |text: &String| numbers::parse(text, common.hex);
    let sizes = match (&args.size, args.range.as_deref()) {
        (Some(size), _) => number(size)?..=number(size)?,
        (None, Some([min, max])) => number(min)?..=number(max)?,
        _ => {
            return Err(Failure::Usage(
                "either --size or --range is needed".to_owned(),
            ));
        }
    };
    if sizes.is_empty() {
        return Err(Failure::Usage(format!(
            "the range {:#x} to {:#x} is empty",
            sizes.start(),
            sizes.end()
        )));
    }
    let input = Input::open(&args.dump, common)?;
    let dump = input.parse()?;
    super::no_table(common)?;
    let format = common.format.unwrap_or(Format::Text);
    if format != Format::Text {
        let selection = Selection {
            busy: true,
            free: true,
            internal: false,
            stack: false,
            crt: false,
            sizes,
        };
        let processes = input.processes(&dump, common)?;
        return write_blocks("filter", &input, &processes, common, &selection, output);
    }
    let names = input.names(&dump);
    input.each_side(&dump, common, |heaps| {
        output.text(|out| windbg::filter(heaps, sizes.clone(), &names, out))
    })
}
