//! Ranges of variable size chunks.

use super::{
    super::fill::is_fill,
    SegmentHeap,
    fast::{Chain, Hands},
    ranges::Range,
    sink::{RawBlock, Sink, Unused},
};
use crate::{
    address_space::Window,
    blocks::{CONTINUE, FindingKind, Flow, Kind, SpanKind, State},
    layout::Bitness,
};

/// What `Signature` and `Size` of a subsegment are combined with; bit 15 is `FullCommit`.
const SIGNATURE: u16 = 0x2bed;
const SIGNATURE_MASK: u16 = 0x7fff;

/// Bits of the second half of a chunk's header, which is not encoded but for its lowest byte.
pub(super) const UNUSED_PRESENT: u32 = 1 << 8;
pub(super) const SKIP_DURING_WALK: u32 = 1 << 9;

/// The count in a chunk's record of unused bytes ([`Unused::recorded`]).
pub(super) const UNUSED_MASK: u16 = 0x1fff;

/// Chunks whose headers have to agree before a walk goes on behind corrupt ones.
const PROOF: usize = 3;

/// How many units behind a header that may be a former one others are looked for, so that many of them behind each
/// other do not each cost a search through the whole range.
const NEAR: u64 = 1 << 10;

/// A decoded chunk header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Size in units.
    pub(super) size: u16,
    /// Size of the chunk before in units.
    pub(super) previous: u16,
    pub(super) allocated: bool,
}

impl Chunk {
    /// Decodes the first word of the header at `at`. `None` if bits are set that never are.
    #[inline(always)]
    pub(super) fn decode(bitness: Bitness, raw: u64, at: u64, key: u64) -> Option<Chunk> {
        let plain = raw ^ at ^ key;
        let chunk = match bitness {
            // MemoryCost:16, UnsafeSize:16, UnsafePrevSize:16, Allocated:8.
            Bitness::X64 => {
                if plain >> 56 != 0 {
                    return None;
                }
                Chunk {
                    size: (plain >> 16) as u16,
                    previous: (plain >> 32) as u16,
                    allocated: (plain >> 48) as u8 != 0,
                }
            }
            // MemoryCost:1, UnsafeSize:15, UnsafePrevSize:15, Allocated:1.
            Bitness::X86 => Chunk {
                size: (plain >> 1) as u16 & 0x7fff,
                previous: (plain >> 16) as u16 & 0x7fff,
                allocated: plain as u32 >> 31 != 0,
            },
        };
        (chunk.size != 0).then_some(chunk)
    }
}

/// Where the chunks of a subsegment lie.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    pub(super) start: u64,
    pub(super) end: u64,
    /// Whether the subsegment's signature holds.
    pub(super) signed: bool,
}

impl SegmentHeap<'_, '_> {
    /// The chunks of the VS subsegment that fills a range.
    pub(super) fn chunks(&self, range: &Range) -> Option<Chunks> {
        let layout = &self.layouts.vs_subsegment;
        let unit = self.unit();
        let subsegment = self.memory.at(range.start, self.bitness());
        let size = subsegment.u16(layout.size)?;
        let signature = subsegment.u16(layout.signature)?;
        let start = range.start + u64::from(layout.struct_size).next_multiple_of(unit);
        let end = start.saturating_add(u64::from(size) * unit);
        let signed = (signature ^ size ^ SIGNATURE) & SIGNATURE_MASK == 0;
        let fits = signed && size > 0 && end <= range.end();
        Some(Chunks {
            start: start.min(range.end()),
            end: if fits { end } else { range.end() },
            signed: fits,
        })
    }

    /// The first word of a chunk's header.
    #[inline]
    pub(super) fn chunk_word(&self, window: &mut Window<'_, '_>, at: u64) -> Option<u64> {
        window.pointer(at, self.bitness())
    }

    /// The chunk at `at`, if it is one by its own header.
    #[inline(always)]
    fn chunk(&self, window: &mut Window<'_, '_>, key: u64, at: u64, end: u64) -> Option<Chunk> {
        let raw = self.chunk_word(window, at)?;
        let chunk = Chunk::decode(self.bitness(), raw, at, key)?;
        (u64::from(chunk.size) * self.unit() <= end.checked_sub(at)?).then_some(chunk)
    }

    /// Whether all chunks of a subsegment follow each other under this key.
    pub(super) fn chain_holds(&self, chunks: &Chunks, key: u64) -> bool {
        let mut window = self.memory.window();
        self.proved(
            &mut window,
            key,
            chunks.start,
            chunks.end,
            Some(0),
            usize::MAX,
        )
    }

