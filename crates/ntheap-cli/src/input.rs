//! Opening dumps, choosing the side of a process, and saying what could not be read.

use std::{
    mem,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use indicatif::{ProgressBar, ProgressStyle};
use ntheap::{
    Error,
    dump::{Dump, DumpFile, OpenOptions, Problem},
    heap::Heaps,
    layout::Bitness,
    losses::Losses,
    process::{HeapRef, Process, ProcessOptions},
};

use ntheap_symbols::{DumpNames, Symbols};

use crate::{
    deadline,
    failure::{Failure, Status},
    numbers,
    options::{Common, Side},
    privacy,
    progress::{self, shows_progress},
    symbols,
};

/// A file that was named on the command line.
pub(crate) struct Input {
    path: PathBuf,
    file: DumpFile,
    symbols: Symbols,
    has_symbols: bool,
    signatures: bool,
}

impl Input {
    /// Opens the file; a compressed one is unpacked, with a progress bar if that takes long.
    pub(crate) fn open(path: &Path, common: &Common) -> Result<Self, Failure> {
        let symbols = symbols::open(common, &[path])?;
        let mut bar: Option<ProgressBar> = None;
        let mut progress = |done: u64, total: u64| {
            let bar = bar.get_or_insert_with(|| {
                let style = "unpacking {wide_bar} {bytes}/{total_bytes}";
                let style = ProgressStyle::with_template(style);
                ProgressBar::new(total).with_style(style.unwrap_or(ProgressStyle::default_bar()))
            });
            bar.set_position(done);
        };
        let limit = common.max_unpacked.as_deref();
        let options = OpenOptions {
            progress: shows_progress().then_some(&mut progress),
            max_decompressed: limit.map(numbers::parse_bytes).transpose()?,
        };
        let file = DumpFile::open_with(path, options);
        if let Some(bar) = bar {
            bar.finish_and_clear();
        }
        let file = file.map_err(|error| Failure::Input {
            path: path.to_owned(),
            error,
        })?;
        Ok(Input {
            path: path.to_owned(),
            file,
            symbols,
            has_symbols: symbols::path_text(common).is_some(),
            signatures: common.signatures,
        })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Its path as it may be shown.
    pub(crate) fn shown_path(&self) -> String {
        privacy::path(&self.path)
    }

    /// The file's bytes, unpacked.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.file.bytes()
    }

    /// Whether the options or the environment name a symbol path.
    pub(crate) fn has_symbols(&self) -> bool {
        self.has_symbols
    }

    /// Names for the addresses of the dump, as the options want them.
    pub(crate) fn names<'d, 'a>(&self, dump: &'d Dump<'a>) -> DumpNames<'d, 'a, '_> {
        DumpNames::new(dump, &self.symbols)
            .with_signatures(self.signatures)
            .with_file_names_only(privacy::is_on())
    }

    /// The symbols that the options give for this dump.
    pub(crate) fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    pub(crate) fn parse(&self) -> Result<Dump<'_>, Failure> {
        let mut dump = self.parse_with_paths()?;
        privacy::apply(&mut dump.modules);
        Ok(dump)
    }

    /// The dump with the paths that it names, for who judges by them and shows none.
    pub(crate) fn parse_with_paths(&self) -> Result<Dump<'_>, Failure> {
        let mut dump = Dump::parse(self.file.bytes()).map_err(|error| self.failure(error))?;
        dump.count_walked(progress::walked());
        if let Some(deadline) = deadline::get() {
            dump.stop_at(deadline);
        }
        if let Some(reason) = self.file.incomplete() {
            dump.problems.insert(
                0,
                Problem::Incomplete {
                    reason: reason.to_owned(),
                },
            );
        }
        Ok(dump)
    }

    /// Fails if what was read is not what the file holds any more.
    pub(crate) fn check(&self) -> Result<(), Failure> {
        self.file.check().map_err(|error| self.failure(error))
    }

    pub(crate) fn failure(&self, error: Error) -> Failure {
        Failure::Input {
            path: self.path.clone(),
            error,
        }
    }

    /// The sides of the process that the options ask for, the program's own first.
    pub(crate) fn processes<'d, 'a>(
        &self,
        dump: &'d Dump<'a>,
        common: &Common,
    ) -> Result<Vec<Process<'d, 'a>>, Failure> {
        self.open_processes(dump, common, false)
    }

    /// The same for what can be told of a process whose heaps are not in the dump.
    pub(crate) fn processes_without_heaps<'d, 'a>(
        &self,
        dump: &'d Dump<'a>,
        common: &Common,
    ) -> Result<Vec<Process<'d, 'a>>, Failure> {
        self.open_processes(dump, common, true)
    }

    fn open_processes<'d, 'a>(
        &self,
        dump: &'d Dump<'a>,
        common: &Common,
        without_heaps: bool,
    ) -> Result<Vec<Process<'d, 'a>>, Failure> {
        let open = |bitness| {
            let options = ProcessOptions {
                bitness,
                without_heaps,
                ..ProcessOptions::default()
            };
            let process = || symbols::process(dump, &self.symbols, options);
            self.file
                .scattered(process)
                .map_err(|error| self.failure(error))
        };
        match common.bitness {
            None => Ok(vec![open(None)?]),
            Some(Side::Bits32) => Ok(vec![open(Some(Bitness::X86))?]),
            Some(Side::Bits64) => Ok(vec![open(Some(Bitness::X64))?]),
            Some(Side::All) => {
                let first = open(None)?;
                let mut all = vec![first];
                if all[0].wow64 {
                    all.push(open(Some(Bitness::X64))?);
                }
                Ok(all)
            }
        }
    }

    /// Hands over the heaps of each side that the options ask for. What the work returns as lost, and
    /// what the dump and the process lack, is said on stderr; the status comes of both.
    pub(crate) fn each_side(
        &self,
        dump: &Dump<'_>,
        common: &Common,
        work: impl FnMut(&Heaps<'_, '_>) -> Result<Losses, Failure>,
    ) -> Result<Status, Failure> {
        self.each(self.processes(dump, common)?, common, work)
    }

    /// The same, where a dump without heaps will do.
    pub(crate) fn each_side_without_heaps(
        &self,
        dump: &Dump<'_>,
        common: &Common,
        work: impl FnMut(&Heaps<'_, '_>) -> Result<Losses, Failure>,
    ) -> Result<Status, Failure> {
        self.each(self.processes_without_heaps(dump, common)?, common, work)
    }

    fn each(
        &self,
        processes: Vec<Process<'_, '_>>,
        common: &Common,
        mut work: impl FnMut(&Heaps<'_, '_>) -> Result<Losses, Failure>,
    ) -> Result<Status, Failure> {
        let mut status = Status::Complete;
        for process in processes {
            let lost = work(&heaps(self, &process, common)?)?;
            status = status.and(self.report(&Losses::of(&process).merged(lost)));
        }
        Ok(status)
    }

    /// The one side that commands about a single process speak of.
    pub(crate) fn process<'d, 'a>(
        &self,
        dump: &'d Dump<'a>,
        common: &Common,
    ) -> Result<Process<'d, 'a>, Failure> {
        let mut processes = self.processes(dump, common)?;
        Ok(processes.swap_remove(0))
    }

    /// The one side, for commands of which some need no heaps.
    pub(crate) fn process_without_heaps<'d, 'a>(
        &self,
        dump: &'d Dump<'a>,
        common: &Common,
    ) -> Result<Process<'d, 'a>, Failure> {
        let mut processes = self.processes_without_heaps(dump, common)?;
        Ok(processes.swap_remove(0))
    }

    /// The other side of a 32-bit process on 64-bit Windows.
    pub(crate) fn other_side<'d, 'a>(&self, process: &Process<'d, 'a>) -> Option<Process<'d, 'a>> {
        let bitness = match process.bitness {
            Bitness::X86 => Bitness::X64,
            Bitness::X64 => Bitness::X86,
        };
        let options = ProcessOptions {
            bitness: Some(bitness),
            ..ProcessOptions::default()
        };
        let open = || symbols::process(process.dump, &self.symbols, options).ok();
        process.wow64.then(open).flatten()
    }

    /// Says on stderr what could not be read, and makes the exit status of it.
    pub(crate) fn report(&self, losses: &Losses) -> Status {
        let name = self.name();
        losses.lines().for_each(|line| say!("{name}: {line}"));
        Status::of(losses)
    }

    pub(crate) fn name(&self) -> std::borrow::Cow<'_, str> {
        self.path
            .file_name()
            .unwrap_or(self.path.as_os_str())
            .to_string_lossy()
    }
}

