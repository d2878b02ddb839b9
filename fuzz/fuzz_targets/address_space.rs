//! Lists of ranges over each other, at borders and behind the end of the file: the address space answers
//! every question as a byte-by-byte look at the ranges does.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntheap::address_space::AddressSpace;
use ntheap_fuzz::Recipe;

/// One past the last address that a program can have.
const END: u64 = 1 << 63;

fuzz_target!(|input: &[u8]| {
    let file: Vec<u8> = (0..=255).collect();
    let mut recipe = Recipe(input);
    let base = recipe.number();
    let mut ranges = Vec::new();
    while !recipe.is_empty() && ranges.len() < 40 {
        let address = match recipe.byte() % 4 {
            0 => recipe.number(),
            _ => base.wrapping_add(u64::from(recipe.byte())),
        };
        let offset = u64::from(recipe.byte()) + u64::from(recipe.byte() % 8) * 8;
        let size = match recipe.byte() % 4 {
            0 => recipe.number(),
            _ => u64::from(recipe.byte() % 64),
        };
        ranges.push((address, offset, size));
    }
    let space = AddressSpace::new(&file, ranges.iter().copied());
    let mut sorted = ranges.clone();
    sorted.sort_by_key(|range| range.0);
    // The byte at an address is that of the range that begins first.
    let truth = |at: u64| {
        sorted.iter().find_map(|&(address, offset, size)| {
            let from = at
                .checked_sub(address)
                .filter(|&from| from < size && at < END)?;
            file.get(usize::try_from(offset.checked_add(from)?).ok()?)
                .copied()
        })
    };
    let borders = ranges.iter().flat_map(|&(address, _, size)| {
        let end = address.saturating_add(size);
        [
            address.wrapping_sub(1),
            address,
            address.wrapping_add(1),
            end.wrapping_sub(1),
            end,
        ]
    });
    for at in borders.chain([0, base, END - 1, END, u64::MAX]) {
        assert_eq!(space.u8(at), truth(at), "{at:x} of {ranges:x?}");
        let word = (0..8)
            .map(|i| at.checked_add(i).and_then(&truth))
            .collect::<Option<Vec<_>>>();
        let word = word.map(|bytes| u64::from_le_bytes(bytes.try_into().expect("eight")));
        assert_eq!(space.u64(at), word, "{at:x} of {ranges:x?}");
        let readable =
            (0..64).take_while(|&i| at.checked_add(i).is_some_and(|at| truth(at).is_some()));
        assert_eq!(
            space.readable(at, 64),
            readable.count() as u64,
            "{at:x} of {ranges:x?}"
        );
        let _ = (
            space.next_readable(at),
            space.held(at, 100),
            space.string(at),
        );
        if let Some(slice) = space.slice(at, 5) {
            assert!(
                slice
                    .iter()
                    .enumerate()
                    .all(|(i, &byte)| truth(at + i as u64) == Some(byte))
            );
        }
    }
    for pair in space.ranges().windows(2) {
        assert!(pair[0].end() <= pair[1].start);
    }
});
