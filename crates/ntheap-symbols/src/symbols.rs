//! The entry point: symbols of all modules of a dump.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use debugid::DebugId;
use ntheap::dump::Module;

use crate::content::Content;
use crate::lines::Lines;
use crate::module::{LoadedModule, ModuleStatus, Resolution};
use crate::parameters::Parameters;
use crate::path::{Entry, SymbolPath};
use crate::store::{Found, Search, Wanted, local_folder};
use crate::table::{Symbol, SymbolTable};
use crate::types::PdbTypes;
use crate::{Error, cache, convert, partial, sandbox, server};
use ntheap::layout::{StructureType, TypeCatalogue, TypeId};
use ntheap::names::SourceLine;

/// Resolves addresses with the modules' PDBs.
///
/// A module's PDB is looked for, downloaded if the symbol path names a server, and read when the
/// module is first asked for; the outcome is remembered, also when it is a failure. Modules are
/// told apart by their PDB's identity. All methods can be called from several threads at once;
/// different modules load at the same time.
#[derive(Debug)]
pub struct Symbols {
    options: SymbolsBuilder,
    modules: Mutex<HashMap<Key, Arc<OnceLock<Outcome>>>>,
}

/// Settings of a [`Symbols`].
#[derive(Debug, Clone)]
pub struct SymbolsBuilder {
    path: SymbolPath,
    extra_folders: Vec<PathBuf>,
    cache_dir: Option<PathBuf>,
    allow_mismatched: bool,
    recorded_folders: bool,
    max_size: u64,
    read_limit: Duration,
    connect_limit: Duration,
    silence_limit: Duration,
    download_limit: Duration,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    file: String,
    id: DebugId,
    module: String,
}

#[derive(Debug)]
enum Outcome {
    Loaded(Box<LoadedModule>),
    NotFound(Vec<String>),
    Failed { path: PathBuf, reason: String },
}

impl Outcome {
    fn status(&self) -> ModuleStatus {
        match self {
            Outcome::Loaded(loaded) => loaded.status(),
            Outcome::NotFound(tried) => ModuleStatus::NotFound {
                tried: tried.clone(),
            },
            Outcome::Failed { path, reason } => ModuleStatus::Failed {
                path: path.clone(),
                reason: reason.clone(),
            },
        }
    }
}

impl Default for SymbolsBuilder {
    fn default() -> Self {
        Self {
            path: SymbolPath::default(),
            extra_folders: Vec::new(),
            cache_dir: None,
            allow_mismatched: false,
            recorded_folders: false,
            max_size: 4 << 30,
            read_limit: Duration::from_secs(600),
            connect_limit: Duration::from_secs(15),
            silence_limit: Duration::from_secs(30),
            download_limit: Duration::from_secs(1800),
        }
    }
}

impl SymbolsBuilder {
    /// Where to look for PDBs. Local folders and stores are searched first, then the
    /// [extra folders](Self::extra_folder), then the servers.
    #[must_use]
    pub fn path(mut self, path: SymbolPath) -> Self {
        self.path = path;
        self
    }

    /// Adds a folder to look into, for instance that of the dump.
    #[must_use]
    pub fn extra_folder(mut self, folder: impl Into<PathBuf>) -> Self {
        self.extra_folders.push(folder.into());
        self
    }

    /// Where to keep what was read from PDBs, so that later runs are fast. Also the default folder
    /// for downloads (in `store` below it). Without it nothing is kept on disk, except downloads
    /// whose folder the symbol path names.
    #[must_use]
    pub fn cache_dir(mut self, folder: impl Into<PathBuf>) -> Self {
        self.cache_dir = Some(folder.into());
        self
    }

    /// Whether a PDB of the right name and another identity is used when there is no other.
    /// [`Symbols::status`] tells when that happened.
    #[must_use]
    pub fn allow_mismatched(mut self, allow: bool) -> Self {
        self.allow_mismatched = allow;
        self
    }

    /// Whether to look into the folders that the module and its PDB had where the dump was taken and
    /// where they were built, if they exist here. A dump from a stranger names what folders it likes,
    /// so by default only the last part of a name is ever used. Shares on other machines are never
    /// looked into.
    #[must_use]
    pub fn recorded_folders(mut self, look: bool) -> Self {
        self.recorded_folders = look;
        self
    }

    /// Size in bytes above which a PDB is refused; 4 GiB by default.
    #[must_use]
    pub fn max_pdb_size(mut self, bytes: u64) -> Self {
        self.max_size = bytes;
        self
    }

