//! The heaps of many dumps as tables, in Parquet files that databases read: a folder for each table, and
//! in it a file for each dump, so that dumps can be added, and written again, one by one.
//!
//! Rows are told by what is the same in every run: modules, offsets, sizes, hashes. Addresses stand in the
//! tables of blocks and references alone. `docs/fleet.md` has the schema.

mod sheet;
mod single;

pub use single::{write_blocks, write_references};

use std::{io, path::Path};

use ntheap::stats::HeapStatistics;

use crate::fingerprint::{Fingerprint, ModuleIdentity, StackRow};
use sheet::{
    Cell, Field,
    Kind::{Flag, Number, Text, Time},
    Schema, Sheet,
};

/// What the tables say of a dump beside what its fingerprint does.
#[derive(Debug, Clone, Default)]
pub struct DumpFacts {
    /// What its rows are told by: 16 hexadecimal digits, or whatever else a file can be named by.
    pub id: String,
    /// The name of its file, without folders.
    pub file: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
}

impl DumpFacts {
    fn label(&self, name: &str) -> Option<&str> {
        let label = self.labels.iter().find(|(label, _)| label == name);
        label.map(|(_, value)| value.as_str())
    }
}

const DUMP: Field = ("dump_id", Text, false);
const BLOCKS: Field = ("blocks", Number, false);
const BYTES: Field = ("bytes", Number, false);

static DUMPS: Schema = Schema {
    name: "dumps",
    fields: &[
        DUMP,
        ("file", Text, false),
        ("program", Text, true),
        ("program_version", Text, true),
        ("windows_build", Number, false),
        ("bits", Number, false),
        ("time", Time, false),
        ("machine", Text, true),
        ("version", Text, true),
        ("labels", Text, false),
        ("complete", Flag, false),
        BLOCKS,
        BYTES,
        ("free_blocks", Number, false),
        ("free_bytes", Number, false),
        ("untraced_blocks", Number, false),
        ("untraced_bytes", Number, false),
    ],
    list: None,
};

static HEAPS: Schema = Schema {
    name: "heaps",
    fields: &[
        DUMP,
        ("heap_index", Number, false),
        ("heap_kind", Text, false),
        BLOCKS,
        BYTES,
        ("free_blocks", Number, false),
        ("free_bytes", Number, false),
        ("largest_free", Number, false),
    ],
    list: None,
};

static SIZE_CLASSES: Schema = Schema {
    name: "size_classes",
    fields: &[
        DUMP,
        ("heap_index", Number, false),
        ("heap_kind", Text, false),
        ("size", Number, false),
        BLOCKS,
        BYTES,
    ],
    list: None,
};

static STACKS: Schema = Schema {
    name: "stacks",
    fields: &[
        ("stack", Text, false),
        ("site", Text, false),
        ("place", Text, false),
        ("frames_text", Text, false),
    ],
    list: Some((
        "frames",
        &[
            ("module", Text, true),
            ("timestamp", Number, true),
            ("image_size", Number, true),
            ("module_offset", Number, true),
            ("name", Text, false),
        ],
    )),
};

static SITES: Schema = Schema {
    name: "sites",
    fields: &[
        DUMP,
        ("stack", Text, false),
        ("site", Text, false),
        ("size", Number, false),
        BLOCKS,
        BYTES,
    ],
    list: None,
};

static TYPES: Schema = Schema {
    name: "types",
    fields: &[
        DUMP,
        ("type", Text, false),
        ("kind", Text, false),
        BLOCKS,
        BYTES,
        ("retained", Number, false),
    ],
    list: None,
};

static OWNERS: Schema = Schema {
    name: "owners",
    fields: &[
        DUMP,
        ("owner", Text, true),
        ("kind", Text, false),
        BLOCKS,
        BYTES,
    ],
    list: None,
};

