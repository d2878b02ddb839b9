//! A triage hook: two dumps in, a JSON verdict out, for a pipeline that files leaks by itself.
//!
//! `cargo run --release -p ntheap-examples --bin triage -- before.dmp after.dmp`
//!
//! Exit status: 0 no growth, 3 growth, 2 the dumps can't be compared.

use std::{env, path::Path, process::ExitCode};

use ntheap::{
    diff::{self, Grouping, Snapshot},
    dump::{Dump, DumpFile},
    process::Process,
};
use ntheap_report::json::Address;
use serde_json::{Value, json};

/// Growth in bytes below which nobody is to be woken.
const WORTH_A_TICKET: i64 = 4096;

fn triage(before: &Path, after: &Path) -> ntheap::Result<Value> {
    let files = [DumpFile::open(before)?, DumpFile::open(after)?];
    let dumps = [
        Dump::parse(files[0].bytes())?,
        Dump::parse(files[1].bytes())?,
    ];
    let processes = [Process::of(&dumps[0])?, Process::of(&dumps[1])?];
    let by = Grouping {
        size: true,
        stack: false,
    };
    let comparison = diff::compare(
        &Snapshot::of(&processes[0]),
        &Snapshot::of(&processes[1]),
        by,
    );
    let leaking = comparison
        .heaps
        .first()
        .filter(|heap| heap.busy.bytes() >= WORTH_A_TICKET);
    Ok(json!({
        "leak": leaking.is_some(),
        "certain": comparison.is_complete() && comparison.warnings.is_empty(),
        "verdict": comparison.verdict().to_string(),
        "heap": leaking.map(|heap| Address(heap.handle)),
        "bytes": leaking.map(|heap| heap.busy.bytes()),
        "sizes": leaking.map(|heap| {
            heap.groups
                .iter()
                .filter(|group| group.change.bytes() > 0)
                .take(5)
                .map(|group| json!({
                    "size": group.key.size,
                    "blocks": group.change.blocks(),
                    "bytes": group.change.bytes(),
                }))
                .collect::<Vec<_>>()
        }),
        "warnings": comparison.warnings.iter().map(ToString::to_string).collect::<Vec<_>>(),
    }))
}

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).collect();
    let [before, after] = &arguments[..] else {
        eprintln!("usage: triage BEFORE AFTER");
        return ExitCode::from(2);
    };
    match triage(Path::new(before), Path::new(after)) {
        Ok(verdict) => {
            println!("{verdict:#}");
            if verdict["leak"] == true {
                ExitCode::from(3)
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}
