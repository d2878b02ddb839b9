//! Reading the references: every aligned word of the blocks and of the roots, once, in the order
//! of addresses.
//!
//! The blocks and the areas are cut into jobs of about the same length, which are read in parallel;
//! their references are put together in order. So each holder's references lie side by side, by
//! ascending place, and the place of any can be found again by reading its holder once more.

use std::{hint::black_box, sync::atomic::Ordering};

use rayon::prelude::*;

use super::{
    index::{Hit, Resolved},
    judge::{Facts, Judge, Pointer},
    roots::{Area, RootKind, Threads},
    rules::Rules,
};
use crate::{address_space::AddressSpace, layout::Bitness};

/// Bytes of address space of a job.
const JOB: u64 = 1 << 20;

/// All references of a process: of block 0 first, of the areas behind those of the last block.
#[derive(Debug, Default)]
pub(super) struct References {
    /// Where each holder's references end; they begin where those of the holder before end.
    pub(super) ends: Vec<u32>,
    /// The blocks that they lead to.
    pub(super) targets: Vec<u32>,
    /// The rules that hold for each, and [`super::judge::START`].
    pub(super) rules: Vec<u16>,
    /// Rules that hold for pointers of blocks into their own middle, which are no references.
    pub(super) own_rules: Vec<(u32, u16)>,
}

impl References {
    /// Where the references of a holder begin.
    #[inline]
    pub(super) fn start(&self, holder: usize) -> u32 {
        match holder.checked_sub(1) {
            Some(before) => self.ends[before],
            None => 0,
        }
    }

    /// The references of a holder: targets and rules.
    #[inline]
    pub(super) fn of(&self, holder: usize) -> (&[u32], &[u16]) {
        let start = self.start(holder) as usize;
        let end = self.ends[holder] as usize;
        (&self.targets[start..end], &self.rules[start..end])
    }

    /// Bytes of memory that they take.
    pub(super) fn memory(&self) -> usize {
        (self.ends.len() + self.targets.len()) * 4 + self.rules.len() * 2 + self.own_rules.len() * 8
    }
}

/// What one job reads.
#[derive(Debug, Clone, Copy)]
enum Job {
    /// Whole blocks: the first, and one past the last.
    Blocks(u32, u32),
    /// A part of a long block; whether it is the last one.
    Part(u32, u64, u64, bool),
    /// A part of an area; whether it is the last one.
    Area(usize, u64, u64, bool),
}

/// What one job found.
#[derive(Default)]
struct Piece {
    /// References of each holder that ends in the job.
    counts: Vec<u32>,
    targets: Vec<u32>,
    rules: Vec<u16>,
    /// References since the last holder ended.
    open: u32,
    spares: Vec<Spare>,
    near_misses: u64,
    selves: u64,
    own_rules: Vec<(u32, u16)>,
}

/// The spare room of a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Spare {
    /// The block that it ends.
    block: u32,
    /// Where it begins.
    start: u64,
}

/// What the scan read besides references.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counts {
    /// Words that lie between blocks of the same heap: how often chance could have hit one.
    pub(super) near_misses: u64,
    /// Pointers of blocks to themselves, which hold nothing.
    pub(super) selves: u64,
}

/// Everything that the scan looks at.
pub(super) struct Scan<'s, 'a> {
    pub(super) facts: &'s Facts<'s, 'a>,
    pub(super) areas: &'s [Area],
    pub(super) threads: &'s Threads,
}

