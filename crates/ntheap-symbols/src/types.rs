//! Structure layouts from the type records of a PDB.

use std::collections::{HashMap, VecDeque};
use std::io::Cursor;

use ntheap::layout::{FieldType, StructureType, TypeCatalogue, TypeId, TypeSource};
use pdb::{
    FallibleIterator, Indirection, ItemFinder, PDB, PrimitiveKind, SymbolData, TypeData, TypeIndex,
    Variant,
};

use crate::Error;
use crate::container::Container;

/// Types inside types are followed this deep.
const MAX_DEPTH: usize = 16;
/// So many structures are looked into to find a field of an unnamed member.
const MAX_VISITS: usize = 1000;

/// The structures and unions of a PDB, with the offsets of their fields.
///
/// It is a [`TypeSource`] for the `ntheap` crate. A field of a named member is reached with a
/// dotted path, `Segment.Entry`; a field of an unnamed member by its own name alone.
#[derive(Debug, Default)]
pub struct PdbTypes {
    structures: Vec<Structure>,
    by_name: HashMap<String, usize>,
    enumerations: HashMap<String, Vec<(String, i64)>>,
    /// Where each variable that is a structure begins, ascending, and the place of the structure.
    variables: Vec<(u32, usize)>,
}

/// A structure, class or union.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Structure {
    /// Name as the record has it, for instance `_HEAP`.
    pub name: String,
    /// Size in bytes.
    pub size: u32,
    /// Whether it is a union.
    pub is_union: bool,
    /// The fields in the order of their records. Those of base classes come first; compilers list
    /// those of unnamed members in place, several at one offset for unions.
    pub fields: Vec<Field>,
}

/// A field of a [`Structure`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Field {
    /// Name; empty for a base class.
    pub name: String,
    /// Offset in bytes from the start of the structure.
    pub offset: u32,
    /// Size in bytes, 0 when it is not known.
    pub size: u32,
    /// The type in the words of a debugger's `dt` command, for instance `Ptr64 _HEAP_LOCK`,
    /// `[2] Uint4B` or `Pos 3, 5 Bits`.
    pub type_name: String,
    /// Position of the lowest bit and number of bits of a bit field.
    pub bits: Option<(u8, u8)>,
    /// Name of the structure that the field holds (not points to), if it holds one.
    pub structure: Option<String>,
    /// Place of that structure: unnamed structures share their names.
    place: Option<usize>,
}

impl PdbTypes {
    /// Reads the type records of a PDB.
    ///
    /// # Errors
    ///
    /// When the PDB or its type stream is damaged. Single records that cannot be understood are
    /// left out.
    pub fn from_bytes(data: &[u8]) -> Result<Self, Error> {
        Container::parse(data)?.check_counts()?;
        let mut pdb = PDB::open(Cursor::new(data))?;
        let information = pdb.type_information()?;
        let mut finder = information.finder();
        let mut complete = Vec::new();
        let mut enumerations = Vec::new();
        let mut places = HashMap::new();
        let mut records = information.iter();
        while let Some(record) = records.next()? {
            finder.update(&records);
            let (name, size, is_union, fields) = match record.parse() {
                Ok(TypeData::Class(t)) if !t.properties.forward_reference() => {
                    (t.name, t.size, false, t.fields)
                }
                Ok(TypeData::Union(t)) if !t.properties.forward_reference() => {
                    (t.name, t.size, true, Some(t.fields))
                }
                Ok(TypeData::Enumeration(t)) if !t.properties.forward_reference() => {
                    enumerations.push((t.name.to_string().into_owned(), t.fields));
                    continue;
                }
                _ => continue,
            };
            places.insert(record.index(), complete.len());
            complete.push((
                name.to_string().into_owned(),
                narrow(size),
                is_union,
                fields,
            ));
        }
        let mut by_name: HashMap<String, usize> = HashMap::new();
        for (place, (name, size, ..)) in complete.iter().enumerate() {
            // Of equally named structures the largest is kept.
            let kept = by_name.entry(name.clone()).or_insert(place);
            if complete[*kept].1 < *size {
                *kept = place;
            }
        }
        let sizes = complete.iter().map(|(_, size, ..)| *size).collect();
        let reader = Reader {
            finder,
            places,
            sizes,
            by_name,
        };
        let structures = complete
            .into_iter()
            .map(|(name, size, is_union, fields)| {
                let fields = fields
                    .map(|fields| reader.fields(fields))
                    .unwrap_or_default();
                Structure {
                    name,
                    size,
                    is_union,
                    fields,
                }
            })
            .collect();
        let enumerations = enumerations
            .into_iter()
            .map(|(name, list)| (name, reader.values(list)))
            .collect();
        let variables = reader.variables(&mut pdb).unwrap_or_default();
        Ok(Self {
            structures,
            by_name: reader.by_name,
            enumerations,
            variables,
        })
    }

