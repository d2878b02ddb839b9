//! The rows of a fingerprint, and tables of them whose tail is told as one sum.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::json::CountReport;

/// A row that adds up with those of the same key in other fingerprints.
pub trait Row: Clone {
    /// What rows are the same by.
    type Key: Ord;

    /// The key.
    fn key(&self) -> Self::Key;

    /// Its blocks and bytes.
    fn count(&self) -> CountReport;

    /// Adds a row with the same key.
    fn add(&mut self, other: &Self);
}

/// Rows, and the sum of those that are left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Table<R> {
    /// All together.
    pub total: CountReport,
    /// The rows, the most bytes first.
    pub rows: Vec<R>,
    /// The sum of what has no row.
    pub others: Others,
}

impl<R> Default for Table<R> {
    fn default() -> Self {
        Table {
            total: CountReport::default(),
            rows: Vec::new(),
            others: Others::default(),
        }
    }
}

/// The sum of rows that are left out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Others {
    /// How many rows, at most: of several fingerprints, some can have the same key.
    pub rows: u64,
    /// Blocks.
    pub blocks: u64,
    /// Bytes.
    pub bytes: u64,
    /// Most blocks that one key can have here: what a row, or a key without one, can lack.
    pub most_blocks: u64,
    /// Most bytes that one key can have here.
    pub most_bytes: u64,
}

impl Others {
    /// Its blocks and bytes.
    #[must_use]
    pub fn count(&self) -> CountReport {
        CountReport {
            blocks: self.blocks,
            bytes: self.bytes,
        }
    }

    fn add(&mut self, other: &Others) {
        self.rows = self.rows.saturating_add(other.rows);
        self.blocks = self.blocks.saturating_add(other.blocks);
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.most_blocks = self.most_blocks.saturating_add(other.most_blocks);
        self.most_bytes = self.most_bytes.saturating_add(other.most_bytes);
    }
}

impl<R: Row> Table<R> {
    /// A table of these rows; those of the same key become one.
    pub(super) fn of(rows: impl IntoIterator<Item = R>) -> Self {
        let mut table = Table::default();
        table.join(rows);
        for row in &table.rows {
            table.total.add(row.count());
        }
        table
    }

    /// Adds another table.
    pub(super) fn add(&mut self, other: &Self) {
        self.total.add(other.total);
        self.others.add(&other.others);
        self.join(other.rows.iter().cloned());
    }

    fn join(&mut self, more: impl IntoIterator<Item = R>) {
        let mut by_key: BTreeMap<R::Key, R> = BTreeMap::new();
        for row in self.rows.drain(..).chain(more) {
            match by_key.entry(row.key()) {
                std::collections::btree_map::Entry::Vacant(free) => {
                    free.insert(row);
                }
                std::collections::btree_map::Entry::Occupied(mut known) => {
                    known.get_mut().add(&row)
                }
            }
        }
        self.rows = by_key.into_values().collect();
        // Equal ones stay in the order of their keys.
        self.rows
            .sort_by_key(|row| std::cmp::Reverse((row.count().bytes, row.count().blocks)));
    }

    /// The places of the rows, those first that say most: by their part of the bytes and of the blocks.
    pub(super) fn ranking(&self) -> Vec<usize> {
        let total = self.total;
        let weight = |row: &R| {
            let count = row.count();
            let bytes = u128::from(count.bytes) * u128::from(total.blocks);
            bytes.saturating_add(u128::from(count.blocks) * u128::from(total.bytes))
        };
        let mut places: Vec<usize> = (0..self.rows.len()).collect();
        places.sort_by_key(|&place| std::cmp::Reverse(weight(&self.rows[place])));
        places
    }

