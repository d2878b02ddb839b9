//! Symbols as the options ask for them.

use std::{
    env,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::Dump,
    process::{Process, ProcessOptions},
};
use ntheap_symbols::{ModuleStatus, SymbolPath, Symbols};

use crate::{
    failure::{Failure, Status},
    options::Common,
    privacy,
};

/// The symbol path of the options or of the environment.
pub(crate) fn path_text(common: &Common) -> Option<String> {
    let given = common.symbols.clone();
    given
        .or_else(|| env::var("_NT_SYMBOL_PATH").ok())
        .filter(|text| !text.is_empty())
}

/// Symbols for the dumps at these paths: the symbol path of the options or of the environment, then
/// the dumps' own folders.
pub(crate) fn open(common: &Common, dumps: &[&Path]) -> Result<Symbols, Failure> {
    let text = path_text(common).unwrap_or_default();
    let path = SymbolPath::parse(&text)
        .map_err(|error| Failure::Usage(format!("symbol path: {error}")))?;
    let mut builder = Symbols::builder()
        .path(path)
        .allow_mismatched(common.allow_mismatched)
        .recorded_folders(common.recorded_folders);
    for dump in dumps {
        let folder = dump
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        builder = builder.extra_folder(folder.unwrap_or(Path::new(".")));
    }
    if let Some(folder) = cache_folder() {
        builder = builder.cache_dir(folder);
    }
    Ok(builder.build())
}

/// Where converted symbols are kept: `NTHEAP_CACHE`, else the user's cache folder.
pub(crate) fn cache_folder() -> Option<PathBuf> {
    let variable = |name| {
        env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    variable("NTHEAP_CACHE").or_else(|| {
        variable("XDG_CACHE_HOME")
            .or_else(|| variable("LOCALAPPDATA"))
            .or_else(|| Some(variable("HOME")?.join(".cache")))
            .map(|folder| folder.join("ntheap"))
    })
}

/// Opens a side of the process with the layouts of its own ntdll's PDB, where that is at hand.
pub(crate) fn process<'d, 'a>(
    dump: &'d Dump<'a>,
    symbols: &Symbols,
    options: ProcessOptions<'_>,
) -> ntheap::Result<Process<'d, 'a>> {
    let process = Process::with_options(dump, &options)?;
    let Some(ntdll) = process.ntdll().and_then(|module| symbols.module(module)) else {
        return Ok(process);
    };
    match ntdll.types() {
        Ok(types) => Process::with_options(
            dump,
            &ProcessOptions {
                types: Some(types),
                ..options
            },
        ),
        Err(_) => Ok(process),
    }
}

/// Says on stderr which modules' symbols could not be used, for a reason worth knowing, and which
/// ones do not match. Modules whose symbols nobody asked for are left alone.
pub(crate) fn report(dump: &Dump<'_>, symbols: &Symbols) -> Status {
    let mut status = Status::Complete;
    for module in &dump.modules {
        match symbols.known_status(module) {
            Some(ModuleStatus::Failed { path, reason }) => {
                say!("{}: {}: {reason}", module.name(), privacy::path(&path));
                status = Status::Partial;
            }
            Some(ModuleStatus::Loaded {
                path,
                mismatched: true,
                ..
            }) => {
                say!(
                    "warning: {}: {} does not match the module; its names may be wrong",
                    module.name(),
                    privacy::path(&path)
                );
            }
            _ => {}
        }
    }
    status
}
