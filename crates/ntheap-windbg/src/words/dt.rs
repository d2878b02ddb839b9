//! `dt`: structures, and what lies in them.

use std::fmt::{self, Write};

use super::value::{Values, Words};
use ntheap::{
    layout::{FieldType, StructureType, TypeCatalogue, TypeId},
    names::{NameSource, matches_pattern},
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
    /// The fields to show alone, each with the next one in it, and so on; names can be patterns.
    pub paths: Vec<Vec<String>>,
    /// Levels of structures inside that are shown too.
    pub depth: u32,
    /// Whether structures that pointers lead to stay out.
    pub inside_only: bool,
    /// Whether the structure's size stands above it.
    pub verbose: bool,
    /// Whether the places of fields are left out.
    pub no_offsets: bool,
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
        display,
        fields: 0,
        unread: None,
        out,
    };
    if let Some(structure) = types.structure(id).filter(|_| display.verbose) {
        let (name, count) = (&structure.name, structure.fields.len());
        let size = structure.size;
        writeln!(
            printer.out,
            "struct {name}, {count} elements, {size:#x} bytes"
        )?;
    }
    let paths: Vec<&[String]> = display.paths.iter().map(Vec::as_slice).collect();
    printer.structure(id, display.address, &paths, display.depth, 0)?;
    if printer.fields > MOST_FIELDS {
        writeln!(
            printer.out,
            "stopped: {MOST_FIELDS} fields are shown at most"
        )?;
    }
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

/// Whether a field's name is the one that was typed, which can be a pattern.
pub(crate) fn is_named(typed: &str, name: &str) -> bool {
    matches_pattern(typed, name)
}

struct Printer<'o, 'v, 'a> {
    values: Values<'v, 'a>,
    display: &'v TypeDisplay,
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
        paths: &[&[String]],
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
        for field in &structure.fields {
            self.fields += 1;
            if self.fields > MOST_FIELDS {
                return Ok(());
            }
            let asked = paths.iter().filter(|path| {
                path.first()
                    .is_some_and(|wanted| is_named(wanted, &field.name))
            });
            // What is behind the field in the paths that lead through it.
            let inner: Vec<&[String]> = asked.map(|path| &path[1..]).collect();
            if !paths.is_empty() && inner.is_empty() {
                continue;
            }
            let whole = inner.iter().any(|path| path.is_empty()) || paths.is_empty();
            let inner = if whole { Vec::new() } else { inner };
            let name = if field.name.is_empty() {
                "__BaseClass"
            } else {
                &field.name
            };
            write!(self.out, "{:indent$}", "")?;
            if !self.display.no_offsets {
                write!(self.out, "+0x{:03x} ", field.offset)?;
            }
            write!(self.out, "{name:<NAME$} : ")?;
            let place = address.map(|address| address.wrapping_add(field.offset.into()));
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
                self.structure(id, place, &inner, deeper, level + 1)?;
            }
        }
        if paths.is_empty() {
            self.note_what_is_missing(&structure, indent)?;
        }
        Ok(())
    }

    /// The structure that a field holds or points to, and where it lies.
    fn inside(&self, field: &FieldType, place: Option<u64>) -> Option<(TypeId, Option<u64>)> {
        if let Some(id) = field.structure {
            return Some((id, place));
        }
        if self.display.inside_only {
            return None;
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

#[cfg(test)]
mod tests {
    use ntheap::{dump::Dump, names::ModuleNames};

    use super::*;

    /// One structure, which holds itself four times.
    struct Endless;

    impl TypeCatalogue for Endless {
        fn names(&self) -> Vec<String> {
            vec!["_ENDLESS".to_owned()]
        }

        fn find(&self, _: &str) -> Option<TypeId> {
            Some(TypeId(0))
        }

        fn structure(&self, id: TypeId) -> Option<StructureType> {
            let field = |number: u32| FieldType {
                name: format!("Field{number}"),
                offset: number,
                type_name: "_ENDLESS".to_owned(),
                size: 1,
                bits: None,
                structure: Some(id),
            };
            Some(StructureType {
                name: "_ENDLESS".to_owned(),
                size: 4,
                fields: (0..4).map(field).collect(),
                complete: true,
            })
        }

        fn enumeration(&self, _: &str) -> Option<Vec<(String, i64)>> {
            None
        }
    }

    #[test]
    fn structures_without_end_are_cut_off_and_it_is_said() {
        let (bytes, _) = ntheap_synth::small_dump();
        let dump = Dump::parse(&bytes).expect("a dump");
        let process = Process::of(&dump).expect("a process");
        let names = ModuleNames::new(&dump);
        let lines = |depth| {
            let display = TypeDisplay {
                depth,
                ..TypeDisplay::default()
            };
            let mut text = String::new();
            type_layout(&process, &names, &Endless, TypeId(0), &display, &mut text)
                .expect("memory takes it");
            (text.lines().count(), text.contains("stopped: "))
        };
        assert_eq!(lines(1), (4 + 16, false));
        assert_eq!(lines(9), (MOST_FIELDS + 1, true));
    }
}
