//! `RtlpLFHKey`, inferred from the dump alone.
//!
//! Every slot of the LFH holds a code that, with the slot's own address and what it belongs to,
//! implies the key. The subsegments of the zones of each heap are sampled, and the key that most of
//! them imply is taken; the same number stands in ntdll's data, where the rest of the variable is
//! read.

use rustc_hash::FxHashMap;

use super::{
    FrontEndKind, Heap, NtHeap,
    entry::flags::BUSY,
    lfh::{Container, Contents, SIGNATURE},
};
use crate::process::Process;

/// The LFH key of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LfhKey {
    /// The 32 bits that decoding uses.
    pub value: u32,
    /// Address of ntdll's variable, where it was found.
    pub variable: Option<u64>,
    /// The variable's full pointer-sized value, where it was found. On 64-bit Windows 7 the key has
    /// 32 bits, and what follows it in memory fills the rest, as in the debugger's output.
    pub full: Option<u64>,
}

/// Subsegments of a heap that are asked for the key.
const SAMPLE: usize = 32;
/// Zones that are looked through for them.
const MAX_ZONES: usize = 64;

impl NtHeap<'_, '_> {
    /// Infers the key that this heap's containers imply, and what their offsets are combined with.
    pub(super) fn infer_keys(&mut self) {
        if self.header.front_end.kind != FrontEndKind::Lfh {
            return;
        }
        let mut sample = self.sample_containers();
        if sample.is_empty() {
            sample = self.walked_containers();
        }
        let mut keys: FxHashMap<u32, usize> = FxHashMap::default();
        let mut offsets: FxHashMap<u32, usize> = FxHashMap::default();
        for container in sample {
            if let Some((key, offsets_key)) = self.keys_of_container(&container) {
                *keys.entry(key).or_default() += 1;
                if let Some(key) = offsets_key {
                    *offsets.entry(key).or_default() += 1;
                }
            }
        }
        let most = |votes: FxHashMap<u32, usize>| {
            votes
                .into_iter()
                .max_by_key(|&(key, count)| (count, key))
                .map(|(key, _)| key)
        };
        self.lfh_key = most(keys);
        self.offsets_key = most(offsets);
    }

    /// The LFH key and, from 8.1 on, what the offsets are combined with.
    fn keys_of_container(&self, container: &Container) -> Option<(u32, Option<u32>)> {
        let mut window = self.memory.window();
        let layout = &self.layouts.user_data_header;
        if layout.encoded_offsets.is_some() {
            let header = self.memory.at(container.user_blocks, self.bitness());
            let encoded = header.u32(layout.encoded_offsets)?;
            let (first, key) = self.proved_offset(&mut window, encoded, container)?;
            return Some((key, self.offsets_key_of(container, first)));
        }
        let first = self.first_slot(&mut window, container)?;
        let key = self.key_of_slot(&mut window, container, first)?;
        Some((key, None))
    }

    /// Containers that the entries of the segments are, where no zone leads to them.
    fn walked_containers(&self) -> Vec<Container> {
        let mut sample = Vec::new();
        let mut window = self.memory.window();
        for segment in &self.segments {
            let mut at = segment.first_entry;
            while at < segment.end && sample.len() < SAMPLE {
                let limit = segment.limit_at(at);
                if limit <= at {
                    let behind = segment.ranges.iter().find(|range| range.end() > at);
                    at = behind.map_or(segment.end, |range| range.end());
                    continue;
                }
                let Some(Some(entry)) = self.entry_at(&mut window, at, limit) else {
                    at = self.resynchronise(&mut window, at + self.unit(), limit);
                    continue;
                };
                let size = u64::from(entry.size) * self.unit();
                for start in [at + self.unit(), at + 3 * self.unit()] {
                    let header = self.memory.at(start, self.bitness());
                    if entry.flags & BUSY != 0
                        && header.u32(self.layouts.user_data_header.signature) == Some(SIGNATURE)
                        && let Contents::Live(container) =
                            self.lfh_container(&mut window, start, at + size)
                    {
                        sample.push(container);
                    }
                }
                at += size;
            }
        }
        sample
    }

    /// Containers named by the subsegment zones.
    fn sample_containers(&self) -> Vec<Container> {
        let mut sample = Vec::new();
        let Some(zones) = self.layouts.lfh_heap.sub_segment_zones else {
            return sample;
        };
        let zones = self.header.front_end.address.wrapping_add(u64::from(zones));
        let (zones, _) = self.memory.list(zones, self.bitness(), MAX_ZONES);
        let size = u64::from(self.layouts.subsegment.struct_size);
        // Records begin at the next multiple of two units (x64: 20; x86: 10) in every build.
        let first = 2 * self.unit();
        let mut window = self.memory.window();
        for zone in zones {
            for index in 0..SAMPLE as u64 {
                let record = zone.wrapping_add(first + index * size);
                let container = self.container_of_subsegment(&mut window, record, u64::MAX);
                let Some(container) = container else {
                    continue;
                };
                // Records on the free list keep stale contents: only live ones point to each other.
                let end = container
                    .user_blocks
                    .saturating_add(container.stride * container.count * 2);
                if self.lfh_container(&mut window, container.user_blocks, end)
                    == Contents::Live(Container { end, ..container })
                {
                    sample.push(Container { end, ..container });
                }
                if sample.len() >= SAMPLE {
                    return sample;
                }
            }
        }
        sample
    }
}

/// The key that most of the process's heaps agree on. `None` when no heap has an LFH in use.
#[must_use]
pub fn infer_lfh_key(process: &Process<'_, '_>, heaps: &[Heap<'_, '_>]) -> Option<LfhKey> {
    let mut votes: FxHashMap<u32, usize> = FxHashMap::default();
    for heap in heaps {
        if let Heap::Nt(heap) = heap
            && let Some(key) = heap.lfh_key
        {
            *votes.entry(key).or_default() += 1;
        }
    }
    let value = votes
        .into_iter()
        .max_by_key(|&(_, count)| count)
        .map(|(key, _)| key)?;
    let variable = find_variable(process, value);
    let full = variable.and_then(|at| process.memory().pointer(at, process.bitness));
    Some(LfhKey {
        value,
        variable,
        full,
    })
}

/// Looks for the key in ntdll's image; the first aligned hit is the variable.
fn find_variable(process: &Process<'_, '_>, key: u32) -> Option<u64> {
    let mut words = process.ntdll_words();
    words.find_map(|(at, word)| (word as u32 == key).then_some(at))
}
