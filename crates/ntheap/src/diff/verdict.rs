//! The result of a comparison in words.

use std::{fmt, sync::Arc};

use rustc_hash::FxHashMap;

use super::{Comparison, GroupChange, HeapChange, HeapStatus};
use crate::usage::{Class, UsageChange};

/// The answer to "what grew", as one or two sentences with the numbers.
#[derive(Debug, Clone)]
pub struct Verdict<'c> {
    /// Growth of all heaps in bytes.
    pub total: i64,
    /// The heap that grew most, if any did.
    pub heap: Option<&'c HeapChange>,
    /// The groups of that heap that account for its growth, largest first.
    pub groups: Vec<GroupChange>,
    /// The group of that heap with most new blocks, if it is not one of those: a leak of small blocks
    /// can hide behind a few large ones.
    pub most_blocks: Option<GroupChange>,
    /// The stack that most of that heap's growth comes from, if its blocks have stacks.
    pub culprit: Option<Culprit>,
    /// Whether both dumps hold the same blocks.
    pub identical: bool,
    /// Whether everything of both dumps was read.
    pub complete: bool,
    /// The change of the address space, if it grew outside the heaps more than in them.
    pub outside: Option<&'c UsageChange>,
}

/// A call stack with what its blocks grew by.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Culprit {
    /// Return addresses, innermost first.
    pub stack: Arc<[u64]>,
    /// Growth in bytes, of blocks of all sizes.
    pub bytes: i64,
    /// Growth in blocks.
    pub blocks: i64,
}

/// The stack that most of a heap's growth comes from.
fn culprit(heap: &HeapChange) -> Option<Culprit> {
    let mut places: FxHashMap<&Arc<[u64]>, usize> = FxHashMap::default();
    let mut stacks: Vec<Culprit> = Vec::new();
    for group in heap.groups.iter().filter(|group| group.change.bytes() > 0) {
        let Some(stack) = group.key.stack.as_ref().filter(|stack| !stack.is_empty()) else {
            continue;
        };
        let place = *places.entry(stack).or_insert(stacks.len());
        if place == stacks.len() {
            stacks.push(Culprit {
                stack: stack.clone(),
                bytes: 0,
                blocks: 0,
            });
        }
        let known = &mut stacks[place];
        known.bytes = known.bytes.saturating_add(group.change.bytes());
        known.blocks = known.blocks.saturating_add(group.change.blocks());
    }
    // Of equals the one that comes first, which has the largest single group.
    stacks.into_iter().rev().max_by_key(|stack| stack.bytes)
}

/// Part of a heap's growth, in per cent, from which on the groups named are enough to explain it.
const EXPLAINED_PERCENT: i64 = 80;
/// Most groups that a verdict names.
const NAMED_GROUPS: usize = 3;
/// Fewer new blocks than this are not worth a word.
const MANY_BLOCKS: i64 = 10;

impl<'c> Verdict<'c> {
    pub(super) fn of(comparison: &'c Comparison) -> Self {
        let heap = comparison
            .heaps
            .first()
            .filter(|heap| heap.busy.bytes() > 0);
        let mut groups: Vec<GroupChange> = Vec::new();
        let mut most_blocks = None;
        if let Some(heap) = heap {
            let growth = heap.busy.bytes();
            // Sizes say more in a sentence; where only stacks are told apart there is one size.
            let all = match heap.groups.iter().any(|group| group.key.size.is_some()) {
                true => heap.by_size(),
                false => heap.groups.clone(),
            };
            let mut explained = 0;
            for group in all.iter().filter(|group| group.change.bytes() > 0) {
                if groups.len() >= NAMED_GROUPS
                    || explained >= growth.saturating_mul(EXPLAINED_PERCENT) / 100
                {
                    break;
                }
                explained = i64::saturating_add(explained, group.change.bytes());
                groups.push(group.clone());
            }
            most_blocks = all
                .into_iter()
                .max_by_key(|group| group.change.blocks())
                .filter(|group| group.change.blocks() >= MANY_BLOCKS)
                .filter(|group| !groups.iter().any(|named| named.key == group.key));
        }
        Verdict {
            total: comparison.total.bytes(),
            heap,
            groups,
            most_blocks,
            culprit: heap.and_then(culprit),
            identical: comparison.identical,
            complete: comparison.is_complete(),
            outside: Some(&comparison.usage).filter(|usage| {
                usage.is_virtual_leak() && usage.private(Class::Private) > comparison.total.bytes()
            }),
        }
    }
}

