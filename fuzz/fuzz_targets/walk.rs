//! Any bytes as a dump: parse, find the heaps, walk and count them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntheap::{dump::Dump, heap::Heaps, process::Process, stats};

fuzz_target!(|bytes: &[u8]| {
    let Ok(dump) = Dump::parse(bytes) else { return };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    for heap in stats::collect(&Heaps::of(&process)) {
        let _ = heap.losses.to_string();
    }
});
