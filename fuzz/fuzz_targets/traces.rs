//! Trace databases of each generation: the stack of every block, and of numbers that none has.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use ntheap::{dump::Dump, heap::Heaps, process::Process, stats, traces::Traces};
use ntheap_fuzz::{Seed, changed, seeds};

static SEEDS: LazyLock<Vec<Seed>> = LazyLock::new(|| seeds(&["ust", "pageheap"]));

fuzz_target!(|input: &[u8]| {
    let (_, bytes, _) = changed(&SEEDS, input);
    let Ok(dump) = Dump::parse(&bytes) else {
        return;
    };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    let traces = Traces::of(&process);
    let heaps = Heaps::of(&process);
    for heap in stats::collect_by(&heaps, |block| block.trace) {
        for (&trace, _) in heap.iter() {
            let frames = traces.frames(trace);
            assert!(frames.is_none_or(|frames| frames.len() <= 64));
            let _ = traces.address(trace);
        }
    }
});
