//! The hook answers with one line of JSON, whatever it is given, and in time.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

use serde_json::Value;

fn sample(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../testdata")
        .join(name)
}

fn hook(arguments: &[&Path], seconds: &str) -> (Value, Option<i32>) {
    let output = Command::new(env!("CARGO_BIN_EXE_hook"))
        .args(arguments)
        .args(["--seconds", seconds])
        .env("_NT_SYMBOL_PATH", sample("symbols"))
        .output()
        .expect("it runs");
    let text = String::from_utf8(output.stdout).expect("text");
    assert_eq!(text.lines().count(), 1, "{text}");
    (
        serde_json::from_str(&text).expect("JSON"),
        output.status.code(),
    )
}

#[test]
fn a_leak_has_a_fingerprint() {
    let (before, after) = (
        sample("19041.662-smallust.snap1.dmp.zst"),
        sample("19041.662-smallust.snap2.dmp.zst"),
    );
    let (verdict, status) = hook(&[&after, Path::new("--before"), &before], "300");
    assert_eq!(
        (&verdict["status"], status),
        (&"complete".into(), Some(0)),
        "{verdict}"
    );
    assert_eq!(verdict["confidence"], "high");
    assert_eq!(
        verdict["fingerprint"][1],
        "ordersvc!app::parse::MakeStringBuffer"
    );
}

#[test]
fn one_dump_tells_what_is_lost() {
    let (verdict, _) = hook(&[&sample("types/19041.662-depot.snap5.dmp.zst")], "300");
    assert_eq!(verdict["status"], "complete", "{verdict}");
    assert_eq!(verdict["fingerprint"][0], "depot::Session");
}

#[test]
fn the_time_limit_is_kept() {
    let start = Instant::now();
    let dump = sample("19041.662-smallust.snap2.dmp.zst");
    let (verdict, status) = hook(&[&dump], "0.001");
    assert_ne!(verdict["status"], "complete", "{verdict}");
    assert_eq!(status, Some(0));
    assert!(start.elapsed() < Duration::from_secs(30));
}

#[test]
fn what_is_no_dump_is_unusable() {
    let (verdict, status) = hook(&[&sample("README.md")], "30");
    assert_eq!((&verdict["status"], status), (&"unusable".into(), Some(2)));
}