    /// Whether so many chunks of a subsegment, or all, follow each other under this key.
    pub(super) fn chain_goes_on(&self, chunks: &Chunks, key: u64, count: usize) -> bool {
        let mut window = self.memory.window();
        self.proved(&mut window, key, chunks.start, chunks.end, Some(0), count)
    }

    /// Whether the first chunks of a subsegment agree with each other under this key.
    pub(super) fn chain_begins(&self, chunks: &Chunks, key: u64) -> bool {
        let mut window = self.memory.window();
        self.proved(&mut window, key, chunks.start, chunks.end, Some(0), PROOF)
    }

    /// Whether `count` chunks from `at` on, or all up to `end`, agree with each other.
    fn proved(
        &self,
        window: &mut Window<'_, '_>,
        key: u64,
        mut at: u64,
        end: u64,
        mut previous: Option<u16>,
        count: usize,
    ) -> bool {
        let mut done = 0;
        while at < end && done < count {
            let Some(chunk) = self.chunk(window, key, at, end) else {
                return false;
            };
            if previous.is_some_and(|previous| previous != chunk.previous) {
                return false;
            }
            previous = Some(chunk.size);
            at += u64::from(chunk.size) * self.unit();
            done += 1;
        }
        done > 0
    }

    pub(super) fn walk_vs<S: Sink>(
        &self,
        hands: &mut Hands<'_, '_>,
        range: &Range,
        sink: &mut S,
    ) -> Flow {
        let chunks = self.chunks(range).filter(|chunks| chunks.signed);
        let (Some(chunks), Some(key)) = (chunks, self.keys.vs) else {
            let structure = "_HEAP_VS_SUBSEGMENT";
            let reason = "its signature does not hold";
            let kind = match chunks {
                Some(_) => FindingKind::MissingStructure {
                    structure: "the key of the headers in the VS subsegment",
                },
                None => FindingKind::BrokenStructure { structure, reason },
            };
            let header = self.layouts.vs_subsegment.struct_size.into();
            let kind = self.missing_or(range.start, header, structure, kind);
            // Without the subsegment's own header its chunks can still be found by their chain.
            if let Some(key) = self.keys.vs {
                self.walk_chunks(hands, range, (range.start, range.end()), key, sink)?;
            } else {
                self.idle(range.start, range.end(), SpanKind::Corrupt, sink)?;
            }
            return sink.finding(self.finding(range.start, range.size, kind));
        };
        self.span(range.start, chunks.start, SpanKind::ContainerHeader, sink)?;
        self.walk_chunks(hands, range, (chunks.start, chunks.end), key, sink)?;
        self.idle(chunks.end, range.end(), SpanKind::Tail, sink)
    }

    fn walk_chunks<S: Sink>(
        &self,
        hands: &mut Hands<'_, '_>,
        range: &Range,
        (start, end): (u64, u64),
        key: u64,
        sink: &mut S,
    ) -> Flow {
        let unit = self.unit();
        let window = &mut hands.window;
        let chain = Chain {
            container: range.start,
            end,
            key,
            certainty: range.certainty,
        };
        let mut at = start;
        let mut previous = (start != range.start).then_some(0);
        while at < end {
            self.walk_plain_chunks(window, &chain, &mut at, &mut previous, sink)?;
            if at >= end {
                break;
            }
            let chunk = self.chunk(window, key, at, end);
            let next = chunk.map(|chunk| at + u64::from(chunk.size) * unit);
            // A header that the one before does not agree with has to be proved by the next ones.
            let sound = chunk.filter(|chunk| {
                previous == Some(chunk.previous) || self.proved(window, key, at, end, None, PROOF)
            });
            let (Some(chunk), Some(next)) = (sound, next) else {
                let next = self.resynchronise(window, key, at + unit, end);
                self.skip(at, next, sink)?;
                previous = None;
                at = next;
                continue;
            };
            if let Some(previous) = previous
                && previous != chunk.previous
            {
                let kind = FindingKind::PreviousSize {
                    expected: u64::from(previous) * unit,
                    found: u64::from(chunk.previous) * unit,
                };
                sink.finding(self.finding(at, 0, kind))?;
            }
            sink.raw(self.raw_chunk(window, range, at, &chunk))?;
            previous = Some(chunk.size);
            at = next;
        }
        CONTINUE
    }

