//! Symbols for the frames of logs.
//!
//! A log names its modules by path, base and size, which says nothing of the PDB that belongs to
//! one. A dump of the same process tells: a module of it with the same base, size and file name is the
//! log's module. Without one the PDB is found as umdh finds it, through an image of that name and size
//! on the symbol path; else, and with a word of doubt, by its name: the one that a dump's module of
//! that name has, or the newest.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use ntheap::{
    dump::{Module, PdbReference},
    names::{ModuleNames, Name, NameSource, SymbolState},
};
use ntheap_report::umdh::{Diff, Frame, Log, LogModule, ModuleIndex, Side, Symbols as UmdhSymbols};
use ntheap_symbols::{ModuleStatus, SymbolDetail, SymbolPath, Symbols, image_pdb, local_pdbs};

use super::side::Source;
use crate::{failure::Status, options::Common, privacy, symbols};

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
    /// Modules that no dump has, by base, with the PDBs that were found for them.
    by_name: BTreeMap<u64, Module>,
    /// Those of them whose PDB may be another build's, with why it was taken.
    doubtful: BTreeMap<u64, String>,
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
            doubtful: BTreeMap::new(),
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
        names.find(logs, common);
        names
    }

    /// Looks for the PDBs of the modules in use that no dump has and that are not known yet.
    fn find(&mut self, logs: &[Log], common: &Common) {
        let Some(path) = symbols::path_text(common).and_then(|text| text.parse().ok()) else {
            return;
        };
        let all = logs.iter().flat_map(|log| &log.modules);
        let unknown: Vec<&LogModule> = all
            .filter(|module| self.in_use.contains(&module.base) && self.in_dump(module).is_none())
            .collect();
        for module in unknown {
            if self.by_name.contains_key(&module.base) {
                continue;
            }
            let Some((pdb, doubt)) = self.pdb_of(module, &path, common) else {
                continue;
            };
            let found = Module {
                pdb: Some(pdb),
                ..nameless(module)
            };
            self.by_name.insert(module.base, found);
            if let Some(doubt) = doubt {
                self.doubtful.insert(module.base, doubt);
            }
        }
    }

    /// The PDB of a module, and why that is in doubt.
    fn pdb_of(
        &self,
        module: &LogModule,
        path: &SymbolPath,
        common: &Common,
    ) -> Option<(PdbReference, Option<String>)> {
        let file = file_name(&module.path);
        // The log's own paths lead to whatever place it names: only where that is wanted.
        let own = common.recorded_folders.then(|| Path::new(&module.path));
        if let Some(pdb) = image_pdb(path, &file, module.size, own) {
            return Some((pdb, None));
        }
        let mut named = self.dumps.iter().flat_map(|dump| dump.modules);
        let other = named.find(|other| file_name(&other.path) == file && other.pdb.is_some());
        if let Some((other, pdb)) = other.and_then(|other| Some((other, other.pdb.clone()?))) {
            let same = other.size == module.size;
            let doubt = "it is that of a dump's module of this name and another size".to_owned();
            return Some((pdb, (!same).then_some(doubt)));
        }
        let name = format!("{}.pdb", module.name());
        let found = local_pdbs(path, &name);
        let doubt = match found.len() {
            1 => "it is the only one of this name on the path".to_owned(),
            count => format!("it is the newest of {count} of this name on the path"),
        };
        let pdb = PdbReference {
            file: name,
            id: found.first()?.id,
        };
        Some((pdb, Some(doubt)))
    }

    /// The dump's module that this is, and its dump.
    fn in_dump(&self, module: &LogModule) -> Option<(&Dump<'s>, &'s Module)> {
        self.dumps.iter().find_map(|dump| {
            let found = dump.modules.iter().find(|m| {
                (m.base, m.size) == (module.base, module.size)
                    && file_name(&m.path) == file_name(&module.path)
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
                Some(ModuleStatus::Loaded { path, .. }) => {
                    if let Some(doubt) = self.doubtful.get(&module.base) {
                        say!(
                            "warning: {name}: {} was taken because {doubt}; if it is another build's, \
                             the names are wrong (--modules-of DUMP tells)",
                            privacy::path(&path)
                        );
                    }
                }
                Some(_) => {}
            }
        }
        if !unknown.is_empty() {
            say!(
                "no symbols for {}: neither an image of that name and size nor a PDB of that name is on \
                 the symbol path; a dump of the process tells which PDB it is (--modules-of)",
                unknown.join(", ")
            );
        }
        status
    }
}

/// The last part of a path, in small letters.
fn file_name(path: &str) -> String {
    let file = path.rsplit(['\\', '/']).next().unwrap_or_default();
    file.to_ascii_lowercase()
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
fn resolve(symbols: &Symbols, module: &Module, rva: u32) -> Option<Name> {
    let (symbol, displacement, line) = match symbols.resolve(module, rva) {
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
    Some(Name {
        module: module.name().to_owned(),
        symbol: Some(symbol),
        displacement,
        line: line.map(|(file, line)| (privacy::file(&file).to_owned(), line)),
        ..Name::default()
    })
}

impl UmdhSymbols for Names<'_> {
    fn resolve(&self, address: u64, log: &Log) -> Option<Name> {
        let module = log.modules.iter().find(|module| module.contains(address))?;
        let rva = u32::try_from(address - module.base).ok()?;
        let Some((dump, module)) = self.in_dump(module) else {
            return resolve(self.symbols, self.by_name.get(&module.base)?, rva);
        };
        resolve(dump.symbols, module, rva).or_else(|| dump.exports.name(address))
    }

    fn status(&self, module: &LogModule) -> SymbolState {
        if !self.in_use.contains(&module.base) {
            return SymbolState::Deferred;
        }
        let Some(ModuleStatus::Loaded {
            path,
            detail,
            mismatched,
            ..
        }) = self.module_status(module)
        else {
            return SymbolState::Missing;
        };
        let mut path = privacy::path(&path).to_string();
        if self.doubtful.contains_key(&module.base) {
            path.push_str(" (by its name: may be another build's)");
        }
        SymbolState::Pdb {
            path,
            private: detail == SymbolDetail::Private,
            mismatched,
        }
    }
}
