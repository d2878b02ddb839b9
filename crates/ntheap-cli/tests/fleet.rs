//! Fingerprints, and folders of dumps.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ntheap_synth::fleet;
use serde_json::Value;

fn run(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .env_remove("_NT_SYMBOL_PATH")
        .output()
        .expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(arguments: &[&str]) -> Value {
    let output = run(arguments);
    assert!(
        output.status.code() <= Some(1),
        "{arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn testdata(name: &str) -> String {
    ntheap_synth::oracle::testdata()
        .join(name)
        .display()
        .to_string()
}

/// Writes the dumps of a fleet that are wanted.
fn put(folder: &Path, wanted: impl Fn(&fleet::Member) -> bool) -> Vec<PathBuf> {
    let wanted = fleet::fleet().filter(wanted);
    wanted
        .map(|member| {
            let path = folder.join(&member.name);
            fs::write(&path, &member.bytes).expect("written");
            path
        })
        .collect()
}

#[test]
fn a_fingerprint_has_the_totals_and_nothing_to_hide() {
    for name in [
        "19041.662-smallust.snap2.dmp.zst",
        "19041.662-small.snap1.dmp.zst",
        "22000.778-smallsegust.snap1.dmp.zst",
        "14393.351-pageheap.snap1.dmp.zst",
        "x86-7601.21861-smallust.snap1.dmp.zst",
        "x86-2600.5512-small.snap1.dmp.zst",
        "x86-19041.546-wow64ust.snap1.dmp.zst",
    ] {
        let dump = testdata(name);
        let printed = run(&["fingerprint", &dump]);
        assert!(printed.stdout.len() <= 64 * 1024, "{name}");
        let all: Value = serde_json::from_slice(&printed.stdout).expect("JSON");
        let stat = json(&["stat", &dump, "-f", "json"]);
        let heaps = stat["heaps"].as_array().expect("heaps");
        for (count, field) in [("blocks", "busy_blocks"), ("bytes", "busy_bytes")] {
            let sum: u64 = heaps.iter().filter_map(|heap| heap[field].as_u64()).sum();
            assert_eq!(all["total"][count], sum, "{name}");
            for table in ["heaps", "sizes", "sites"] {
                let table = &all[table];
                let rows = table["rows"].as_array().expect("rows").iter();
                let rows: u64 = rows.filter_map(|row| row[count].as_u64()).sum();
                let others = table["others"][count].as_u64().expect("a number");
                assert_eq!(table["total"][count], rows + others, "{name}");
            }
        }
        // No address of a heap, a module or a block, in whatever form.
        let words = text(&printed).to_lowercase();
        let info = json(&["summary", &dump, "-f", "json"]);
        let handles = info["sides"][0]["heaps"].as_array().expect("heaps");
        for handle in handles.iter().filter_map(|heap| heap["heap"].as_str()) {
            let digits = handle.trim_start_matches("0x");
            let number = u64::from_str_radix(digits, 16).expect("an address");
            assert!(!words.contains(&number.to_string()), "{name}: {handle}");
            assert!(
                digits.len() < 7 || !words.contains(digits),
                "{name}: {handle}"
            );
        }
        for path in ["c:\\", "\\windows", "\\users"] {
            assert!(!words.contains(path), "{name}: {path}");
        }
        // The same again, also where paths are not to be shown.
        assert_eq!(
            run(&["fingerprint", &dump]).stdout,
            printed.stdout,
            "{name}"
        );
        assert_eq!(
            run(&["fingerprint", &dump, "--private"]).stdout,
            printed.stdout,
            "{name}"
        );
    }
}

#[test]
fn stacks_are_the_same_wherever_modules_lie() {
    let folder = tempfile::tempdir().expect("a folder");
    let dumps = put(folder.path(), |dump| dump.day == 0 && dump.version == "1.4");
    let mut sites: Vec<Vec<String>> = Vec::new();
    let mut stacks: Vec<Vec<String>> = Vec::new();
    for dump in &dumps[..8] {
        let all = json(&["fingerprint", &dump.display().to_string()]);
        assert!(
            !all.to_string().contains("user"),
            "a path has the name of a user"
        );
        let of = |field: &str| {
            let rows = all["stacks"].as_array().expect("stacks").iter();
            let mut hashes: Vec<String> = rows
                .map(|row| row[field].as_str().expect("a hash").to_owned())
                .collect();
            hashes.sort();
            hashes
        };
        sites.push(of("site"));
        stacks.push(of("stack"));
    }
    assert_eq!(sites[0].len(), 8);
    assert!(sites.iter().all(|hashes| *hashes == sites[0]));
    // Machines have four versions of Windows.
    assert_eq!(stacks[0], stacks[4]);
    assert_ne!(stacks[0], stacks[1]);
}

#[test]
fn fingerprints_add_up_and_compare() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (first, last) = (0, fleet::DAYS - 1);
    for day in [first, last] {
        let dumps = put(folder.path(), |dump| {
            dump.day == day && dump.version == fleet::VERSION
        });
        let names: Vec<String> = dumps
            .iter()
            .map(|dump| dump.display().to_string())
            .collect();
        let mut lines = String::new();
        for name in &names {
            lines += &text(&run(&["fingerprint", name, "--label", "day=x"]));
        }
        fs::write(path("all.jsonl"), &lines).expect("written");
        let out = path(&format!("{day}.json"));
        let added = run(&["fingerprint", "--add", &path("all.jsonl"), "-o", &out]);
        assert_eq!(added.status.code(), Some(0));
        // Dumps add up as their fingerprints do, in whatever order.
        let mut arguments = vec!["fingerprint", "--add", "--label", "day=x"];
        arguments.extend(names.iter().rev().map(String::as_str));
        assert_eq!(
            text(&run(&arguments)),
            fs::read_to_string(&out).expect("read")
        );
    }
    let (before, after) = (path("0.json"), path(&format!("{last}.json")));
    let diff = json(&["diff", &before, &after, "-f", "json"]);
    let most = &diff["sites"][0];
    assert_eq!(most["size"], fleet::SIZE);
    let place = format!("fleetapp+{:#x}", fleet::leaking_offset());
    assert!(
        most["place"].as_str().expect("a place").contains(&place),
        "{most}"
    );
    let blocks: u64 = fleet::LEAKING
        .iter()
        .map(|&machine| fleet::growth(machine))
        .sum();
    let (was, is) = (&most["before"]["blocks"], &most["after"]["blocks"]);
    assert_eq!(
        is.as_u64().expect("a number") - was.as_u64().expect("a number"),
        blocks
    );
    assert_eq!(diff["before"]["dumps"], fleet::MACHINES);
    let said = text(&run(&["diff", &before, &after]));
    assert!(
        said.starts_with("Growth: ") && said.contains("in a dump on average"),
        "{said}"
    );
    // The other way round nothing grew, and the limit holds for fingerprints, too.
    let back = run(&["diff", &after, &before, "--fail-if-growth", "1"]);
    assert!(text(&back).starts_with("No growth"), "{}", text(&back));
    assert_eq!(back.status.code(), Some(0));
    let grown = run(&["diff", &before, &after, "--fail-if-growth", "1"]);
    assert_eq!(grown.status.code(), Some(3));
}

#[test]
fn a_fingerprint_compares_with_a_dump() {
    let folder = tempfile::tempdir().expect("a folder");
    let print = folder.path().join("first.json").display().to_string();
    let first = testdata("19041.662-smallust.snap1.dmp.zst");
    let second = testdata("19041.662-smallust.snap2.dmp.zst");
    assert!(run(&["fingerprint", &first, "-o", &print]).status.success());
    let dumps = json(&["diff", &first, &second, "-f", "json"]);
    let mixed = json(&["diff", &print, &second, "-f", "json"]);
    for field in ["delta_bytes", "delta_blocks"] {
        assert_eq!(mixed["total"][field], dumps["total"][field]);
    }
    let named = text(&run(&["diff", &print, &second, "-s", &testdata("symbols")]));
    assert!(named.contains("ordersvc!app::"), "{named}");
    let shown = text(&run(&[
        "fingerprint",
        &print,
        "-f",
        "text",
        "-s",
        &testdata("symbols"),
    ]));
    assert!(shown.contains("ordersvc!app::"), "{shown}");
}

#[test]
fn what_is_no_fingerprint_is_said() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("x.json").display().to_string();
    for (content, words) in [
        ("{}", "is no fingerprint"),
        (
            r#"{"schema":1,"command":"diff"}"#,
            "the output of ntheap diff",
        ),
        (r#"{"schema":9,"command":"fingerprint"}"#, "schema 9"),
        ("{\"schema\":1,", "is no fingerprint"),
    ] {
        fs::write(&file, content).expect("written");
        for arguments in [vec!["fingerprint", &file], vec!["diff", &file, &file]] {
            let output = run(&arguments);
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(2), "{stderr}");
            assert!(stderr.contains(words), "{content}: {stderr}");
        }
    }
}