    #[inline(always)]
    fn raw_chunk(
        &self,
        window: &mut Window<'_, '_>,
        range: &Range,
        at: u64,
        chunk: &Chunk,
    ) -> RawBlock {
        let unit = self.unit();
        let block_size = u64::from(chunk.size) * unit;
        // The header's second word follows the encoded one, which has the size of a pointer.
        let bits = window
            .u32(at + self.bitness().pointer_size())
            .filter(|_| chunk.allocated);
        let unused = match bits {
            Some(bits) if bits & UNUSED_PRESENT != 0 => {
                match window.u16(at + block_size - size_of::<u16>() as u64) {
                    Some(record) => Unused::recorded(record, UNUSED_MASK),
                    None => Unused::UNKNOWN,
                }
            }
            _ => Unused::NONE,
        };
        RawBlock {
            container: range.start,
            entry: at,
            start: at + unit,
            usable: block_size - unit,
            block_size,
            state: if chunk.allocated {
                State::Busy
            } else {
                State::Free
            },
            kind: Kind::Vs,
            internal: bits.is_some_and(|bits| bits & SKIP_DURING_WALK != 0),
            unused,
            certainty: range.certainty,
        }
    }

    /// The next address at or above `at` where a chain of chunks is proved; `end` if there is none.
    fn resynchronise(&self, window: &mut Window<'_, '_>, key: u64, at: u64, end: u64) -> u64 {
        let unit = self.unit();
        let mut at = at;
        while at < end {
            let Some(word) = self.chunk_word(window, at) else {
                let next = self.memory.next_readable(at.saturating_add(1));
                let Some(next) = next.and_then(|next| next.checked_next_multiple_of(unit)) else {
                    return end;
                };
                at = next.max(at + unit);
                continue;
            };
            let is_fill = is_fill(word, self.bitness().pointer_size());
            if !is_fill && self.proved(window, key, at, end, None, PROOF) {
                let behind = self.block_around(window, key, at, end);
                match behind.or_else(|| self.block_across(window, key, at, end)) {
                    Some(behind) => at = behind,
                    None => return at,
                }
                continue;
            }
            at += unit;
        }
        end
    }

    /// What a free chunk holds can be the headers of former ones, chained as they were. They end at a
    /// chunk that knows of a larger one in front of it: the address of that.
    fn block_around(
        &self,
        window: &mut Window<'_, '_>,
        key: u64,
        first: u64,
        end: u64,
    ) -> Option<u64> {
        let unit = self.unit();
        let (mut at, mut previous) = (first, None);
        while at < end {
            let chunk = self.chunk(window, key, at, end)?;
            if previous.is_some_and(|size| size != chunk.previous) {
                return (u64::from(chunk.previous) * unit > at - first).then_some(at);
            }
            previous = Some(chunk.size);
            at += u64::from(chunk.size) * unit;
        }
        None
    }

    /// What a chunk in use holds can be the header of a former one that reaches far, even to the end. Chunks that
    /// chain behind it know of the one in use, which begins in front of that header: the address of the first of these.
    fn block_across(
        &self,
        window: &mut Window<'_, '_>,
        key: u64,
        first: u64,
        end: u64,
    ) -> Option<u64> {
        let unit = self.unit();
        let size = u64::from(self.chunk(window, key, first, end)?.size).min(NEAR) * unit;
        (first..first + size)
            .step_by(unit as usize)
            .skip(1)
            .find(|&at| {
                self.chunk(window, key, at, end).is_some_and(|chunk| {
                    u64::from(chunk.previous) * unit > at - first
                        && self.proved(window, key, at, end, None, PROOF)
                        && self.block_around(window, key, at, end).is_none()
                })
            })
    }

    /// Reports a stretch without provable chunks, its unreadable parts apart.
    fn skip<S: Sink>(&self, from: u64, to: u64, sink: &mut S) -> Flow {
        let is_whole = self.memory.readable(from, to - from) == to - from;
        let mut at = from;
        while at < to {
            let held = self.memory.readable(at, to - at);
            if held > 0 {
                let raw = self.memory.u64(at).unwrap_or(0);
                self.span(at, at + held, SpanKind::Corrupt, sink)?;
                // Behind a page that is not in the dump nothing shows where a chunk should begin.
                if is_whole || at == from {
                    sink.finding(self.finding(at, held, FindingKind::CorruptEntry { raw }))?;
                }
                at += held;
            } else {
                let next = self.memory.next_readable(at).map_or(to, |n| n.min(to));
                self.span(at, next, SpanKind::Unreadable, sink)?;
                sink.finding(self.finding(at, next - at, FindingKind::Unreadable))?;
                at = next;
            }
        }
        CONTINUE
    }
}
