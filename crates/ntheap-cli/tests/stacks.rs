//! `ntheap stacks`: what its forms add up to.

use std::{fs, path::Path, process::Command};

fn testdata(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata");
    folder.join(name).to_string_lossy().into_owned()
}

fn stdout(arguments: &[&str]) -> Vec<u8> {
    let output = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .output()
        .expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    output.stdout
}

#[test]
fn collapsed_stacks_add_up_to_all_blocks() {
    let dumps = [1, 2].map(|n| testdata(&format!("19041.662-smallust.snap{n}.dmp.zst")));
    let blocks = dumps.each_ref().map(|dump| {
        let lines = stdout(&["blocks", dump, "--format", "jsonl"]);
        let lines = String::from_utf8(lines).expect("UTF-8");
        let size = |line: &str| -> u64 {
            let record: serde_json::Value = serde_json::from_str(line).expect("JSON");
            record["size"].as_u64().expect("a size")
        };
        let sizes: Vec<u64> = lines.lines().map(size).collect();
        [sizes.len() as u64, sizes.iter().sum()]
    });
    for (index, by) in ["blocks", "bytes"].into_iter().enumerate() {
        let text = stdout(&["stacks", &dumps[0], &dumps[1], "--by", by]);
        let text = String::from_utf8(text).expect("UTF-8");
        let mut sums = [0; 2];
        for line in text.lines() {
            let mut fields = line.rsplitn(3, ' ');
            for sum in sums.iter_mut().rev() {
                let number: u64 = fields.next().and_then(|n| n.parse().ok()).expect(line);
                *sum += number;
            }
            assert!(
                fields.next().is_some_and(|stack| stack.contains(';')),
                "{line}"
            );
        }
        assert_eq!(sums, [blocks[0][index], blocks[1][index]], "{by}");
    }
}

#[test]
fn a_profile_is_written_to_its_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heap.pb.gz");
    let dump = testdata("19041.662-smallust.snap1.dmp.zst");
    let path = file.to_string_lossy();
    let said = stdout(&["stacks", &dump, "--as", "pprof", "-o", &path]);
    assert!(said.is_empty());
    let bytes = fs::read(&file).expect("the profile");
    assert!(bytes.starts_with(&[0x1f, 0x8b]), "gzip");
    assert_eq!(
        bytes,
        stdout(&["stacks", &dump, "--as", "pprof"]),
        "the same each time"
    );
}
