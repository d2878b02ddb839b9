//! `dt`: structures, and what lies in them.

use std::fmt::{self, Write};

use super::value::{Values, Words};
use ntheap::{
    layout::{FieldType, StructureType, TypeCatalogue, TypeId},
    names::NameSource,
    process::Process,
};

/// Names of fields are padded to this width.
const NAME: usize = 16;
/// Structures hold structures: an end for what a hostile PDB describes.
const MOST_FIELDS: usize = 1 << 16;

/// Pointers lead from structure to structure in circles: they are followed this deep.
const DEEPEST: usize = 32;

/// How `dt` shows a structure.
#[derive(Debug, Clone, Default)]
pub(crate) struct TypeDisplay {
    /// Where one lies; without it the types of the fields are shown.
    pub address: Option<u64>,
    /// The field to show alone, and in it the next one, and so on.
    pub path: Vec<String>,
    /// Levels of structures inside that are shown too.
    pub depth: u32,
}

/// `dt`: a structure.
///
/// # Errors
/// Those of `out`.
pub(crate) fn type_layout(
    process: &Process<'_, '_>,
    names: &dyn NameSource,
    types: &dyn TypeCatalogue,
    id: TypeId,
    display: &TypeDisplay,
    out: &mut dyn Write,
) -> fmt::Result {
    let mut printer = Printer {
        values: Values {
            memory: process.memory(),
            bitness: process.bitness,
            names,
            types,
        },
        fields: 0,
        unread: None,
        out,
    };
    printer.structure(id, display.address, &display.path, display.depth, 0)?;
    if let Some(address) = printer.unread {
        let address = printer.values.pointer(address);
        writeln!(printer.out, "Memory read error {}", &address[2..])?;
    }
    Ok(())
}

/// `dt` of a pattern: the structures whose names match.
///
/// # Errors
/// Those of `out`.
pub(crate) fn type_names(module: &str, names: &[String], out: &mut dyn Write) -> fmt::Result {
    for name in names {
        writeln!(out, "          {module}!{name}")?;
    }
    Ok(())
}

struct Printer<'o, 'v, 'a> {
    values: Values<'v, 'a>,
    /// Fields that were looked at, shown or not.
    fields: usize,
    /// The first address that could not be read.
    unread: Option<u64>,
    out: &'o mut dyn Write,
}

impl Printer<'_, '_, '_> {
    fn structure(
        &mut self,
        id: TypeId,
        address: Option<u64>,
        path: &[String],
        depth: u32,
        level: usize,
    ) -> fmt::Result {
        if level > DEEPEST {
            return Ok(());
        }
        let Some(structure) = self.values.types.structure(id) else {
            return Ok(());
        };
        let indent = 3 * (level + 1);
        let wanted = path.first();
        for field in &structure.fields {
            self.fields += 1;
            if self.fields > MOST_FIELDS {
                return Ok(());
            }
            if wanted.is_some_and(|wanted| !field.name.eq_ignore_ascii_case(wanted)) {
                continue;
            }
            let name = if field.name.is_empty() {
                "__BaseClass"
            } else {
                &field.name
            };
            write!(
                self.out,
                "{:indent$}+0x{:03x} {name:<NAME$} : ",
                "", field.offset
            )?;
            let place = address.map(|address| address.wrapping_add(field.offset.into()));
            let inner = path.get(1..).unwrap_or_default();
            if !inner.is_empty() {
                // Only the way to the field inside is shown.
                writeln!(self.out)?;
            } else {
                let text = match place.map(|place| (place, self.values.of(field, place))) {
                    None => field.type_name.clone(),
                    Some((_, Ok(value))) => value,
                    Some((place, Err(unknown))) => {
                        self.unread.get_or_insert(place);
                        unknown.to_owned()
                    }
                };
                writeln!(self.out, "{text}")?;
            }
            if inner.is_empty() && depth == 0 {
                continue;
            }
            if let Some((id, place)) = self.inside(field, place) {
                let deeper = depth.saturating_sub(u32::from(inner.is_empty()));
                self.structure(id, place, inner, deeper, level + 1)?;
            }
        }
        if wanted.is_none() {
            self.note_what_is_missing(&structure, indent)?;
        }
        Ok(())
    }

    /// The structure that a field holds or points to, and where it lies.
    fn inside(&self, field: &FieldType, place: Option<u64>) -> Option<(TypeId, Option<u64>)> {
        if let Some(id) = field.structure {
            return Some((id, place));
        }
        let Words::Pointer { to, .. } = Words::of(&field.type_name) else {
            return None;
        };
        let id = self.values.types.find(to)?;
        match place {
            None => Some((id, None)),
            Some(place) => {
                let values = &self.values;
                let target = values.memory.pointer(place, values.bitness)?;
                (target != 0).then_some((id, Some(target)))
            }
        }
    }

    fn note_what_is_missing(&mut self, structure: &StructureType, indent: usize) -> fmt::Result {
        if structure.complete {
            return Ok(());
        }
        writeln!(
            self.out,
            "{:indent$}({} of {:#x} bytes: without a PDB, the fields that ntheap knows)",
            "", structure.name, structure.size
        )
    }
}
