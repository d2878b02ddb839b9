//! Trace databases of each generation: the stack of every block, and of numbers that none has.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{blocks::Trace, heap::Heaps, stats, traces::Traces};
use ntheap_fuzz::{Seed, one_thread, plans, seeds, with_changed};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds(&["ust", "pageheap"], &plans::traced()));

fuzz_target!(init: one_thread(), |input: &[u8]| {
    with_changed(&SEEDS, input, |seed, process, mut recipe| {
        let traces = Traces::of(process);
        let look = |trace| {
            let frames = traces.frames(trace);
            assert!(frames.is_none_or(|frames| frames.len() <= 64));
            let _ = traces.address(trace);
        };
        let heaps = Heaps::of(process);
        for heap in stats::collect_by(&heaps, |block| block.trace) {
            heap.iter().for_each(|(&trace, _)| look(trace));
        }
        for _ in 0..4 {
            let near = seed.addresses[recipe.short() % seed.addresses.len()];
            for address in [near.wrapping_add(recipe.number()), recipe.number()] {
                look(Trace::Record(address));
                look(Trace::Entry(address));
                look(Trace::TraceBlock(address));
                look(Trace::Index(address as u32));
            }
        }
    });
});
