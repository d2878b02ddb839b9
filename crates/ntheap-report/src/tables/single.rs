//! The tables of single blocks and references, whose datum is the address.

use std::{io, path::Path};

use ntheap::{
    blocks::{Block, TryVisitor},
    graph::{Graph, Holder, Place},
    heap::Heaps,
};

use super::sheet::{
    Cell,
    Kind::{Address, Flag, Number, Text},
    Schema, Sheet,
};
use crate::fingerprint::StackHashes;

static BLOCKS: Schema = Schema {
    name: "blocks",
    fields: &[
        ("dump_id", Text, false),
        ("heap_index", Number, false),
        ("address", Address, false),
        ("size", Number, false),
        ("block_size", Number, false),
        ("state", Text, false),
        ("kind", Text, false),
        ("internal", Flag, false),
        ("stack", Text, true),
    ],
    list: None,
};

static REFERENCES: Schema = Schema {
    name: "references",
    fields: &[
        ("dump_id", Text, false),
        ("holder_kind", Text, false),
        ("holder", Address, true),
        ("holder_offset", Number, true),
        ("place", Address, true),
        ("register", Text, true),
        ("block", Address, false),
        ("block_offset", Number, false),
    ],
    list: None,
};

/// Writes the table of all blocks of a dump, free ones too.
///
/// # Errors
/// The file can't be written.
pub fn write_blocks(heaps: &Heaps<'_, '_>, id: &str, folder: &Path) -> io::Result<()> {
    struct Writer<'w, 'p, 'a> {
        table: &'w mut Sheet,
        stacks: &'w mut StackHashes<'p, 'a>,
        id: &'w str,
        heap: u64,
    }
    impl TryVisitor for Writer<'_, '_, '_> {
        type Error = io::Error;

        fn block(&mut self, block: &Block) -> io::Result<()> {
            let stack = self.stacks.hash(block.trace);
            self.table.row([
                self.id.into(),
                Cell::number(self.heap),
                Cell::address(block.address),
                Cell::number(block.size),
                Cell::number(block.block_size),
                block.state.name().into(),
                block.kind.name().into(),
                Cell::Flag(block.internal),
                stack.as_deref().into(),
            ])
        }
    }
    let mut stacks = StackHashes::of(heaps.process());
    let mut table = Sheet::create(&BLOCKS, folder, id)?;
    for heap in heaps {
        let mut writer = Writer {
            table: &mut table,
            stacks: &mut stacks,
            id,
            heap: heap.reference().index as u64,
        };
        heap.try_walk(&mut writer)?;
    }
    table.finish()
}

/// Writes the table of all pointers to blocks: from blocks, and from roots.
///
/// # Errors
/// The file can't be written.
pub fn write_references(graph: &Graph<'_, '_>, id: &str, folder: &Path) -> io::Result<()> {
    let mut table = Sheet::create(&REFERENCES, folder, id)?;
    let blocks = (0..graph.index().len() as u32).map(Holder::Block);
    let roots = (0..graph.areas().len()).map(Holder::Root);
    for holder in blocks.chain(roots) {
        let (kind, address) = match holder {
            Holder::Block(block) => ("block", Cell::address(graph.index().block(block).0)),
            Holder::Root(area) => (
                graph
                    .areas()
                    .get(area)
                    .map_or("unknown", |area| area.kind.name()),
                Cell::Null,
            ),
        };
        let mut written = Ok(());
        graph.each_link(holder, &mut |link| {
            if written.is_err() {
                return;
            }
            let (place, register) = match link.place {
                Place::Memory(place) => (Cell::address(place), Cell::Null),
                Place::Register(name) => (Cell::Null, name.into()),
            };
            written = table.row([
                id.into(),
                kind.into(),
                address.clone(),
                link.at.map_or(Cell::Null, Cell::number),
                place,
                register,
                Cell::address(graph.index().block(link.target).0),
                Cell::number(link.offset),
            ]);
        });
        written?;
    }
    table.finish()
}
