//! Small dumps: of a sample dump the pages that one heap, the traces of its blocks and the environment blocks
//! lie in, and the pages of images that the program can write to. The process has that heap alone then: a
//! walk of it takes a fraction of a millisecond, and every change touches what is walked.

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    dump::{Dump, DumpFile, RegionKind},
    heap::Heaps,
    process::Process,
    stats,
    usage::{Class, Owner, Usage},
};
use ntheap_synth::oracle::testdata_dumps;

const PAGE: u64 = 0x1000;
/// A heap with fewer blocks has too little to be changed.
const FEWEST_BLOCKS: u64 = 8;
/// Heaps of a dump that are taken.
const MOST_HEAPS: usize = 4;
const MEMORY_LIST: u32 = 5;
const MEMORY64_LIST: u32 = 9;
/// `PAGE_READWRITE`, `PAGE_WRITECOPY` and the same with execution.
const WRITABLE: [u32; 4] = [0x04, 0x08, 0x40, 0x80];

/// A dump that is small enough to be walked thousands of times a second.
#[derive(Debug)]
pub struct Seed {
    pub name: String,
    pub bytes: Vec<u8>,
    /// Where in the file the header of each heap entry lies.
    pub entries: Vec<usize>,
    /// Where in the file each page's entry in the list of memory lies.
    pub pages: Vec<usize>,
    /// Where in the file memory begins.
    pub memory: usize,
    /// Handles of the heaps, and addresses of some blocks.
    pub addresses: Vec<u64>,
}

/// The small dumps whose names have one of these parts.
///
/// # Panics
/// Without sample dumps, or if a small dump does not have the blocks of the whole one.
#[must_use]
pub fn seeds(names: &[&str]) -> Vec<Seed> {
    let paths = testdata_dumps().into_iter().filter_map(|path| {
        let name = path
            .file_name()?
            .to_str()?
            .split('.')
            .take(3)
            .collect::<Vec<_>>()
            .join(".");
        names
            .iter()
            .any(|part| name.contains(part))
            .then_some((name, path))
    });
    let seeds: Vec<Seed> = paths
        .filter(|(name, _)| !name.contains("snap2") && !name.contains("snap3"))
        .flat_map(|(name, path)| {
            let file = DumpFile::open(&path).expect("opens");
            Seed::of(&name, file.bytes())
        })
        .collect();
    assert!(!seeds.is_empty(), "no sample dump is one of {names:?}");
    for seed in &seeds {
        eprintln!(
            "{}: {} KiB, {} pages, {} entries",
            seed.name,
            seed.bytes.len() >> 10,
            seed.pages.len(),
            seed.entries.len()
        );
    }
    seeds
}

impl Seed {
    /// The small dumps of a dump: each has one of its heaps. If the process can't be had with one of them
    /// alone, it has them all.
    fn of(name: &str, whole: &[u8]) -> Vec<Self> {
        let dump = Dump::parse(whole).expect("a dump");
        let truth = blocks(whole);
        let mut seeds = Vec::new();
        for &(handle, count, _) in &truth {
            if count < FEWEST_BLOCKS {
                continue;
            }
            let pages = kept_pages(&dump, Some(handle));
            let mut bytes = with_pages(whole, &dump, &pages);
            keep_one_heap(&mut bytes, handle);
            let wanted: Vec<_> = truth.iter().filter(|heap| heap.0 == handle).collect();
            if blocks(&bytes).iter().eq(wanted) {
                seeds.push(Self::new(format!("{name} heap {handle:x}"), bytes));
            }
        }
        // The smallest are walked most often, and a heap of each kind is among them.
        seeds.sort_by_key(|seed| seed.pages.len());
        seeds.truncate(MOST_HEAPS);
        if seeds.is_empty() {
            let mut pages = kept_pages(&dump, None);
            let mut bytes = with_pages(whole, &dump, &pages);
            if blocks(&bytes) != truth {
                // What ntdll has in pages that are not writable now.
                let ntdll = |page: u64| {
                    let module = dump.module_at(page);
                    module.is_some_and(|m| m.file_name().eq_ignore_ascii_case("ntdll.dll"))
                };
                pages.extend(all_pages(&dump).filter(|&page| ntdll(page)));
                pages.sort_unstable();
                pages.dedup();
                bytes = with_pages(whole, &dump, &pages);
            }
            assert_eq!(blocks(&bytes), truth, "{name}");
            seeds.push(Self::new(name.to_owned(), bytes));
        }
        seeds
    }

    fn new(name: String, bytes: Vec<u8>) -> Self {
        let mut seed = Seed {
            name,
            bytes: Vec::new(),
            entries: Vec::new(),
            pages: Vec::new(),
            memory: 0,
            addresses: Vec::new(),
        };
        seed.index(&bytes);
        seed.bytes = bytes;
        seed
    }

