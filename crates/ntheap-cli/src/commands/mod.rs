//! One module a command.

pub(crate) mod address;
pub(crate) mod block;
pub(crate) mod blocks;
mod by_stack;
pub(crate) mod diff;
mod diff_fingerprints;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod filter;
pub(crate) mod fingerprint;
pub(crate) mod info;
pub(crate) mod leaks;
pub(crate) mod manual;
#[cfg(feature = "mcp")]
pub(crate) mod mcp;
pub(crate) mod owners;
pub(crate) mod report;
pub(crate) mod scan;
mod series;
pub(crate) mod shell;
pub(crate) mod stacks;
pub(crate) mod stat;
pub(crate) mod summary;
pub(crate) mod symbol;
pub(crate) mod types;
pub(crate) mod umdh;
pub(crate) mod verify;

use std::{
    fmt, fs,
    io::{self, Read},
};

use ntheap::{graph::Graph, heap::Heaps, names::NameSource};
use ntheap_windbg::Session;

use crate::{
    failure::Failure,
    input::Input,
    options::{Common, Format},
    privacy,
    progress::Working,
    symbols,
};

/// A session over the heaps of a dump, and those of its other side.
fn session<'c, 'a>(
    input: &Input,
    common: &Common,
    heaps: (&'c Heaps<'c, 'a>, Option<&'c Heaps<'c, 'a>>),
    names: &'c dyn NameSource,
) -> Session<'c, 'a> {
    let session = Session::new(heaps.0, names)
        .without_contents(privacy::is_on())
        .with_dump_name(input.name())
        .with_symbol_path(symbols::path_text(common).unwrap_or_default())
        .with_scripts(&read_script);
    match heaps.1 {
        Some(other) => session.with_other_side(other),
        None => session,
    }
}

/// Reads the references of all heaps, and shows how far that is.
fn read_graph<'p, 'a>(heaps: &Heaps<'p, 'a>) -> Graph<'p, 'a> {
    let working = Working::walking("reading references", Graph::bytes_to_read(heaps));
    let graph = Graph::of(heaps);
    drop(working);
    graph
}

/// Refuses `--format csv` for a command that prints no one table.
fn no_table(common: &Common) -> Result<(), Failure> {
    match common.format {
        Some(Format::Csv) => Err(Failure::Usage(
            "--format csv is for diff and stat; use json here".to_owned(),
        )),
        _ => Ok(()),
    }
}

/// The form of output of a command that has no record form.
fn document_format(common: &Common) -> Result<Format, Failure> {
    no_table(common)?;
    match common.format {
        Some(Format::Jsonl) => Err(Failure::Usage(
            "--format jsonl is for lists (blocks, filter, leaks, types); use json here".to_owned(),
        )),
        other => Ok(other.unwrap_or(Format::Text)),
    }
}

/// Carries out one of the debugger's commands, for a command of ours that shows the same.
fn debugger(session: &mut Session<'_, '_>, command: &str, out: &mut dyn fmt::Write) -> fmt::Result {
    session.execute(command, out).result.map_err(|_| fmt::Error)
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
/// Text of a script of the debugger's commands; a file that is no script for its size is refused.
fn read_script(path: &str) -> io::Result<String> {
    const LARGEST: u64 = 16 << 20;
    let mut text = String::new();
    let file = fs::File::open(path)?;
    let read = file.take(LARGEST + 1).read_to_string(&mut text)?;
    match read as u64 > LARGEST {
        true => Err(io::Error::other("larger than 16 MiB: this is no script")),
        false => Ok(text),
    }
}
