//! Page range descriptors, and stepping through the ranges of a segment.

use super::{
    Context, PageSegment, SegmentHeap,
    context::UNITS,
    fast::Hands,
    sink::{RawBlock, Sink, Unused},
};
use crate::{
    address_space::{AddressSpace, Window},
    blocks::{Certainty, FindingKind, Flow, Kind, SpanKind, State},
    layout::{Layouts, PAGE},
};

/// `TreeSignature` of the first descriptor of a range in use.
const TREE_SIGNATURE: u32 = 0xccdd_ccdd;

/// What a range is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RangeKind {
    /// Nothing.
    Free,
    /// A block by itself.
    User,
    /// The heap's own.
    Internal,
    /// Slots of the low fragmentation heap.
    Lfh,
    /// Variable size chunks.
    Vs,
    /// No range begins here: its descriptor is corrupt or not in the dump.
    None,
}

/// A range of pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Range {
    /// What it is used for.
    pub kind: RangeKind,
    /// Its first address.
    pub start: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Bytes at its end that the program did not ask for.
    pub unused: u64,
    pub(super) extra: bool,
    pub(super) signed: bool,
    /// What proves it: its descriptor, or what begins at its first page.
    pub(super) certainty: Certainty,
    /// Whether it is unknown because descriptors are not in the dump.
    pub(super) absent: bool,
}

impl Range {
    /// One past its last byte.
    #[must_use]
    pub const fn end(&self) -> u64 {
        self.start + self.size
    }
}

/// On x86 the count of committed pages is in the upper bits of the byte of the flags.
const COMMITTED_SHIFT: u32 = 5;

/// The bits of `RangeFlags` as each generation numbers them.
#[derive(Debug, Clone, Copy)]
struct FlagBits {
    allocated: u8,
    first: u8,
    lfh: u8,
    vs: u8,
    /// A range of the heap itself; builds before 17134 do not mark them.
    internal: Option<u8>,
}

/// 10240 to 15063.
const FLAGS_10240: FlagBits = FlagBits {
    allocated: 0x4,
    first: 0x8,
    lfh: 0x1,
    vs: 0x20,
    internal: None,
};
/// 16299.
const FLAGS_16299: FlagBits = FlagBits {
    allocated: 0x1,
    first: 0x2,
    lfh: 0x4,
    vs: 0x8,
    internal: None,
};
/// 17134 and later: a two-bit type, 0 for blocks, 1 internal, 2 LFH, 3 VS.
const FLAGS_17134: FlagBits = FlagBits {
    allocated: 0x1,
    first: 0x2,
    lfh: 0x8,
    vs: 0xc,
    internal: Some(0x4),
};

impl FlagBits {
    const fn of_build(build: u32) -> FlagBits {
        match build {
            ..16299 => FLAGS_10240,
            16299..17134 => FLAGS_16299,
            _ => FLAGS_17134,
        }
    }

    fn kind(self, flags: u8) -> RangeKind {
        if flags & self.first == 0 {
            return RangeKind::None;
        }
        if flags & self.allocated == 0 {
            return RangeKind::Free;
        }
        let mask = self.lfh | self.vs | self.internal.unwrap_or(0);
        match flags & mask {
            bits if bits == self.vs => RangeKind::Vs,
            bits if bits == self.lfh => RangeKind::Lfh,
            bits if Some(bits) == self.internal => RangeKind::Internal,
            0 => RangeKind::User,
            _ => RangeKind::None,
        }
    }
}

/// Bit 0 of the word at `ExtraPresent`.
const EXTRA_PRESENT: u8 = 1;

/// Reads descriptors of one generation.
#[derive(Debug)]
pub(super) struct Descriptors<'l> {
    layouts: &'l Layouts,
    flags: FlagBits,
}

impl<'l> Descriptors<'l> {
    pub(super) fn new(layouts: &'l Layouts) -> Self {
        Descriptors {
            layouts,
            flags: FlagBits::of_build(layouts.build),
        }
    }