    /// Time after which reading a PDB is given up; 10 minutes by default.
    #[must_use]
    pub fn read_limit(mut self, limit: Duration) -> Self {
        self.read_limit = limit;
        self
    }

    /// Limits for downloads: to connect (15 s by default), of a server that sends nothing (30 s),
    /// and for a whole file (30 min).
    #[must_use]
    pub fn download_limits(mut self, connect: Duration, silence: Duration, file: Duration) -> Self {
        (self.connect_limit, self.silence_limit, self.download_limit) = (connect, silence, file);
        self
    }

    /// Makes the [`Symbols`].
    #[must_use]
    pub fn build(self) -> Symbols {
        let cache = self.cache_dir.as_deref().map(cache::folder);
        for root in self.stores().chain(cache) {
            partial::sweep(&root);
        }
        Symbols {
            options: self,
            modules: Mutex::default(),
        }
    }

    fn default_store(&self) -> Option<PathBuf> {
        self.cache_dir.as_deref().map(|dir| dir.join("store"))
    }

    /// Every folder that downloads may be kept in.
    fn stores(&self) -> impl Iterator<Item = PathBuf> {
        let named = self.path.entries.iter().flat_map(|entry| match entry {
            Entry::Folder(_) => &[],
            Entry::Cache(folder) => std::slice::from_ref(folder),
            Entry::Server { stores, .. } => stores.as_slice(),
        });
        let named = named.filter_map(|folder| folder.clone());
        named.chain(self.default_store())
    }

    fn store(&self, named: Option<&Path>) -> Option<PathBuf> {
        named.map(Path::to_owned).or_else(|| self.default_store())
    }
}

impl Symbols {
    /// Settings, to be changed and [built](SymbolsBuilder::build).
    #[must_use]
    pub fn builder() -> SymbolsBuilder {
        SymbolsBuilder::default()
    }

    /// What is known of the module's symbols. Loads them.
    #[must_use]
    pub fn status(&self, module: &Module) -> ModuleStatus {
        let Some(cell) = self.cell(module) else {
            return ModuleStatus::NoPdbReference;
        };
        self.outcome(&cell, module).status()
    }

    /// What is known of the module's symbols if they were asked for before; loads nothing.
    #[must_use]
    pub fn known_status(&self, module: &Module) -> Option<ModuleStatus> {
        self.cell(module)?.get().map(Outcome::status)
    }

    /// The module's loaded symbols, for repeated questions; `None` without symbols.
    #[must_use]
    pub fn module(&self, module: &Module) -> Option<ModuleSymbols> {
        let cell = self.cell(module)?;
        match self.outcome(&cell, module) {
            Outcome::Loaded(_) => Some(ModuleSymbols(cell)),
            Outcome::NotFound(_) | Outcome::Failed { .. } => None,
        }
    }

    /// Function, source line and inlined calls of an address, given relative to the module's base.
    /// `None` without symbols, and below the first symbol.
    #[must_use]
    pub fn resolve(&self, module: &Module, rva: u32) -> Option<Resolution> {
        self.module(module)?.resolve(rva)
    }

    /// Like [`Symbols::resolve`] for an address that a call returns to: line and inlined calls are
    /// those of the call, one byte before; function and displacement are the address's own, as
    /// debuggers print them.
    #[must_use]
    pub fn resolve_return(&self, module: &Module, rva: u32) -> Option<Resolution> {
        self.module(module)?.resolve_return(rva)
    }

    /// The symbol that names an address, and the next one above it.
    #[must_use]
    pub fn nearest(&self, module: &Module, rva: u32) -> (Option<Symbol>, Option<Symbol>) {
        self.module(module).map_or((None, None), |symbols| {
            let (below, above) = symbols.table().nearest(rva);
            (below.cloned(), above.cloned())
        })
    }

    /// Address of the symbol of this name, relative to the module's base. Both the name that
    /// debuggers print and the decorated one are understood.
    #[must_use]
    pub fn lookup(&self, module: &Module, name: &str) -> Option<u32> {
        self.module(module)?
            .table()
            .lookup(name)
            .map(|symbol| symbol.rva)
    }

    /// The symbols whose names match a pattern with `*` and `?`, in the order of their addresses.
    #[must_use]
    pub fn search(&self, module: &Module, pattern: &str) -> Vec<Symbol> {
        self.module(module).map_or_else(Vec::new, |symbols| {
            symbols
                .table()
                .search(pattern)
                .into_iter()
                .cloned()
                .collect()
        })
    }