impl Scan<'_, '_> {
    pub(super) fn run(&self) -> (References, Counts) {
        let pieces: Vec<Piece> = self
            .jobs()
            .into_par_iter()
            .map(|job| self.piece(job))
            .collect();
        let holders = self.facts.index.len() + self.areas.len();
        let mut references = References {
            ends: Vec::with_capacity(holders),
            targets: joined(pieces.iter().map(|piece| piece.targets.as_slice())),
            rules: joined(pieces.iter().map(|piece| piece.rules.as_slice())),
            own_rules: Vec::new(),
        };
        let mut counts = Counts::default();
        let mut spares = Vec::new();
        let mut end = 0u32;
        for piece in pieces {
            for count in piece.counts {
                end = end.saturating_add(count);
                references.ends.push(end);
            }
            end = end.saturating_add(piece.open);
            references.own_rules.extend(piece.own_rules);
            spares.extend(piece.spares);
            counts.near_misses += piece.near_misses;
            counts.selves += piece.selves;
        }
        self.mark_spares(spares, &mut references);
        (references, counts)
    }

    fn jobs(&self) -> Vec<Job> {
        let mut jobs = Vec::new();
        let (memory, index) = (self.facts.memory, self.facts.index);
        let mut first = 0;
        while (first as usize) < index.len() {
            // Up to the first block that ends too far away, which is the last that begins near
            // enough.
            let start = index.block(first).0;
            let behind = index.first_from(start.saturating_add(JOB)).max(first + 1);
            let last = behind - 1;
            let (address, size) = index.block(last);
            // Blocks of damaged heaps overlap: what two claim is read once.
            let next = index.blocks_from(behind).next();
            let next = next.map_or(u64::MAX, |next| next.0);
            let end = address.saturating_add(size).min(next);
            let long = end - address > JOB;
            let whole = if long || end - start > JOB && last > first {
                last
            } else {
                behind
            };
            if whole > first {
                jobs.push(Job::Blocks(first, whole));
            }
            first = whole;
            if long {
                parts(memory, address, end, |from, to, is_last| {
                    jobs.push(Job::Part(last, from, to, is_last));
                });
                first = behind;
            }
        }
        for (position, area) in self.areas.iter().enumerate() {
            parts(memory, area.start, area.end, |from, to, last| {
                jobs.push(Job::Area(position, from, to, last));
            });
        }
        jobs
    }

    fn piece(&self, job: Job) -> Piece {
        let mut piece = Piece::default();
        let mut judge = Judge::new(self.facts);
        let mut hits = Resolved::default();
        match job {
            Job::Blocks(first, end) => self.blocks(first, end, &mut judge, &mut piece),
            Job::Part(block, from, to, last) => {
                self.words(from, to, &mut |words| {
                    self.approach(words, &mut hits);
                    for (&word, hit) in words.iter().zip(hits.iter()) {
                        self.take(Some(block), word, hit, &mut judge, &mut piece);
                    }
                });
                piece.close_if(last);
            }
            Job::Area(position, from, to, last) => {
                let area = &self.areas[position];
                if area.kind == RootKind::Register {
                    self.registers(area, &mut judge, &mut piece);
                } else {
                    self.words(from, to, &mut |words| {
                        self.approach(words, &mut hits);
                        for (&word, hit) in words.iter().zip(hits.iter()) {
                            self.take(None, word, hit, &mut judge, &mut piece);
                        }
                    });
                }
                piece.close_if(last);
            }
        }
        if let Some(walked) = &self.facts.memory.walked {
            walked.fetch_add(self.bytes(job), Ordering::Relaxed);
        }
        piece
    }

    /// Bytes that a job reads, about.
    fn bytes(&self, job: Job) -> u64 {
        let index = self.facts.index;
        match job {
            Job::Blocks(first, end) => {
                let (start, (last, size)) = (index.block(first).0, index.block(end - 1));
                last.saturating_add(size).saturating_sub(start)
            }
            Job::Part(_, from, to, _) | Job::Area(_, from, to, _) => to.saturating_sub(from),
        }
    }