    /// The range that descriptor `index` begins; `None` if the descriptor is not in the dump.
    pub(super) fn range(
        &self,
        window: &mut Window<'_, '_>,
        context: &Context,
        base: u64,
        index: u64,
    ) -> Option<Range> {
        let layout = &self.layouts.page_range_descriptor;
        let array = self.layouts.page_segment.desc_array?;
        let at = base
            .checked_add(u64::from(array))?
            .checked_add(index * u64::from(layout.struct_size))?;
        let field = |offset: Option<u32>| at.checked_add(u64::from(offset?));
        let flags = window.u8(field(layout.range_flags)?)?;
        let signature = window.u32(field(layout.tree_signature)?)?;
        // `Size` before 16299.
        let units = window.u8(field(layout.unit_size.or(layout.size))?)?;
        // 16 bits before 16299, then 32.
        let unused = match layout.unit_size {
            Some(_) => window.u32(field(layout.unused_bytes)?)?,
            None => window.u16(field(layout.unused_bytes)?)?.into(),
        };
        let extra = window.u8(field(layout.extra_present)?)? & EXTRA_PRESENT != 0;
        let units = u64::from(units).clamp(1, UNITS - index.min(UNITS - 1));
        Some(Range {
            kind: self.flags.kind(flags),
            start: base + (index << context.unit_shift),
            size: units << context.unit_shift,
            unused: unused.into(),
            extra,
            signed: signature == TREE_SIGNATURE,
            certainty: Certainty::Certain,
            absent: false,
        })
    }
}

impl Descriptors<'_> {
    /// Committed bytes of some units, each of which has a count in its descriptor.
    fn committed(
        &self,
        window: &mut Window<'_, '_>,
        base: u64,
        first: u64,
        units: u64,
    ) -> Option<u64> {
        let layout = &self.layouts.page_range_descriptor;
        let field = layout.committed_page_count?;
        let array = self.layouts.page_segment.desc_array?;
        let shift = if layout.committed_page_count == layout.range_flags {
            COMMITTED_SHIFT
        } else {
            0
        };
        let base = base.checked_add(u64::from(array) + u64::from(field))?;
        let mut pages = 0;
        for index in first..first + units {
            let count = window.u8(base.checked_add(index * u64::from(layout.struct_size))?)?;
            pages += u64::from(count >> shift);
        }
        Some(pages * PAGE)
    }
}

/// Whether the ranges of a segment follow each other as these layouts say: each begins where the
/// one before ends, and those in use are signed.
pub(super) fn descriptors_are_sound(
    memory: &AddressSpace<'_>,
    layouts: &Layouts,
    context: &Context,
    base: u64,
) -> bool {
    let descriptors = Descriptors::new(layouts);
    let mut window = memory.window();
    let mut index = u64::from(context.first_descriptor);
    let (mut good, mut bad) = (0, 0);
    if base.checked_add(context.segment_size()).is_none() {
        return false;
    }
    while index < UNITS {
        let Some(range) = descriptors.range(&mut window, context, base, index) else {
            bad += 1;
            break;
        };
        match range.kind {
            RangeKind::None => bad += 1,
            RangeKind::Free => good += 1,
            _ if range.signed => good += 1,
            _ => bad += 1,
        }
        index += range.size >> context.unit_shift;
    }
    // Not all: a corrupt one does not make the rest another build's.
    good > bad
}

