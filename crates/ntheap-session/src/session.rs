//! An opened dump with its symbols.

use std::{
    fmt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use ntheap::{
    dump::{Dump, DumpFile, OpenOptions, Problem},
    graph::{Graph, GraphData},
    heap::Heaps,
    layout::Bitness,
    losses::Losses,
    names::NameSource,
    process::{Process, ProcessOptions},
};
use ntheap_symbols::{DumpNames, SymbolPath, Symbols};

use crate::{Error, Result};

/// How to open a dump.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Options {
    /// Symbol path: folders, stores, `srv*CACHE*URL`, parted by `;`. Nothing is downloaded unless it names
    /// a server. Without it frames are named by exports alone.
    pub symbols: Option<String>,
    /// Folder in which converted symbols are kept; none are kept without it.
    pub cache: Option<PathBuf>,
    /// Also use PDBs whose GUID or age is another.
    pub allow_mismatched: bool,
    /// Side of a 32-bit process on 64-bit Windows; the program's own by default.
    pub bitness: Option<Bitness>,
    /// Most bytes that a packed dump may unpack to; 1,000 times its size and at least 4 GiB by default.
    pub max_unpacked: Option<u64>,
    /// Walks of one report end after this time with what they found; what is missing is told.
    pub time_limit: Option<Duration>,
    /// Leave out folders of modules, source files and PDBs.
    pub private: bool,
    /// The references of the dump are kept from one report to the next where they take no more bytes than
    /// this; by default they are read anew for each.
    pub keep_references: usize,
}

impl Options {
    /// Options with a symbol path, if there is one.
    #[must_use]
    pub fn with_symbols(symbols: Option<String>) -> Self {
        Options {
            symbols,
            ..Options::default()
        }
    }
}

/// A dump file that was opened (and unpacked), with its symbols.
#[derive(Debug)]
pub struct Session {
    path: PathBuf,
    file: DumpFile,
    symbols: Symbols,
    options: Options,
    references: Mutex<Option<Arc<GraphData>>>,
}

/// What a dump holds, opened: everything that analyses take.
#[non_exhaustive]
pub struct View<'v, 'p, 'a> {
    /// The dump.
    pub dump: &'p Dump<'a>,
    /// The process, or the side of it that was asked for.
    pub process: &'p Process<'p, 'a>,
    /// Its heaps.
    pub heaps: &'v Heaps<'p, 'a>,
    /// Names for its addresses.
    pub names: &'v DumpNames<'p, 'a, 'v>,
    /// Whether names come from a symbol path.
    pub has_symbols: bool,
    session: &'v Session,
}

impl fmt::Debug for View<'_, '_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").finish_non_exhaustive()
    }
}

impl<'p, 'a> View<'_, 'p, 'a> {
    /// The graph of references, as it was read before where the session keeps it.
    #[must_use]
    pub fn graph(&self) -> Graph<'p, 'a> {
        let kept = || {
            let kept = self.session.references.lock();
            kept.unwrap_or_else(PoisonError::into_inner)
        };
        if let Some(data) = kept().clone() {
            return Graph::with_data(self.process, data);
        }
        let graph = Graph::of(self.heaps);
        // What the time ended before everything was read is not kept.
        let fits = graph.memory() <= self.session.options.keep_references;
        if fits && !self.dump.is_out_of_time() {
            *kept() = Some(graph.data());
        }
        graph
    }

    /// The names, where a symbol path was given: reports list frames by name then.
    #[must_use]
    pub fn frame_names(&self) -> Option<&dyn NameSource> {
        self.has_symbols.then_some(self.names as &dyn NameSource)
    }
}

impl Session {
    /// Opens a dump. PDBs are looked for on the symbol path, and beside the dump where there is one.
    ///
    /// # Errors
    /// [`Error::Dump`] if the file can't be read, or is no dump; [`Error::SymbolPath`].
    pub fn open(path: &Path, options: &Options) -> Result<Self> {
        let open = OpenOptions {
            progress: None,
            max_decompressed: options.max_unpacked,
        };
        let file = DumpFile::open_with(path, open)?;
        // What is no dump is refused here, not by the first report.
        Dump::parse(file.bytes())?;
        let text = options.symbols.as_deref().unwrap_or_default();
        let symbol_path =
            SymbolPath::parse(text).map_err(|error| Error::SymbolPath(error.to_string()))?;
        let mut symbols = Symbols::builder()
            .path(symbol_path)
            .allow_mismatched(options.allow_mismatched);
        if options.symbols.is_some() {
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            symbols = symbols.extra_folder(folder.unwrap_or(Path::new(".")));
        }
        if let Some(folder) = &options.cache {
            symbols = symbols.cache_dir(folder);
        }
        Ok(Session {
            path: path.to_owned(),
            file,
            symbols: symbols.build(),
            options: options.clone(),
            references: Mutex::default(),
        })
    }

