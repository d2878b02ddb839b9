//! Transcripts of the program (`tests/cmd`), and what a transcript can't show.
//!
//! `TRYCMD=overwrite cargo test -p ntheap-cli --test cli` writes them anew; read the difference.

use std::{
    fs,
    io::{Read, Write},
    path::PathBuf,
    process::{Command, Output, Stdio},
};

fn testdata(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(name)
}

/// The program; `NTHEAP_PROGRAM` names another build of it, such as the one for Windows behind Wine.
fn program() -> PathBuf {
    let other = std::env::var_os("NTHEAP_PROGRAM").map(PathBuf::from);
    other.unwrap_or_else(|| env!("CARGO_BIN_EXE_ntheap").into())
}

fn ntheap(arguments: &[&str]) -> Output {
    Command::new(program())
        .args(arguments)
        .output()
        .expect("the program runs")
}

#[test]
fn transcripts() {
    trycmd::TestCases::new()
        .register_bin("ntheap", program())
        .case("tests/cmd/*.trycmd");
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
    assert!(String::from_utf8_lossy(&output.stdout).contains("Not sure:"));
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

/// Runs `ntheap shell` with commands on standard input.
fn shell(dumps: &[&str], commands: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .arg("shell")
        .args(dumps.iter().map(|name| testdata(name)))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the program runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all(commands.as_bytes()).expect("written");
    drop(stdin);
    child.wait_with_output().expect("it ends")
}

#[test]
fn the_shell_takes_commands_from_a_pipe_over_two_dumps() {
    let dumps = [
        "19041.662-small.snap1.dmp.zst",
        "19041.662-small.snap2.dmp.zst",
    ];
    let output = shell(
        &dumps,
        ".before\n!heap\n\n.after\n!heap\n!diff\nq\nnot read\n",
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    let after = stdout
        .find("19041.662-small.snap2.dmp.zst\n")
        .expect("after");
    assert!(
        stdout.starts_with("19041.662-small.snap1.dmp.zst\n"),
        "{stdout}"
    );
    assert!(stdout[..after].contains("NT Heap"), "{stdout}");
    assert!(stdout[after..].contains("NT Heap"), "{stdout}");
    let compared = ntheap(&[
        "diff",
        &testdata(dumps[0]).to_string_lossy(),
        &testdata(dumps[1]).to_string_lossy(),
    ]);
    let compared = String::from_utf8_lossy(&compared.stdout).into_owned();
    assert!(stdout.ends_with(&compared), "{stdout}\n---\n{compared}");
}

#[test]
fn a_wrong_command_does_not_end_the_shell() {
    let output = shell(
        &["19041.662-small.snap1.dmp.zst"],
        "!heep\n.after\n!address zz\n.help",
    );
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    for said in ["the nearest one is !heap", "one dump only", "zz: neither"] {
        assert!(stderr.contains(said), "{stderr}");
    }
    assert!(String::from_utf8_lossy(&output.stdout).contains("!heap "));
}

#[test]
fn the_shell_changes_the_side_of_a_wow64_process() {
    let output = shell(
        &["x86-19041.546-wow64ust.snap1.dmp.zst"],
        ".effmach\n.effmach amd64\n!heap\n.effmach x86\n",
    );
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    assert!(stdout.starts_with("Effective machine: x86 compatible (x86)\n"));
    assert!(
        stdout.contains("Effective machine: x64 (AMD64)\n"),
        "{stdout}"
    );
    assert!(stdout.contains("590000 "), "{stdout}");
    assert!(stdout.ends_with("Effective machine: x86 compatible (x86)\n"));
}

#[test]
fn a_loop_of_debugger_commands_ends_in_time() {
    let dump = testdata("19041.662-small.snap1.dmp.zst");
    let begun = std::time::Instant::now();
    let output = ntheap(&[
        "exec",
        dump.to_str().expect("text"),
        "--timeout",
        "1",
        ".while (1) {!heap -p -all}",
        ".echo no more",
    ]);
    let said = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(
        said.contains("stopped: the time is up (--timeout)"),
        "{said}"
    );
    assert!(
        text.contains("_HEAP @") && !text.contains("\nno more"),
        "{said}"
    );
    assert!(begun.elapsed().as_secs() < 60);
}
