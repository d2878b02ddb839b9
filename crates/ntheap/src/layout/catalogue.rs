//! Whole structures with the types of their fields, for showing them to people.

use std::{cmp::Reverse, sync::LazyLock};

use rustc_hash::FxHashMap;

use super::{Bitness, Layouts};

/// Types of the built-in tables' fields, by structure and field: those of some widths and builds, or of all.
static TYPES: LazyLock<FxHashMap<(&str, &str), &str>> = LazyLock::new(|| {
    let mut structure = "";
    let mut types = FxHashMap::default();
    for line in include_str!("tables/types.txt").lines() {
        match line
            .strip_prefix("  ")
            .and_then(|line| line.split_once(": "))
        {
            Some((field, alternatives)) => _ = types.insert((structure, field), alternatives),
            None => structure = line,
        }
    }
    types
});

/// A structure of a [`TypeCatalogue`]. Names alone don't do: unnamed structures share theirs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TypeId(pub usize);

/// A structure or union.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StructureType {
    /// Name, for instance `_HEAP`.
    pub name: String,
    /// Size in bytes.
    pub size: u32,
    /// The fields in the order in which they are shown.
    pub fields: Vec<FieldType>,
    /// Whether these are all fields.
    pub complete: bool,
}

/// A field of a [`StructureType`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldType {
    /// Name; empty for a base class.
    pub name: String,
    /// Offset in bytes from the start of the structure.
    pub offset: u32,
    /// The type in the words of the debugger's `dt`, for instance `Ptr64 _HEAP_LOCK`, `[2] Uint4B`
    /// or `Pos 3, 5 Bits`.
    pub type_name: String,
    /// Size in bytes; 0 where it is not known.
    pub size: u32,
    /// Position of the lowest bit and number of bits of a bit field.
    pub bits: Option<(u8, u8)>,
    /// The structure that the field holds (not points to), if it holds one that is described.
    pub structure: Option<TypeId>,
}

/// Structures by name.
pub trait TypeCatalogue {
    /// Names of all structures.
    fn names(&self) -> Vec<String>;

    /// The structure of this name.
    fn find(&self, name: &str) -> Option<TypeId>;

    /// A structure that was found, or that a field holds.
    fn structure(&self, id: TypeId) -> Option<StructureType>;

    /// Names and values of the enumeration of this name.
    fn enumeration(&self, name: &str) -> Option<Vec<(String, i64)>>;

    /// The structure that the variable around a place of the module is, and the distance from its
    /// beginning. A place is a distance from the module's base.
    fn variable(&self, place: u32) -> Option<(TypeId, u64)> {
        let _ = place;
        None
    }
}

/// The structures of the built-in tables have the fields that something is read from.
impl TypeCatalogue for Layouts {
    fn names(&self) -> Vec<String> {
        self.structures().into_iter().map(str::to_owned).collect()
    }

    fn find(&self, name: &str) -> Option<TypeId> {
        let names = self.structures();
        names.iter().position(|known| *known == name).map(TypeId)
    }

    fn structure(&self, id: TypeId) -> Option<StructureType> {
        let names = self.structures();
        let name = *names.get(id.0)?;
        let mut fields: Vec<FieldType> = self
            .fields()
            .into_iter()
            .filter(|(structure, ..)| *structure == name)
            .filter_map(|(_, field, offset)| self.field(&names, name, field, offset?))
            .collect();
        // Of fields at one place the larger is the outer one.
        let size = |field: &FieldType| self.size_of(&field.type_name).map(Reverse);
        let bit = |field: &FieldType| field.bits.map(|(position, _)| position);
        fields.sort_by_key(|field| (field.offset, size(field), bit(field)));
        Some(StructureType {
            name: name.to_owned(),
            size: self.size_of(name).unwrap_or(0),
            fields,
            complete: false,
        })
    }

    fn enumeration(&self, _: &str) -> Option<Vec<(String, i64)>> {
        None
    }
}

