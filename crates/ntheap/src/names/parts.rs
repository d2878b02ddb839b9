//! What lies at some distance from the beginning of an object or a variable, by the types of a PDB.

use super::NameSource;
use crate::{
    dump::Dump,
    layout::{Bitness, FieldType, TypeCatalogue, TypeId},
};

/// Fields inside fields are followed this deep.
const MAX_DEPTH: usize = 16;

/// A part of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The fields that lead there from the object: `listeners`, `stock.shelves[2]`; empty for the
    /// object itself, and for a base of it. What lies inside containers and other types of the C++
    /// library is not named.
    pub path: String,
    /// The type of the last of them.
    pub type_name: String,
}

/// The part of the object of a class at an address, `offset` bytes from its beginning.
#[must_use]
pub fn part_of_object(
    names: &dyn NameSource,
    process: (&Dump<'_>, Bitness),
    (class, object): (&str, u64),
    offset: u64,
) -> Option<Part> {
    let (dump, bitness) = process;
    // The class is defined where its virtual function table lies.
    let table = dump.memory.pointer(object, bitness)?;
    let types = names.types(dump.module_at(table)?)?;
    part(&*types, types.find(class)?, offset)
}

/// The part of a module's variable that lies at an address, if the variable is a structure.
#[must_use]
pub fn part_of_variable(names: &dyn NameSource, dump: &Dump<'_>, address: u64) -> Option<Part> {
    let module = dump.module_at(address)?;
    let types = names.types(module)?;
    let place = u32::try_from(address.checked_sub(module.base)?).ok()?;
    let (structure, offset) = types.variable(place)?;
    part(&*types, structure, offset)
}

/// The part of a structure at a distance from its beginning.
fn part(types: &dyn TypeCatalogue, structure: TypeId, offset: u64) -> Option<Part> {
    let (mut id, mut rest) = (structure, offset);
    let mut found = Part {
        path: String::new(),
        type_name: String::new(),
    };
    for depth in 0..MAX_DEPTH {
        let structure = types.structure(id)?;
        if depth == 0 && rest >= u64::from(structure.size) {
            return None;
        }
        found.type_name.clone_from(&structure.name);
        if structure.name.starts_with("std::") {
            break;
        }
        let Some(field) = around(&structure.fields, rest) else {
            break;
        };
        if !field.name.is_empty() {
            if !found.path.is_empty() {
                found.path.push('.');
            }
            found.path.push_str(&field.name);
        }
        found.type_name.clone_from(&field.type_name);
        rest -= u64::from(field.offset);
        if let Some(index) = element(field, rest) {
            found.path.push_str(&format!("[{index}]"));
        }
        match field.structure {
            Some(inner) => id = inner,
            None => break,
        }
    }
    Some(found)
}

/// The field that a place lies in: of several (of a union) the first.
fn around(fields: &[FieldType], at: u64) -> Option<&FieldType> {
    let holds = |field: &&FieldType| {
        let start = u64::from(field.offset);
        (start..start + u64::from(field.size)).contains(&at)
    };
    fields.iter().find(holds)
}

/// Which element of an array lies at a place of it.
fn element(field: &FieldType, at: u64) -> Option<u64> {
    let count = field.type_name.strip_prefix('[')?.split_once(']')?.0;
    let size = u64::from(field.size).checked_div(count.parse().ok()?)?;
    at.checked_div(size)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::StructureType;

    struct Made;

    impl TypeCatalogue for Made {
        fn names(&self) -> Vec<String> {
            Vec::new()
        }

        fn find(&self, _: &str) -> Option<TypeId> {
            None
        }

        fn structure(&self, id: TypeId) -> Option<StructureType> {
            let field =
                |name: &str, offset, size, type_name: &str, structure: Option<usize>| FieldType {
                    name: name.to_owned(),
                    offset,
                    type_name: type_name.to_owned(),
                    size,
                    bits: None,
                    structure: structure.map(TypeId),
                };
            let (name, size, fields) = match id.0 {
                0 => (
                    "Service",
                    0x50,
                    vec![
                        field("", 0, 0x10, "Base", Some(1)),
                        field("names", 0x10, 0x10, "std::map<int,int>", Some(2)),
                        field("table", 0x20, 0x20, "[4] Ptr64 Void", None),
                        field("again", 0x40, 8, "Service", Some(0)),
                    ],
                ),
                1 => ("Base", 0x10, vec![field("next", 8, 8, "Ptr64 Base", None)]),
                _ => (
                    "std::map<int,int>",
                    0x10,
                    vec![field("_Mypair", 0, 0x10, "X", None)],
                ),
            };
            Some(StructureType {
                name: name.to_owned(),
                size,
                fields,
                complete: true,
            })
        }

        fn enumeration(&self, _: &str) -> Option<Vec<(String, i64)>> {
            None
        }
    }

    #[test]
    fn parts_are_named_down_to_the_types_of_the_library() {
        let part = |offset| part(&Made, TypeId(0), offset).map(|part| (part.path, part.type_name));
        let known = |path: &str, name: &str| Some((path.to_owned(), name.to_owned()));
        assert_eq!(part(0), known("", "Base"));
        assert_eq!(part(8), known("next", "Ptr64 Base"));
        assert_eq!(part(0x18), known("names", "std::map<int,int>"));
        assert_eq!(part(0x28), known("table[1]", "[4] Ptr64 Void"));
        assert_eq!(part(0x50), None);
        // A structure that holds itself has an end.
        assert!(part(0x40).is_some());
    }
}
