//! Time of each block on one thread, counted by size (or stack) over dumps that lie in the processor's cache.
//!
//! `cargo bench -p ntheap --bench blocks`; `NTHEAP_BENCH_MIB` sets the size of the dumps, a name behind
//! `--` the one case to measure.

#[path = "../tests/instructions/cases.rs"]
mod cases;

use std::{
    env,
    time::{Duration, Instant},
};

use cases::CASES;

/// How long a case is measured; its best run counts, as everything else is the machine's other work.
const TIME: Duration = Duration::from_secs(1);

fn main() {
    let mut arguments = env::args().skip(1).filter(|argument| argument != "--bench");
    let only = arguments.next();
    // As `cargo test --benches` runs it, it has nothing to measure.
    if only.as_deref() == Some("--test") {
        return;
    }
    let mebibytes = env::var("NTHEAP_BENCH_MIB");
    let mebibytes: u64 = mebibytes.ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let one = rayon::ThreadPoolBuilder::new().num_threads(1);
    let one = one.build().expect("a thread");
    println!("| dump of {mebibytes} MiB | blocks | ns a block |\n|---|---|---|");
    for case in CASES {
        if only.as_ref().is_some_and(|only| only != case.name) {
            continue;
        }
        let (subject, blocks) = case.subject(mebibytes << 20);
        let (begun, mut last, mut best) = (Instant::now(), None, Duration::MAX);
        one.install(|| {
            case.run(&subject, || {
                let now = Instant::now();
                if let Some(last) = last.replace(now) {
                    best = best.min(now - last);
                }
                begun.elapsed() < TIME
            });
        });
        if case.is_opening() {
            println!("| {} | | {:.0} in all |", case.name, best.as_nanos());
        } else {
            let each = best.as_nanos() as f64 / blocks as f64;
            println!("| {} | {blocks} | {each:.1} |", case.name);
        }
    }
}
