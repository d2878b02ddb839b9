//! One module's symbols: found, converted and looked things up in.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use debugid::DebugId;
use symbolic_common::ByteView;
use symbolic_symcache::SymCache;

use crate::content::Content;
use crate::convert::Converted;
use crate::lines::Lines;
use crate::names::strip_parameters;
use crate::parameters::Parameters;
use crate::table::{SymbolKind, SymbolTable};
use crate::types::PdbTypes;
use crate::{Error, sandbox};

/// Reading a part of a PDB on demand is given up after this time.
const READ_LIMIT: Duration = Duration::from_secs(120);

/// What is known of a module's symbols.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ModuleStatus {
    /// A PDB was loaded.
    Loaded {
        /// The file, or the address that it was downloaded from when it was not kept.
        path: PathBuf,
        /// The identity that the PDB itself has.
        id: DebugId,
        /// Whether that is another than the module names; names and lines can be wrong then.
        mismatched: bool,
        /// Which symbols the PDB holds.
        detail: SymbolDetail,
        /// Why functions and lines are missing although names are there.
        line_error: Option<String>,
    },
    /// No PDB of the module's identity was found.
    NotFound {
        /// Where it was looked for, each with what was wrong there.
        tried: Vec<String>,
    },
    /// A PDB was found and could not be used.
    Failed {
        /// The file.
        path: PathBuf,
        /// The reason.
        reason: String,
    },
    /// The dump does not say which PDB belongs to the module.
    NoPdbReference,
}

/// Which symbols a PDB holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SymbolDetail {
    /// Procedures with their extents, usually with lines and inlined calls.
    Private,
    /// Names of public functions and variables alone.
    PublicOnly,
}

/// What an address belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Resolution {
    /// The function, preceded by the functions that were inlined into it at this place: innermost
    /// first. There is always at least one, and the last is never an inlined one.
    pub frames: Vec<Frame>,
    /// Distance in bytes of the address from the start of the last frame's function. Negative in a
    /// part of the function that the linker moved to before it; debuggers print that as a very
    /// large unsigned number, as `{:x}` does too.
    pub displacement: i64,
}

impl Resolution {
    /// The function that the address belongs to, without those inlined into it.
    #[must_use]
    pub fn function(&self) -> &Frame {
        self.frames.last().expect("a resolution has a frame")
    }
}

/// A function, and the place inside it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Frame {
    /// Name as a debugger prints it, for instance `app::core::Allocate`.
    pub function: String,
    /// Name with the argument list, when it is known.
    pub signature: Option<String>,
    /// Source file as the compiler recorded it.
    pub file: Option<String>,
    /// Line in the source file.
    pub line: Option<u32>,
    /// Whether this function was inlined into the next frame's.
    pub inlined: bool,
}

/// A loaded module.
#[derive(Debug)]
pub(crate) struct LoadedModule {
    pub(crate) path: PathBuf,
    pub(crate) id: DebugId,
    pub(crate) mismatched: bool,
    pub(crate) has_private: bool,
    pub(crate) table: SymbolTable,
    lines: Result<ByteView<'static>, String>,
    /// The PDB itself, for what is read from it when it is first asked for.
    pub(crate) data: Arc<Content>,
    pub(crate) types: OnceLock<Result<PdbTypes, String>>,
    pub(crate) line_records: OnceLock<Result<Lines, String>>,
    pub(crate) parameters: OnceLock<Result<Parameters, String>>,
}

impl LoadedModule {
    pub(crate) fn new(
        path: PathBuf,
        id: DebugId,
        mismatched: bool,
        converted: Converted,
        data: Arc<Content>,
    ) -> Self {
        let lines = converted.lines.and_then(|bytes| {
            SymCache::parse(&bytes).map_err(|error| error.to_string())?;
            Ok(ByteView::from_vec(bytes))
        });
        Self {
            path,
            id,
            mismatched,
            has_private: converted.has_private,
            table: SymbolTable::new(converted.symbols, converted.separated),
            lines,
            data,
            types: OnceLock::new(),
            line_records: OnceLock::new(),
            parameters: OnceLock::new(),
        }
    }

    pub(crate) fn status(&self) -> ModuleStatus {
        ModuleStatus::Loaded {
            path: self.path.clone(),
            id: self.id,
            mismatched: self.mismatched,
            detail: if self.has_private {
                SymbolDetail::Private
            } else {
                SymbolDetail::PublicOnly
            },
            line_error: self.lines.as_ref().err().cloned(),
        }
    }

    /// What is read from the PDB when it is first asked for.
    pub(crate) fn on_demand<'c, T: Send + 'static>(
        &self,
        cell: &'c OnceLock<Result<T, String>>,
        read: fn(&[u8]) -> Result<T, Error>,
    ) -> Result<&'c T, &'c str> {
        cell.get_or_init(|| {
            let data = Arc::clone(&self.data);
            sandbox::run(READ_LIMIT, move || read(&data)).map_err(|error| error.to_string())
        })
        .as_ref()
        .map_err(String::as_str)
    }

    /// Resolves `rva`, taking lines and inlined calls from `line_rva`.
    pub(crate) fn resolve(&self, rva: u32, line_rva: u32) -> Option<Resolution> {
        let symbol = self.table.naming(rva)?;
        // The byte before a function's first belongs to another function.
        let is_same = self
            .table
            .naming(line_rva)
            .is_some_and(|other| other.rva == symbol.rva);
        let line_rva = if is_same { line_rva } else { rva };
        let mut frames = Vec::new();
        let mut entry = None;
        if self.has_private
            && let Ok(bytes) = &self.lines
            && let Ok(cache) = SymCache::parse(bytes)
        {
            for location in cache.lookup(u64::from(line_rva)) {
                let function = location.function();
                let signature = function.name();
                entry = Some(function.entry_pc());
                frames.push(Frame {
                    function: strip_parameters(signature).to_owned(),
                    signature: Some(signature.to_owned()),
                    file: location.file().map(|file| file.full_path()),
                    line: Some(location.line()).filter(|&line| line != 0),
                    inlined: true,
                });
            }
        }
        // Between functions the cache can name the one before where a public symbol is nearer.
        let same_function = entry == Some(symbol.rva)
            || (entry.is_some() && self.table.separated_code(line_rva).map(|b| b.rva) == entry)
            || (symbol.kind == SymbolKind::Procedure && symbol.covers(line_rva));
        if !same_function {
            frames.clear();
        }
        match frames.last_mut() {
            Some(outermost) => {
                outermost.function.clone_from(&symbol.name);
                outermost.inlined = false;
            }
            None => frames.push(Frame {
                function: symbol.name.clone(),
                signature: symbol.decorated.is_some().then(|| symbol.signature()),
                file: None,
                line: None,
                inlined: false,
            }),
        }
        Some(Resolution {
            frames,
            displacement: i64::from(rva) - i64::from(symbol.rva),
        })
    }
}
