//! NT heaps of each generation and bitness: walked, counted, verified and looked into, on both sides of the process.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap_fuzz::{Seed, changed, seeds, walk::everything};

static SEEDS: LazyLock<Vec<Seed>> =
    LazyLock::new(|| seeds(&["-small", "-tag", "-debug", "smalllfh", "smallust"]));

fuzz_target!(|input: &[u8]| {
    let (seed, bytes, _) = changed(&SEEDS, input);
    everything(&bytes, &seed.addresses);
});
