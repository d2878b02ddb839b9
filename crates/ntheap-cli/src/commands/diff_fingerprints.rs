//! `ntheap diff` of fingerprints, or of a fingerprint and a dump.

use std::path::{Path, PathBuf};

use ntheap_report::{
    fingerprint::compare::{self, Sites},
    json::document,
};

use crate::{
    failure::{Failure, Status},
    fingerprints,
    options::{Common, Format},
    output::Output,
    symbols,
};

/// How to compare.
pub(super) struct DiffOfFingerprints {
    pub(super) sites: Sites,
    /// Whether the blocks of a dump are looked at for their types and owners.
    pub(super) owners: bool,
    pub(super) top: usize,
    pub(super) min_growth: u64,
}

impl DiffOfFingerprints {
    /// Prints the comparison; its bytes of growth and seconds, and how reading went, are returned.
    pub(super) fn run(
        &self,
        paths: &[PathBuf],
        common: &Common,
        output: &mut Output,
    ) -> Result<(i64, i64, Status), Failure> {
        let format = super::document_format(common)?;
        let [before, after] = paths else {
            return Err(Failure::Usage(
                "a fingerprint is compared with one other or a dump; fingerprint --add adds up \
                 several before"
                    .to_owned(),
            ));
        };
        let (mut first, status) = fingerprints::open(before, common, self.owners)?;
        let (mut second, more) = fingerprints::open(after, common, self.owners)?;
        let mut status = status.and(more);
        if symbols::path_text(common).is_some() {
            let paths: [&Path; 2] = [before, after];
            let symbols = symbols::open(common, &paths)?;
            for fingerprint in [&mut first, &mut second] {
                status = status.and(fingerprints::name(fingerprint, &symbols));
            }
        }
        let mut diff = compare::compare(&first, &second, self.sites);
        if diff.before.incomplete + diff.after.incomplete > 0 {
            status = status.and(Status::Partial);
        }
        match format {
            Format::Text => {
                output.verdict(|out| diff.write_text(self.top, self.min_growth, out))?;
            }
            _ => {
                diff.sizes.truncate(self.top);
                diff.sites.truncate(self.top);
                diff.types
                    .iter_mut()
                    .for_each(|rows| rows.truncate(self.top));
                diff.owners
                    .iter_mut()
                    .for_each(|rows| rows.truncate(self.top));
                output.json(&document("diff", &diff))?;
            }
        }
        Ok((diff.total.delta_bytes, diff.seconds, status))
    }
}