impl SegmentHeap<'_, '_> {
    /// The ranges of a segment, one after the other.
    #[must_use]
    pub fn ranges(&self, segment: &PageSegment) -> Vec<Range> {
        let Some(context) = self.contexts.get(segment.context) else {
            return Vec::new();
        };
        let descriptors = Descriptors::new(&self.layouts);
        let mut window = self.memory.window();
        let mut ranges: Vec<Range> = Vec::new();
        let mut index = u64::from(context.first_descriptor);
        while index < UNITS {
            let unit = 1 << context.unit_shift;
            let range = descriptors
                .range(&mut window, context, segment.base, index)
                .unwrap_or(Range {
                    kind: RangeKind::None,
                    start: segment.base + (index << context.unit_shift),
                    size: unit,
                    unused: 0,
                    extra: false,
                    signed: false,
                    certainty: Certainty::Certain,
                    absent: true,
                });
            let range = match range.kind {
                RangeKind::None => Range {
                    size: unit,
                    ..range
                },
                // A block has no other proof than its descriptor's signature.
                RangeKind::User | RangeKind::Internal if !range.signed => Range {
                    kind: RangeKind::None,
                    ..range
                },
                _ => range,
            };
            let range = match range.kind {
                RangeKind::None => self
                    .range_by_shape(segment, context, index)
                    .unwrap_or(range),
                _ => range,
            };
            // Behind a range whose descriptor is lost nothing is known of its end.
            let doubtful = ranges
                .last()
                .is_some_and(|last| last.absent || last.certainty == Certainty::Shape);
            let range = Range {
                certainty: range.certainty.max(self.certainty),
                absent: range.absent || range.kind == RangeKind::None && doubtful,
                ..range
            };
            index += range.size >> context.unit_shift;
            match ranges.last_mut() {
                Some(last) if last.kind == RangeKind::None && range.kind == RangeKind::None => {
                    last.size += range.size;
                    last.absent |= range.absent;
                }
                _ => ranges.push(range),
            }
        }
        ranges
    }

    /// Committed bytes of a range, or of a part of it, by the descriptors of its units; `None` before
    /// 16299, which have no count.
    #[must_use]
    pub fn committed(&self, segment: &PageSegment, range: &Range) -> Option<u64> {
        let shift = self.contexts.get(segment.context)?.unit_shift;
        let first = range.start.checked_sub(segment.base)? >> shift;
        let mut window = self.memory.window();
        Descriptors::new(&self.layouts).committed(
            &mut window,
            segment.base,
            first,
            range.size >> shift,
        )
    }

    /// Walks one segment. Every byte of its reservation is reported exactly once.
    pub(super) fn walk_segment<S: Sink>(&self, segment: &PageSegment, sink: &mut S) -> Flow {
        let ranges = self.ranges(segment);
        let first = ranges
            .first()
            .map_or(segment.base + segment.size, |range| range.start);
        self.span(segment.base, first, SpanKind::Header, sink)?;
        let mut hands = Hands::new(self.memory);
        ranges
            .iter()
            .try_for_each(|range| self.walk_range(&mut hands, range, sink))
    }

    fn walk_range<S: Sink>(&self, hands: &mut Hands<'_, '_>, range: &Range, sink: &mut S) -> Flow {
        match range.kind {
            RangeKind::Free => self.idle(range.start, range.end(), SpanKind::FreePages, sink),
            RangeKind::User | RangeKind::Internal => sink.raw(RawBlock {
                container: range.start,
                entry: range.start,
                start: range.start,
                usable: range.size,
                block_size: range.size,
                state: State::Busy,
                kind: Kind::Segment,
                internal: range.kind == RangeKind::Internal,
                unused: Unused {
                    bytes: Some(range.unused),
                    extra: range.extra,
                },
                certainty: range.certainty,
            }),
            RangeKind::Lfh => self.walk_lfh(hands, range, sink),
            RangeKind::Vs => self.walk_vs(hands, range, sink),
            RangeKind::None => {
                self.idle(range.start, range.end(), SpanKind::Corrupt, sink)?;
                let structure = "_HEAP_PAGE_RANGE_DESCRIPTOR";
                let kind = if range.absent {
                    FindingKind::MissingStructure { structure }
                } else {
                    let reason = "no range begins here";
                    FindingKind::BrokenStructure { structure, reason }
                };
                sink.finding(self.finding(range.start, range.size, kind))
            }
        }
    }
}
