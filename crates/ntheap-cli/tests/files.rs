//! What happens to the program when files are not what they should be, or do not stay it.
#![cfg(unix)]

use std::{
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use tempfile::TempDir;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../testdata")
        .join(name)
}

fn ntheap() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_ntheap"));
    command.env_remove("_NT_SYMBOL_PATH");
    command
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A copy of a dump, unpacked.
fn unpacked(folder: &TempDir, name: &str) -> PathBuf {
    let packed = fs::File::open(testdata(name)).expect("opens");
    let path = folder.path().join("app.dmp");
    let file = fs::File::create(&path).expect("a file");
    zstd::stream::copy_decode(packed, file).expect("unpacks");
    path
}

#[test]
fn a_dump_cut_off_between_two_commands() {
    let folder = TempDir::new().expect("a folder");
    let path = unpacked(&folder, "19041.662-small.snap1.dmp.zst");
    let mut shell = ntheap()
        .arg("shell")
        .arg(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut input = shell.stdin.take().expect("a pipe");
    let mut output = BufReader::new(shell.stdout.take().expect("a pipe"));
    writeln!(input, "lm").expect("written");
    let mut line = String::new();
    output.read_line(&mut line).expect("answers");
    assert!(!line.is_empty());
    let file = fs::File::options().write(true).open(&path).expect("opens");
    file.set_len(0x1000).expect("shrinks");
    writeln!(input, "!heap -stat -h 0\n!heap -s").expect("written");
    drop(input);
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("ends");
    assert!(
        !rest.contains("heap @"),
        "printed what it made of zeros: {rest}"
    );
    let ended = shell.wait_with_output().expect("ends");
    let said = stderr(&ended);
    assert_eq!(ended.status.code(), Some(2), "{said}");
    assert!(said.contains("app.dmp: from byte 4096 of"), "{said}");
}

#[test]
fn pipes_are_refused_at_once() {
    let folder = TempDir::new().expect("a folder");
    let pipe = folder.path().join("pipe");
    assert!(
        Command::new("mkfifo")
            .arg(&pipe)
            .status()
            .expect("mkfifo")
            .success()
    );
    let started = Instant::now();
    for command in ["info", "summary", "verify"] {
        let output = ntheap().arg(command).arg(&pipe).output().expect("ends");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains("is a pipe, not a file"), "{said}");
    }
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[test]
fn a_compressed_file_that_grows_too_much() {
    let dump = testdata("19041.662-small.snap1.dmp.zst");
    let run = |limit: &str| {
        let mut command = ntheap();
        command.args(["info", "--max-unpacked", limit]).arg(&dump);
        command.output().expect("ends")
    };
    let refused = run("1k");
    let said = stderr(&refused);
    assert_eq!(refused.status.code(), Some(2), "{said}");
    assert!(said.contains("unpacks to more than 1024 bytes"), "{said}");
    assert!(said.contains("--max-unpacked"), "{said}");
    assert_eq!(run("1G").status.code(), Some(0));
}

/// Killed while it unpacks, the program leaves nothing behind.
#[test]
fn nothing_is_left_of_an_interrupted_unpacking() {
    let folder = TempDir::new().expect("a folder");
    let bomb = folder.path().join("bomb.dmp.zst");
    let file = fs::File::create(&bomb).expect("a file");
    let mut packer = zstd::Encoder::new(file, 1).expect("zstd");
    let mut zeros = Read::take(std::io::repeat(0), 3 << 30);
    std::io::copy(&mut zeros, &mut packer).expect("packed");
    packer.finish().expect("packed");
    let temporary = folder.path().join("tmp");
    fs::create_dir(&temporary).expect("a folder");
    let mut run = ntheap()
        .arg("info")
        .arg(&bomb)
        .env("TMPDIR", &temporary)
        .stderr(Stdio::null())
        .spawn()
        .expect("starts");
    std::thread::sleep(Duration::from_millis(200));
    let was_running = run.try_wait().expect("asked").is_none();
    run.kill().expect("killed");
    run.wait().expect("ended");
    assert!(was_running, "it was too fast to be interrupted");
    assert_eq!(fs::read_dir(&temporary).expect("there").count(), 0);
}

#[test]
fn a_run_whose_time_is_up_says_so() {
    let dump = testdata("19041.662-small.snap2.dmp.zst");
    for command in ["summary", "stat", "blocks", "verify"] {
        let mut run = ntheap();
        let output = run
            .args([command, "--timeout", "0"])
            .arg(&dump)
            .output()
            .expect("ends");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{command}: {said}");
        assert!(said.contains("the time was up"), "{command}: {said}");
    }
    for time in ["-1", "1e300", "nan"] {
        let mut run = ntheap();
        let output = run
            .arg("info")
            .arg(format!("--timeout={time}"))
            .arg(&dump)
            .output();
        assert_eq!(output.expect("ends").status.code(), Some(2), "{time}");
    }
}