    /// Where the dump is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The options that it was opened with.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.options
    }

    /// Parses the dump, opens its heaps and hands all over.
    ///
    /// # Errors
    /// [`Error::Dump`] if the dump holds no heaps that can be read.
    pub fn with<T>(&self, work: impl FnOnce(&View<'_, '_, '_>) -> T) -> Result<T> {
        let mut dump = Dump::parse(self.file.bytes())?;
        if let Some(reason) = self.file.incomplete() {
            let reason = reason.to_owned();
            dump.problems.insert(0, Problem::Incomplete { reason });
        }
        if self.options.private {
            for module in &mut dump.modules {
                module.path = module.file_name().to_owned();
            }
        }
        let limit = self.options.time_limit;
        if let Some(deadline) = limit.and_then(|limit| Instant::now().checked_add(limit)) {
            dump.stop_at(deadline);
        }
        let process = self.file.scattered(|| self.process(&dump))?;
        let names = DumpNames::new(&dump, &self.symbols).with_file_names_only(self.options.private);
        let heaps = self.file.scattered(|| Heaps::of(&process));
        Ok(work(&View {
            dump: &dump,
            process: &process,
            heaps: &heaps,
            names: &names,
            has_symbols: self.options.symbols.is_some(),
            session: self,
        }))
    }

    /// Whether what was read so far can be relied on.
    ///
    /// # Errors
    /// [`Error::Dump`] if the file changed, or could not be read any more, since it was opened.
    pub fn check(&self) -> Result<()> {
        Ok(self.file.check()?)
    }

    /// What could not be read of the dump and its heaps, in words; nothing if all was.
    ///
    /// # Errors
    /// As [`Session::with`].
    pub fn losses(&self) -> Result<Losses> {
        self.with(|view| view.heaps.losses().clone())
    }

    /// The process, with the layouts of its own ntdll's PDB where that is at hand.
    fn process<'d, 'a>(&self, dump: &'d Dump<'a>) -> Result<Process<'d, 'a>> {
        let options = ProcessOptions {
            bitness: self.options.bitness,
            ..ProcessOptions::default()
        };
        let process = Process::with_options(dump, &options)?;
        let Some(ntdll) = process
            .ntdll()
            .and_then(|module| self.symbols.module(module))
        else {
            return Ok(process);
        };
        let Ok(types) = ntdll.types() else {
            return Ok(process);
        };
        let types = Some(types as _);
        Ok(Process::with_options(
            dump,
            &ProcessOptions { types, ..options },
        )?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ntheap_synth::oracle::testdata_dumps;

    #[test]
    fn references_are_read_once_where_they_are_kept() {
        let sample = testdata_dumps()
            .into_iter()
            .find(|path| path.to_string_lossy().contains("19041.662-small.snap1"));
        let sample = sample.expect("the sample dump");
        let classes = |session: &Session| {
            let lost = session.with(|view| {
                let graph = view.graph();
                let classes = graph.classes(ntheap::graph::Rules::DEFAULT);
                let blocks = classes.iter().filter(|(_, class)| class.is_lost());
                (graph.reference_count(), blocks.count())
            });
            lost.expect("the dump has heaps")
        };
        let kept = |session: &Session| {
            let kept = session.references.lock().expect("nobody panicked");
            kept.as_ref().map(|data| Arc::as_ptr(data) as usize)
        };
        let keeps = |bytes| Options {
            keep_references: bytes,
            ..Options::default()
        };
        let plain = Session::open(&sample, &keeps(0)).expect("opens");
        let expected = classes(&plain);
        assert!(expected.0 > 0);
        assert_eq!(kept(&plain), None);

        let session = Session::open(&sample, &keeps(256 << 20)).expect("opens");
        assert_eq!(classes(&session), expected);
        let first = kept(&session);
        assert!(first.is_some());
        assert_eq!(classes(&session), expected);
        assert_eq!(kept(&session), first);

        // More than may be kept.
        let narrow = Session::open(&sample, &keeps(16)).expect("opens");
        assert_eq!(classes(&narrow), expected);
        assert_eq!(kept(&narrow), None);
        // What the time ended is not kept.
        let limited = Options {
            time_limit: Some(Duration::ZERO),
            ..keeps(256 << 20)
        };
        let limited = Session::open(&sample, &limited).expect("opens");
        let _ = classes(&limited);
        assert_eq!(kept(&limited), None);
    }
}
