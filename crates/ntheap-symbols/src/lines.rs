//! Source lines as a PDB records them: which line the code from an address on belongs to.
//!
//! The cache that functions are looked up in does not tell where the code of a line begins, which
//! debuggers print. These records do; they are read when a line's beginning is first asked for.

use ntheap::names::SourceLine;
use std::collections::HashMap;
use std::io::Cursor;

use pdb::{FallibleIterator, PDB};

use crate::Error;
use crate::container::Container;

/// Line numbers from here on are no lines: compilers mark code of their own with `0xf00f00` and
/// `0xfeefee`.
const NO_LINE: u32 = 0x00f0_0000;

/// Characters of all files' names together: names in a hostile file can be long, and each end of one
/// can count as a name of its own.
const MAX_NAMES: usize = 1 << 28;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Record {
    rva: u32,
    /// Size of the code in bytes.
    size: u32,
    line: u32,
    /// Index of the file.
    file: u32,
}

/// The line records of a PDB in the order of their addresses.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    records: Vec<Record>,
    files: Vec<String>,
}

impl Lines {
    pub(crate) fn from_bytes(data: &[u8]) -> Result<Self, Error> {
        Container::parse(data)?.check_counts()?;
        let mut pdb = PDB::open(Cursor::new(data))?;
        let map = pdb.address_map()?;
        // Without names of files there are no lines to tell.
        let Ok(strings) = pdb.string_table() else {
            return Ok(Self::default());
        };
        let debug = pdb.debug_information()?;
        let mut lines = Self::default();
        let mut by_name = HashMap::new();
        let mut left = MAX_NAMES;
        let mut modules = debug.modules()?;
        while let Some(module) = modules.next()? {
            let Some(info) = pdb.module_info(&module)? else {
                continue;
            };
            let Ok(program) = info.line_program() else {
                continue;
            };
            // Files of this compiland, by their place in it.
            let mut files = HashMap::new();
            let mut records = program.lines();
            // The rest of a compiland whose records are damaged is left out.
            while let Ok(Some(record)) = records.next() {
                let (Some(rva), Some(size)) = (record.offset.to_rva(&map), record.length) else {
                    continue;
                };
                let file = *files.entry(record.file_index.0).or_insert_with(|| {
                    let name = program.get_file_info(record.file_index).ok()?.name;
                    let name = strings.get(name).ok()?.to_string().into_owned();
                    if let Some(&known) = by_name.get(&name) {
                        return Some(known);
                    }
                    left = left.checked_sub(name.len())?;
                    let next = u32::try_from(lines.files.len()).ok()?;
                    lines.files.push(name.clone());
                    by_name.insert(name, next);
                    Some(next)
                });
                let Some(file) = file else { continue };
                lines.records.push(Record {
                    rva: rva.0,
                    size,
                    line: record.line_start,
                    file,
                });
            }
        }
        // Code without a length holds no address.
        lines.records.retain(|record| record.size > 0);
        lines.records.sort_unstable();
        // Folded functions have records at the same addresses; the first stands for all.
        lines.records.dedup_by_key(|record| record.rva);
        lines.records.shrink_to_fit();
        Ok(lines)
    }

    /// The line that the code at `rva` belongs to.
    pub(crate) fn at(&self, rva: u32) -> Option<SourceLine> {
        let after = self.records.partition_point(|record| record.rva <= rva);
        let record = self.records.get(after.checked_sub(1)?)?;
        let displacement = rva - record.rva;
        (displacement < record.size && record.line < NO_LINE).then_some(())?;
        Some(SourceLine {
            file: self.files.get(record.file as usize)?.clone(),
            line: record.line,
            displacement: displacement.into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_record_that_covers_it() {
        let record = |rva, size, line| Record {
            rva,
            size,
            line,
            file: 0,
        };
        let lines = Lines {
            records: vec![
                record(0x1000, 0x10, 5),
                record(0x1010, 4, 7),
                record(0x1020, 4, 0x00fe_efee),
            ],
            files: vec!["a.cpp".to_owned()],
        };
        let found = |rva| lines.at(rva).map(|line| (line.line, line.displacement));
        assert_eq!(found(0xfff), None);
        assert_eq!(found(0x1000), Some((5, 0)));
        assert_eq!(found(0x100f), Some((5, 0xf)));
        assert_eq!(found(0x1013), Some((7, 3)));
        assert_eq!(found(0x1014), None, "between functions");
        assert_eq!(found(0x1021), None, "code of the compiler's own");
    }
}
