//! How large the elements of a vector are, which no pointer says.

use crate::types::{Rtti, ground::Ground};

/// Elements that are looked at.
const SAMPLE: u64 = 64;

/// The size of the elements of a vector at `first`, with `used` bytes of them and room for
/// `capacity` bytes.
///
/// What the elements are tells it where they have a shape: strings, objects with a virtual function
/// table, pointers. Else the library's growth (half as much again) tells which sizes can be, and the
/// values decide.
pub(super) fn size(
    ground: &Ground<'_, '_>,
    rtti: &Rtti,
    first: u64,
    used: u64,
    capacity: u64,
) -> u64 {
    let word = ground.word;
    let fits = |size: u64| size > 0 && used.is_multiple_of(size) && capacity.is_multiple_of(size);
    if used == 0 {
        return word;
    }
    let strings = [16 + 2 * word, 16 + 3 * word];
    for (size, front) in strings.into_iter().zip([0, word]) {
        if fits(size) && all(first, used, size, |at| is_string(ground, at + front)) {
            return size;
        }
    }
    let function = 8 * word + if word == 4 { 8 } else { 0 };
    if fits(function) && functions(ground, rtti, first, used, function) {
        return function;
    }
    if let Some(size) = object(ground, rtti, first, used).filter(|&size| fits(size)) {
        return size;
    }
    let vectors = |at: u64| is_vector(ground, at);
    for size in [3 * word, 4 * word] {
        let front = size - 3 * word;
        if fits(size) && used >= 2 * size && all(first, used, size, |at| vectors(at + front)) {
            return size;
        }
    }
    if fits(2 * word) && all(first, used, 2 * word, |at| is_shared(ground, rtti, at)) {
        return 2 * word;
    }
    if fits(word) && pointers(ground, first, used) {
        return word;
    }
    let likely = likely(ground, first, used);
    let grown = |size: &u64| fits(*size) && is_grown(capacity / size);
    let order = [likely, 8, 4, 1, 2, 16, 24, 32, 12, 20, 40, 48];
    let by_growth = order.iter().copied().find(grown);
    let other = (1..=used / 4).map(|part| used / part).find(grown);
    by_growth
        .or_else(|| order.iter().copied().find(|&size| fits(size)))
        .or(other)
        .unwrap_or(1)
}

fn all(first: u64, used: u64, size: u64, is: impl Fn(u64) -> bool) -> bool {
    (0..(used / size).min(SAMPLE)).all(|index| is(first + index * size))
}

/// A string: short ones lie in the object.
fn is_string(ground: &Ground<'_, '_>, at: u64) -> bool {
    let check = || {
        let size = ground.word(at + 16)?;
        let capacity = ground.word(at + 16 + ground.word)?;
        if size > capacity {
            return None;
        }
        match capacity {
            15 => Some(ground.memory.u8(at + size)? == 0),
            7 => Some(ground.memory.u16(at + size * 2)? == 0),
            8.. => {
                let text = ground.word(at)?;
                let narrow = ground.holds(text, capacity.checked_add(1)?).is_some();
                let wide = ground
                    .holds(text, capacity.checked_add(1)?.checked_mul(2)?)
                    .is_some();
                Some(narrow || wide)
            }
            _ => None,
        }
    };
    check() == Some(true)
}

/// The distance at which objects with the same virtual function table follow each other.
fn object(ground: &Ground<'_, '_>, rtti: &Rtti, first: u64, used: u64) -> Option<u64> {
    let vftable = ground.word(first)?;
    rtti.vftable(vftable)
        .filter(|vftable| vftable.offset == 0)?;
    let words = (used / ground.word).min(4096);
    let next = (1..words).find(|&index| ground.nth(first, index) == Some(vftable));
    Some(next.map_or(used, |next| next * ground.word))
}

