//! Classes of blocks: by the virtual function table that an object begins with.

use rayon::prelude::*;
use rustc_hash::FxHashMap;

use super::{
    Rtti, TypeKind,
    ground::Ground,
    table::{Table, TypeKey},
};
use crate::{address_space::Window, heap::crt::CrtBlock, layout::Bitness, names::NameSource};

/// A block of the program, judged by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Judged {
    /// An object of this class.
    Class(u32),
    /// An array of objects of this class, behind their number.
    Array(u32),
    /// Debug information of a critical section.
    SectionDebug,
    /// Its first word lies in an image.
    Pointer(u64),
    Nothing,
}

/// Gives the blocks that are objects their types.
pub(super) fn judge(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    images: &Images,
    names: Option<&dyn NameSource>,
    table: &mut Table,
) {
    /// Blocks that one thread looks at in one go.
    const BLOCKS: usize = 1024;
    let count = ground.blocks.len();
    let judged: Vec<Judged> = (0..count.div_ceil(BLOCKS))
        .into_par_iter()
        .flat_map_iter(|chunk| {
            let mut window = ground.memory.window();
            let blocks = ground.blocks.chunk(chunk, BLOCKS);
            blocks.map(move |block| by_itself(ground, rtti, images, block, &mut window))
        })
        .collect();
    let usual = UsualSizes::of(ground, &judged);
    let mut named = FxHashMap::default();
    for (number, judged) in judged.into_iter().enumerate() {
        let number = number as u32;
        match judged {
            Judged::Class(class) if usual.fits(class, ground.blocks.block(number).1) => {
                object(ground, rtti, number, class, table);
            }
            Judged::Class(_) => {}
            Judged::Array(class) => {
                if let Some(class_name) = rtti.class(class).map(|class| &class.name) {
                    let name = format!("{class_name}[]");
                    table.set(number, TypeKey::classed(TypeKind::Array, name, class));
                }
            }
            Judged::SectionDebug => {
                let name = "RTL_CRITICAL_SECTION_DEBUG";
                table.set(number, TypeKey::new(TypeKind::System, name));
            }
            Judged::Pointer(to) => {
                let Some(names) = names else { continue };
                let name = named.entry(to).or_insert_with(|| class_at(names, to));
                if let Some(name) = name {
                    table.set(number, TypeKey::new(TypeKind::Class, name.as_str()));
                }
            }
            Judged::Nothing => {}
        }
    }
}

/// The sizes of the objects of each class.
///
/// A block that was allocated where an object had been freed may still begin with the object's table;
/// so does memory of the program's own allocator. All objects of a class have one size: where
/// nearly all blocks of a class have one and some another, the others are none.
struct UsualSizes(FxHashMap<u32, u64>);

impl UsualSizes {
    /// Blocks of a class from which on it has a usual size.
    const ENOUGH: u64 = 8;
    /// Of so many at most one has another size.
    const OF: u64 = 10;

    fn of(ground: &Ground<'_, '_>, judged: &[Judged]) -> Self {
        let mut sizes: FxHashMap<u32, FxHashMap<u64, u64>> = FxHashMap::default();
        for (number, judged) in judged.iter().enumerate() {
            if let Judged::Class(class) = judged {
                let size = ground.blocks.block(number as u32).1;
                *sizes.entry(*class).or_default().entry(size).or_default() += 1;
            }
        }
        let usual = sizes.into_iter().filter_map(|(class, sizes)| {
            let all: u64 = sizes.values().sum();
            let (&size, &most) = sizes.iter().max_by_key(|size| size.1)?;
            let is_usual = all >= Self::ENOUGH && (all - most) * Self::OF <= all;
            is_usual.then_some((class, size))
        });
        UsualSizes(usual.collect())
    }

    fn fits(&self, class: u32, size: u64) -> bool {
        self.0.get(&class).is_none_or(|&usual| usual == size)
    }
}

/// The address ranges of the images.
#[derive(Debug, Default)]
pub(super) struct Images(Vec<(u64, u64)>);

impl Images {
    pub(super) fn new(mut ranges: Vec<(u64, u64)>) -> Self {
        ranges.sort_unstable();
        Images(ranges)
    }

    fn contains(&self, address: u64) -> bool {
        let before = self.0.partition_point(|range| range.0 <= address);
        before > 0 && address < self.0[before - 1].1
    }
}

