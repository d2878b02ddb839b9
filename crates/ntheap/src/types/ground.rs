//! What the analysis of types works on: the program's blocks by address, the memory outside of them
//! that may hold owners of blocks, and words of all of it.

use crate::{
    address_space::{AddressSpace, Window},
    graph::{Graph, Index, Resolved, RootKind},
    layout::Bitness,
    usage::Owner,
};

/// The blocks of the program by ascending address, as the program has them: behind the header of
/// the debug C runtime, where there is one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blocks<'g>(&'g Index);

impl<'g> Blocks<'g> {
    pub(super) fn len(self) -> usize {
        self.0.len()
    }

    /// The lowest address of a block, and one past the highest.
    pub(super) fn span(self) -> (u64, u64) {
        self.0.span()
    }

    /// Address and size of the blocks of a chunk of so many.
    pub(super) fn chunk(
        self,
        chunk: usize,
        length: usize,
    ) -> impl Iterator<Item = (u64, u64)> + use<'g> {
        self.0.blocks_from((chunk * length) as u32).take(length)
    }

    /// The blocks that addresses lie in, of many together.
    pub(super) fn resolve_all(
        self,
        addresses: impl ExactSizeIterator<Item = u64>,
        hits: &mut Resolved,
    ) {
        self.0.resolve_all(addresses, hits);
    }

    /// Address and size of a block.
    #[inline]
    pub(super) fn block(self, number: u32) -> (u64, u64) {
        self.0.block(number)
    }

    /// Size of a block.
    #[inline]
    pub(super) fn size(self, number: u32) -> u64 {
        self.0.size(number)
    }

    /// The block that begins at `address`.
    #[inline]
    pub(super) fn at(self, address: u64) -> Option<u32> {
        let hit = self.0.resolve(address)?;
        (hit.offset == 0).then_some(hit.block)
    }

    /// The first block that begins in `start..end`.
    pub(super) fn first_in(self, start: u64, end: u64) -> Option<u32> {
        let number = self.0.first_from(start);
        ((number as usize) < self.0.len() && self.0.block(number).0 < end).then_some(number)
    }

    /// The block that holds `address`.
    pub(super) fn around(self, address: u64) -> Option<u32> {
        self.0.find(address)
    }
}

/// Memory outside of blocks in which owners of blocks may lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Area {
    pub(super) start: u64,
    pub(super) end: u64,
    pub(super) owner: Owner,
}

/// The variables of images, what the program allocated without a heap, and the used part of stacks.
fn areas(graph: &Graph<'_, '_>) -> Vec<Area> {
    let holds_owners = |kind| {
        matches!(
            kind,
            RootKind::Image
                | RootKind::Private
                | RootKind::Mapped
                | RootKind::Stack
                | RootKind::Sealed
        )
    };
    let areas = graph.areas().iter().filter(|area| holds_owners(area.kind));
    areas
        .map(|area| Area {
            start: area.start,
            end: area.end,
            owner: area.owner,
        })
        .collect()
}

/// Blocks, areas and words.
pub(super) struct Ground<'p, 'a> {
    pub(super) memory: &'p AddressSpace<'a>,
    pub(super) bitness: Bitness,
    /// Bytes of a pointer.
    pub(super) word: u64,
    pub(super) blocks: Blocks<'p>,
    pub(super) areas: Vec<Area>,
}

impl<'p, 'a> Ground<'p, 'a> {
    pub(super) fn new(graph: &'p Graph<'_, 'a>) -> Self {
        let process = graph.process();
        Ground {
            memory: process.memory(),
            bitness: process.bitness,
            word: process.bitness.pointer_size(),
            blocks: Blocks(graph.index()),
            areas: areas(graph),
        }
    }

    /// Of memory that a test makes.
    #[cfg(test)]
    pub(super) fn by_hand(
        memory: &'p AddressSpace<'a>,
        bitness: Bitness,
        index: &'p Index,
        areas: Vec<Area>,
    ) -> Self {
        Ground {
            memory,
            bitness,
            word: bitness.pointer_size(),
            blocks: Blocks(index),
            areas,
        }
    }

    /// The pointer-sized word at `address`.
    pub(super) fn word(&self, address: u64) -> Option<u64> {
        self.memory.pointer(address, self.bitness)
    }

    /// The word at `address`, which is near the one that was read last.
    #[inline]
    pub(super) fn near(&self, window: &mut Window<'_, '_>, address: u64) -> Option<u64> {
        window.pointer(address, self.bitness)
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
        match self.blocks.at(data) {
            Some(number) => (self.blocks.size(number) == bytes).then_some(number),
            None => self.large(data, bytes),
        }
    }

    /// Whether some block [`holds`](Self::holds) so many bytes, where the one that begins at `data`
    /// is known.
    #[inline]
    pub(super) fn fits(&self, start: Option<u32>, data: u64, bytes: u64) -> bool {
        match start {
            Some(number) => self.blocks.size(number) == bytes,
            None => self.large(data, bytes).is_some(),
        }
    }

    /// The block of large memory of the C++ library.
    fn large(&self, data: u64, bytes: u64) -> Option<u32> {
        const LARGE: u64 = 4096;
        const ALIGNMENT: u64 = 32;
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
        let fits = self.blocks.size(number) == 2 * self.word && self.word(proxy)? == place;
        fits.then_some(number)
    }
}
