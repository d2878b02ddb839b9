//! Small dumps: of a sample dump one heap and what of the process the analysis needs to find it, and dumps
//! that the generator made. A walk takes some microseconds, and every change touches what is walked.

use std::{collections::BTreeSet, io::Cursor, sync::Mutex, time::Instant};

use ntheap::{
    blocks::{Block, CONTINUE, Flow, Kind, Visitor},
    dump::{Dump, DumpFile, RegionKind},
    heap::Heaps,
    process::Process,
    usage::{Class, Owner, Usage},
};
use ntheap_synth::{
    oracle::testdata_dumps,
    stream::{Plan, write},
};

use crate::{
    cut::{Kept, PAGE, cut, memory_list},
    truth,
};

/// A heap with fewer blocks has too little to be changed.
const FEWEST_BLOCKS: usize = 8;
/// A heap of more pages takes too long, before and after those are left out that do not matter.
const MOST_PAGES: usize = 400;
const MOST_KEPT: usize = 128;
/// Into how many parts pages are divided at most, to see of each whether it matters.
const PARTS: usize = 64;
/// Pages that point to blocks of the heap from outside.
const MOST_ROOTS: usize = 2;
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
    /// The bytes once more, which are changed and mended again.
    pub(crate) changed: Mutex<Vec<u8>>,
}

