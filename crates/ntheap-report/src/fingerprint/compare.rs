//! What grew between two fingerprints, each of one dump or of many.
//!
//! Of sums the change is that of a dump on average. What a fingerprint has no row for can be among its
//! others; how much that can be stands beside each change.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Fingerprint, Known, Row, StackRow, Table};
use crate::json::CountReport;

/// What to count sites by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sites {
    /// Stack and size together.
    #[default]
    StackAndSize,
    /// Stack alone.
    Stack,
}

/// Two fingerprints side by side.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FingerprintDiff {
    /// The result in words.
    pub verdict: String,
    /// The first.
    pub before: SideReport,
    /// The second.
    pub after: SideReport,
    /// From the end of the first to that of the second.
    pub seconds: i64,
    /// All blocks.
    pub total: FingerprintChange,
    /// By requested size, the most growth first.
    pub sizes: Vec<SizeChange>,
    /// By stack (of the frames outside Windows) and size, the most growth first.
    pub sites: Vec<SiteChange>,
    /// By type; null where one side does not know the types.
    pub types: Option<Vec<NamedChange>>,
    /// By who holds the blocks; likewise.
    pub owners: Option<Vec<NamedChange>>,
}

/// A side of the comparison.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SideReport {
    /// How many dumps it is of.
    pub dumps: u64,
    /// How many of them could not be read whole.
    pub incomplete: u64,
    /// When the last of them was taken: seconds since 1970, UTC.
    pub last: u32,
    /// Blocks in sizes that have no row.
    pub other_sizes: CountReport,
    /// Blocks of sites that have no row.
    pub other_sites: CountReport,
}

impl SideReport {
    fn of(fingerprint: &Fingerprint) -> Self {
        SideReport {
            dumps: fingerprint.dumps,
            incomplete: fingerprint.incomplete,
            last: fingerprint.last,
            other_sizes: fingerprint.sizes.others.count(),
            other_sites: fingerprint.sites.others.count(),
        }
    }
}

/// A change; sums of all dumps, and the difference of one dump on average.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FingerprintChange {
    /// In all dumps of the first.
    pub before: CountReport,
    /// In all dumps of the second.
    pub after: CountReport,
    /// Bytes more in a dump.
    pub delta_bytes: i64,
    /// Blocks more in a dump.
    pub delta_blocks: i64,
    /// Bytes that `before` can lack at most: they would be among the others.
    pub before_lacks: u64,
    /// Bytes that `after` can lack at most.
    pub after_lacks: u64,
}

/// Blocks of a size.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SizeChange {
    /// Size of a block in bytes.
    pub size: u64,
    /// Their change.
    #[serde(flatten)]
    pub change: FingerprintChange,
}

/// Blocks of a site.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SiteChange {
    /// Hash of the frames outside Windows.
    pub site: String,
    /// Size of a block in bytes; left out where all sizes are counted together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<u64>,
    /// The frame that tells the site: the innermost one of the program itself.
    pub place: String,
    /// The frames of one of its stacks, innermost first.
    pub frames: Vec<String>,
    /// The change of its blocks.
    #[serde(flatten)]
    pub change: FingerprintChange,
}

/// Blocks of a type, or of an owner.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct NamedChange {
    /// The type or the owner; null where the kind says all.
    pub name: Option<String>,
    /// The sort of type, or of owner.
    pub kind: String,
    /// Their change.
    #[serde(flatten)]
    pub change: FingerprintChange,
}

/// Compares two fingerprints.
#[must_use]
pub fn compare(before: &Fingerprint, after: &Fingerprint, by: Sites) -> FingerprintDiff {
    let dumps = (before.dumps, after.dumps);
    let sizes = changes(&before.sizes, &after.sizes, dumps, |row| row.size)
        .into_iter()
        .map(|(size, change)| SizeChange { size, change })
        .collect();
    let (types, owners) = match (&before.known, &after.known) {
        (Some(before), Some(after)) => {
            let (types, owners) = known(before, after);
            (Some(types), Some(owners))
        }
        _ => (None, None),
    };
    let mut diff = FingerprintDiff {
        verdict: String::new(),
        before: SideReport::of(before),
        after: SideReport::of(after),
        seconds: i64::from(after.last) - i64::from(before.last),
        total: change(before.total, after.total, dumps),
        sizes,
        sites: sites(before, after, by),
        types,
        owners,
    };
    diff.verdict = diff.words();
    diff
}

fn known(before: &Known, after: &Known) -> (Vec<NamedChange>, Vec<NamedChange>) {
    let dumps = (before.dumps, after.dumps);
    let named = |((name, kind), change)| NamedChange { name, kind, change };
    let key = |row: &super::TypeRow| (Some(row.name.clone()), row.kind.clone());
    let types = changes(&before.types, &after.types, dumps, key);
    let owners = changes(&before.owners, &after.owners, dumps, Row::key);
    (
        types.into_iter().map(named).collect(),
        owners.into_iter().map(named).collect(),
    )
}

/// Blocks of a side by a key, and how many bytes of a key it can lack: of one that it has, and of one
/// that it has not.
struct Counted<K> {
    counts: BTreeMap<K, CountReport>,
    lacks: (u64, u64),
}