    /// The structure of this name.
    #[must_use]
    pub fn structure(&self, name: &str) -> Option<&Structure> {
        self.by_name.get(name).map(|&place| &self.structures[place])
    }

    /// The structure that a field holds. Unlike a look-up by name it tells unnamed ones apart.
    #[must_use]
    pub fn structure_of(&self, field: &Field) -> Option<&Structure> {
        self.structures.get(field.place?)
    }

    /// All structures and unions, in no particular order.
    pub fn structures(&self) -> impl Iterator<Item = &Structure> {
        self.structures.iter()
    }

    /// Names and values of the enumeration of this name.
    #[must_use]
    pub fn enumeration(&self, name: &str) -> Option<&[(String, i64)]> {
        self.enumerations.get(name).map(Vec::as_slice)
    }

    /// The field that a path such as `Segment.Entry` leads to, with its offset from the start of
    /// `structure`.
    #[must_use]
    pub fn field(&self, structure: &str, path: &str) -> Option<(u32, &Field)> {
        let mut parts = path.split('.');
        let structure = self.structure(structure)?;
        let (mut offset, mut field) = self.member(structure, parts.next()?)?;
        for part in parts {
            let (inner, next) = self.member(self.structure_of(field)?, part)?;
            offset = offset.checked_add(inner)?;
            field = next;
        }
        Some((offset, field))
    }

    /// A member of a structure, or of the unnamed ones and base classes inside it: the outermost.
    fn member<'s>(&'s self, structure: &'s Structure, name: &str) -> Option<(u32, &'s Field)> {
        if name.is_empty() {
            return None;
        }
        let mut queue = VecDeque::from([(0_u32, structure)]);
        for _ in 0..MAX_VISITS {
            let (start, structure) = queue.pop_front()?;
            let fields = &structure.fields;
            if let Some(field) = fields.iter().find(|field| field.name == name) {
                return Some((start.checked_add(field.offset)?, field));
            }
            for outer in fields.iter().filter(|field| field.is_transparent()) {
                if let Some(inner) = self.structure_of(outer)
                    && let Some(start) = start.checked_add(outer.offset)
                {
                    queue.push_back((start, inner));
                }
            }
        }
        None
    }
}

impl TypeSource for PdbTypes {
    fn field_offset(&self, structure: &str, field: &str) -> Option<u32> {
        self.field(structure, field).map(|(offset, _)| offset)
    }

    fn size_of(&self, structure: &str) -> Option<u32> {
        self.structure(structure).map(|structure| structure.size)
    }
}

impl TypeCatalogue for PdbTypes {
    fn names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.by_name.keys().cloned().collect();
        names.sort_unstable();
        names
    }

    fn find(&self, name: &str) -> Option<TypeId> {
        self.by_name.get(name).copied().map(TypeId)
    }

    fn structure(&self, id: TypeId) -> Option<StructureType> {
        let structure = self.structures.get(id.0)?;
        let fields = structure.fields.iter().map(|field| FieldType {
            name: field.name.clone(),
            offset: field.offset,
            type_name: field.type_name.clone(),
            size: field.size,
            bits: field.bits,
            structure: field.place.map(TypeId),
        });
        Some(StructureType {
            name: structure.name.clone(),
            size: structure.size,
            fields: fields.collect(),
            complete: true,
        })
    }

    fn enumeration(&self, name: &str) -> Option<Vec<(String, i64)>> {
        PdbTypes::enumeration(self, name).map(<[_]>::to_vec)
    }

    fn variable(&self, place: u32) -> Option<(TypeId, u64)> {
        let behind = self
            .variables
            .partition_point(|variable| variable.0 <= place);
        let (start, structure) = self.variables[behind.checked_sub(1)?];
        let offset = place - start;
        let size = self.structures.get(structure)?.size;
        (offset < size).then_some((TypeId(structure), offset.into()))
    }
}

impl Field {
    /// Whether the fields inside can be named without naming this one.
    fn is_transparent(&self) -> bool {
        self.structure
            .as_deref()
            .is_some_and(|name| self.name.is_empty() || is_unnamed(name))
    }
}

