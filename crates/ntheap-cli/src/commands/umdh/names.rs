//! Symbols for the frames of logs.
//!
//! A log names its modules by path, base and size, which says nothing of the PDB that belongs to
//! one: umdh finds it through the image file, which is not at hand here. A dump of the same process
//! tells: a module of it with the same base, size and file name is the log's module. Without one, PDBs
//! are taken by name alone, which `--allow-mismatched` must permit.

use std::collections::{BTreeMap, BTreeSet};

use ntheap::{
    dump::{Module, PdbReference},
    names::ModuleNames,
};
use ntheap_report::umdh::{
    Diff, Frame, Log, LogModule, ModuleIndex, ResolvedFrame, Side, SourceLine, SymbolStatus,
    Symbols as UmdhSymbols,
};
use ntheap_symbols::{ModuleStatus, SymbolDetail, Symbols};

use super::side::Source;
use crate::{failure::Status, options::Common, privacy};

/// A dump, its symbols and its modules' exports.
struct Dump<'s> {
    modules: &'s [Module],
    symbols: &'s Symbols,
    exports: ModuleNames<'s, 's>,
}

/// Names for the frames of the compared logs.
pub(super) struct Names<'s> {
    /// The dumps among the inputs, newest first.
    dumps: Vec<Dump<'s>>,
    /// Symbols for modules that no dump has.
    symbols: &'s Symbols,
    /// Modules that PDBs are taken for by name alone, by base.
    by_name: BTreeMap<u64, Module>,
    /// Bases of the modules of the printed stacks.
    in_use: BTreeSet<u64>,
    modules: Vec<LogModule>,
}

impl<'s> Names<'s> {
    pub(super) fn new(
        sources: &'s [Source<'s>],
        logs: &[Log],
        diff: &Diff<'_>,
        common: &Common,
    ) -> Self {
        let dumps: Vec<Dump<'s>> = sources
            .iter()
            .rev()
            .filter_map(|source| {
                let (dump, symbols) = (source.dump()?, source.input.symbols());
                Some(Dump {
                    modules: &dump.modules,
                    symbols,
                    exports: ModuleNames::new(dump),
                })
            })
            .collect();
        let mut names = Names {
            dumps,
            symbols: sources[0].input.symbols(),
            by_name: BTreeMap::new(),
            in_use: BTreeSet::new(),
            modules: diff
                .log(Side::New)
                .map_or_else(Vec::new, |log| log.modules.clone()),
        };
        if common.allow_mismatched {
            let unknown = logs
                .iter()
                .flat_map(|log| &log.modules)
                .filter(|module| names.in_dump(module).is_none());
            names.by_name = unknown.map(|m| (m.base, nameless(m))).collect();
        }
        for side in [Side::Old, Side::New] {
            let Some(log) = diff.log(side) else { continue };
            let index = ModuleIndex::new(&log.modules);
            for entry in diff.entries() {
                let Some((of, stack)) = entry.stack else {
                    continue;
                };
                if of != side {
                    continue;
                }
                let bases = stack.frames.iter().filter_map(|frame| match frame {
                    Frame::Address(address) => Some(index.at(*address)?.base),
                    Frame::Text(_) => None,
                });
                names.in_use.extend(bases);
            }
        }
        names
    }

    /// The dump's module that this is, and its dump.
    fn in_dump(&self, module: &LogModule) -> Option<(&Dump<'s>, &'s Module)> {
        let file = |path: &str| {
            let file = path.rsplit(['\\', '/']).next().unwrap_or_default();
            file.to_ascii_lowercase()
        };
        self.dumps.iter().find_map(|dump| {
            let found = dump.modules.iter().find(|m| {
                (m.base, m.size) == (module.base, module.size)
                    && file(&m.path) == file(&module.path)
            })?;
            Some((dump, found))
        })
    }

    fn module_status(&self, module: &LogModule) -> Option<ModuleStatus> {
        if let Some((dump, module)) = self.in_dump(module) {
            return Some(dump.symbols.status(module));
        }
        Some(self.symbols.status(self.by_name.get(&module.base)?))
    }

    /// Says on stderr which symbols could not be used or may be wrong, and what would help.
    pub(super) fn report_problems(&self) -> Status {
        let mut status = Status::Complete;
        let mut unknown = Vec::new();
        for module in self
            .modules
            .iter()
            .filter(|m| self.in_use.contains(&m.base))
        {
            let name = module.name();
            match self.module_status(module) {
                Some(ModuleStatus::Failed { path, reason }) => {
                    say!("{name}: {}: {reason}", privacy::path(&path));
                    status = Status::Partial;
                }
                Some(ModuleStatus::Loaded {
                    path,
                    mismatched: true,
                    ..
                }) => say!(
                    "warning: {name}: whether {} belongs to the module is not known; its names may be wrong",
                    privacy::path(&path)
                ),
                None => unknown.push(name),
                Some(_) => {}
            }
        }
        if !unknown.is_empty() {
            say!(
                "no symbols for {}: a log does not say which PDBs belong to its modules; a dump of \
                 the process does (--modules-of), or take them by name (--allow-mismatched)",
                unknown.join(", ")
            );
        }
        status
    }
}

