//! Page heaps, full and light: walked, counted, verified and looked into, on both sides of the process.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap_fuzz::{Seed, one_thread, seeds, walk::everything, with_changed};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds(&["pageheap"], &[]));

fuzz_target!(init: one_thread(), |input: &[u8]| {
    with_changed(&SEEDS, input, |seed, process, mut recipe| {
        everything(process, &seed.addresses, recipe.byte());
    });
});
