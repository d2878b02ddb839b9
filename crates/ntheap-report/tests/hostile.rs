//! Inputs that once broke a parser of logs do no more.

use ntheap_report::umdh::Log;
use ntheap_synth::oracle::workspace;

#[test]
fn inputs_that_once_broke_something_are_read_or_refused() {
    let folder = workspace().join("fuzz/regressions");
    let mut count = 0;
    for file in std::fs::read_dir(folder).expect("the folder").flatten() {
        let bytes = std::fs::read(file.path()).expect("reads");
        count += 1;
        let _ = Log::parse(&bytes);
    }
    assert!(count > 0);
}
