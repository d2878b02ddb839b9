//! Parameter types of functions, from their type records, as debuggers spell them.

use std::collections::HashMap;
use std::io::Cursor;

use pdb::{
    ClassKind, FallibleIterator, ItemFinder, PDB, PrimitiveKind, SymbolData, TypeData, TypeIndex,
};

use crate::Error;
use crate::container::Container;

/// Types inside types are followed this deep.
const MAX_DEPTH: usize = 16;
/// Lists of more characters are left out: names in a hostile file can be long, and many types can
/// have one name.
const MAX_LIST: usize = 1 << 16;
/// The same for all lists together.
const MAX_LISTS: usize = 1 << 28;

/// Parameter lists of a PDB's functions.
#[derive(Debug, Default)]
pub(crate) struct Parameters {
    /// Addresses of the functions and which text is theirs, sorted.
    functions: Vec<(u32, u32)>,
    /// Functions of one type share its text.
    texts: Vec<String>,
}

impl Parameters {
    pub(crate) fn from_bytes(data: &[u8]) -> Result<Self, Error> {
        let container = Container::parse(data)?;
        container.check_counts()?;
        container.check_types()?;
        let mut pdb = PDB::open(Cursor::new(data))?;
        let map = pdb.address_map()?;
        let information = pdb.type_information()?;
        let mut finder = information.finder();
        let mut records = information.iter();
        while records.next()?.is_some() {
            finder.update(&records);
        }
        let speller = Speller { finder };
        let mut this = Self::default();
        let mut by_type = HashMap::new();
        let mut left = MAX_LISTS;
        let debug = pdb.debug_information()?;
        let mut modules = debug.modules()?;
        while let Some(module) = modules.next()? {
            let Some(info) = pdb.module_info(&module)? else {
                continue;
            };
            let mut symbols = info.symbols()?;
            while let Some(symbol) = symbols.next()? {
                let Ok(SymbolData::Procedure(procedure)) = symbol.parse() else {
                    continue;
                };
                let Some(rva) = procedure.offset.to_rva(&map) else {
                    continue;
                };
                let text = by_type.entry(procedure.type_index).or_insert_with(|| {
                    let text = speller.list(procedure.type_index)?;
                    left = left.checked_sub(text.len())?;
                    let index = u32::try_from(this.texts.len()).ok()?;
                    this.texts.push(text);
                    Some(index)
                });
                if let Some(text) = *text {
                    this.functions.push((rva.0, text));
                }
            }
        }
        // Folded functions: the first record names the address.
        this.functions.sort_by_key(|&(rva, _)| rva);
        this.functions.dedup_by_key(|&mut (rva, _)| rva);
        Ok(this)
    }

    /// The parameter list of the function that begins at `rva`, in brackets.
    pub(crate) fn of(&self, rva: u32) -> Option<&str> {
        let place = self.functions.binary_search_by_key(&rva, |f| f.0).ok()?;
        let (_, text) = self.functions[place];
        self.texts.get(text as usize).map(String::as_str)
    }
}

struct Speller<'t> {
    finder: ItemFinder<'t, TypeIndex>,
}