fn is_unnamed(type_name: &str) -> bool {
    let last = type_name.rsplit("::").next().unwrap_or(type_name);
    last.starts_with("<unnamed-")
        || last.starts_with("<anonymous-")
        || last.starts_with("__unnamed")
        || last.starts_with("$")
}

fn narrow(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

struct Reader<'t> {
    finder: ItemFinder<'t, TypeIndex>,
    /// Places of the complete structures.
    places: HashMap<TypeIndex, usize>,
    sizes: Vec<u32>,
    /// The same by name, for records that refer to an incomplete structure.
    by_name: HashMap<String, usize>,
}

/// A type in words.
#[derive(Default)]
struct Described {
    text: String,
    size: u32,
    bits: Option<(u8, u8)>,
    structure: Option<String>,
    place: Option<usize>,
}

impl Described {
    fn new(text: impl Into<String>, size: u32) -> Self {
        Self {
            text: text.into(),
            size,
            ..Self::default()
        }
    }
}

impl<'t> Reader<'t> {
    fn parse(&self, index: TypeIndex) -> Option<TypeData<'t>> {
        self.finder.find(index).ok()?.parse().ok()
    }

    /// The records of a field list and of those that it goes on in.
    fn list(&self, first: TypeIndex) -> Vec<TypeData<'t>> {
        let mut list = Vec::new();
        let mut next = Some(first);
        let mut last = None;
        while let Some(index) = next {
            // A list goes on in an earlier record, so this ends.
            if last.is_some_and(|last| index.0 >= last) {
                break;
            }
            last = Some(index.0);
            let Some(TypeData::FieldList(fields)) = self.parse(index) else {
                break;
            };
            list.extend(fields.fields);
            next = fields.continuation;
        }
        list
    }

    fn fields(&self, list: TypeIndex) -> Vec<Field> {
        let mut fields = Vec::new();
        for record in self.list(list) {
            let (name, offset, index) = match record {
                TypeData::Member(m) => (m.name.to_string().into_owned(), m.offset, m.field_type),
                TypeData::BaseClass(b) => (String::new(), u64::from(b.offset), b.base_class),
                _ => continue,
            };
            let described = self.describe(index, 0);
            fields.push(Field {
                name,
                offset: narrow(offset),
                size: described.size,
                type_name: described.text,
                bits: described.bits,
                structure: described.structure,
                place: described.place,
            });
        }
        fields
    }

    /// The variables of the global symbols that are structures.
    fn variables<'s, S: pdb::Source<'s> + 's>(
        &self,
        pdb: &mut PDB<'s, S>,
    ) -> Result<Vec<(u32, usize)>, pdb::Error> {
        let symbols = pdb.global_symbols()?;
        let addresses = pdb.address_map()?;
        let mut found = Vec::new();
        let mut records = symbols.iter();
        while let Some(record) = records.next()? {
            let Ok(SymbolData::Data(data)) = record.parse() else {
                continue;
            };
            let structure = self.describe(data.type_index, 0).place;
            if let (Some(structure), Some(place)) = (structure, data.offset.to_rva(&addresses)) {
                found.push((place.0, structure));
            }
        }
        found.sort_unstable();
        Ok(found)
    }

    fn values(&self, list: TypeIndex) -> Vec<(String, i64)> {
        let values = self
            .list(list)
            .into_iter()
            .filter_map(|record| match record {
                TypeData::Enumerate(value) => {
                    let number = match value.value {
                        Variant::U8(v) => i64::from(v),
                        Variant::U16(v) => i64::from(v),
                        Variant::U32(v) => i64::from(v),
                        Variant::U64(v) => v.cast_signed(),
                        Variant::I8(v) => i64::from(v),
                        Variant::I16(v) => i64::from(v),
                        Variant::I32(v) => i64::from(v),
                        Variant::I64(v) => v,
                    };
                    Some((value.name.to_string().into_owned(), number))
                }
                _ => None,
            });
        values.collect()
    }

    fn describe(&self, index: TypeIndex, depth: usize) -> Described {
        let Some(data) = self.parse(index).filter(|_| depth <= MAX_DEPTH) else {
            return Described::new(format!("<type {:#x}>", index.0), 0);
        };
        match data {
            TypeData::Primitive(p) => primitive(p.kind, p.indirection),
            TypeData::Class(t) => self.structure(index, t.name, t.size),
            TypeData::Union(t) => self.structure(index, t.name, t.size),
            TypeData::Enumeration(t) => {
                let size = self.describe(t.underlying_type, depth + 1).size;
                Described::new(t.name.to_string(), size)
            }
            TypeData::Pointer(t) => {
                let size = u32::from(t.attributes.size());
                let pointee = self.describe(t.underlying_type, depth + 1);
                Described::new(format!("Ptr{} {}", size * 8, pointee.text), size)
            }
            TypeData::Modifier(t) => self.describe(t.underlying_type, depth + 1),
            TypeData::Bitfield(t) => {
                let size = self.describe(t.underlying_type, depth + 1).size;
                let plural = if t.length == 1 { "" } else { "s" };
                let text = format!("Pos {}, {} Bit{plural}", t.position, t.length);
                Described {
                    bits: Some((t.position, t.length)),
                    ..Described::new(text, size)
                }
            }
            TypeData::Array(t) => {
                let element = self.describe(t.element_type, depth + 1);
                let size = t.dimensions.last().copied().unwrap_or(0);
                let count = size.checked_div(element.size).unwrap_or(0);
                Described::new(format!("[{count}] {}", element.text), size)
            }
            TypeData::Procedure(t) => {
                let returns = t.return_type.map(|t| self.describe(t, depth + 1).text);
                Described::new(format!("    {} ", c_name(&returns.unwrap_or_default())), 0)
            }
            TypeData::MemberFunction(t) => {
                let returns = self.describe(t.return_type, depth + 1).text;
                Described::new(format!("    {} ", c_name(&returns)), 0)
            }
            other => Described::new(format!("<{:.40}>", format!("{other:?}")), 0),
        }
    }

    fn structure(&self, index: TypeIndex, name: pdb::RawString<'_>, size: u64) -> Described {
        let name = name.to_string().into_owned();
        let place = self
            .places
            .get(&index)
            .or_else(|| self.by_name.get(&name))
            .copied();
        let size = place.map_or(narrow(size), |place| self.sizes[place]);
        Described {
            structure: Some(name.clone()),
            place,
            ..Described::new(name, size)
        }
    }
}