/// The small dumps whose names have one of these parts, and those of the plans.
///
/// # Panics
/// Without sample dumps, or if a small dump does not have the blocks of the whole one.
#[must_use]
pub fn seeds(names: &[&str], plans: &[Plan]) -> Vec<Seed> {
    let mut seeds: Vec<Seed> = testdata_dumps()
        .into_iter()
        .filter_map(|path| {
            let name = path.file_name()?.to_str()?.split(".dmp").next()?.to_owned();
            let wanted = names.iter().any(|part| name.contains(part));
            // Later ones of a process have the same kinds of blocks.
            let is_first = name.ends_with("snap1") || name.contains("debug");
            (wanted && is_first).then_some((name, path))
        })
        .flat_map(|(name, path)| {
            let file = DumpFile::open(&path).expect("opens");
            of_dump(&name, file.bytes())
        })
        .collect();
    assert!(!seeds.is_empty(), "no sample dump is one of {names:?}");
    seeds.extend(plans.iter().map(of_plan));
    for seed in &seeds {
        let begin = Instant::now();
        let dump = Dump::parse(&seed.bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        crate::walk::everything(&process, &seed.addresses, 0);
        eprintln!(
            "{}: {} KiB, {} pages, {} entries, {:?}",
            seed.name,
            seed.bytes.len() >> 10,
            seed.pages.len(),
            seed.entries.len(),
            begin.elapsed()
        );
    }
    seeds
}

/// A small dump for each heap of a dump that shows something which smaller ones don't.
fn of_dump(name: &str, whole: &[u8]) -> Vec<Seed> {
    let dump = Dump::parse(whole).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let usage = Usage::of(&Heaps::of(&process));
    let mut heaps: Vec<_> = truth::heaps(&dump)
        .into_iter()
        .filter(|heap| heap.addresses.len() >= FEWEST_BLOCKS)
        .map(|heap| (pages(&dump, &usage, Some(heap.handle)), heap))
        .filter(|(own, _)| own.len() <= MOST_PAGES)
        .collect();
    heaps.sort_by_key(|(own, _)| own.len());
    let (mut seen, mut seeds) = (BTreeSet::new(), Vec::new());
    for (own, heap) in heaps {
        if heap.kinds.is_subset(&seen) {
            continue;
        }
        // Page heaps depend on the heaps behind them.
        let all = || pages(&dump, &usage, None);
        let bytes = with_heap(whole, &dump, own, &heap).or_else(|| {
            let has_more = !process.normal_heaps.is_empty();
            has_more.then(|| with_heap(whole, &dump, all(), &heap))?
        });
        if let Some(bytes) = bytes {
            seen.extend(heap.kinds);
            seeds.push(Seed::new(format!("{name} heap {:x}", heap.handle), bytes));
        }
    }
    assert!(!seeds.is_empty(), "no heap of {name} can be had alone");
    seeds
}

/// A dump that the generator made, without the pages that nothing depends on.
fn of_plan(plan: &Plan) -> Seed {
    let mut file = Cursor::new(Vec::new());
    write(plan, &mut file).expect("memory takes it");
    let whole = file.into_inner();
    let dump = Dump::parse(&whole).expect("a dump");
    let wanted = truth::whole(&whole);
    let kept = less(Kept::of(&dump, all_pages(&dump)), &dump, |kept| {
        truth::whole(&cut(&whole, &dump, kept)) == wanted
    });
    let kind = format!("{:?} {:?} {}", plan.manager, plan.bitness, plan.build);
    Seed::new(format!("made: {kind}"), cut(&whole, &dump, &kept))
}

/// The small dump of a heap: with that heap alone or, where that is no process, the others' handles.
fn with_heap(
    whole: &[u8],
    dump: &Dump<'_>,
    pages: Vec<u64>,
    heap: &truth::HeapTruth,
) -> Option<Vec<u8>> {
    let kept = Kept::of(dump, pages);
    let alone = |kept: &Kept| {
        let mut bytes = cut(whole, dump, kept);
        keep_one_heap(&mut bytes, heap.handle);
        bytes
    };
    let among_others = |kept: &Kept| cut(whole, dump, kept);
    let found = |bytes: &[u8]| truth::heaps(&Dump::parse(bytes).expect("a dump"));
    let is_alone = matches!(&found(&alone(&kept))[..], [only] if only.is_like(heap));
    let kept = if is_alone {
        let first = truth::whole(&alone(&kept));
        less(kept, dump, |kept| truth::whole(&alone(kept)) == first)
    } else {
        let this = |kept: &Kept| {
            let mut heaps = found(&among_others(kept)).into_iter();
            heaps.find(|found| found.is_like(heap))
        };
        let first = this(&kept)?;
        less(kept, dump, |kept| this(kept).as_ref() == Some(&first))
    };
    if kept.pages.len() > MOST_KEPT {
        return None;
    }
    let kept = with_roots(kept, dump, heap);
    Some(if is_alone {
        alone(&kept)
    } else {
        among_others(&kept)
    })
}

/// Leaves out what does not matter: modules, regions, pages.
fn less(mut kept: Kept, dump: &Dump<'_>, holds: impl Fn(&Kept) -> bool) -> Kept {
    let program = dump.modules.first().map(|module| module.base);
    let mut few = kept.clone();
    few.modules = dump
        .modules
        .iter()
        .filter(|module| {
            let name = module.file_name().to_ascii_lowercase();
            Some(module.base) == program || name == "ntdll.dll" || name == "wow64.dll"
        })
        .map(|module| module.base)
        .collect();
    if holds(&few) {
        kept = few;
    }
    let mut size = kept.pages.len().next_power_of_two() / 2;
    while size > 0 && size * PARTS >= kept.pages.len() {
        let mut at = 0;
        while at < kept.pages.len() {
            let end = (at + size).min(kept.pages.len());
            let mut fewer = kept.clone();
            fewer.pages.drain(at..end);
            if !fewer.pages.is_empty() && holds(&fewer) {
                kept = fewer;
            } else {
                at = end;
            }
        }
        size /= 2;
    }
    let mut few = kept.clone();
    let described = kept.pages.iter().filter_map(|&page| dump.region_at(page));
    few.allocations = described.map(|region| region.allocation_base).collect();
    if holds(&few) {
        kept = few;
    }
    kept
}

/// Pages that are none of heaps and point to blocks of the heap.
fn with_roots(mut kept: Kept, dump: &Dump<'_>, heap: &truth::HeapTruth) -> Kept {
    let size = heap.bitness.pointer_size();
    let is_root = |page: u64| {
        let region = dump.region_at(page);
        let is_stack = |region: u64| {
            dump.threads
                .iter()
                .any(|t| t.stack_base / PAGE == region / PAGE)
        };
        region.is_some_and(|region| {
            (region.kind == RegionKind::Image && WRITABLE.contains(&(region.protection & 0xff)))
                || is_stack(region.base)
        })
    };
    let points = |page: &u64| {
        let words = (*page..*page + PAGE).step_by(size as usize);
        let mut words = words.filter_map(|at| dump.memory.pointer(at, heap.bitness));
        words.any(|word| heap.addresses.contains(&word))
    };
    let more: Vec<u64> = all_pages(dump)
        .filter(|page| kept.pages.binary_search(page).is_err() && is_root(*page))
        .filter(points)
        .take(MOST_ROOTS)
        .collect();
    let described = more.iter().filter_map(|&page| dump.region_at(page));
    kept.allocations
        .extend(described.map(|region| region.allocation_base));
    kept.pages.extend(more);
    kept.pages.sort_unstable();
    kept
}

impl Seed {
    fn new(name: String, bytes: Vec<u8>) -> Self {
        let mut seed = Seed {
            name,
            changed: Mutex::new(bytes.clone()),
            bytes: Vec::new(),
            entries: Vec::new(),
            pages: memory_list(&bytes).collect(),
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
        let mut entries = Entries {
            // Of the sixteen bytes of a header on x64 the first eight belong to the block before.
            header: process.bitness.unit() - 8,
            places: BTreeSet::new(),
            blocks: Vec::new(),
        };
        let heaps = Heaps::of(&process);
        for heap in heaps.iter().chain(heaps.normal()) {
            self.addresses.push(heap.handle());
            let _ = heap.walk(&mut entries);
        }
        self.entries = entries.places.into_iter().filter_map(offset).collect();
        let blocks = &entries.blocks;
        self.addresses
            .extend(blocks.iter().step_by(blocks.len() / 4 + 1));
        let first = dump
            .memory
            .ranges()
            .iter()
            .map(|range| range.bytes.as_ptr() as usize - base);
        self.memory = first.min().unwrap_or(0);
    }
}

/// Where blocks have their headers.
struct Entries {
    header: u64,
    places: BTreeSet<u64>,
    blocks: Vec<u64>,
}

impl Visitor for Entries {
    fn block(&mut self, block: &Block) -> Flow {
        if matches!(
            block.kind,
            Kind::Backend | Kind::Lookaside | Kind::Lfh | Kind::Virtual
        ) {
            self.places.insert(block.entry.wrapping_add(self.header));
        }
        if block.kind == Kind::Vs {
            self.places.insert(block.entry);
        }
        // The second half of the header, or an extended one behind it.
        self.places.insert(block.address.wrapping_sub(8));
        self.blocks.push(block.address);
        CONTINUE
    }
}

fn all_pages(dump: &Dump<'_>) -> impl Iterator<Item = u64> {
    dump.memory
        .ranges()
        .iter()
        .flat_map(|range| (range.start & !(PAGE - 1)..range.end()).step_by(PAGE as usize))
}

/// The pages that may matter to a heap, or to all of them.
fn pages(dump: &Dump<'_>, usage: &Usage, heap: Option<u64>) -> Vec<u64> {
    let used = usage
        .regions
        .iter()
        .filter(|used| match used.owner.class() {
            Class::Heap => heap.is_none_or(|handle| used.owner == Owner::Heap(handle)),
            Class::Traces | Class::Peb | Class::Teb => true,
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
/// Makes this heap the only one of the process, and its process heap.
fn keep_one_heap(bytes: &mut [u8], handle: u64) {
    let dump = Dump::parse(bytes).expect("a dump");
    let Ok(process) = Process::of(&dump) else {
        return;
    };
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
