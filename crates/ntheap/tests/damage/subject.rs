//! The dumps that are damaged, and what is in them while they are whole.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use ntheap::{
    blocks::{Block, CONTINUE, Certainty, Finding, Flow, Visitor},
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::{HeapKind, HeapSource, Process},
};

use ntheap_synth::oracle::{oracle, workspace};

use crate::{
    image::{Addresses, Image},
    parts::Parts,
};

/// A block of the program: its size, and the memory that is its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) size: u64,
    pub(crate) extent: Addresses,
    /// Whether the walk is certain of it.
    pub(crate) certain: bool,
}

/// Busy blocks by heap and address.
pub(crate) type Blocks = BTreeMap<(u64, u64), Held>;

/// What a walk of all heaps reported.
#[derive(Default)]
pub(crate) struct Walk {
    pub(crate) blocks: Blocks,
    pub(crate) findings: Vec<Finding>,
}

impl Visitor for Walk {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            let (start, end) = block.extent();
            let held = Held {
                size: block.size,
                extent: start..end,
                certain: block.certainty == Certainty::Certain,
            };
            self.blocks.insert((block.heap, block.address), held);
        }
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.findings.push(finding);
        CONTINUE
    }
}

impl Walk {
    pub(crate) fn of(process: &Process<'_, '_>) -> Self {
        let mut walk = Walk::default();
        for heap in &Heaps::of(process) {
            let _ = heap.walk(&mut walk);
        }
        walk
    }
}

/// A dump, and what was found in it while it was whole. The suite `oracle` proves that this is all
/// that the process had.
pub(crate) struct Subject {
    pub(crate) name: String,
    /// The row of the table that it counts in.
    pub(crate) generation: &'static str,
    pub(crate) image: Image,
    pub(crate) blocks: Blocks,
    /// Pages of the environment block of the walked side, and of the other one.
    pub(crate) pebs: Vec<u64>,
    /// Addresses of the threads' environment blocks.
    pub(crate) tebs: Vec<u64>,
    /// Place of the environment block's count of heaps.
    pub(crate) count_of_heaps: u64,
    /// Place of its handle of the process heap.
    pub(crate) process_heap: u64,
    /// The array of heaps.
    pub(crate) array: Addresses,
    /// Size of a pointer in bytes.
    pub(crate) pointer_size: usize,
    /// The records of the ring of heaps (24H2), as the headers of the heaps point to them.
    pub(crate) ring: Vec<u64>,
    /// Images of modules.
    pub(crate) modules: Vec<(String, Addresses)>,
    /// Private memory that is readable and writable.
    pub(crate) private: Vec<Addresses>,
    /// Where the headers of its heaps lie.
    pub(crate) parts: Parts,
}

impl Subject {
    fn open(path: &Path) -> Self {
        const PRIVATE: u32 = 4;
        let file = DumpFile::open(path).expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("the dump parses");
        let process = Process::of(&dump).expect("the process");
        let peb = process.peb.expect("the environment block");
        let layout = &process.layouts.peb;
        let at = |field: Option<u32>| peb + u64::from(field.expect("the layout has the field"));
        let pointer = |address| dump.memory.pointer(address, process.bitness);
        let count = u64::from(dump.memory.u32(at(layout.number_of_heaps)).unwrap_or(0));
        let array = pointer(at(layout.process_heaps)).expect("the array");
        let mut pebs = vec![peb];
        if process.wow64 {
            let layouts = ntheap::layout::Layouts::for_build(0, ntheap::layout::Bitness::X64);
            let field = layouts.teb.process_environment_block;
            let native = dump
                .threads
                .first()
                .and_then(|thread| dump.memory.u64(thread.teb + u64::from(field.unwrap_or(0))));
            pebs.extend(native);
        }
        Subject {
            name: label(path),
            generation: generation(&process),
            blocks: Walk::of(&process).blocks,
            pebs,
            tebs: dump.threads.iter().map(|thread| thread.teb).collect(),
            count_of_heaps: at(layout.number_of_heaps),
            process_heap: at(layout.process_heap),
            pointer_size: process.bitness.pointer_size() as usize,
            ring: ring(&process),
            array: array..array + count * process.bitness.pointer_size(),
            modules: dump
                .modules
                .iter()
                .map(|module| (module.file_name().to_owned(), module.base..module.end()))
                .collect(),
            private: dump
                .regions
                .iter()
                .filter(|region| {
                    region.kind == ntheap::dump::RegionKind::Private && region.protection == PRIVATE
                })
                .map(|region| region.base..region.end())
                .collect(),
            parts: Parts::of(&process),
            image: Image::new(file.bytes().to_vec()),
        }
    }

