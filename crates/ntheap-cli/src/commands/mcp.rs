//! `ntheap mcp`: the heaps as tools for agents.

use std::{path::PathBuf, time::Duration};

use clap::Args;
use ntheap::layout::Bitness;
use ntheap_mcp::{Server, ServerOptions, serve_stdio};

use crate::{
    failure::{Failure, Status},
    numbers,
    options::{Common, Side},
    symbols,
};

/// `ntheap mcp`.
#[derive(Debug, Args)]
pub(crate) struct Mcp {
    /// Folders with dumps: nothing outside them is read
    #[arg(required = true, value_name = "FOLDER")]
    folders: Vec<PathBuf>,
    /// Seconds that an answer may take
    #[arg(long, value_name = "SECONDS", default_value = "120")]
    patience: u32,
}

pub(crate) fn run(args: &Mcp, common: &Common) -> Result<Status, Failure> {
    if common.format.is_some() {
        let text = "mcp speaks its protocol alone: it has no --format";
        return Err(Failure::Usage(text.to_owned()));
    }
    let mut options = ServerOptions::default();
    options.patience = Duration::from_secs(args.patience.max(1).into());
    let session = &mut options.session;
    session.symbols = symbols::path_text(common);
    session.cache = symbols::cache_folder();
    session.allow_mismatched = common.allow_mismatched;
    session.bitness = common.bitness.and_then(|side| match side {
        Side::Bits32 => Some(Bitness::X86),
        Side::Bits64 => Some(Bitness::X64),
        Side::All => None,
    });
    let limit = common.max_unpacked.as_deref();
    session.max_unpacked = limit.map(numbers::parse_bytes).transpose()?;
    session.private = common.private;
    let server =
        Server::new(&args.folders, options).map_err(|error| Failure::Usage(error.to_string()))?;
    serve_stdio(server).map_err(Failure::from)?;
    Ok(Status::Complete)
}