    /// The words of whole blocks. Between them lie headers and free blocks, which hold nothing.
    fn blocks(&self, first: u32, end: u32, judge: &mut Judge<'_, '_, '_>, piece: &mut Piece) {
        let index = self.facts.index;
        let word = self.facts.bitness.pointer_size();
        let mut blocks = index.blocks_from(first).take((end - first) as usize);
        let Some(mut block) = blocks.next() else {
            return;
        };
        let last = index.block(end - 1);
        let mut next = blocks.next();
        let mut number = first;
        let behind = index.blocks_from(end).next();
        let stop = last.0.saturating_add(last.1);
        let stop = stop.min(behind.map_or(u64::MAX, |behind| behind.0));
        let mut hits = Resolved::default();
        self.words(block.0, stop, &mut |words| {
            self.approach(words, &mut hits);
            for (&found, hit) in words.iter().zip(hits.iter()) {
                let place = found.place;
                while let Some(following) = next.filter(|next| next.0 <= place) {
                    piece.close();
                    block = following;
                    number += 1;
                    next = blocks.next();
                }
                if place >= block.0 && place - block.0 + word <= block.1 {
                    self.take(Some(number), found, hit, judge, piece);
                }
            }
        });
        for _ in number..end {
            piece.close();
        }
    }

    fn registers(&self, area: &Area, judge: &mut Judge<'_, '_, '_>, piece: &mut Piece) {
        let side = &self.threads.sides[area.registers];
        for (_, value) in side.context.iter().flat_map(|context| context.registers()) {
            let hit = self.facts.index.resolve(value);
            self.take(None, Word { place: 0, value }, hit, judge, piece);
        }
    }

    /// Adds the reference of a word, if it is one.
    #[inline]
    fn take(
        &self,
        holder: Option<u32>,
        Word { place, value }: Word,
        hit: Option<Hit>,
        judge: &mut Judge<'_, '_, '_>,
        piece: &mut Piece,
    ) {
        let Some(hit) = hit else {
            piece.near_misses += 1;
            return;
        };
        let pointer = Pointer {
            place,
            value,
            hit,
            holder,
        };
        if holder == Some(hit.block) {
            piece.selves += 1;
            let rules = match hit.offset {
                0 => 0,
                _ => judge.rules(&pointer) & Rules::STARTS.bits(),
            };
            if rules != 0 {
                piece.own_rules.push((hit.block, rules));
            }
            return;
        }
        if hit.offset == 0
            && let Some(start) = judge.spare_room(&pointer)
        {
            piece.spares.push(Spare {
                block: hit.block,
                start,
            });
        }
        piece.targets.push(hit.block);
        piece.rules.push(judge.rules(&pointer));
        piece.open += 1;
    }

    /// Resolves the words, and brings what the rules will look at into the cache: the beginning of
    /// each block into whose middle a word points, and the place itself.
    #[inline]
    fn approach(&self, words: &[Word], hits: &mut Resolved) {
        let facts = self.facts;
        facts
            .index
            .resolve_all(words.iter().map(|word| word.value), hits);
        let at = |(position, hit): (usize, Hit)| {
            let body = facts.bodies[hit.extent as usize];
            let place = words[position].value - facts.index.bounds(hit.extent).0;
            let at = |place: u64| body.get(usize::try_from(place).ok()?).copied();
            at(place).unwrap_or(0) ^ at(place - hit.offset).unwrap_or(0)
        };
        black_box(hits.inside().map(at).fold(0, |looks, byte| looks ^ byte));
    }

    fn words(&self, start: u64, end: u64, take: &mut dyn FnMut(&[Word])) {
        let Facts {
            memory, bitness, ..
        } = *self.facts;
        words(memory, bitness, (start, end), self.facts.index.span(), take);
    }

    /// Marks the references that lie in the spare room of a vector.
    fn mark_spares(&self, mut spares: Vec<Spare>, references: &mut References) {
        // Of several vectors that seem to own a block, the one that uses most of it counts.
        spares.sort_unstable_by_key(|spare| (spare.block, std::cmp::Reverse(spare.start)));
        spares.dedup_by_key(|spare| spare.block);
        for Spare { block, start } in spares {
            let (address, _) = self.facts.index.block(block);
            let mut before = 0;
            self.words(address, start, &mut |words| {
                let hits = words.iter().filter(|word| {
                    let hit = self.facts.index.find(word.value);
                    hit.is_some_and(|hit| hit != block)
                });
                before += hits.count();
            });
            let end = references.ends[block as usize] as usize;
            let first = references.start(block as usize) as usize;
            for rules in &mut references.rules[(first + before).min(end)..end] {
                *rules |= Rules::SPARE.bits();
            }
        }
    }
}

