//! Any bytes as a dump: parse, find the heaps, walk and count them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntheap::{dump::Dump, process::Process, stats, traces::Traces};

fuzz_target!(|bytes: &[u8]| {
    let Ok(dump) = Dump::parse(bytes) else { return };
    let Ok(process) = Process::of(&dump) else {
        return;
    };
    let traces = Traces::of(&process);
    for heap in stats::collect(&Heaps::of(&process)) {
        for finding in &heap.findings {
            let _ = finding.to_string();
        }
    }
    for heap in stats::collect_by(&Heaps::of(&process), |block| block.trace) {
        heap.iter()
            .for_each(|(trace, _)| drop(traces.frames(*trace)));
    }
});
