//! PDBs: names, types, lines and parameters of ones that are changed inside their streams.
#![no_main]

use std::{fs, sync::LazyLock, time::Duration};

use libfuzzer_sys::fuzz_target;
use ntheap_fuzz::{
    Recipe,
    msf::{BLOCK, repacked},
};
use ntheap_symbols::ModuleSymbols;
use ntheap_synth::oracle::testdata;

static PDBS: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    let mut all = Vec::new();
    for name in ["ordersvc.pdb", "strkit.pdb"] {
        for entry in fs::read_dir(testdata().join("symbols").join(name))
            .expect("PDBs")
            .flatten()
        {
            let whole = fs::read(entry.path().join(name)).expect("a PDB");
            all.push(repacked(&whole));
        }
    }
    all.sort();
    all
});

fn change(bytes: &mut [u8], recipe: &mut Recipe<'_>) {
    let (kind, place) = (recipe.byte(), recipe.place());
    let at = place % (bytes.len() - 8);
    match kind % 6 {
        0 => bytes[at] ^= recipe.byte().max(1),
        1 => {
            let number = recipe.number().to_le_bytes();
            let at = at & !1;
            let width = [2, 4][usize::from(kind / 6 % 2)];
            bytes[at..at + width].copy_from_slice(&number[..width]);
        }
        2 => {
            // A record's length or kind, a type index: from another place.
            let from = (at + recipe.short()) % (bytes.len() - 4);
            bytes.copy_within(from..from + 4, at & !3);
        }
        3 => bytes[at & !3..][..4].copy_from_slice(&(recipe.short() as u32).to_le_bytes()),
        4 => {
            let block = at & !(BLOCK - 1);
            let from = (recipe.short() * BLOCK) % (bytes.len() & !(BLOCK - 1));
            bytes.copy_within(from..from + BLOCK, block.min(bytes.len() - BLOCK));
        }
        _ => bytes[at % 0x200] ^= recipe.byte(),
    }
}

fuzz_target!(|input: &[u8]| {
    let mut recipe = Recipe(input);
    let sound = &PDBS[usize::from(recipe.byte()) % PDBS.len()];
    let mut bytes = sound.clone();
    for _ in 0..recipe.byte() % 16 {
        if recipe.is_empty() {
            break;
        }
        change(&mut bytes, &mut recipe);
    }
    let Ok(loaded) = ModuleSymbols::from_bytes(bytes, Duration::from_secs(5)) else {
        return;
    };
    let places = || (0..0x4000).step_by(0x171);
    match recipe.byte() % 4 {
        0 => {
            places().for_each(|rva| drop(loaded.resolve_return(rva)));
            let _ = loaded.table().search("*a*b*");
        }
        1 => places().for_each(|rva| drop(loaded.source_line(rva))),
        2 => places().for_each(|rva| drop(loaded.parameters(rva).map(str::to_owned))),
        _ => {
            if let Ok(types) = loaded.types() {
                for structure in types.structures() {
                    assert_eq!(types.field(&structure.name, "no such field"), None);
                }
            }
        }
    }
});