impl<K: Ord> Counted<K> {
    fn of<R: Row>(table: &Table<R>, dumps: u64, key: impl Fn(&R) -> K) -> Self {
        let mut counts: BTreeMap<K, CountReport> = BTreeMap::new();
        for row in &table.rows {
            counts.entry(key(row)).or_default().add(row.count());
        }
        let most = table.others.most_bytes.min(table.others.bytes);
        Counted {
            counts,
            // A single dump has the whole of a key, or nothing of it.
            lacks: (if dumps > 1 { most } else { 0 }, most),
        }
    }

    fn get(&self, key: &K) -> (CountReport, u64) {
        match self.counts.get(key) {
            Some(count) => (*count, self.lacks.0),
            None => (CountReport::default(), self.lacks.1),
        }
    }
}

fn joined<K: Ord + Clone>(
    before: &Counted<K>,
    after: &Counted<K>,
    dumps: (u64, u64),
) -> Vec<(K, FingerprintChange)> {
    let mut keys: Vec<&K> = before.counts.keys().chain(after.counts.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    let of = |key: &K| {
        let (was, is) = (before.get(key), after.get(key));
        FingerprintChange {
            before_lacks: was.1,
            after_lacks: is.1,
            ..change(was.0, is.0, dumps)
        }
    };
    let mut all: Vec<(K, FingerprintChange)> =
        keys.into_iter().map(|key| (key.clone(), of(key))).collect();
    all.sort_by_key(|(_, change)| std::cmp::Reverse((change.delta_bytes, change.delta_blocks)));
    all
}

fn changes<R: Row, K: Ord + Clone>(
    before: &Table<R>,
    after: &Table<R>,
    dumps: (u64, u64),
    key: impl Fn(&R) -> K,
) -> Vec<(K, FingerprintChange)> {
    let before = Counted::of(before, dumps.0, &key);
    let after = Counted::of(after, dumps.1, &key);
    joined(&before, &after, dumps)
}

fn sites(before: &Fingerprint, after: &Fingerprint, by: Sites) -> Vec<SiteChange> {
    let mut examples: BTreeMap<String, (&Fingerprint, &StackRow)> = BTreeMap::new();
    let counted = |fingerprint: &Fingerprint| {
        let site_of: BTreeMap<&str, &str> = fingerprint
            .stacks
            .iter()
            .map(|row| (row.stack.as_str(), row.site.as_str()))
            .collect();
        let mut counted = Counted::of(&fingerprint.sites, fingerprint.dumps, |row| {
            let site = site_of.get(row.stack.as_str()).copied();
            let size = (by == Sites::StackAndSize).then_some(row.size);
            (site.unwrap_or(&row.stack).to_owned(), size)
        });
        // A site is made of several stacks, any of which may be among the others.
        let others = fingerprint.sites.others.bytes;
        counted.lacks = (others, others);
        counted
    };
    let sides = (counted(before), counted(after));
    for fingerprint in [before, after] {
        for stack in &fingerprint.stacks {
            examples.insert(stack.site.clone(), (fingerprint, stack));
        }
    }
    let changes = joined(&sides.0, &sides.1, (before.dumps, after.dumps));
    let row = |((site, size), change): ((String, Option<u64>), FingerprintChange)| {
        let example = examples.get(&site);
        SiteChange {
            size,
            place: example.map_or_else(|| site.clone(), |(of, stack)| of.place(stack)),
            frames: example.map_or_else(Vec::new, |(of, stack)| of.frames(stack)),
            site,
            change,
        }
    };
    changes.into_iter().map(row).collect()
}

fn change(before: CountReport, after: CountReport, dumps: (u64, u64)) -> FingerprintChange {
    FingerprintChange {
        before,
        after,
        delta_bytes: growth(before.bytes, after.bytes, dumps),
        delta_blocks: growth(before.blocks, after.blocks, dumps),
        before_lacks: 0,
        after_lacks: 0,
    }
}

/// By how much a number of one dump on average grew, rounded.
fn growth(before: u64, after: u64, dumps: (u64, u64)) -> i64 {
    let (first, second) = (dumps.0.max(1), dumps.1.max(1));
    let difference = if first == second {
        // The product of more than 64 bits is spared where it says nothing.
        (i128::from(after) - i128::from(before), i128::from(first))
    } else {
        let (before, after) = (
            u128::from(before) * u128::from(second),
            u128::from(after) * u128::from(first),
        );
        let most = i128::MAX as u128;
        let (before, after) = (before.min(most) as i128, after.min(most) as i128);
        (
            after - before,
            (u128::from(first) * u128::from(second)).min(most) as i128,
        )
    };
    let (number, of) = difference;
    let rounded = (number + number.signum() * (of / 2)) / of;
    rounded.clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_that_of_one_dump() {
        assert_eq!(growth(10, 30, (1, 1)), 20);
        assert_eq!(growth(30, 10, (2, 2)), -10);
        assert_eq!(growth(100, 300, (10, 20)), 5);
        assert_eq!(growth(1, 0, (2, 1)), -1);
        assert_eq!(growth(0, u64::MAX, (1, 1)), i64::MAX);
        assert_eq!(growth(u64::MAX, 0, (u64::MAX, 1)), -1);
        assert_eq!(growth(5, 5, (0, 0)), 0);
    }
}