/// Whether these are `std::function`s: the last word of each points to its callable, which begins
/// with a virtual function table, and lies in the `function` itself if it is small. At least one must be
/// of the latter sort, or of the library's class: pointers to objects look like the former.
fn functions(ground: &Ground<'_, '_>, rtti: &Rtti, first: u64, used: u64, size: u64) -> bool {
    let mut sure = false;
    let is_function = |at: u64| {
        let callable = ground.word(at + size - ground.word)?;
        if callable == 0 {
            return Some(false);
        }
        let class = rtti.class(rtti.vftable(ground.word(callable)?)?.class)?;
        let small = callable == at;
        (small || ground.blocks.at(callable).is_some()).then_some(())?;
        Some(small || class.name.starts_with("std::_Func_impl"))
    };
    let all = (0..(used / size).min(SAMPLE)).all(|index| {
        let found = is_function(first + index * size);
        sure |= found == Some(true);
        found.is_some()
    });
    all && sure
}

fn is_vector(ground: &Ground<'_, '_>, at: u64) -> bool {
    let check = || {
        let [first, last, end] = [0, 1, 2].map(|index| ground.nth(at, index));
        let (first, last, end) = (first?, last?, end?);
        if first == 0 {
            return Some(last == 0 && end == 0);
        }
        let fits = first <= last && last <= end;
        Some(fits && ground.holds(first, end - first).is_some())
    };
    check() == Some(true)
}

/// A `shared_ptr`: the second word points to a control block.
fn is_shared(ground: &Ground<'_, '_>, rtti: &Rtti, at: u64) -> bool {
    let check = || {
        let (object, control) = (ground.word(at)?, ground.nth(at, 1)?);
        if control == 0 {
            return Some(object == 0);
        }
        let number = ground.blocks.at(control)?;
        let (uses, weaks) = (
            ground.memory.u32(control + ground.word)?,
            ground.memory.u32(control + ground.word + 4)?,
        );
        let vftable = rtti.vftable(ground.word(control)?)?;
        let name = &rtti.class(vftable.class)?.name;
        let counted = uses > 0 && weaks > 0 && ground.blocks.block(number).1 > ground.word + 8;
        Some(counted && name.contains("Ref_count"))
    };
    check() == Some(true)
}

/// Whether all words are null or point into memory, and some do.
fn pointers(ground: &Ground<'_, '_>, first: u64, used: u64) -> bool {
    let mut some = false;
    let mut is = |at: u64| match ground.word(at) {
        Some(0) => true,
        Some(value) => {
            let readable = value > 0xffff && ground.memory.range_of(value).is_some();
            some |= readable;
            readable
        }
        None => false,
    };
    let all = (0..(used / ground.word).min(SAMPLE)).all(|index| is(first + index * ground.word));
    all && some
}

/// What the values look like.
fn likely(ground: &Ground<'_, '_>, first: u64, used: u64) -> u64 {
    const SMALL: u32 = 1 << 20;
    let count = (used / 4).min(2 * SAMPLE);
    let words: Vec<u32> = (0..count)
        .filter_map(|index| ground.memory.u32(first + index * 4))
        .collect();
    let odd = || words.iter().skip(1).step_by(2);
    let even = || words.iter().step_by(2);
    let bytes = || words.iter().flat_map(|word| word.to_le_bytes());
    let is_double = |high: &u32| *high == 0 || (0x3a0..0x460).contains(&((high >> 20) & 0x7ff));
    if used < 4 || !used.is_multiple_of(4) {
        return if used.is_multiple_of(2) && bytes().skip(1).step_by(2).all(|byte| byte == 0) {
            2
        } else {
            1
        };
    }
    if bytes().all(|byte| matches!(byte, 9 | 10 | 13 | 0x20..0x7f)) {
        return 1;
    }
    if words.len() > 1 && odd().all(|&word| word == 0) && even().any(|&word| word != 0) {
        return 8;
    }
    if words
        .iter()
        .all(|word| !(SMALL..=u32::MAX - SMALL).contains(word))
    {
        return 4;
    }
    if words.len() > 1 && odd().all(is_double) {
        return 8;
    }
    4
}

/// Whether a vector that grew by itself has room for this many elements.
fn is_grown(count: u64) -> bool {
    let mut grown = 1u64;
    while grown < count {
        grown += (grown / 2).max(1);
    }
    grown == count
}

#[cfg(test)]
mod tests {
    use super::is_grown;

    #[test]
    fn growth() {
        let ladder: Vec<u64> = (0..150).filter(|&count| is_grown(count)).collect();
        assert_eq!(ladder, [1, 2, 3, 4, 6, 9, 13, 19, 28, 42, 63, 94, 141]);
    }
}
