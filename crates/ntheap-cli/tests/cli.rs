//! Transcripts of the program (`tests/cmd`), and what a transcript can't show.
//!
//! `TRYCMD=overwrite cargo test -p ntheap-cli --test cli` writes them anew; read the difference.

use std::{
    fs,
    io::Read,
    path::PathBuf,
    process::{Command, Output, Stdio},
};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(name)
}

fn ntheap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

#[test]
fn transcripts() {
    trycmd::TestCases::new().case("tests/cmd/*.trycmd");
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let dump = testdata("19041.662-debug.snap2.dmp.zst");
    let mut child = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(["blocks", "--state", "all", "--format", "jsonl"])
        .arg(dump)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdout = child.stdout.take().expect("piped");
    stdout.read_exact(&mut [0; 100]).expect("some output");
    drop(stdout);
    let output = child.wait_with_output().expect("it ends");
    assert!(output.status.success(), "{:?}", output.status);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
}

#[test]
fn unusable_input_ends_with_status_2_and_a_hint() {
    let folder = tempfile::tempdir().expect("a folder");
    for (name, bytes, said) in [
        ("empty.dmp", &b""[..], "the file is empty"),
        ("text.dmp", b"not a dump at all", "not a minidump"),
        ("kernel.dmp", b"PAGEDU64 and so on", "kernel dump"),
        ("core", b"\x7fELF\x02\x01\x01", "ELF"),
    ] {
        let path = folder.path().join(name);
        fs::write(&path, bytes).expect("written");
        let output = ntheap(&["summary", &path.to_string_lossy()]);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{name}: {stderr}");
        assert!(
            stderr.contains(said) && stderr.contains(name),
            "{name}: {stderr}"
        );
        assert!(output.stdout.is_empty());
    }
    assert_eq!(
        ntheap(&["summary", "no/such/file.dmp"]).status.code(),
        Some(2)
    );
    assert_eq!(ntheap(&["frobnicate"]).status.code(), Some(2));
}

#[test]
fn a_truncated_dump_gives_what_is_there_and_status_1() {
    let packed = fs::File::open(testdata("19041.662-small.snap2.dmp.zst")).expect("testdata");
    let mut bytes = Vec::new();
    zstd::Decoder::new(packed)
        .and_then(|mut d| d.read_to_end(&mut bytes))
        .expect("zstd");
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("cut.dmp");
    fs::write(&path, &bytes[..bytes.len() / 2]).expect("written");
    let path = path.to_string_lossy();

    let output = ntheap(&["blocks", &path, "--format", "jsonl"]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("the file is cut off"), "{stderr}");
    let blocks = String::from_utf8_lossy(&output.stdout).lines().count();
    assert!(blocks > 300, "{blocks} blocks");

    let whole = testdata("19041.662-small.snap1.dmp.zst");
    let output = ntheap(&["diff", &whole.to_string_lossy(), &path]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stdout).contains("Not sure: "));
}

#[test]
fn every_record_of_blocks_is_json_with_the_documented_fields() {
    let dump = testdata("19041.662-smallust.snap1.dmp.zst");
    let output = ntheap(&[
        "blocks",
        &dump.to_string_lossy(),
        "--state",
        "all",
        "--format",
        "jsonl",
    ]);
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    let mut traced = 0;
    for line in text.lines() {
        let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
        for field in ["heap", "entry", "address"] {
            assert!(
                record[field].as_str().is_some_and(|a| a.starts_with("0x")),
                "{line}"
            );
        }
        for field in ["size", "block_size", "flags"] {
            assert!(record[field].is_u64(), "{line}");
        }
        assert!(
            matches!(record["state"].as_str(), Some("busy" | "free")),
            "{line}"
        );
        assert!(
            matches!(record["kind"].as_str(), Some("backend" | "lfh" | "virtual")),
            "{line}"
        );
        traced += usize::from(record["trace"].is_string());
    }
    assert!(traced > 1000, "{traced}");
}
