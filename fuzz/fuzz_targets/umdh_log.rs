//! Any bytes as a umdh log: parse, compare with itself, write again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ntheap_report::umdh::{Diff, Log};

fuzz_target!(|bytes: &[u8]| {
    let Ok((log, _)) = Log::parse(bytes) else {
        return;
    };
    assert!(Diff::between(&log, &log).entries().is_empty());
    let _ = log.write(Vec::new());
});