impl fmt::Display for Verdict<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(usage) = self.outside {
            outside(usage, f)?;
        }
        // Of what was not read nobody can say that it did not grow.
        let read = if self.complete { "" } else { " that were read" };
        if self.identical {
            return f.write_str(match self.complete {
                true => "No growth: the heaps of both dumps hold the same blocks.",
                false => {
                    "No growth was seen: what could be read of the heaps holds the same blocks \
                     in both dumps."
                }
            });
        }
        let Some(heap) = self.heap else {
            return write!(
                f,
                "No heap{} grew; all heaps{read} together: {}.",
                if self.complete { "" } else { " that was read" },
                signed_bytes(self.total)
            );
        };
        let new = if heap.status == HeapStatus::New {
            "New heap"
        } else {
            "Heap"
        };
        write!(
            f,
            "{new} {:x} grew by {} ({:+} bytes in {:+} blocks)",
            heap.handle,
            human_bytes(heap.busy.bytes().unsigned_abs()),
            heap.busy.bytes(),
            heap.busy.blocks(),
        )?;
        for (index, group) in self.groups.iter().enumerate() {
            write!(f, "{}", if index == 0 { ": " } else { ", " })?;
            let change = &group.change;
            let percent = change.bytes() as f64 * 100.0 / heap.busy.bytes() as f64;
            write!(f, "{} ({percent:.0} %)", named(group))?;
        }
        write!(f, ".")?;
        if let Some(group) = &self.most_blocks {
            write!(
                f,
                " Most new blocks: {} ({:+} bytes).",
                named(group),
                group.change.bytes()
            )?;
        }
        Ok(())
    }
}

/// Growth outside the heaps in words.
fn outside(usage: &UsageChange, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(
        f,
        "VirtualAlloc outside the heaps grew by {}, the heaps by {}",
        human_bytes(usage.private(Class::Private).unsigned_abs()),
        signed_bytes(usage.private(Class::Heap))
    )?;
    let new = || {
        let new = usage.new.iter();
        new.filter(|allocation| allocation.owner.class() == Class::Private)
    };
    if let Some(largest) = new().next() {
        write!(
            f,
            ": {} new allocations, the largest {} at {:x}",
            new().count(),
            human_bytes(largest.total.committed),
            largest.base
        )?;
    }
    write!(f, ". ")
}

/// A group's growth in words: `+96 blocks of 0x30 bytes`.
fn named(group: &GroupChange) -> String {
    let blocks = group.change.blocks();
    let noun = if blocks.abs() == 1 { "block" } else { "blocks" };
    match group.key.size {
        Some(size) => format!("{blocks:+} {noun} of {size:#x} bytes"),
        None => format!("{blocks:+} {noun} of one stack"),
    }
}

fn signed_bytes(bytes: i64) -> String {
    let sign = if bytes < 0 { "-" } else { "+" };
    format!("{sign}{}", human_bytes(bytes.unsigned_abs()))
}

/// A number of bytes with a binary unit: `12.0 KiB`.
#[must_use]
pub fn human_bytes(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if bytes < 1024 {
        return format!("{bytes} bytes");
    }
    let mut value = bytes as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_with_the_unit_that_fits() {
        assert_eq!(human_bytes(0), "0 bytes");
        assert_eq!(human_bytes(1023), "1023 bytes");
        assert_eq!(human_bytes(12_288), "12.0 KiB");
        assert_eq!(human_bytes(u64::MAX), "16384.0 PiB");
    }
}