#[test]
fn a_scan_goes_past_what_is_broken_and_on_where_it_ended() {
    let folder = tempfile::tempdir().expect("a folder");
    let dumps = folder.path().join("dumps");
    fs::create_dir_all(dumps.join("more")).expect("made");
    let good = put(&dumps, |dump| dump.day == 0 && dump.version == "1.4");
    let bytes = fs::read(&good[0]).expect("read");
    let packed = zstd::encode_all(&bytes[..], 3).expect("packed");
    fs::write(dumps.join("more/packed.dmp.zst"), packed).expect("written");
    fs::copy(&good[1], dumps.join("more/copy.dmp")).expect("copied");
    fs::write(dumps.join("broken.dmp"), b"MDMP and no more").expect("written");
    fs::write(dumps.join("empty.dmp"), b"").expect("written");
    fs::write(dumps.join("cut.dmp"), &bytes[..bytes.len() * 2 / 3]).expect("written");
    fs::write(dumps.join("notes.txt"), b"hello").expect("written");
    let out = folder.path().join("out");
    let (from, to) = (dumps.display().to_string(), out.display().to_string());
    let scan = |more: &[&str]| {
        let arguments = [
            &[
                "scan",
                &from,
                "-o",
                &to,
                "--labels-from",
                "{machine}_{version}_*",
            ],
            more,
        ];
        run(&arguments.concat())
    };
    let first = scan(&[]);
    let said = text(&first);
    assert_eq!(first.status.code(), Some(1), "{said}");
    let total = good.len() + 5;
    let read = total - 3;
    assert!(
        said.starts_with(&format!(
            "{read} of {total} dumps read, 1 of them in part, 2 failed, 1 left out as copies of others."
        )),
        "{said}"
    );
    assert!(said.contains("1 other files are no dumps."), "{said}");
    let stderr = String::from_utf8_lossy(&first.stderr).into_owned();
    for name in ["broken.dmp", "empty.dmp", "cut.dmp"] {
        assert!(stderr.contains(name), "{name}: {stderr}");
    }
    let lines = |name: &str| fs::read_to_string(out.join(name)).expect("read");
    let prints = lines("fingerprints.jsonl");
    assert_eq!(prints.lines().count(), good.len() + 2);
    // The copy comes before the dump that it is one of, and its name does not fit.
    let has_labels = |line: &&str| {
        let one: Value = serde_json::from_str(line).expect("JSON");
        one["labels"]
            .as_array()
            .is_some_and(|labels| labels.len() == 2)
    };
    assert_eq!(prints.lines().filter(has_labels).count(), good.len() - 1);

    // Nothing is done twice.
    let again = scan(&[]);
    let said = text(&again);
    assert_eq!(again.status.code(), Some(1));
    assert!(
        said.contains(&format!("{total} are known from a run before, 0 are new.")),
        "{said}"
    );
    assert!(again.stderr.is_empty());
    assert_eq!(lines("fingerprints.jsonl"), prints);

    // A run that was killed while it wrote, and a dump that is new.
    fs::write(
        out.join("fingerprints.jsonl"),
        prints.clone() + "{\"schema\":1,\"comm",
    )
    .expect("written");
    fs::write(
        out.join("scan.jsonl"),
        lines("scan.jsonl") + "{\"file\":\"x",
    )
    .expect("written");
    put(&dumps, |dump| {
        dump.day == 1 && dump.machine == "pc-03" && dump.version == "1.4"
    });
    fs::write(dumps.join("empty.dmp"), &bytes[..bytes.len() / 2]).expect("written");
    let third = json(&["scan", &from, "-o", &to, "-f", "json"]);
    assert_eq!(
        (&third["new"], &third["failed"]),
        (&2.into(), &1.into()),
        "{third}"
    );
    let prints = lines("fingerprints.jsonl");
    assert_eq!(prints.lines().count(), good.len() + 4);
    assert!(
        prints
            .lines()
            .all(|line| serde_json::from_str::<Value>(line).is_ok())
    );
    let sum = json(&[
        "fingerprint",
        "--add",
        &out.join("fingerprints.jsonl").display().to_string(),
    ]);
    assert_eq!(sum["dumps"], good.len() + 4);

    let retried = json(&["scan", &from, "-o", &to, "-f", "json", "--retry"]);
    assert_eq!(
        (&retried["new"], &retried["failed"]),
        (&1.into(), &1.into()),
        "{retried}"
    );
    let nowhere = folder.path().join("none").display().to_string();
    assert_eq!(run(&["scan", &nowhere, "-o", &to]).status.code(), Some(2));
}