fn by_itself(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    images: &Images,
    (address, size): (u64, u64),
    window: &mut Window<'_, '_>,
) -> Judged {
    if size < ground.word {
        return Judged::Nothing;
    }
    window.approach(address);
    let Some(first) = ground.near(window, address) else {
        return Judged::Nothing;
    };
    if let Some(vftable) = rtti.vftable(first) {
        return match vftable.offset {
            0 => Judged::Class(vftable.class),
            _ => Judged::Nothing,
        };
    }
    if let Some(class) = array(ground, rtti, (address, size), first, window) {
        return Judged::Array(class);
    }
    if is_section_debug(ground, address, size) {
        return Judged::SectionDebug;
    }
    if let Some(class) = in_virtual_base(ground, rtti, images, address, size, first) {
        return Judged::Class(class);
    }
    if images.contains(first) {
        return Judged::Pointer(first);
    }
    Judged::Nothing
}

/// `new T[n]` of a class with a destructor: the number of objects, then the objects.
fn array(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    (address, size): (u64, u64),
    count: u64,
    window: &mut Window<'_, '_>,
) -> Option<u32> {
    let room = size.checked_sub(ground.word)?;
    if count == 0 || count > room / ground.word || !room.is_multiple_of(count) {
        return None;
    }
    let stride = room / count;
    let start = address + ground.word;
    let vftable = ground.near(window, start)?;
    let class = rtti
        .vftable(vftable)
        .filter(|vftable| vftable.offset == 0)?
        .class;
    let same = |index| ground.word(start + index * stride) == Some(vftable);
    (stride.is_multiple_of(ground.word) && (1..count).all(same)).then_some(class)
}

/// An object that begins with a pointer to its table of virtual bases, or with bases that have
/// neither table: its class says where its virtual function table lies.
fn in_virtual_base(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    images: &Images,
    address: u64,
    size: u64,
    first: u64,
) -> Option<u32> {
    /// More virtual bases than any class has.
    const MAX_BASES: u64 = 64;
    if !images.contains(first) || rtti.is_empty() {
        return None;
    }
    for entry in 1..=MAX_BASES {
        let offset = ground.memory.u32(first.checked_add(entry * 4)?)? as i32;
        let offset = u64::try_from(offset).ok().filter(|&offset| offset > 0)?;
        if offset > size - ground.word {
            return None;
        }
        let Some(word) = ground.word(address + offset) else {
            continue;
        };
        if let Some(vftable) = rtti.vftable(word)
            && u64::from(vftable.offset) == offset
            && rtti.holds_virtual_base(ground.memory, ground.bitness, address, vftable)
        {
            return Some(vftable.class);
        }
    }
    None
}

/// What ntdll allocates for a critical section: the section's first word points back.
fn is_section_debug(ground: &Ground<'_, '_>, address: u64, size: u64) -> bool {
    let (expected, at) = match ground.bitness {
        Bitness::X86 => (0x20, 4),
        Bitness::X64 => (0x30, 8),
    };
    let points_back = || {
        let section = ground.word(address + at)?;
        (section != address).then_some(())?;
        Some(ground.word(section)? == address && ground.memory.u16(address)? == 0)
    };
    size == expected && points_back() == Some(true)
}

/// The class that a symbol at `address` is a table of.
fn class_at(names: &dyn NameSource, address: u64) -> Option<String> {
    let name = names.name(address).filter(|name| name.displacement == 0)?;
    let symbol = name.symbol?;
    let tables = ["::`vftable'", "::`vbtable'"];
    let class = tables.iter().find_map(|table| symbol.strip_suffix(table))?;
    Some(class.to_owned())
}

