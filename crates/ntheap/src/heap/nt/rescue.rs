//! Slots of the low fragmentation heap in stretches where no chain of entries can be proved: their
//! container's entry, its header or its first page is lost. The code in the header of each slot says
//! which container (8.1 and later) or subsegment (before) it belongs to, so that slots which name the
//! same one prove each other.

use std::ops::ControlFlow;

use rustc_hash::FxHashMap;

use super::{
    NtHeap,
    entry::UNUSED_LFH,
    lfh::{Container, Contents, SIGNATURE},
};
use crate::{
    address_space::Window,
    blocks::{Block, Certainty, Visitor},
};

/// Slots that have to name the same owner, where nothing else proves it.
const PROOF: usize = 3;

/// A place that is a slot by its code.
#[derive(Debug, Clone, Copy)]
struct Slot {
    at: u64,
    /// The eight bytes of its header.
    raw: u64,
    busy: bool,
}

impl NtHeap<'_, '_> {
    /// The slots between `from` and `to`, by ascending address.
    pub(super) fn rescue_slots(
        &self,
        window: &mut Window<'_, '_>,
        from: u64,
        to: u64,
        visitor: &mut dyn Visitor,
    ) -> ControlFlow<(), Vec<Block>> {
        let mut blocks = Vec::new();
        let Some(key) = self.lfh_key else {
            return ControlFlow::Continue(blocks);
        };
        if self.holds_no_slot(window, from, to) {
            return ControlFlow::Continue(blocks);
        }
        let mut covered = Vec::new();
        for container in self.containers_in(window, from, to) {
            let Some(first) = self.first_slot(window, &container) else {
                continue;
            };
            for index in 0..container.count {
                let at = first + index * container.stride;
                if at + container.stride > to {
                    break;
                }
                blocks.extend(self.slot(window, &container, at, visitor)?);
            }
            covered.push((
                container.user_blocks,
                first + container.count * container.stride,
            ));
        }
        let is_covered = |at: u64| covered.iter().any(|&(start, end)| start <= at && at < end);
        let mut groups: FxHashMap<u64, Vec<Slot>> = FxHashMap::default();
        let mut at = from.next_multiple_of(self.unit());
        while at < to {
            match self.owner_by_code(window, at, key) {
                Ok(Some(owner)) if !is_covered(at) => {
                    let raw = window.u64(at + self.header.codec.header_offset());
                    let slot = Slot {
                        at,
                        raw: raw.unwrap_or(0),
                        busy: raw.is_some_and(|raw| self.is_busy_slot(raw)),
                    };
                    groups.entry(owner).or_default().push(slot);
                }
                Ok(_) => {}
                // Not in the dump.
                Err(()) => match self.memory.next_readable(at + 1) {
                    Some(next) if next < to => {
                        at = next.next_multiple_of(self.unit());
                        continue;
                    }
                    _ => break,
                },
            }
            at += self.unit();
        }
        for (owner, slots) in groups {
            // What was left of a container in memory that serves something else holds nothing.
            if !slots.iter().any(|slot| slot.busy) {
                continue;
            }
            let Some(container) = self.container_of_slots(window, owner, &slots, to) else {
                continue;
            };
            for slot in slots {
                if slot.at + container.stride <= to {
                    blocks.extend(self.slot(window, &container, slot.at, visitor)?);
                }
            }
        }
        blocks.sort_unstable_by_key(|block| block.entry);
        // What two owners claim proves neither.
        blocks.dedup_by(|next, block| next.entry < block.entry + block.block_size);
        ControlFlow::Continue(blocks)
    }

    /// Whether nothing in a stretch is marked as a slot, nor a container: so it is with the heap's own
    /// tables, which are many.
    fn holds_no_slot(&self, window: &mut Window<'_, '_>, from: u64, to: u64) -> bool {
        let unit = self.unit();
        let start = from.next_multiple_of(unit);
        let Some(signature) = self.layouts.user_data_header.signature else {
            return false;
        };
        let header = self.header.codec.header_offset();
        // Headers of the last places may lie behind the end.
        let size = to.saturating_sub(start).next_multiple_of(unit);
        let behind = u64::from(signature).max(header) + 8;
        let run = window.run(start, size.saturating_add(behind));
        if (run.bytes.len() as u64) < size.saturating_add(behind) {
            return false;
        }
        let words = |offset: u64, unit: usize| {
            let bytes = run.bytes.get(offset as usize..).unwrap_or_default();
            let words = bytes.chunks(unit).take(size as usize / unit);
            words.filter_map(|bytes| bytes.first_chunk::<8>())
        };
        let unit = unit as usize;
        let marked = words(header, unit).any(|word| word[7] & UNUSED_LFH != 0);
        let signed = || {
            let mut words = words(signature.into(), unit);
            words.any(|word| u64::from_le_bytes(*word) as u32 == SIGNATURE)
        };
        !marked && !signed()
    }