    /// See [`ModuleSymbols::source_line`].
    #[must_use]
    pub fn source_line(&self, module: &Module, rva: u32) -> Option<SourceLine> {
        self.module(module)?.source_line(rva)
    }

    /// See [`ModuleSymbols::parameters`].
    #[must_use]
    pub fn parameters(&self, module: &Module, rva: u32) -> Option<String> {
        self.module(module)?.parameters(rva).map(str::to_owned)
    }

    fn cell(&self, module: &Module) -> Option<Arc<OnceLock<Outcome>>> {
        let pdb = module.pdb.as_ref()?;
        let key = Key {
            file: pdb.file.clone(),
            id: pdb.id,
            module: module.path.clone(),
        };
        let mut modules = self
            .modules
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        Some(Arc::clone(modules.entry(key).or_default()))
    }

    fn outcome<'c>(&self, cell: &'c OnceLock<Outcome>, module: &Module) -> &'c Outcome {
        cell.get_or_init(|| self.load(module))
    }

    fn load(&self, module: &Module) -> Outcome {
        let Some(pdb) = &module.pdb else {
            return Outcome::NotFound(Vec::new());
        };
        let options = &self.options;
        let mut search = Search::default();
        let Some(wanted) = Wanted::new(pdb.file_name(), pdb.id, options.max_size) else {
            return Outcome::NotFound(vec![format!("{:?} is no file name", pdb.file_name())]);
        };
        let recorded = [&pdb.file, &module.path].into_iter();
        let recorded = recorded.filter(|_| options.recorded_folders);
        let found = self
            .search_stores(&mut search, &wanted)
            .or_else(|| {
                let extra = options.extra_folders.iter().cloned();
                extra
                    .chain(recorded.filter_map(|path| local_folder(path)))
                    .find_map(|f| search.folder(&f, &wanted))
            })
            .or_else(|| self.ask_servers(&mut search, &wanted));
        let (found, mismatched) = match (found, search.mismatched) {
            (Some(found), _) => (found, false),
            (None, Some(found)) if options.allow_mismatched => (found, true),
            _ if !search.unusable.is_empty() => {
                let (path, reason) = search.unusable.swap_remove(0);
                return Outcome::Failed { path, reason };
            }
            _ => return Outcome::NotFound(search.tried),
        };
        self.read(found, mismatched)
    }

    fn read(&self, found: Found, mismatched: bool) -> Outcome {
        let Found { path, data, id } = found;
        let data = Arc::new(data);
        let kept = self
            .options
            .cache_dir
            .as_deref()
            .map(|dir| cache::file(dir, &path, id, data.len() as u64));
        if let Some(converted) = kept.as_deref().and_then(|file| cache::read(file, id).ok()) {
            let loaded = LoadedModule::new(path, id, mismatched, converted, data);
            return Outcome::Loaded(Box::new(loaded));
        }
        let input = Arc::clone(&data);
        match sandbox::run(self.options.read_limit, move || convert::convert(&input)) {
            Ok(_) if !data.is_whole() => Outcome::Failed {
                path,
                reason: "it was cut off while it was read".to_owned(),
            },
            Ok(converted) => {
                if let Some(file) = &kept {
                    // A cache that cannot be written only costs time.
                    let _ = cache::write(file, id, &converted);
                }
                let loaded = LoadedModule::new(path, id, mismatched, converted, data);
                Outcome::Loaded(Box::new(loaded))
            }
            Err(error) => Outcome::Failed {
                path,
                reason: error.to_string(),
            },
        }
    }

    fn search_stores(&self, search: &mut Search, wanted: &Wanted) -> Option<Found> {
        for entry in &self.options.path.entries {
            let found = match entry {
                Entry::Folder(folder) => search.folder(folder, wanted),
                Entry::Cache(folder) => self
                    .options
                    .store(folder.as_deref())
                    .and_then(|folder| search.folder(&folder, wanted)),
                Entry::Server { stores, .. } => stores
                    .iter()
                    .filter_map(|store| self.options.store(store.as_deref()))
                    .chain(self.options.default_store().filter(|_| stores.is_empty()))
                    .find_map(|folder| search.folder(&folder, wanted)),
            };
            if found.is_some() {
                return found;
            }
        }
        None
    }

    fn ask_servers(&self, search: &mut Search, wanted: &Wanted) -> Option<Found> {
        let options = &self.options;
        let limits = server::Limits {
            connect: options.connect_limit,
            silence: options.silence_limit,
            file: options.download_limit,
        };
        let mut caches = Vec::new();
        for entry in &options.path.entries {
            match entry {
                Entry::Folder(_) | Entry::Server { url: None, .. } => {}
                Entry::Cache(folder) => caches.extend(options.store(folder.as_deref())),
                Entry::Server {
                    stores,
                    url: Some(url),
                } => {
                    let mut keep: Vec<PathBuf> = stores
                        .iter()
                        .filter_map(|s| options.store(s.as_deref()))
                        .collect();
                    keep.extend(caches.iter().cloned());
                    if keep.is_empty() {
                        keep.extend(options.default_store());
                    }
                    match server::download(url, &keep, wanted, limits) {
                        Ok(found) => return Some(found),
                        Err(error) => {
                            search.note_text(error.to_string());
                            if let Error::BadDownload { url, detail } = error {
                                search.unusable.push((url.into(), detail));
                            }
                        }
                    }
                }
            }
        }
        None
    }
}

