//! A small dump with bytes changed anywhere, or any bytes as a dump: parse, find the heaps, walk and count
//! them, and see who uses the address space.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{dump::Dump, heap::Heaps, process::Process, stats, usage::Usage};
use ntheap_fuzz::{Recipe, one_thread};
use ntheap_synth::small_dump;

static SMALL: LazyLock<Vec<u8>> = LazyLock::new(|| small_dump().0);

fn changed(input: &[u8]) -> Vec<u8> {
    let mut bytes = SMALL.clone();
    let mut recipe = Recipe(input);
    while !recipe.is_empty() {
        let (kind, place) = (recipe.byte(), recipe.short());
        // Most of what matters is at the beginning: header, directory, streams, environment blocks.
        let at = match kind % 4 {
            0 => place % 0x200,
            1 => place % 0x1000,
            _ => place % (bytes.len() - 8),
        };
        match kind / 4 % 4 {
            0 => bytes[at] ^= recipe.byte().max(1),
            1 => bytes[at & !3..][..4].copy_from_slice(&(recipe.number() as u32).to_le_bytes()),
            2 => bytes[at & !7..][..8].copy_from_slice(&recipe.number().to_le_bytes()),
            _ => {
                bytes.truncate(bytes.len() - usize::from(recipe.byte() % 64).min(bytes.len() - 64))
            }
        }
    }
    bytes
}

fuzz_target!(init: one_thread(), |input: &[u8]| {
    let bytes = match input.starts_with(b"MDMP") {
        true => input.to_vec(),
        false => changed(input),
    };
    let Ok(dump) = Dump::parse(&bytes) else {
        return;
    };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    let heaps = Heaps::of(&process);
    for heap in stats::collect(&heaps) {
        let _ = heap.losses.to_string();
    }
    let _ = Usage::of(&heaps).totals();
});