fn primitive(kind: PrimitiveKind, indirection: Option<Indirection>) -> Described {
    let (text, size) = match kind {
        PrimitiveKind::Void | PrimitiveKind::NoType => ("Void", 0),
        PrimitiveKind::Char | PrimitiveKind::RChar | PrimitiveKind::I8 => ("Char", 1),
        PrimitiveKind::UChar | PrimitiveKind::U8 => ("UChar", 1),
        PrimitiveKind::Bool8 => ("Bool", 1),
        PrimitiveKind::WChar => ("Wchar", 2),
        PrimitiveKind::RChar16 => ("Char2B", 2),
        PrimitiveKind::RChar32 => ("Char4B", 4),
        PrimitiveKind::Short | PrimitiveKind::I16 => ("Int2B", 2),
        PrimitiveKind::UShort | PrimitiveKind::U16 => ("Uint2B", 2),
        PrimitiveKind::Long | PrimitiveKind::I32 | PrimitiveKind::HRESULT => ("Int4B", 4),
        PrimitiveKind::ULong | PrimitiveKind::U32 => ("Uint4B", 4),
        PrimitiveKind::Quad | PrimitiveKind::I64 => ("Int8B", 8),
        PrimitiveKind::UQuad | PrimitiveKind::U64 => ("Uint8B", 8),
        PrimitiveKind::Octa | PrimitiveKind::I128 => ("Int16B", 16),
        PrimitiveKind::UOcta | PrimitiveKind::U128 => ("Uint16B", 16),
        PrimitiveKind::F32 => ("Float", 4),
        PrimitiveKind::F64 => ("Float", 8),
        _ => return Described::new(format!("{kind:?}"), 0),
    };
    let pointer = match indirection {
        None => return Described::new(text, size),
        Some(Indirection::Near64) => 8,
        Some(Indirection::Near128) => 16,
        Some(Indirection::Near16 | Indirection::Far16 | Indirection::Huge16) => 2,
        Some(Indirection::Near32 | Indirection::Far32) => 4,
    };
    Described::new(format!("Ptr{} {text}", pointer * 8), pointer)
}

/// Function types are described with the C name of what they return.
fn c_name(described: &str) -> &str {
    match described {
        "Void" => "void",
        "Char" => "char",
        "UChar" => "unsigned char",
        "Int2B" => "short",
        "Uint2B" => "unsigned short",
        "Int4B" => "long",
        "Uint4B" => "unsigned long",
        "Int8B" => "int64",
        "Uint8B" => "unsigned int64",
        "Bool" => "bool",
        pointer if pointer.starts_with("Ptr") => "void*",
        other => other,
    }
}