    fn index(&mut self, bytes: &[u8]) {
        let dump = Dump::parse(bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let base = bytes.as_ptr() as usize;
        let offset = |address: u64| {
            let range = dump.memory.range_of(address)?;
            Some(range.bytes.as_ptr() as usize - base + (address - range.start) as usize)
        };
        let mut all = Entries::default();
        for heap in Heaps::of(&process).iter() {
            self.addresses.push(heap.handle());
            let _ = heap.walk(&mut all);
        }
        self.entries = all
            .0
            .iter()
            .filter_map(|&address| offset(address.wrapping_sub(8)))
            .collect();
        self.addresses
            .extend(all.0.iter().step_by(all.0.len() / 4 + 1));
        let first = dump
            .memory
            .ranges()
            .iter()
            .map(|range| range.bytes.as_ptr() as usize - base);
        self.memory = first.min().unwrap_or(0);
        let list = directory(bytes)
            .find(|entry| entry.0 == MEMORY_LIST)
            .expect("a list");
        let count = u32_at(bytes, list.2) as usize;
        self.pages = (0..count).map(|index| list.2 + 4 + index * 16).collect();
    }
}

/// Blocks that have an entry in front of them.
#[derive(Default)]
struct Entries(Vec<u64>);

impl Visitor for Entries {
    fn block(&mut self, block: &Block) -> Flow {
        if matches!(block.kind, Kind::Backend | Kind::Lfh | Kind::Vs) {
            self.0.push(block.address);
        }
        CONTINUE
    }
}

fn blocks(bytes: &[u8]) -> Vec<(u64, u64, u64)> {
    let dump = Dump::parse(bytes).expect("a dump");
    let Ok(process) = Process::of(&dump) else {
        return Vec::new();
    };
    let counts = stats::collect(&Heaps::of(&process));
    counts
        .iter()
        .map(|heap| (heap.handle, heap.busy_blocks, heap.busy_bytes))
        .collect()
}

fn all_pages(dump: &Dump<'_>) -> impl Iterator<Item = u64> {
    dump.memory
        .ranges()
        .iter()
        .flat_map(|range| (range.start & !(PAGE - 1)..range.end()).step_by(PAGE as usize))
}

/// The pages that matter to all heaps, or to one.
fn kept_pages(dump: &Dump<'_>, heap: Option<u64>) -> Vec<u64> {
    let process = Process::of(dump).expect("a process");
    let usage = Usage::of(&Heaps::of(&process));
    let used = usage
        .regions
        .iter()
        .filter(|used| match used.owner.class() {
            Class::Heap if heap.is_some_and(|handle| used.owner != Owner::Heap(handle)) => false,
            Class::Heap | Class::Traces | Class::Peb | Class::Teb => true,
            _ if used.region.kind == RegionKind::Image => {
                WRITABLE.contains(&(used.region.protection & 0xff))
            }
            _ => !usage.described,
        });
    let mut pages: Vec<u64> = used
        .flat_map(|used| (used.region.base & !(PAGE - 1)..used.region.end()).step_by(PAGE as usize))
        .filter(|&page| dump.memory.readable(page, PAGE) == PAGE)
        .collect();
    pages.sort_unstable();
    pages.dedup();
    pages
}

/// The dump's streams with these pages, each a range of its own.
fn with_pages(whole: &[u8], dump: &Dump<'_>, pages: &[u64]) -> Vec<u8> {
    let base = whole.as_ptr() as usize;
    let first = dump
        .memory
        .ranges()
        .iter()
        .map(|range| range.bytes.as_ptr() as usize - base);
    let mut bytes = whole[..first.min().expect("memory")].to_vec();
    let list = bytes.len();
    let memory = list + 4 + 16 * pages.len();
    bytes.extend((pages.len() as u32).to_le_bytes());
    for (index, page) in pages.iter().enumerate() {
        bytes.extend(page.to_le_bytes());
        bytes.extend((PAGE as u32).to_le_bytes());
        bytes.extend(((memory + index * PAGE as usize) as u32).to_le_bytes());
    }
    for &page in pages {
        let mut content = vec![0; PAGE as usize];
        dump.memory.read(page, &mut content);
        bytes.extend(content);
    }
    let size = (4 + 16 * pages.len()) as u32;
    let at = directory(whole)
        .find(|entry| entry.0 == MEMORY64_LIST)
        .expect("a list")
        .1;
    for (index, value) in [MEMORY_LIST, size, list as u32].into_iter().enumerate() {
        bytes[at + 4 * index..at + 4 * index + 4].copy_from_slice(&value.to_le_bytes());
    }
    bytes
}

/// Makes this heap the only one of the process, and its process heap.
fn keep_one_heap(bytes: &mut [u8], handle: u64) {
    let dump = Dump::parse(bytes).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let layout = &process.layouts.peb;
    let width = process.bitness.pointer_size() as usize;
    let field = |offset: Option<u32>| Some(process.peb? + u64::from(offset?));
    let array = field(layout.process_heaps).and_then(|at| dump.memory.pointer(at, process.bitness));
    let changes = [
        (field(layout.number_of_heaps), 1, 4),
        (field(layout.process_heap), handle, width),
        (array, handle, width),
    ];
    let base = bytes.as_ptr() as usize;
    let changes = changes.map(|(address, value, width)| {
        let range = address.and_then(|address| Some((address, dump.memory.range_of(address)?)));
        let at = range.map(|(address, range)| {
            range.bytes.as_ptr() as usize - base + (address - range.start) as usize
        });
        (at, value, width)
    });
    for (at, value, width) in changes {
        if let Some(at) = at {
            bytes[at..at + width].copy_from_slice(&value.to_le_bytes()[..width]);
        }
    }
}

/// Kind of each stream, where its entry in the directory lies, and where the stream does.
fn directory(bytes: &[u8]) -> impl Iterator<Item = (u32, usize, usize)> + '_ {
    let (count, at) = (u32_at(bytes, 8) as usize, u32_at(bytes, 12) as usize);
    (0..count).map(move |index| {
        let entry = at + 12 * index;
        (
            u32_at(bytes, entry),
            entry,
            u32_at(bytes, entry + 8) as usize,
        )
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("in the file"))
}
