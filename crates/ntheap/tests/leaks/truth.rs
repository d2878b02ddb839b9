//! The truth files of the leak oracle.

use std::path::Path;

use ntheap::dump::DumpFile;
use serde::Deserialize;
use serde_json::Value;

/// What is known of every block of a dump.
#[derive(Debug, Deserialize)]
pub(crate) struct Truth {
    leak_columns: Vec<String>,
    leaks: Vec<Vec<Value>>,
    /// Pointers in the roots, by kind; not in the truth of samples.
    pub(crate) root_pointers: Option<std::collections::BTreeMap<String, u64>>,
    /// Pointers in blocks to blocks.
    pub(crate) reference_count: Option<u64>,
}

/// A block.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) role: String,
    /// Its class without rules, with the default ones, and with the refined ones.
    pub(crate) classes: [String; 3],
    /// 0: the roots; `None`: the block is lost.
    pub(crate) dominator: Option<u64>,
    pub(crate) retained: Option<u64>,
    pub(crate) rule: Option<String>,
}

impl Truth {
    pub(crate) fn read(path: &Path) -> Truth {
        // Packed or not: a dump's reader unpacks any file.
        let file = DumpFile::open(path).expect("the truth is there");
        serde_json::from_slice(file.bytes()).expect("the truth parses")
    }

    pub(crate) fn rows(&self) -> Vec<Row> {
        let column = |name: &str| {
            let found = self.leak_columns.iter().position(|column| column == name);
            found.unwrap_or_else(|| panic!("the truth has the column {name}"))
        };
        let [
            address,
            size,
            role,
            strict,
            default,
            refined,
            dominator,
            retained,
            rule,
        ] = [
            "user_address",
            "user_size",
            "role",
            "strict",
            "default",
            "refined",
            "dominator",
            "retained",
            "rule",
        ]
        .map(column);
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let number = |value: &Value| value.as_u64();
        let rows = self.leaks.iter().map(|row| Row {
            address: number(&row[address]).expect("an address"),
            size: number(&row[size]).expect("a size"),
            role: text(&row[role]),
            classes: [strict, default, refined].map(|set| text(&row[set])),
            dominator: number(&row[dominator]),
            retained: number(&row[retained]),
            rule: row[rule].as_str().map(str::to_owned),
        });
        rows.collect()
    }
}