impl<'t> Speller<'t> {
    fn parse(&self, index: TypeIndex) -> Option<TypeData<'t>> {
        self.finder.find(index).ok()?.parse().ok()
    }

    /// `(void *, unsigned int)`, or `(void)`.
    fn list(&self, function: TypeIndex) -> Option<String> {
        let arguments = match self.parse(function)? {
            TypeData::Procedure(function) => function.argument_list,
            TypeData::MemberFunction(function) => function.argument_list,
            _ => return None,
        };
        let TypeData::ArgumentList(list) = self.parse(arguments)? else {
            return None;
        };
        let Some((last, others)) = list.arguments.split_last() else {
            return Some("(void)".to_owned());
        };
        let mut text = "(".to_owned();
        for &argument in others {
            text += &self.spell(argument, 0);
            text += ", ";
            if text.len() > MAX_LIST {
                return None;
            }
        }
        text += &match self.spell(*last, 0) {
            // The end of a list that takes more.
            more if more == NO_TYPE => "...".to_owned(),
            last => last,
        };
        Some(text + ")")
    }

    fn spell(&self, index: TypeIndex, depth: usize) -> String {
        let Some(data) = self.parse(index).filter(|_| depth <= MAX_DEPTH) else {
            return NO_TYPE.to_owned();
        };
        match data {
            TypeData::Primitive(primitive) => {
                let name = c_name(primitive.kind);
                match primitive.indirection {
                    Some(_) => pointer_to(name),
                    None => name.to_owned(),
                }
            }
            TypeData::Class(class) => {
                let kind = match class.kind {
                    ClassKind::Class => "class",
                    ClassKind::Struct => "struct",
                    ClassKind::Interface => "interface",
                };
                format!("{kind} {}", class.name)
            }
            TypeData::Union(union) => format!("union {}", union.name),
            TypeData::Enumeration(enumeration) => enumeration.name.to_string().into_owned(),
            // Whether something is constant is no part of a debugger's types.
            TypeData::Modifier(modifier) => self.spell(modifier.underlying_type, depth + 1),
            // References are shown as the pointers that they are.
            TypeData::Pointer(pointer) => {
                pointer_to(&self.spell(pointer.underlying_type, depth + 1))
            }
            TypeData::Array(array) => {
                let element = self.spell(array.element_type, depth + 1);
                format!("{element} []")
            }
            TypeData::Procedure(_) | TypeData::MemberFunction(_) => "<function>".to_owned(),
            _ => NO_TYPE.to_owned(),
        }
    }
}

const NO_TYPE: &str = "<no type>";

/// `char *`, `char **`.
fn pointer_to(pointee: &str) -> String {
    let space = if pointee.ends_with('*') { "" } else { " " };
    format!("{pointee}{space}*")
}

/// The name of a basic type in C, as debuggers have it.
fn c_name(kind: PrimitiveKind) -> &'static str {
    match kind {
        PrimitiveKind::Void => "void",
        PrimitiveKind::Char | PrimitiveKind::RChar | PrimitiveKind::I8 => "char",
        PrimitiveKind::UChar | PrimitiveKind::U8 => "unsigned char",
        PrimitiveKind::WChar => "wchar_t",
        PrimitiveKind::RChar16 => "char16_t",
        PrimitiveKind::RChar32 => "char32_t",
        PrimitiveKind::Short | PrimitiveKind::I16 => "short",
        PrimitiveKind::UShort | PrimitiveKind::U16 => "unsigned short",
        PrimitiveKind::Long => "long",
        PrimitiveKind::ULong => "unsigned long",
        PrimitiveKind::I32 => "int",
        PrimitiveKind::U32 => "unsigned int",
        PrimitiveKind::Quad | PrimitiveKind::I64 => "int64",
        PrimitiveKind::UQuad | PrimitiveKind::U64 => "unsigned int64",
        PrimitiveKind::Bool8
        | PrimitiveKind::Bool16
        | PrimitiveKind::Bool32
        | PrimitiveKind::Bool64 => "bool",
        PrimitiveKind::F32 => "float",
        PrimitiveKind::F64 => "double",
        PrimitiveKind::HRESULT => "HRESULT",
        _ => NO_TYPE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn functions_are_found_by_their_beginning() {
        let parameters = Parameters {
            functions: vec![(0x1000, 1), (0x1040, 0)],
            texts: vec!["(void)".to_owned(), "(char **, int)".to_owned()],
        };
        assert_eq!(parameters.of(0x1000), Some("(char **, int)"));
        assert_eq!(parameters.of(0x1040), Some("(void)"));
        assert_eq!(parameters.of(0x1041), None);
        assert_eq!(pointer_to("char"), "char *");
        assert_eq!(pointer_to(&pointer_to("char")), "char **");
    }
}