/// Says what could not be read while the debugger's commands are carried out: once, however many
/// commands lose it.
pub(crate) struct Reporter<'i, 'l> {
    input: &'i Input,
    said: Vec<&'l Losses>,
    status: Status,
}

impl<'i, 'l> Reporter<'i, 'l> {
    /// Begins with what the dump and the process lack, whatever the commands look into.
    pub(crate) fn new(input: &'i Input, process: &Process<'_, '_>) -> Self {
        Reporter {
            input,
            said: Vec::new(),
            status: input.report(&Losses::of(process)),
        }
    }

    /// Says what a command that looked into heaps could not read.
    pub(crate) fn report(&mut self, losses: Option<&'l Losses>) {
        let Some(losses) = losses else { return };
        if !self.said.iter().any(|said| std::ptr::eq(*said, losses)) {
            self.said.push(losses);
            self.status = self.status.and(self.input.report(&losses.of_walks()));
        }
    }

    pub(crate) fn status(&self) -> Status {
        self.status
    }
}

impl Drop for Input {
    /// The last moment to see that what was read is not what the file holds any more.
    fn drop(&mut self) {
        if let Err(error) = self.file.check() {
            let failure = self.failure(error);
            CHANGED
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push(failure);
        }
    }
}

/// Inputs that were cut off or written to while they were read.
static CHANGED: Mutex<Vec<Failure>> = Mutex::new(Vec::new());

/// Which inputs were cut off or written to while they were read, of those that are not open any more.
pub(crate) fn changed() -> Vec<Failure> {
    mem::take(&mut CHANGED.lock().unwrap_or_else(PoisonError::into_inner))
}

/// The heaps of a process that the options ask for.
pub(crate) fn heaps<'p, 'a>(
    input: &Input,
    process: &'p Process<'p, 'a>,
    common: &Common,
) -> Result<Heaps<'p, 'a>, Failure> {
    let Some(text) = &common.heap else {
        return Ok(input.file.scattered(|| Heaps::of(process)));
    };
    let address = numbers::parse_address(text)?;
    // A heap can also be named in decimal, as JSON readers may have turned it.
    let decimal = text.parse().ok();
    let named = |heap: &HeapRef| heap.handle == address || Some(heap.handle) == decimal;
    let heaps = input.file.scattered(|| Heaps::only(process, named));
    if heaps.is_empty() {
        return Err(input.failure(Error::NoSuchHeap { handle: address }));
    }
    Ok(heaps)
}
