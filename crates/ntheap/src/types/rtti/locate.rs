//! Finds complete object locators and virtual function tables in an image.
//!
//! On x64 a locator holds its own place in the image, which no other data does by chance; on x86 the
//! type descriptors are found first, by their names, and then what points to them. Whatever is found
//! is checked through to the name and to the class's own entry in the list of its bases.

use rustc_hash::FxHashMap;

use super::{Base, Class, Vftable, image::Image};
use crate::{layout::Bitness, undecorate};

/// Offsets in a complete object locator.
mod locator {
    pub(super) const SIGNATURE: u64 = 0x0;
    pub(super) const OFFSET: u64 = 0x4;
    pub(super) const TYPE: u64 = 0xc;
    pub(super) const HIERARCHY: u64 = 0x10;
    /// x64 only: where the locator itself is.
    pub(super) const SELF: u64 = 0x14;
}

/// Offsets in a class hierarchy descriptor and in the descriptors of bases.
mod field {
    pub(super) const SIGNATURE: u64 = 0x0;
    pub(super) const ATTRIBUTES: u64 = 0x4;
    pub(super) const COUNT: u64 = 0x8;
    pub(super) const ARRAY: u64 = 0xc;
    pub(super) const MAX_ATTRIBUTES: u32 = 7;
    /// More bases than any class has.
    pub(super) const MAX_COUNT: u32 = 4096;
    pub(super) const BASE_TYPE: u64 = 0x0;
    pub(super) const BASE_MEMBER: u64 = 0x8;
    pub(super) const BASE_TABLE: u64 = 0xc;
    pub(super) const BASE_ENTRY: u64 = 0x10;
}

/// Longest name of a class.
const MAX_NAME: u64 = 4096;

/// What an image says of its classes.
#[derive(Default)]
pub(super) struct Found {
    pub(super) classes: Vec<Class>,
    /// The class is an index into `classes`.
    pub(super) vftables: Vec<Vftable>,
    pub(super) locators: usize,
}

/// Finds the classes of an image and their virtual function tables.
pub(super) fn find(image: &Image<'_, '_>) -> Found {
    let candidates = match image.bitness {
        Bitness::X64 => self_references(image),
        Bitness::X86 => pointers_to_types(image),
    };
    let mut reader = Reader {
        image,
        // Each byte of the image can tell something once; wild offsets could let a few bytes
        // stand for many names and lists.
        budget: image.held(),
        by_type: FxHashMap::default(),
        classes: Vec::new(),
    };
    let mut locators: FxHashMap<u64, (u32, u32)> = FxHashMap::default();
    for at in candidates {
        if let Some(found) = reader.locator(at) {
            locators.insert(at, found);
        }
    }
    let vftables = match (locators.keys().min(), locators.keys().max()) {
        (Some(&low), Some(&high)) => vftables(image, &locators, low, high),
        _ => Vec::new(),
    };
    Found {
        classes: reader.classes,
        vftables,
        locators: locators.len(),
    }
}

/// x64: the places of words that hold their own place, where a locator has it.
fn self_references(image: &Image<'_, '_>) -> Vec<u64> {
    let shift = image.base.wrapping_add(locator::SELF) as u32;
    image
        .find_words(|at, word| word == (at as u32).wrapping_sub(shift))
        .into_iter()
        .filter_map(|(at, _)| at.checked_sub(locator::SELF))
        .collect()
}

/// x86: what points to a type descriptor, where a locator does.
fn pointers_to_types(image: &Image<'_, '_>) -> Vec<u64> {
    const PREFIXES: [u32; 3] = [
        u32::from_le_bytes(*b".?AV"),
        u32::from_le_bytes(*b".?AU"),
        u32::from_le_bytes(*b".?AT"),
    ];
    let name = name_offset(Bitness::X86);
    let mut types: Vec<u64> = image
        .find_words(|_, word| PREFIXES.contains(&word))
        .into_iter()
        .filter_map(|(at, _)| at.checked_sub(name))
        .collect();
    types.sort_unstable();
    let (Some(&low), Some(&high)) = (types.first(), types.last()) else {
        return Vec::new();
    };
    image
        .find_pointers(low, high)
        .into_iter()
        .filter(|(_, to)| types.binary_search(to).is_ok())
        .filter_map(|(at, _)| at.checked_sub(locator::TYPE))
        .collect()
}

/// Offset of the name in a type descriptor.
fn name_offset(bitness: Bitness) -> u64 {
    2 * bitness.pointer_size()
}