    /// Containers in a stretch whose own header and subsegment are whole.
    fn containers_in(&self, window: &mut Window<'_, '_>, from: u64, to: u64) -> Vec<Container> {
        let mut containers = Vec::new();
        let Some(signature) = self.layouts.user_data_header.signature else {
            return containers;
        };
        let mut at = from.next_multiple_of(self.unit());
        while at < to {
            let next = match window.u32(at + u64::from(signature)) {
                Some(SIGNATURE) => match self.lfh_container(window, at, to) {
                    Contents::Live(container) => {
                        let end = container.user_blocks + container.count * container.stride;
                        let certainty = Certainty::Shape;
                        containers.push(Container {
                            certainty,
                            ..container
                        });
                        end.max(at + self.unit()).next_multiple_of(self.unit())
                    }
                    _ => at + self.unit(),
                },
                Some(_) => at + self.unit(),
                None => match self.memory.next_readable(at + self.unit()) {
                    Some(next) => next.next_multiple_of(self.unit()),
                    None => break,
                },
            };
            at = next;
        }
        containers
    }

    /// What the code in the header at `at` belongs to: a container (8.1 and later) or a subsegment.
    /// `Err` where the header is not in the dump.
    fn owner_by_code(
        &self,
        window: &mut Window<'_, '_>,
        at: u64,
        key: u32,
    ) -> Result<Option<u64>, ()> {
        let raw = window
            .u64(at + self.header.codec.header_offset())
            .ok_or(())?;
        let x64 = self.unit() == 16;
        let shift = if x64 { 4 } else { 3 };
        let marked = match self.header.codec.xp {
            true => (raw >> 56) as u8 == u8::MAX,
            false => (raw >> 56) as u8 & UNUSED_LFH != 0,
        };
        if !marked {
            return Ok(None);
        }
        let code = raw as u32 ^ key;
        if self.layouts.user_data_header.encoded_offsets.is_some() {
            let plain = code ^ (at >> shift) as u32 ^ self.handle() as u32;
            let bits = if x64 { 12 } else { 13 };
            let distance = u64::from(plain >> bits);
            let sound = plain.trailing_zeros() >= bits
                && distance >= u64::from(self.layouts.user_data_header.struct_size)
                && distance.is_multiple_of(8);
            return Ok(sound.then(|| at.checked_sub(distance)).flatten());
        }
        let subsegment = if x64 {
            // The code holds bits 4 to 35; the others are those of the heap.
            const HELD: u64 = 0xf_ffff_fff0;
            let low = (u64::from(code) << shift) ^ (at ^ self.handle()) & HELD;
            at & !(HELD | 0xf) | low & HELD
        } else {
            u64::from(code ^ (at >> shift) as u32 ^ self.handle() as u32)
        };
        Ok((subsegment != 0 && subsegment.is_multiple_of(8)).then_some(subsegment))
    }

    /// The container that slots belong to, by what is left of it or by the slots alone.
    fn container_of_slots(
        &self,
        window: &mut Window<'_, '_>,
        owner: u64,
        slots: &[Slot],
        end: u64,
    ) -> Option<Container> {
        let by_container = self.layouts.user_data_header.encoded_offsets.is_some();
        let lowest = slots.first()?.at;
        let subsegment = if by_container {
            let header = self.memory.at(owner, self.bitness());
            header.pointer(self.layouts.user_data_header.sub_segment)
        } else {
            Some(owner)
        };
        let known = subsegment
            .and_then(|subsegment| self.container_of_subsegment(window, subsegment, end))
            .filter(|known| {
                let inside = lowest > known.user_blocks
                    && slots
                        .iter()
                        .all(|slot| (slot.at - lowest).is_multiple_of(known.stride));
                inside && (!by_container || known.user_blocks == owner)
            });
        if let Some(known) = known {
            let certainty = Certainty::Code;
            return Some(Container { certainty, ..known });
        }
        if slots.len() < PROOF {
            return None;
        }
        Some(Container {
            user_blocks: if by_container { owner } else { lowest },
            subsegment: subsegment.unwrap_or(owner),
            stride: self.stride_of(slots)?,
            count: slots.len() as u64,
            end,
            first: None,
            certainty: Certainty::Code,
        })
    }

    /// The distance between slots, by their indexes or, before 8, by the smallest.
    fn stride_of(&self, slots: &[Slot]) -> Option<u64> {
        let pairs = || {
            slots
                .windows(2)
                .filter_map(|pair| Some((pair.first()?, pair.last()?)))
        };
        let smallest = pairs().map(|(a, b)| b.at - a.at).min()?;
        let all = pairs().all(|(a, b)| (b.at - a.at).is_multiple_of(smallest));
        if self.layouts.user_data_header.busy_bitmap.is_none() {
            return all.then_some(smallest);
        }
        // The header holds the index, from 8.1 on a byte farther behind.
        [40, 32]
            .into_iter()
            .filter_map(|shift| stride_by_index(slots, shift))
            .find(|stride| stride.is_multiple_of(self.unit()))
    }
}

/// The distance between slots whose headers hold their indexes in the bits from `shift` on, if all
/// agree.
fn stride_by_index(slots: &[Slot], shift: u32) -> Option<u64> {
    let index = |slot: &Slot| (slot.raw >> shift) as u16;
    let mut pairs = slots
        .windows(2)
        .filter_map(|pair| Some((pair.first()?, pair.last()?)));
    pairs.try_fold(None, |known: Option<u64>, (a, b)| {
        let steps = index(b).checked_sub(index(a)).filter(|&steps| steps > 0)?;
        let (distance, steps) = (b.at - a.at, u64::from(steps));
        let stride = distance / steps;
        let agrees = distance.is_multiple_of(steps) && known.is_none_or(|k| k == stride);
        agrees.then_some(Some(stride))
    })?
}
