//! What the analysis of types works on: the program's blocks by address, the memory outside of them
//! that may hold owners of blocks, and words of all of it.

use rustc_hash::FxHashMap;

use crate::{
    address_space::AddressSpace,
    blocks::{Block, CONTINUE, Flow, Visitor},
    dump::{RegionKind, RegionState},
    heap::{
        Heap, Heaps,
        crt::{CrtBlock, CrtUse},
    },
    layout::Bitness,
    process::Process,
    usage::{Owner, Usage},
};

/// The blocks of the program by ascending address, as the program has them: behind the header of
/// the debug C runtime, where there is one.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    sorted: Vec<(u64, u64)>,
    /// By page, the first block that begins in it.
    pages: FxHashMap<u64, u32>,
}

const PAGE_BITS: u32 = 12;

impl Blocks {
    pub(super) fn of(heaps: &Heaps<'_, '_>) -> Self {
        let process = heaps.process();
        let new = |_: &Heap<'_, '_>| Collect {
            process,
            blocks: Vec::new(),
        };
        let found = heaps.walk_parallel(new, |mut all, more| {
            all.blocks.extend(more.blocks);
            all
        });
        Self::new(found.into_iter().flat_map(|found| found.blocks).collect())
    }

    pub(super) fn new(mut sorted: Vec<(u64, u64)>) -> Self {
        sorted.sort_unstable();
        sorted.dedup_by_key(|block| block.0);
        sorted.truncate(u32::MAX as usize);
        let mut pages = FxHashMap::default();
        for (index, (address, _)) in sorted.iter().enumerate() {
            pages.entry(address >> PAGE_BITS).or_insert(index as u32);
        }
        Blocks { sorted, pages }
    }

    pub(super) fn len(&self) -> usize {
        self.sorted.len()
    }

    /// Address and size of a block.
    #[inline]
    pub(super) fn block(&self, number: u32) -> (u64, u64) {
        self.sorted[number as usize]
    }

    /// The block that begins at `address`.
    #[inline]
    pub(super) fn at(&self, address: u64) -> Option<u32> {
        let first = *self.pages.get(&(address >> PAGE_BITS))?;
        let from = &self.sorted[first as usize..];
        // A page has few blocks, and those of one page lie together.
        let most = from.len().min(1 << PAGE_BITS);
        let before = from[..most].partition_point(|block| block.0 < address);
        (from.get(before)?.0 == address).then_some(first + before as u32)
    }

    /// The block that holds `address`.
    pub(super) fn around(&self, address: u64) -> Option<u32> {
        let before = self.sorted.partition_point(|block| block.0 <= address);
        let number = before.checked_sub(1)?;
        let (start, size) = self.sorted[number];
        (address - start < size.max(1)).then_some(number as u32)
    }
}

struct Collect<'p, 'd, 'a> {
    process: &'p Process<'d, 'a>,
    blocks: Vec<(u64, u64)>,
}

impl Visitor for Collect<'_, '_, '_> {
    fn block(&mut self, block: &Block) -> Flow {
        if block.is_user_block() {
            let (memory, bitness) = (self.process.memory(), self.process.bitness);
            match CrtBlock::read(memory, bitness, block.address, block.size) {
                // The runtime keeps it, the program does not.
                Some(crt) if crt.block_use == CrtUse::Free => {}
                Some(crt) => self.blocks.push((crt.address, crt.size)),
                None => self.blocks.push((block.address, block.size)),
            }
        }
        CONTINUE
    }
}

/// Memory outside of blocks in which owners of blocks may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) owner: Owner,
}