    /// Pages of the threads' environment blocks of both sides.
    pub(crate) fn teb_pages(&self) -> Vec<Addresses> {
        // The 32-bit block lies behind the 64-bit one, which has two pages.
        let pages = 4 * crate::image::PAGE;
        let tebs = self.tebs.iter();
        tebs.map(|&teb| teb..teb + pages)
            .filter(|pages| !self.pebs.iter().any(|peb| pages.contains(peb)))
            .collect()
    }
}

/// The records that the headers of heaps point to: links, then the heap's handle.
fn ring(process: &Process<'_, '_>) -> Vec<u64> {
    const HEADER: u64 = 0x400;
    let (memory, bitness) = (process.memory(), process.bitness);
    let size = bitness.pointer_size();
    // A segment's links are followed by the heap's address as well.
    let of_segment = process
        .layouts
        .segment
        .segment_list_entry
        .map_or(0, u64::from);
    let heaps = process.heaps.iter();
    heaps
        .filter(|heap| heap.source == HeapSource::Ring)
        .filter_map(|heap| {
            let fields = (0..HEADER).step_by(size as usize);
            let mut records = fields.filter_map(|at| memory.pointer(heap.handle + at, bitness));
            records.find(|&record| {
                if record % crate::image::PAGE == of_segment {
                    return false;
                }
                let handle = record.checked_add(2 * size);
                let link = memory.pointer(record, bitness);
                handle.and_then(|at| memory.pointer(at, bitness)) == Some(heap.handle)
                    && link.is_some_and(|link| memory.pointer(link + size, bitness) == Some(record))
            })
        })
        .collect()
}

/// Folder and file of a dump: `19041.662-small/snap1`, `19041.662-small.snap1`.
fn label(path: &Path) -> String {
    let part = |path: Option<&std::ffi::OsStr>| path.unwrap_or_default().display().to_string();
    let file = part(path.file_name());
    let file = file.trim_end_matches(".zst").trim_end_matches(".dmp");
    match file.starts_with("snap") {
        true => format!("{}/{file}", part(path.parent().and_then(Path::file_name))),
        false => file.to_owned(),
    }
}

fn generation(process: &Process<'_, '_>) -> &'static str {
    let kind = |kind| process.heaps.iter().any(|heap| heap.kind == kind);
    match process.build {
        _ if process.wow64 => "WOW64",
        _ if kind(HeapKind::PageHeap) => "page heap",
        _ if kind(HeapKind::Segment) => "segment heap",
        0..=3790 => "XP",
        3791..=9199 => "7",
        9200 => "8",
        9201..=10239 => "8.1",
        10240..=21999 => "10",
        22000..=26099 => "11",
        _ => "11 24H2",
    }
}

/// A dump of `testdata/`, by its name without extension.
pub(crate) fn testdata(name: &str) -> Subject {
    Subject::open(&workspace().join(format!("testdata/{name}.dmp.zst")))
}

/// The oracle's dumps that are damaged: of each run with every kind of program the second dump.
/// `NTHEAP_DAMAGE=all` takes every dump of every run, any other value those with it in their names.
fn oracle_paths() -> Vec<PathBuf> {
    const RUNS: [&str; 9] = [
        "-small",
        "-smallust",
        "-smallseg",
        "-smallsegust",
        "-smalllfh",
        "-pageheap",
        "-pageheaplight",
        "-wow64",
        "-wow64ust",
    ];
    let Some(oracle) = oracle() else {
        return Vec::new();
    };
    let only = std::env::var("NTHEAP_DAMAGE").unwrap_or_default();
    let mut paths = Vec::new();
    for folder in std::fs::read_dir(oracle.unpacked).into_iter().flatten() {
        let folder = folder.expect("a folder").path();
        let name = folder.file_name().unwrap_or_default().display().to_string();
        let transcript = name.starts_with("cdb");
        let taken = match only.as_str() {
            "all" => !transcript,
            "" => !transcript && RUNS.iter().any(|run| name.ends_with(run)),
            part => name.contains(part),
        };
        if taken {
            let snapshots = ["snap2", "snap3", "snap1"].map(|n| folder.join(format!("{n}.dmp")));
            let count = if only == "all" { 3 } else { 1 };
            paths.extend(snapshots.into_iter().filter(|p| p.exists()).take(count));
        }
    }
    paths.sort();
    paths
}

/// The dumps to damage: the oracle's where it is at hand, else those of `testdata/`.
pub(crate) fn paths() -> Vec<PathBuf> {
    let paths = oracle_paths();
    if !paths.is_empty() {
        return paths;
    }
    let mut paths: Vec<PathBuf> = std::fs::read_dir(workspace().join("testdata"))
        .expect("testdata")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.display().to_string().ends_with(".dmp.zst"))
        .collect();
    paths.sort();
    paths
}

/// Opens a dump of [`paths`].
pub(crate) fn open(path: &Path) -> Subject {
    Subject::open(path)
}
