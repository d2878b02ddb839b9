//! What is written is read again, by the reader of the same library; `.ci/fleet` has other engines read it.

use std::{fs::File, path::Path};

use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
    stats,
};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::{Field as Value, Row},
};

use super::{
    DumpFacts,
    sheet::{Cell, Kind, Schema, Sheet},
    write, write_blocks,
};
use crate::fingerprint::Fingerprint;

/// A folder that goes when the test ends.
struct Folder(std::path::PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("ntheap-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a folder");
        Folder(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(File::open(path).expect("the file")).expect("Parquet");
    let rows = reader.get_row_iter(None).expect("rows");
    rows.map(|row| row.expect("a row")).collect()
}

fn value(row: &Row, name: &str) -> Value {
    let found = row.get_column_iter().find(|(column, _)| *column == name);
    found.expect("the column").1.clone()
}

fn number(row: &Row, name: &str) -> u64 {
    match value(row, name) {
        Value::Long(number) => number as u64,
        Value::ULong(number) => number,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn rows_of_several_groups_with_nulls_and_lists() {
    static SCHEMA: Schema = Schema {
        name: "numbers",
        fields: &[
            ("number", Kind::Number, false),
            ("word", Kind::Text, true),
            ("even", Kind::Flag, false),
        ],
        list: Some((
            "parts",
            &[("part", Kind::Address, true), ("name", Kind::Text, false)],
        )),
    };
    let folder = Folder::new("numbers");
    let mut sheet = Sheet::create(&SCHEMA, &folder.0, "x").expect("created");
    let count = 150_000u64;
    for n in 0..count {
        let word = if n % 3 == 0 {
            Cell::Null
        } else {
            n.to_string().as_str().into()
        };
        let parts = (0..n % 4).map(|part| {
            let address = if part == 1 {
                Cell::Null
            } else {
                Cell::address(u64::MAX - part)
            };
            vec![address, "p".into()]
        });
        let cells = vec![Cell::number(n), word, Cell::Flag(n % 2 == 0)];
        sheet.row_with(cells, parts.collect()).expect("written");
    }
    sheet.finish().expect("finished");
    let path = folder.0.join("numbers/x.parquet");
    let reader = SerializedFileReader::new(File::open(&path).expect("the file")).expect("Parquet");
    assert_eq!(reader.num_row_groups(), 3);
    let all = rows(&path);
    assert_eq!(all.len() as u64, count);
    for (n, row) in (0..count).zip(&all) {
        assert_eq!(number(row, "number"), n);
        match value(row, "word") {
            Value::Null => assert_eq!(n % 3, 0),
            Value::Str(word) => assert_eq!(word, n.to_string()),
            other => panic!("{other:?}"),
        }
        let Value::ListInternal(parts) = value(row, "parts") else {
            panic!("no list");
        };
        assert_eq!(parts.len() as u64, n % 4);
        for (part, element) in (0..).zip(parts.elements()) {
            let Value::Group(fields) = element else {
                panic!("no record");
            };
            match value(fields, "part") {
                Value::Null => assert_eq!(part, 1),
                Value::ULong(address) => assert_eq!(address, u64::MAX - part),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(
        std::fs::read_dir(folder.0.join("numbers"))
            .expect("read")
            .count(),
        1
    );
}

#[test]
fn tables_are_what_the_fingerprint_is() {
    let path = ntheap_synth::oracle::testdata().join("19041.662-smallust.snap2.dmp.zst");
    let file = DumpFile::open(&path).expect("a dump");
    let dump = Dump::parse(file.bytes()).expect("a dump");
    let process = Process::of(&dump).expect("a process");
    let heaps = Heaps::of(&process);
    let statistics = stats::collect(&heaps);
    let fingerprint = Fingerprint::with_statistics(&heaps, &statistics, None);
    let facts = DumpFacts {
        id: "0123".to_owned(),
        file: "a.dmp".to_owned(),
        labels: vec![("machine".to_owned(), "pc".to_owned())],
    };
    let folder = Folder::new("tables");
    write(&fingerprint, &statistics, &facts, &folder.0).expect("written");
    write_blocks(&heaps, "0123", &folder.0).expect("written");
    let table = |name: &str| rows(&folder.0.join(name).join("0123.parquet"));
    let sum = |name: &str, column: &str| {
        table(name)
            .iter()
            .map(|row| number(row, column))
            .sum::<u64>()
    };
    for name in ["dumps", "heaps", "size_classes", "sites"] {
        assert_eq!(sum(name, "blocks"), fingerprint.total.blocks, "{name}");
        assert_eq!(sum(name, "bytes"), fingerprint.total.bytes, "{name}");
    }
    let dumps = table("dumps");
    assert_eq!(value(&dumps[0], "machine"), Value::Str("pc".to_owned()));
    assert_eq!(value(&dumps[0], "version"), Value::Null);
    assert_eq!(value(&dumps[0], "complete"), Value::Bool(true));
    let stacks = table("stacks");
    assert_eq!(stacks.len(), fingerprint.stacks.len());
    for (row, stack) in stacks.iter().zip(&fingerprint.stacks) {
        let Value::ListInternal(frames) = value(row, "frames") else {
            panic!("no frames");
        };
        assert_eq!(frames.len(), stack.frames.len());
    }
    assert!(table("types").is_empty() && table("owners").is_empty());
    let busy = table("blocks")
        .iter()
        .filter(|row| {
            value(row, "state") == Value::Str("busy".to_owned())
                && value(row, "internal") == Value::Bool(false)
        })
        .map(|row| number(row, "size"))
        .sum::<u64>();
    assert_eq!(busy, fingerprint.total.bytes);
}