    /// The table with the rows that are wanted, by their places; the rest is added to the others.
    pub(super) fn keep(&self, wanted: &[bool]) -> Self {
        let mut kept = Table {
            total: self.total,
            rows: Vec::new(),
            others: self.others,
        };
        let mut most = CountReport::default();
        for (row, &wanted) in self.rows.iter().zip(wanted) {
            if wanted {
                kept.rows.push(row.clone());
                continue;
            }
            let count = row.count();
            kept.others.rows = kept.others.rows.saturating_add(1);
            kept.others.blocks = kept.others.blocks.saturating_add(count.blocks);
            kept.others.bytes = kept.others.bytes.saturating_add(count.bytes);
            most.blocks = most.blocks.max(count.blocks);
            most.bytes = most.bytes.max(count.bytes);
        }
        // A key that is left out now may have had a part among the others before.
        kept.others.most_blocks = kept.others.most_blocks.saturating_add(most.blocks);
        kept.others.most_bytes = kept.others.most_bytes.saturating_add(most.bytes);
        kept
    }
}

/// Blocks of a heap, or of the heaps in the same place of several processes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HeapRow {
    /// Position in the process's list of heaps.
    pub index: u64,
    /// `nt`, `nt-xp`, `segment` or `page-heap`.
    pub kind: String,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blocks of one requested size.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SizeRow {
    /// Size of a block in bytes.
    pub size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blocks of one size that one stack allocated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SiteRow {
    /// Hash of the stack.
    pub stack: String,
    /// Size of a block in bytes.
    pub size: u64,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Blocks of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeRow {
    /// Its name.
    #[serde(rename = "type")]
    pub name: String,
    /// `class`, `array`, ..., as `types` has it.
    pub kind: String,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Bytes that they keep alive, themselves included.
    pub retained: u64,
}

/// Blocks that one sort of holder keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OwnerRow {
    /// Its type, or the module whose variables hold them; null where the kind says all.
    pub owner: Option<String>,
    /// `object` (of that type), the kind of a root (`image`, `stack`, `private`, ...), or `lost`.
    pub kind: String,
    /// Number of blocks.
    pub blocks: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// Implements [`Row`] for rows with `blocks` and `bytes`.
macro_rules! row {
    ($row:ty, $key:ty, |$self:ident| $of:expr $(, $more:ident)*) => {
        impl Row for $row {
            type Key = $key;

            fn key(&self) -> $key {
                let $self = self;
                $of
            }

            fn count(&self) -> CountReport {
                CountReport {
                    blocks: self.blocks,
                    bytes: self.bytes,
                }
            }

            fn add(&mut self, other: &Self) {
                self.blocks = self.blocks.saturating_add(other.blocks);
                self.bytes = self.bytes.saturating_add(other.bytes);
                $(self.$more = self.$more.saturating_add(other.$more);)*
            }
        }
    };
}

row!(HeapRow, (u64, String), |row| (row.index, row.kind.clone()));
row!(SizeRow, u64, |row| row.size);
row!(SiteRow, (String, u64), |row| (row.stack.clone(), row.size));
row!(
    TypeRow,
    (String, String),
    |row| (row.name.clone(), row.kind.clone()),
    retained
);
row!(OwnerRow, (Option<String>, String), |row| (
    row.owner.clone(),
    row.kind.clone()
));

/// A stack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StackRow {
    /// Hash of all its frames ([`super::stack_hash`]).
    pub stack: String,
    /// Hash of the frames outside Windows ([`super::site_hash`]): the same on every version of Windows.
    pub site: String,
    /// Return addresses, innermost first: the module, as a position among the modules, and the offset in
    /// it; null for one outside all modules.
    pub frames: Vec<Option<(usize, u64)>>,
    /// With symbols: the frames by name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// Dumps of one program on one build of Windows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct ProcessRow {
    /// File name of the program; null: other programs than those of the other rows.
    pub program: Option<String>,
    /// Version of its file.
    pub version: Option<String>,
    /// Windows build number.
    pub build: u32,
    /// 32 or 64.
    pub bits: u32,
    /// How many dumps.
    pub dumps: u64,
}

/// What the caller said of dumps.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct LabelRow {
    /// The label, for instance `machine`.
    pub label: String,
    /// What it is; null: other values than those of the other rows.
    pub value: Option<String>,
    /// How many dumps have it.
    pub dumps: u64,
}
