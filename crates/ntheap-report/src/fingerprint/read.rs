//! Fingerprints from files, which anybody may have written.

use serde::Deserialize;

use super::{COMMAND, Fingerprint, Row, StackRow, Table, identity::bounded};
use crate::json::{CountReport, SCHEMA};

/// Why a text is no fingerprint.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FingerprintError {
    /// It is no JSON, or JSON of another form.
    #[error("is no fingerprint: {0}")]
    Form(#[from] serde_json::Error),
    /// It is the output of another command.
    #[error("is no fingerprint but the output of ntheap {0:.40}")]
    Command(String),
    /// It was written by a newer version.
    #[error("is a fingerprint of schema {0}, and this version reads schema {SCHEMA}")]
    Schema(u32),
    /// It contradicts itself.
    #[error("is a damaged fingerprint: {0}")]
    Damaged(&'static str),
}

#[derive(Deserialize)]
struct Head {
    schema: u32,
    command: String,
}

impl Fingerprint {
    /// Reads a fingerprint, as [`Fingerprint::to_line`] or a pretty printer wrote it.
    ///
    /// # Errors
    /// The text is no fingerprint, or its numbers and hashes do not fit each other.
    pub fn parse(text: &str) -> Result<Self, FingerprintError> {
        let head: Head = serde_json::from_str(text)?;
        if head.command != COMMAND {
            return Err(FingerprintError::Command(head.command));
        }
        if head.schema != SCHEMA {
            return Err(FingerprintError::Schema(head.schema));
        }
        let fingerprint: Fingerprint = serde_json::from_str(text)?;
        match fingerprint.fault() {
            Some(fault) => Err(FingerprintError::Damaged(fault)),
            None => Ok(fingerprint.in_order()),
        }
    }

    /// What of it contradicts itself.
    fn fault(&self) -> Option<&'static str> {
        let mut traced = self.sites.total;
        traced.add(self.untraced);
        let known = self.known.as_ref();
        let is_hash = |text: &str| text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
        let checks: [(bool, &'static str); 9] = [
            (self.dumps > 0, "it is of no dump"),
            (
                adds_up(&self.heaps) && adds_up(&self.sizes) && adds_up(&self.sites),
                "rows and others are not the total",
            ),
            (
                known.is_none_or(|known| adds_up(&known.types) && adds_up(&known.owners)),
                "types or owners are not their total",
            ),
            (
                self.heaps.total == self.total && self.sizes.total.blocks == self.total.blocks,
                "heaps or sizes are not the total",
            ),
            (
                traced.blocks == self.total.blocks,
                "sites are not the total",
            ),
            (
                self.stacks.iter().all(|row| self.hashes_as_it_says(row)),
                "a stack is not what its hash says",
            ),
            (
                self.sites.rows.iter().all(|row| is_hash(&row.stack)),
                "a site has no hash",
            ),
            (
                self.sizes
                    .rows
                    .iter()
                    .all(|row| row.bytes == row.size.saturating_mul(row.blocks)),
                "blocks of a size have other bytes",
            ),
            (
                self.texts().all(|text| bounded(text) == *text),
                "a text is none that ntheap writes",
            ),
        ];
        checks
            .into_iter()
            .find(|(holds, _)| !holds)
            .map(|(_, fault)| fault)
    }

    fn hashes_as_it_says(&self, row: &StackRow) -> bool {
        let again = StackRow::of(row.frames.clone(), &self.modules);
        again.stack == row.stack && again.site == row.site
    }

    fn texts(&self) -> impl Iterator<Item = &String> {
        let processes = self
            .processes
            .iter()
            .flat_map(|row| [&row.program, &row.version]);
        let labels = self.labels.iter();
        let modules = self.modules.iter();
        let known = self.known.iter();
        let types = known.clone().flat_map(|known| &known.types.rows);
        let owners = known.flat_map(|known| &known.owners.rows);
        let names = self.stacks.iter().filter_map(|row| row.names.as_ref());
        processes
            .flatten()
            .chain(&self.dump)
            .chain(labels.flat_map(|row| row.value.iter().chain([&row.label])))
            .chain(modules.flat_map(|row| {
                [Some(&row.name), row.pdb.as_ref(), row.pdb_id.as_ref()]
                    .into_iter()
                    .flatten()
            }))
            .chain(self.heaps.rows.iter().map(|row| &row.kind))
            .chain(types.flat_map(|row| [&row.name, &row.kind]))
            .chain(owners.flat_map(|row| row.owner.iter().chain([&row.kind])))
            .chain(names.flatten())
    }
}

/// Whether the rows and the others of a table are its total.
fn adds_up<R: Row>(table: &Table<R>) -> bool {
    let mut sum: CountReport = table.others.count();
    table.rows.iter().for_each(|row| sum.add(row.count()));
    sum == table.total
}