/// Writable memory of images and the program's own, and the used part of stacks.
pub(super) fn areas(heaps: &Heaps<'_, '_>) -> Vec<Area> {
    let process = heaps.process();
    const ACCESS: u32 = 0xff;
    /// `PAGE_READWRITE`, `PAGE_WRITECOPY` and the executable forms of both.
    const WRITABLE: [u32; 4] = [0x04, 0x08, 0x40, 0x80];
    const GUARD: u32 = 0x100;
    let usage = Usage::of(heaps);
    let mut areas = Vec::new();
    for used in &usage.regions {
        let region = &used.region;
        let mut start = region.base;
        let known = match used.owner {
            Owner::Image(_) => region.kind == RegionKind::Image || !usage.described,
            Owner::Private(_) => usage.described,
            Owner::Stack(thread) => {
                // What lies below the memory that the thread list names was left behind.
                let mut threads = process.dump.threads.iter();
                let live = threads.find(|known| known.id == thread);
                start = live.map_or(region.end(), |known| start.max(known.stack_base));
                true
            }
            _ => false,
        };
        let writable = !usage.described
            || WRITABLE.contains(&(region.protection & ACCESS)) && region.protection & GUARD == 0;
        let committed = region.state == RegionState::Commit;
        if known && writable && committed && start < region.end() {
            areas.push(Area {
                start,
                end: region.end(),
                owner: used.owner,
            });
        }
    }
    areas
}

/// Blocks, areas and words.
pub(super) struct Ground<'p, 'a> {
    pub(super) memory: &'p AddressSpace<'a>,
    pub(super) bitness: Bitness,
    /// Bytes of a pointer.
    pub(super) word: u64,
    pub(super) blocks: Blocks,
    pub(super) areas: Vec<Area>,
}

impl<'p, 'a> Ground<'p, 'a> {
    pub(super) fn new(
        memory: &'p AddressSpace<'a>,
        bitness: Bitness,
        blocks: Blocks,
        areas: Vec<Area>,
    ) -> Self {
        Ground {
            memory,
            bitness,
            word: bitness.pointer_size(),
            blocks,
            areas,
        }
    }

    /// The pointer-sized word at `address`.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        self.memory.pointer(address, self.bitness)
    }

    /// The word `index` words behind `address`.
    pub(super) fn nth(&self, address: u64, index: u64) -> Option<u64> {
        self.word(address.checked_add(index * self.word)?)
    }

    /// The bytes of a block, where they lie in one piece.
    pub(super) fn bytes(&self, number: u32) -> Option<&'a [u8]> {
        let (address, size) = self.blocks.block(number);
        self.memory.slice(address, size)
    }

    /// The block that holds just `bytes` bytes from `data` on: it begins there, or, as the C++
    /// library allocates what has 4096 bytes and more, it begins a little before, and the word
    /// in front of `data` says where.
    pub(super) fn holds(&self, data: u64, bytes: u64) -> Option<u32> {
        const LARGE: u64 = 4096;
        const ALIGNMENT: u64 = 32;
        if let Some(number) = self.blocks.at(data) {
            return (self.blocks.block(number).1 == bytes).then_some(number);
        }
        if bytes < LARGE || !data.is_multiple_of(ALIGNMENT) {
            return None;
        }
        let start = self.word(data.checked_sub(self.word)?)?;
        let number = self.blocks.at(start)?;
        let (start, size) = self.blocks.block(number);
        let gap = data.checked_sub(start)?;
        // The debug library puts a word of a pattern before that one.
        let fits = |front: u64| {
            let end = bytes.checked_add(front)?.checked_add(ALIGNMENT - 1)?;
            Some(size == end && gap >= front && gap < front + ALIGNMENT)
        };
        let word = self.word;
        [word, 2 * word]
            .into_iter()
            .find_map(|front| fits(front)?.then_some(number))
    }

    /// Whether the word at `place` points to the iterator-debugging proxy of a container there.
    pub(super) fn is_proxied(&self, place: u64) -> bool {
        self.proxy(place).is_some()
    }

    /// The proxy of the container at `place`: two words, the first of which points back.
    pub(super) fn proxy(&self, place: u64) -> Option<u32> {
        let proxy = self.word(place)?;
        let number = self.blocks.at(proxy)?;
        let fits = self.blocks.block(number).1 == 2 * self.word && self.word(proxy)? == place;
        fits.then_some(number)
    }
}