fn vftables(
    image: &Image<'_, '_>,
    locators: &FxHashMap<u64, (u32, u32)>,
    low: u64,
    high: u64,
) -> Vec<Vftable> {
    let word = image.bitness.pointer_size();
    image
        .find_pointers(low, high)
        .into_iter()
        .filter_map(|(at, to)| {
            let &(class, offset) = locators.get(&to)?;
            let address = at + word;
            let first = image.memory.pointer(address, image.bitness)?;
            image.is_code(first).then_some(Vftable {
                address,
                locator: to,
                class,
                offset,
            })
        })
        .collect()
}

struct Reader<'i, 's, 'a> {
    image: &'i Image<'s, 'a>,
    budget: usize,
    by_type: FxHashMap<u64, Option<u32>>,
    classes: Vec<Class>,
}

impl Reader<'_, '_, '_> {
    fn u32(&self, at: u64, field: u64) -> Option<u32> {
        self.image.memory.u32(at.checked_add(field)?)
    }

    /// What a reference from one of the structures to another leads to.
    fn follow(&self, at: u64, field: u64) -> Option<u64> {
        let value = u64::from(self.u32(at, field)?);
        let address = match self.image.bitness {
            Bitness::X86 => value,
            Bitness::X64 => self.image.base.checked_add(value)?,
        };
        let aligned = address.is_multiple_of(4);
        (aligned && address != self.image.base && self.image.contains(address)).then_some(address)
    }

    /// Class and offset of the complete object locator at `at`, if it is one.
    fn locator(&mut self, at: u64) -> Option<(u32, u32)> {
        let signature = u32::from(self.image.bitness == Bitness::X64);
        if self.u32(at, locator::SIGNATURE)? != signature {
            return None;
        }
        let offset = self.u32(at, locator::OFFSET)?;
        let descriptor = self.follow(at, locator::TYPE)?;
        let hierarchy = self.follow(at, locator::HIERARCHY)?;
        let class = match self.by_type.get(&descriptor) {
            Some(known) => (*known)?,
            None => {
                let class = self.class(descriptor, hierarchy);
                let id = class.map(|class| {
                    self.classes.push(class);
                    (self.classes.len() - 1) as u32
                });
                self.by_type.insert(descriptor, id);
                id?
            }
        };
        Some((class, offset))
    }

    fn class(&mut self, descriptor: u64, hierarchy: u64) -> Option<Class> {
        let decorated = self.name(descriptor)?;
        if self.u32(hierarchy, field::SIGNATURE)? != 0
            || self.u32(hierarchy, field::ATTRIBUTES)? > field::MAX_ATTRIBUTES
        {
            return None;
        }
        let count = self.u32(hierarchy, field::COUNT)?;
        let array = self.follow(hierarchy, field::ARRAY)?;
        if !(1..=field::MAX_COUNT).contains(&count) {
            return None;
        }
        // The first base is the class itself.
        let own = self.follow(array, 0)?;
        if self.follow(own, field::BASE_TYPE)? != descriptor {
            return None;
        }
        let mut bases = Vec::new();
        for index in 1..u64::from(count) {
            let base = self.follow(array, index * 4)?;
            bases.push(self.base(base)?);
        }
        let name = undecorate::type_name(&decorated).unwrap_or_else(|| decorated.clone());
        Some(Class {
            name: name.into(),
            decorated: decorated.into(),
            bases: bases.into(),
        })
    }

    fn base(&mut self, at: u64) -> Option<Base> {
        let decorated = self.name(self.follow(at, field::BASE_TYPE)?)?;
        let name = undecorate::type_name(&decorated).unwrap_or(decorated);
        Some(Base {
            name: name.into(),
            member: self.u32(at, field::BASE_MEMBER)? as i32,
            table: self.u32(at, field::BASE_TABLE)? as i32,
            entry: self.u32(at, field::BASE_ENTRY)? as i32,
        })
    }

    /// The decorated name that a type descriptor ends in.
    fn name(&mut self, descriptor: u64) -> Option<String> {
        let at = descriptor.checked_add(name_offset(self.image.bitness))?;
        let size = self.image.memory.readable(at, MAX_NAME);
        let bytes = self.image.memory.slice(at, size)?;
        let end = bytes.iter().position(|&byte| byte == 0)?;
        let text = std::str::from_utf8(&bytes[..end]).ok()?;
        let kinds = [".?AV", ".?AU", ".?AT", ".?AW4"];
        let is_name =
            kinds.iter().any(|kind| text.starts_with(kind)) && text.bytes().all(|byte| byte > b' ');
        if !is_name {
            return None;
        }
        // What is repeated costs as well, but a class of a program names its bases again and again:
        // sixteen times the image's bytes is far beyond what any program has.
        self.budget = self.budget.checked_sub(end.div_ceil(16))?;
        Some(text.to_owned())
    }
}