impl Piece {
    fn close(&mut self) {
        self.counts.push(self.open);
        self.open = 0;
    }

    fn close_if(&mut self, last: bool) {
        if last {
            self.close();
        }
    }
}

/// Lists one behind the other, put together on all threads.
pub(super) fn joined<'l, T: Copy + Default + Send + Sync + 'l>(
    lists: impl Iterator<Item = &'l [T]> + Clone,
) -> Vec<T> {
    let mut all = vec![T::default(); lists.clone().map(<[T]>::len).sum()];
    let mut rest = all.as_mut_slice();
    let mut places = Vec::new();
    for list in lists {
        let place = rest.split_off_mut(..list.len()).unwrap_or_default();
        places.push((place, list));
    }
    let copies = places.into_par_iter();
    copies.for_each(|(place, list)| place.copy_from_slice(list));
    all
}

/// Cuts a stretch into parts of the length of a job, at least one; stretches without memory are passed
/// over, as an absurd size would give more parts than there is room for.
fn parts(memory: &AddressSpace<'_>, start: u64, end: u64, mut part: impl FnMut(u64, u64, bool)) {
    let mut from = start;
    loop {
        let to = from.saturating_add(JOB).min(end) & !7;
        let last = to >= end & !7 || to <= from;
        part(from, if last { end } else { to }, last);
        if last {
            return;
        }
        from = match memory.next_readable(to) {
            Some(next) if next < end => next & !7,
            _ => end & !7,
        };
    }
}

/// A word that could point to a block.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Word {
    /// Where it lies; of a register 0.
    pub(super) place: u64,
    pub(super) value: u64,
}

/// Calls `take` with the aligned words between two addresses whose value lies in a span, some at a
/// time, by ascending place.
pub(super) fn words(
    memory: &AddressSpace<'_>,
    bitness: Bitness,
    (start, end): (u64, u64),
    span: (u64, u64),
    take: &mut dyn FnMut(&[Word]),
) {
    match bitness {
        Bitness::X86 => words_of::<4>(memory, (start, end), span, take),
        Bitness::X64 => words_of::<8>(memory, (start, end), span, take),
    }
}

fn words_of<const N: usize>(
    memory: &AddressSpace<'_>,
    (start, end): (u64, u64),
    (low, high): (u64, u64),
    take: &mut dyn FnMut(&[Word]),
) {
    /// Words that are looked through at once: as many as make looks at memory wait for each other
    /// but seldom.
    const BATCH: usize = 2048;
    let ranges = memory.ranges();
    let first = ranges.partition_point(|range| range.end() <= start);
    let span = high - low;
    let mut hits = Vec::new();
    for range in ranges[first..].iter().take_while(|range| range.start < end) {
        let from = start.max(range.start).next_multiple_of(N as u64);
        let to = end.min(range.end());
        if from >= to {
            continue;
        }
        let bytes = &range.bytes[(from - range.start) as usize..(to - range.start) as usize];
        let mut place = from;
        for batch in bytes.as_chunks::<N>().0.chunks(BATCH) {
            if hits.len() < batch.len() {
                hits.resize(batch.len(), Word::default());
            }
            // Without a branch a word, as which ones hit can't be predicted.
            let mut count = 0;
            for word in batch {
                let mut value = [0; 8];
                value[..N].copy_from_slice(word);
                let value = u64::from_le_bytes(value);
                hits[count] = Word { place, value };
                count += usize::from(value.wrapping_sub(low) < span);
                place += N as u64;
            }
            if count > 0 {
                take(&hits[..count]);
            }
        }
    }
}
