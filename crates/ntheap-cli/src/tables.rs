//! Dumps as tables for databases: `--as parquet`, where the program was built with it.

use std::path::Path;

use ntheap::losses::Losses;

use crate::{failure::Failure, input::Input, labels::Labels, options::Common};

/// Which tables are written beside those that sum up.
#[derive(Debug, Clone, Copy, Default)]
#[cfg_attr(
    not(feature = "parquet"),
    expect(dead_code, reason = "who writes no tables asks for none")
)]
pub(crate) struct Tables {
    /// What the blocks are and who holds them.
    pub(crate) owners: bool,
    /// Every block.
    pub(crate) blocks: bool,
    /// Every pointer to a block.
    pub(crate) references: bool,
}

/// Says how to have tables, where this program has none.
#[cfg(not(feature = "parquet"))]
pub(crate) fn check() -> Result<(), Failure> {
    Err(Failure::Usage(
        "this ntheap was built without Parquet; cargo install ntheap-cli --features parquet builds \
         one with it (releases have it)"
            .to_owned(),
    ))
}

#[cfg(feature = "parquet")]
pub(crate) fn check() -> Result<(), Failure> {
    Ok(())
}

#[cfg(not(feature = "parquet"))]
pub(crate) fn write(
    _: &Input,
    _: Tables,
    _: &Labels,
    _: (&Path, &Path),
    _: &Common,
) -> Result<Losses, Failure> {
    check().map(|()| Losses::default())
}

/// Writes the tables of a dump into a folder; `paths` are the dump's, as labels are taken from it, and the
/// folder's. What could not be read is returned.
#[cfg(feature = "parquet")]
pub(crate) fn write(
    input: &Input,
    tables: Tables,
    labels: &Labels,
    (named, folder): (&Path, &Path),
    common: &Common,
) -> Result<Losses, Failure> {
    use ntheap::{graph::Graph, stats};
    use ntheap_report::{
        fingerprint::{Fingerprint, Known},
        tables::{self, DumpFacts},
    };

    use crate::{fingerprints, input::heaps, progress::Working};

    let dump = input.parse_with_paths()?;
    let process = input.process(&dump, common)?;
    let heaps = heaps(input, &process, common)?;
    let is_whole = common.heap.is_none();
    let looks = (tables.owners || tables.references) && is_whole;
    let bytes = fingerprints::bytes_to_read(&heaps, looks);
    let working = Working::walking("looking at blocks", bytes);
    let graph = looks.then(|| Graph::of(&heaps));
    let known = graph
        .as_ref()
        .filter(|_| tables.owners)
        .map(|graph| Known::of(graph, None));
    let statistics = stats::collect(&heaps);
    let mut fingerprint = Fingerprint::with_statistics(&heaps, &statistics, known);
    drop(working);
    if input.has_symbols() {
        fingerprints::name(&mut fingerprint, input.symbols());
    }
    let id = fingerprints::id(input.path()).map_err(|error| Failure::Fingerprint {
        path: input.path().to_owned(),
        reason: error.to_string(),
    })?;
    let facts = DumpFacts {
        file: input.name().into_owned(),
        labels: labels.of(named)?,
        id,
    };
    if tables.blocks {
        tables::write_blocks(&heaps, &facts.id, folder)?;
    }
    if let Some(graph) = graph.as_ref().filter(|_| tables.references) {
        tables::write_references(graph, &facts.id, folder)?;
    }
    // What came of a file that was not the same all the time is not told as if it were.
    input.check()?;
    tables::write(&fingerprint, &statistics, &facts, folder)?;
    Ok(Losses::of(&process).merged(stats::losses(&statistics)))
}