/// Writes the tables of a dump: dumps, heaps, size_classes, stacks, sites, and where these are known types
/// and owners. The file in `dumps` comes last: where it is, all others are whole.
///
/// # Errors
/// The files can't be written.
pub fn write(
    fingerprint: &Fingerprint,
    heaps: &[HeapStatistics],
    facts: &DumpFacts,
    folder: &Path,
) -> io::Result<()> {
    let id = || Cell::from(facts.id.as_str());
    let create = |schema| Sheet::create(schema, folder, &facts.id);

    let mut table = create(&HEAPS)?;
    for heap in heaps {
        table.row([
            id(),
            Cell::number(heap.index as u64),
            heap.kind.name().into(),
            Cell::number(heap.busy_blocks),
            Cell::number(heap.busy_bytes),
            Cell::number(heap.free.blocks.saturating_add(heap.lfh_free.blocks)),
            Cell::number(heap.free.bytes.saturating_add(heap.lfh_free.bytes)),
            Cell::number(heap.largest_free),
        ])?;
    }
    table.finish()?;

    let mut table = create(&SIZE_CLASSES)?;
    for heap in heaps {
        for (size, count) in heap.sizes.rows(ntheap::stats::Order::Total) {
            table.row([
                id(),
                Cell::number(heap.index as u64),
                heap.kind.name().into(),
                Cell::number(size),
                Cell::number(count.blocks),
                Cell::number(size.saturating_mul(count.blocks)),
            ])?;
        }
    }
    table.finish()?;

    let mut table = create(&STACKS)?;
    for stack in &fingerprint.stacks {
        let names = fingerprint.frames(stack);
        let cells = vec![
            stack.stack.as_str().into(),
            stack.site.as_str().into(),
            fingerprint.place(stack).as_str().into(),
            names.join("\n").as_str().into(),
        ];
        table.row_with(cells, frames(stack, &names, &fingerprint.modules))?;
    }
    table.finish()?;

    let site_of: std::collections::HashMap<&str, &str> = fingerprint
        .stacks
        .iter()
        .map(|stack| (stack.stack.as_str(), stack.site.as_str()))
        .collect();
    let mut table = create(&SITES)?;
    for site in &fingerprint.sites.rows {
        let stack = site.stack.as_str();
        table.row([
            id(),
            stack.into(),
            site_of.get(stack).copied().unwrap_or(stack).into(),
            Cell::number(site.size),
            Cell::number(site.blocks),
            Cell::number(site.bytes),
        ])?;
    }
    table.finish()?;

    let known = fingerprint.known.as_ref();
    let mut table = create(&TYPES)?;
    for row in known.iter().flat_map(|known| &known.types.rows) {
        table.row([
            id(),
            row.name.as_str().into(),
            row.kind.as_str().into(),
            Cell::number(row.blocks),
            Cell::number(row.bytes),
            Cell::number(row.retained),
        ])?;
    }
    table.finish()?;
    let mut table = create(&OWNERS)?;
    for row in known.iter().flat_map(|known| &known.owners.rows) {
        table.row([
            id(),
            row.owner.as_deref().into(),
            row.kind.as_str().into(),
            Cell::number(row.blocks),
            Cell::number(row.bytes),
        ])?;
    }
    table.finish()?;
    dumps(fingerprint, facts, folder)
}

fn dumps(fingerprint: &Fingerprint, facts: &DumpFacts, folder: &Path) -> io::Result<()> {
    let process = fingerprint.processes.first();
    let version = process.and_then(|process| process.version.as_deref());
    let labels: Vec<String> = facts
        .labels
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut table = Sheet::create(&DUMPS, folder, &facts.id)?;
    table.row([
        facts.id.as_str().into(),
        facts.file.as_str().into(),
        process
            .and_then(|process| process.program.as_deref())
            .into(),
        version.into(),
        Cell::number(process.map_or(0, |process| process.build.into())),
        Cell::number(process.map_or(0, |process| process.bits.into())),
        Cell::number(u64::from(fingerprint.last) * 1000),
        facts.label("machine").into(),
        facts.label("version").or(version).into(),
        labels.join(";").as_str().into(),
        Cell::Flag(fingerprint.incomplete == 0),
        Cell::number(fingerprint.total.blocks),
        Cell::number(fingerprint.total.bytes),
        Cell::number(fingerprint.free.blocks),
        Cell::number(fingerprint.free.bytes),
        Cell::number(fingerprint.untraced.blocks),
        Cell::number(fingerprint.untraced.bytes),
    ])?;
    table.finish()
}

fn frames(stack: &StackRow, names: &[String], modules: &[ModuleIdentity]) -> Vec<Vec<Cell>> {
    let frame = |(frame, name): (&Option<(usize, u64)>, &String)| {
        let module = frame.and_then(|(at, offset)| Some((modules.get(at)?, offset)));
        let mut cells = match module {
            Some((module, offset)) => vec![
                module.name.as_str().into(),
                Cell::number(module.timestamp.into()),
                Cell::number(module.size),
                Cell::number(offset),
            ],
            None => vec![Cell::Null; 4],
        };
        cells.push(name.as_str().into());
        cells
    };
    stack.frames.iter().zip(names).map(frame).collect()
}

#[cfg(test)]
mod tests;
