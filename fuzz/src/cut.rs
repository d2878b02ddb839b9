//! Writing a dump again with a part of what it has: some pages of memory, each a range of its own, and of
//! the streams what the analysis reads, one behind the other.

use std::ops::Range;

use ntheap::dump::Dump;

pub(crate) const PAGE: u64 = 0x1000;

const THREADS: u32 = 3;
const MODULES: u32 = 4;
const MEMORY: u32 = 5;
const EXCEPTION: u32 = 6;
const SYSTEM: u32 = 7;
const MISC: u32 = 15;
const REGIONS: u32 = 16;

const HEADER: usize = 32;
/// Sizes of the records of the directory, of lists, and of what stands before regions.
const ENTRY: usize = 12;
const THREAD: usize = 0x30;
const MODULE: usize = 0x6c;
const REGION: usize = 0x30;
const BEFORE_REGIONS: usize = 16;
/// Where the records of a thread and of an exception tell size and place of registers.
const REGISTERS: usize = 0x28;
const EXCEPTION_REGISTERS: usize = 0xa0;
/// Where a module's record tells the place of its name, and size and place of what names its PDB.
const NAME: usize = 0x14;
const PDB: usize = 0x4c;

/// What of a dump is kept.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    /// Pages, in order.
    pub(crate) pages: Vec<u64>,
    /// Bases of modules.
    pub(crate) modules: Vec<u64>,
    /// Allocations whose regions are described.
    pub(crate) allocations: Vec<u64>,
}

impl Kept {
    /// These pages, with everything that the dump says of the process.
    pub(crate) fn of(dump: &Dump<'_>, pages: impl IntoIterator<Item = u64>) -> Self {
        let mut pages: Vec<u64> = pages.into_iter().collect();
        pages.sort_unstable();
        pages.dedup();
        let regions = dump.regions.iter();
        Kept {
            pages,
            modules: dump.modules.iter().map(|module| module.base).collect(),
            allocations: regions.map(|region| region.allocation_base).collect(),
        }
    }
}

/// A dump with what is kept of another.
pub(crate) fn cut(whole: &[u8], dump: &Dump<'_>, kept: &Kept) -> Vec<u8> {
    let wanted = [SYSTEM, THREADS, MODULES, REGIONS, EXCEPTION, MISC];
    let streams = wanted.map(|kind| (kind, stream(whole, kind)));
    let streams: Vec<_> = streams
        .into_iter()
        .filter_map(|(kind, place)| Some((kind, &whole[place?])))
        .collect();
    let mut file = Writer {
        whole,
        bytes: whole[..HEADER].to_vec(),
    };
    file.bytes.resize(HEADER + ENTRY * (streams.len() + 1), 0);
    file.set(8, streams.len() as u32 + 1);
    file.set(12, HEADER as u32);
    for (index, &(kind, body)) in streams.iter().enumerate() {
        let begin = file.bytes.len();
        let end = match kind {
            THREADS => file.threads(body),
            MODULES => file.modules(body, &kept.modules),
            REGIONS => file.regions(body, &kept.allocations),
            EXCEPTION => file.exception(body),
            _ => file.copy(body),
        };
        file.entry(index, kind, begin..end);
    }
    file.memory(streams.len(), dump, &kept.pages);
    file.bytes
}

/// Where each entry of the list of memory lies in a dump that was cut.
pub(crate) fn memory_list(bytes: &[u8]) -> impl Iterator<Item = usize> + use<> {
    let start = stream(bytes, MEMORY).expect("a list of memory").start;
    let count = u32_at(bytes, start) as usize;
    (0..count).map(move |index| start + 4 + index * 16)
}

struct Writer<'w> {
    whole: &'w [u8],
    bytes: Vec<u8>,
}

impl Writer<'_> {
    fn set(&mut self, at: usize, value: u32) {
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
    }

    fn entry(&mut self, index: usize, kind: u32, place: Range<usize>) {
        let at = HEADER + ENTRY * index;
        self.set(at, kind);
        self.set(at + 4, place.len() as u32);
        self.set(at + 8, place.start as u32);
    }

    /// Copies bytes; where they end.
    fn copy(&mut self, bytes: &[u8]) -> usize {
        self.bytes.extend(bytes);
        self.bytes.len()
    }

    /// Copies what a record at `at` tells size and place of, and tells the new place.
    fn copy_told(&mut self, at: usize) {
        let (size, place) = (u32_at(&self.bytes, at), u32_at(&self.bytes, at + 4));
        self.set(at + 4, self.bytes.len() as u32);
        let whole = self.whole;
        self.copy(&whole[place as usize..][..size as usize]);
    }

    fn threads(&mut self, body: &[u8]) -> usize {
        let begin = self.bytes.len() + 4;
        let end = self.copy(body);
        for at in (begin..end).step_by(THREAD) {
            self.copy_told(at + REGISTERS);
        }
        end
    }

    fn exception(&mut self, body: &[u8]) -> usize {
        let begin = self.bytes.len();
        let end = self.copy(body);
        self.copy_told(begin + EXCEPTION_REGISTERS);
        end
    }

    fn modules(&mut self, body: &[u8], bases: &[u64]) -> usize {
        let records = body[4..].chunks_exact(MODULE);
        let kept: Vec<_> = records
            .filter(|record| bases.contains(&u64_at(record, 0)))
            .collect();
        self.copy(&(kept.len() as u32).to_le_bytes());
        let begin = self.bytes.len();
        let end = self.copy(&kept.concat());
        for at in (begin..end).step_by(MODULE) {
            let name = u32_at(&self.bytes, at + NAME) as usize;
            let units = u32_at(self.whole, name) as usize;
            self.set(at + NAME, self.bytes.len() as u32);
            let whole = self.whole;
            self.copy(&whole[name..name + 4 + units + 2]);
            self.copy_told(at + PDB);
        }
        end
    }

    fn regions(&mut self, body: &[u8], allocations: &[u64]) -> usize {
        let kept: Vec<_> = body[BEFORE_REGIONS..]
            .chunks_exact(REGION)
            .filter(|record| allocations.contains(&u64_at(record, 8)))
            .collect();
        self.copy(&body[..8]);
        self.copy(&(kept.len() as u64).to_le_bytes());
        self.copy(&kept.concat())
    }

    fn memory(&mut self, index: usize, dump: &Dump<'_>, pages: &[u64]) {
        let begin = self.bytes.len();
        let end = begin + 4 + 16 * pages.len();
        self.copy(&(pages.len() as u32).to_le_bytes());
        for (number, page) in pages.iter().enumerate() {
            self.copy(&page.to_le_bytes());
            self.copy(&(PAGE as u32).to_le_bytes());
            self.copy(&((end + number * PAGE as usize) as u32).to_le_bytes());
        }
        self.entry(index, MEMORY, begin..end);
        for &page in pages {
            let mut content = [0; PAGE as usize];
            dump.memory.read(page, &mut content);
            self.copy(&content);
        }
    }
}

/// Where the stream of a kind lies.
fn stream(bytes: &[u8], kind: u32) -> Option<Range<usize>> {
    let (count, directory) = (u32_at(bytes, 8) as usize, u32_at(bytes, 12) as usize);
    let mut entries = (0..count).map(|index| directory + ENTRY * index);
    let entry = entries.find(|&entry| u32_at(bytes, entry) == kind)?;
    let (size, start) = (u32_at(bytes, entry + 4), u32_at(bytes, entry + 8));
    Some(start as usize..(start + size) as usize)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("in the file"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("in the file"))
}