/// An object of a class with run-time type information: the C++ library's own helpers are told
/// by the name, which says for whom they are.
fn object(ground: &Ground<'_, '_>, rtti: &Rtti, number: u32, class: u32, table: &mut Table) {
    let Some(name) = rtti.class(class).map(|class| &class.name) else {
        return;
    };
    let Some((template, argument)) = library(name) else {
        table.set(
            number,
            TypeKey::classed(TypeKind::Class, name.as_ref(), class),
        );
        return;
    };
    let (address, size) = ground.blocks.block(number);
    let uses = ground.memory.u32(address.saturating_add(ground.word));
    let held = ground.memory.u32(address.saturating_add(ground.word + 4));
    let dead = uses == Some(0) && held.is_some_and(|held| held > 0);
    let (kind, text) = match template {
        "_Ref_count_obj2" | "_Ref_count_obj" | "_Ref_count_obj_alloc3" if dead => (
            TypeKind::ControlBlock,
            format!("{argument} (make_shared, dead: kept by weak_ptr)"),
        ),
        "_Ref_count_obj2" | "_Ref_count_obj" | "_Ref_count_obj_alloc3" => {
            (TypeKind::ControlBlock, format!("{argument} (make_shared)"))
        }
        "_Func_impl_no_alloc" | "_Func_impl" => {
            (TypeKind::Callable, format!("std::function of {argument}"))
        }
        _ if template.starts_with("_Ref_count") => (
            TypeKind::ControlBlock,
            format!("shared_ptr control block of {argument}"),
        ),
        _ => (TypeKind::Class, name.to_string()),
    };
    // What `make_shared` made lies behind the counts.
    let inner = [2 * ground.word, 4 * ground.word]
        .into_iter()
        .find_map(|offset| {
            let room = size.checked_sub(offset)?;
            rtti.object(ground.memory, ground.bitness, address + offset, room)
        });
    let class = match kind {
        TypeKind::ControlBlock => inner,
        _ => Some(class),
    };
    table.set(
        number,
        TypeKey {
            kind,
            name: text.into(),
            class,
        },
    );
}

/// Template and first argument of one of the C++ library's own class templates.
fn library(name: &str) -> Option<(&str, &str)> {
    let (template, arguments) = name.strip_prefix("std::")?.split_once('<')?;
    if !template.starts_with("_Ref_count") && !template.starts_with("_Func_impl") {
        return None;
    }
    let mut depth = 0usize;
    let end = arguments.bytes().position(|byte| {
        match byte {
            b'<' | b'(' => depth += 1,
            b'>' | b')' if depth == 0 => return true,
            b'>' | b')' => depth -= 1,
            b',' if depth == 0 => return true,
            _ => {}
        }
        false
    })?;
    let argument = arguments[..end].trim_end();
    let keys = ["class ", "struct ", "union "];
    let plain = keys.iter().find_map(|key| argument.strip_prefix(key));
    Some((template, plain.unwrap_or(argument)))
}

/// Gives blocks of the debug C runtime that are nothing else the line that allocated them.
pub(super) fn lines(ground: &Ground<'_, '_>, table: &mut Table) {
    const FENCE: u32 = 0xfdfd_fdfd;
    let header = match ground.bitness {
        Bitness::X86 => 0x20,
        Bitness::X64 => 0x30,
    };
    for number in 0..ground.blocks.len() as u32 {
        if table.is_set(number) {
            continue;
        }
        let (address, size) = ground.blocks.block(number);
        let line = || {
            let before = address.checked_sub(4)?;
            (ground.memory.u32(before)? == FENCE).then_some(())?;
            let start = address.checked_sub(header)?;
            let whole = size.checked_add(header + 4)?;
            let crt = CrtBlock::read(ground.memory, ground.bitness, start, whole)?;
            let file = ground.memory.string(crt.file_name)?;
            let file = file.rsplit(['\\', '/']).next().unwrap_or(&file);
            Some(format!("allocated at {file}({})", crt.line))
        };
        if let Some(name) = line() {
            table.set(number, TypeKey::new(TypeKind::Line, name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::library;

    #[test]
    fn arguments_of_the_librarys_templates() {
        for (name, expected) in [
            (
                "std::_Ref_count_obj2<struct a::B>",
                Some(("_Ref_count_obj2", "a::B")),
            ),
            (
                "std::_Ref_count_obj2<class a::B<int,char> >",
                Some(("_Ref_count_obj2", "a::B<int,char>")),
            ),
            (
                "std::_Func_impl_no_alloc<class <lambda_1>,int>",
                Some(("_Func_impl_no_alloc", "<lambda_1>")),
            ),
            (
                "std::_Ref_count_resource<int *,void (__cdecl*)(int *)>",
                Some(("_Ref_count_resource", "int *")),
            ),
            ("std::bad_alloc", None),
            ("a::_Ref_count<int>", None),
        ] {
            assert_eq!(library(name), expected, "{name}");
        }
    }
}