/// The loaded symbols of one module.
#[derive(Debug, Clone)]
pub struct ModuleSymbols(Arc<OnceLock<Outcome>>);

impl ModuleSymbols {
    /// The symbols of a PDB whose bytes are at hand, for those who have a store of their own: nothing is
    /// looked for, and nothing kept on disk. Reading is given up after `limit`.
    ///
    /// # Errors
    ///
    /// When the bytes are no PDB, when it is damaged, or when reading takes too long.
    pub fn from_bytes(bytes: Vec<u8>, limit: Duration) -> Result<Self, Error> {
        let id = convert::identity(&bytes)?;
        let data = Arc::new(Content::Memory(bytes));
        let input = Arc::clone(&data);
        let converted = sandbox::run(limit, move || convert::convert(&input))?;
        let loaded = LoadedModule::new(PathBuf::new(), id, false, converted, data);
        let outcome = Outcome::Loaded(Box::new(loaded));
        Ok(Self(Arc::new(OnceLock::from(outcome))))
    }

    fn loaded(&self) -> &LoadedModule {
        match self.0.get() {
            Some(Outcome::Loaded(loaded)) => loaded,
            _ => unreachable!("made of a loaded module only"),
        }
    }

    /// See [`Symbols::resolve`].
    #[must_use]
    pub fn resolve(&self, rva: u32) -> Option<Resolution> {
        self.loaded().resolve(rva, rva)
    }

    /// See [`Symbols::resolve_return`].
    #[must_use]
    pub fn resolve_return(&self, rva: u32) -> Option<Resolution> {
        self.loaded().resolve(rva, rva.saturating_sub(1))
    }

    /// The module's symbols by address and name.
    #[must_use]
    pub fn table(&self) -> &SymbolTable {
        &self.loaded().table
    }

    /// Where in the source an address lies, by the PDB's line records, which are read on first use.
    /// `None` where no line is known, and when the records cannot be read.
    #[must_use]
    pub fn source_line(&self, rva: u32) -> Option<SourceLine> {
        let loaded = self.loaded();
        let records = loaded.on_demand(&loaded.line_records, Lines::from_bytes);
        records.ok()?.at(rva)
    }

    /// The parameter types of the function that begins at `rva`, in brackets, as debuggers spell
    /// them: `(void *, unsigned int64)`. The PDB's type records are read on first use; `None`
    /// where they do not tell.
    #[must_use]
    pub fn parameters(&self, rva: u32) -> Option<&str> {
        let loaded = self.loaded();
        let parameters = loaded.on_demand(&loaded.parameters, Parameters::from_bytes);
        parameters.ok()?.of(rva)
    }

    /// The structures that the PDB's type records describe, read on first use. The error is that
    /// of a damaged type stream.
    ///
    /// # Errors
    ///
    /// When the type records cannot be read; the text says why.
    pub fn types(&self) -> Result<&PdbTypes, &str> {
        let loaded = self.loaded();
        loaded.on_demand(&loaded.types, PdbTypes::from_bytes)
    }
}

impl TypeCatalogue for ModuleSymbols {
    fn names(&self) -> Vec<String> {
        self.types().map(TypeCatalogue::names).unwrap_or_default()
    }

    fn find(&self, name: &str) -> Option<TypeId> {
        self.types().ok()?.find(name)
    }

    fn structure(&self, id: TypeId) -> Option<StructureType> {
        TypeCatalogue::structure(self.types().ok()?, id)
    }

    fn enumeration(&self, name: &str) -> Option<Vec<(String, i64)>> {
        TypeCatalogue::enumeration(self.types().ok()?, name)
    }

    fn variable(&self, place: u32) -> Option<(TypeId, u64)> {
        self.types().ok()?.variable(place)
    }
}