impl Layouts {
    /// Names of the structures that have fields; their places are their [`TypeId`]s.
    fn structures(&self) -> Vec<&'static str> {
        let mut names: Vec<&str> = Vec::new();
        for (structure, _, offset) in self.fields() {
            if offset.is_some() && names.last().is_none_or(|last| *last != structure) {
                names.push(structure);
            }
        }
        names
    }

    fn field(
        &self,
        structures: &[&str],
        structure: &str,
        name: &str,
        offset: u32,
    ) -> Option<FieldType> {
        let words = type_of(structure, name, self.build, self.bitness)?;
        let (words, bits) = match words.split_once(" bits ") {
            Some((words, bits)) => {
                let (position, count) = bits.split_once(' ')?;
                (words, Some((position.parse().ok()?, count.parse().ok()?)))
            }
            None => (words, None),
        };
        let size = match words {
            "UChar" | "Char" => 1,
            "Uint2B" => 2,
            "Uint4B" => 4,
            "Uint8B" => 8,
            "Word" => self.bitness.pointer_size() as u32,
            _ => 0,
        };
        let type_name = match bits {
            Some((position, 1)) => format!("Pos {position}, 1 Bit"),
            Some((position, count)) => format!("Pos {position}, {count} Bits"),
            None => words
                .replace("Ptr ", &format!("Ptr{} ", self.bitness.bits()))
                .replace("Word", &format!("Uint{}B", self.bitness.pointer_size())),
        };
        Some(FieldType {
            name: name.to_owned(),
            offset,
            structure: structures
                .iter()
                .position(|known| *known == type_name)
                .map(TypeId),
            type_name,
            size,
            bits,
        })
    }
}

/// The words of the table for a field.
fn type_of(structure: &str, field: &str, build: u32, bitness: Bitness) -> Option<&'static str> {
    let alternatives = TYPES.get(&(structure, field))?;
    let holds = |text: &'static str| {
        let (width, text) = match text.split_once(' ') {
            Some(("x86", rest)) => (Bitness::X86, rest),
            Some(("x64", rest)) => (Bitness::X64, rest),
            _ => (bitness, text),
        };
        let (first, text) = match text.split_once(' ') {
            Some((number, rest)) if number.parse::<u32>().is_ok() => {
                (number.parse().unwrap_or(0), rest)
            }
            _ => (0, text),
        };
        (width == bitness && first <= build).then_some(text)
    };
    alternatives.split(" | ").filter_map(holds).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_field_of_type_records_has_its_type() {
        // Structures and fields that no type record describes.
        let unrecorded = ["_HEAP_TRACE_LOG", "_HEAP_TRACE_RECORD"];
        let mut missing = Vec::new();
        for (build, bitness) in [(19041, Bitness::X64), (7601, Bitness::X86)] {
            for (structure, field, offset) in Layouts::for_build(build, bitness).fields() {
                let known = type_of(structure, field, build, bitness).is_some();
                if offset.is_some() && !known && !unrecorded.contains(&structure) {
                    missing.push(format!("{structure}.{field}"));
                }
            }
        }
        missing.dedup();
        assert!(missing.len() < 6, "{missing:?}");
    }

    #[test]
    fn a_field_has_one_line() {
        let lines = include_str!("tables/types.txt").lines();
        let fields = lines.filter(|line| line.starts_with("  ")).count();
        assert_eq!(TYPES.len(), fields);
    }

    #[test]
    fn types_follow_width_and_build() {
        let of = |build, bitness, name: &str, field: &str| {
            let layouts = Layouts::for_build(build, bitness);
            let id = layouts.find(name).unwrap();
            let structure = TypeCatalogue::structure(&layouts, id).unwrap();
            let found = structure.fields.into_iter().find(|f| f.name == field);
            let found = found.unwrap();
            (found.offset, found.type_name)
        };
        use Bitness::{X64, X86};
        let (offset, text) = of(19041, X64, "_HEAP", "LockVariable");
        assert_eq!((offset, text.as_str()), (0x160, "Ptr64 _HEAP_LOCK"));
        assert_eq!(of(19041, X86, "_HEAP", "SegmentReserve").1, "Uint4B");
        assert_eq!(of(19041, X64, "_HEAP", "SegmentReserve").1, "Uint8B");
        assert_eq!(of(2600, X86, "_HEAP", "FreeLists").1, "[128] _LIST_ENTRY");
        assert_eq!(of(7601, X86, "_HEAP", "FreeLists").1, "_LIST_ENTRY");
    }
}