#[cfg(not(feature = "parquet"))]
#[test]
fn without_parquet_it_is_said_how_to_have_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("out").display().to_string();
    let dump = testdata("19041.662-small.snap1.dmp.zst");
    for arguments in [
        vec!["export", &dump, "--as", "parquet", "-o", &to],
        vec!["scan", &to, "--as", "parquet", "-o", &to],
    ] {
        let output = run(&arguments);
        assert_eq!(output.status.code(), Some(2));
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(stderr.contains("--features parquet"), "{stderr}");
    }
}

#[cfg(feature = "parquet")]
#[test]
fn tables_are_files_by_dump() {
    let folder = tempfile::tempdir().expect("a folder");
    let to = folder.path().join("out");
    let first = testdata("19041.662-smallust.snap1.dmp.zst");
    let second = testdata("22000.778-smallsegust.snap1.dmp.zst");
    let place = to.display().to_string();
    let arguments = [
        "export",
        &first,
        &second,
        "--as",
        "parquet",
        "-o",
        &place,
        "--blocks",
        "--references",
    ];
    assert!(run(&arguments).status.success());
    // A second time the files are written again, and are no more.
    assert!(run(&arguments).status.success());
    for table in [
        "dumps",
        "heaps",
        "size_classes",
        "stacks",
        "sites",
        "types",
        "owners",
        "blocks",
        "references",
    ] {
        let files: Vec<_> = fs::read_dir(to.join(table))
            .expect("a folder")
            .flatten()
            .collect();
        assert_eq!(files.len(), 2, "{table}");
        for file in files {
            let bytes = fs::read(file.path()).expect("read");
            assert!(
                bytes.starts_with(b"PAR1") && bytes.ends_with(b"PAR1"),
                "{table}"
            );
        }
    }
    assert_eq!(
        run(&["export", &first, "--as", "parquet"]).status.code(),
        Some(2)
    );
}