/// A module whose PDB is known by its usual name only.
fn nameless(module: &LogModule) -> Module {
    Module {
        base: module.base,
        size: module.size,
        path: module.path.clone(),
        timestamp: 0,
        checksum: 0,
        version: None,
        pdb: Some(PdbReference {
            file: format!("{}.pdb", module.name()),
            id: Default::default(),
        }),
    }
}

/// The function at an address, given relative to the module's base, as umdh prints it: it knows
/// nothing of inlined functions, gives the line that the call returns to, not that of the call, and
/// below the first symbol counts down from that one.
fn resolve(symbols: &Symbols, module: &Module, rva: u32) -> Option<ResolvedFrame> {
    let (symbol, displacement, source) = match symbols.resolve(module, rva) {
        Some(resolution) => {
            let function = resolution.function();
            (
                function.function.clone(),
                resolution.displacement as u64,
                function.file.clone().zip(function.line),
            )
        }
        None => {
            let above = symbols.nearest(module, rva).1?;
            let displacement = i64::from(rva) - i64::from(above.rva);
            (above.name, displacement as u64, None)
        }
    };
    Some(ResolvedFrame {
        module: module.name().to_owned(),
        symbol,
        displacement,
        source: source.map(|(file, line)| SourceLine {
            file: privacy::file(&file).to_owned(),
            line,
        }),
    })
}

impl UmdhSymbols for Names<'_> {
    fn resolve(&self, address: u64, log: &Log) -> Option<ResolvedFrame> {
        let module = log.modules.iter().find(|module| module.contains(address))?;
        let rva = u32::try_from(address - module.base).ok()?;
        let Some((dump, module)) = self.in_dump(module) else {
            return resolve(self.symbols, self.by_name.get(&module.base)?, rva);
        };
        resolve(dump.symbols, module, rva).or_else(|| {
            let (symbol, displacement) = dump.exports.export(address)?;
            Some(ResolvedFrame {
                module: module.name().to_owned(),
                symbol,
                displacement,
                source: None,
            })
        })
    }

    fn status(&self, module: &LogModule) -> Option<SymbolStatus> {
        if !self.in_use.contains(&module.base) {
            return None;
        }
        let Some(ModuleStatus::Loaded { path, detail, .. }) = self.module_status(module) else {
            return Some(SymbolStatus::None);
        };
        let pdb = privacy::path(&path);
        Some(match detail {
            SymbolDetail::Private => SymbolStatus::Private { pdb },
            SymbolDetail::PublicOnly => SymbolStatus::Public { pdb },
        })
    }
}
