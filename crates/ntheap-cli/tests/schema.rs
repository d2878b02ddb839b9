//! The published schema (`docs/schema.json`) is that of the reports' types, and what the program really
//! prints keeps it.

use std::{fs, process::Command};

use serde_json::{Value, json};

fn published() -> std::path::PathBuf {
    ntheap_synth::oracle::workspace().join("docs/schema.json")
}

#[test]
fn the_published_schema_is_that_of_the_types() {
    let now = ntheap_report::schema();
    let text = serde_json::to_string_pretty(&now).expect("JSON") + "\n";
    if std::env::var_os("NTHEAP_WRITE_SCHEMA").is_some() {
        fs::write(published(), &text).expect("written");
    }
    let old = fs::read_to_string(published()).expect("docs/schema.json");
    assert!(
        old == text,
        "NTHEAP_WRITE_SCHEMA=1 writes docs/schema.json anew"
    );
}

fn print(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .output()
        .expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() <= Some(1), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// The schema of one definition of the published one.
fn validator(definition: &str) -> jsonschema::Validator {
    let mut schema = ntheap_report::schema();
    let all = schema.as_object_mut().expect("an object");
    all.remove("anyOf");
    all.insert("$ref".to_owned(), json!(format!("#/$defs/{definition}")));
    jsonschema::validator_for(&schema).expect("a schema")
}

fn assert_valid(validator: &jsonschema::Validator, document: &Value, what: &str) {
    let errors: Vec<String> = validator
        .iter_errors(document)
        .take(5)
        .map(|error| format!("{}: {error}", error.instance_path))
        .collect();
    assert!(errors.is_empty(), "{what}: {errors:#?}");
}

#[test]
fn what_is_printed_keeps_the_schema() {
    let file = |name: &str| {
        let path = ntheap_synth::oracle::testdata().join(name);
        path.display().to_string()
    };
    let symbols = file("symbols");
    for dumps in [
        [
            "19041.662-smallust.snap1.dmp.zst",
            "19041.662-smallust.snap2.dmp.zst",
        ],
        [
            "22000.778-smallsegust.snap1.dmp.zst",
            "22000.778-smallsegust.snap2.dmp.zst",
        ],
        [
            "14393.351-pageheap.snap1.dmp.zst",
            "14393.351-pageheap.snap1.dmp.zst",
        ],
        [
            "x86-7601.21861-smallust.snap1.dmp.zst",
            "x86-7601.21861-smallust.snap2.dmp.zst",
        ],
    ] {
        let [first, second] = dumps.map(file);
        let commands: &[(&str, &[&str])] = &[
            ("address", &["address", &second]),
            ("diff", &["diff", &first, &second]),
            ("diff", &["diff", &first, &second, "--symbols", &symbols]),
            ("diff", &["diff", &first, &second, &first]),
            ("fingerprint", &["fingerprint", &second, "--label", "a=b"]),
            ("info", &["info", &second]),
            ("leaks", &["leaks", &second]),
            ("stat", &["stat", &second]),
            ("stat", &["stat", &second, "--group-by", "stack"]),
            ("summary", &["summary", &second]),
            ("types", &["types", &second]),
            ("types", &["types", &first, &second]),
            ("types", &["types", &second, "--containers"]),
            ("verify", &["verify", &second]),
            ("block", &["block", &second, "1000"]),
            ("symbol", &["symbol", &second, "1000"]),
            ("filter", &["filter", &second, "--size", "48"]),
            (
                "blocks",
                &["blocks", &second, "--stack", "--crt", "--state", "all"],
            ),
        ];
        for (command, arguments) in commands {
            let text = print(&[arguments, &["--format", "json"][..]].concat());
            let document: Value = serde_json::from_str(&text).expect("JSON");
            let what = format!("{arguments:?}");
            assert_valid(&validator(&format!("document-{command}")), &document, &what);
        }
        let blocks = validator("line-blocks");
        let text = print(&["blocks", &second, "--stack", "--format", "jsonl"]);
        assert!(text.lines().count() > 100);
        for line in text.lines() {
            let record: Value = serde_json::from_str(line).expect("JSON");
            assert_valid(&blocks, &record, line);
        }
    }
}

#[test]
fn what_is_made_of_many_dumps_keeps_the_schema() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let file = |name: &str| {
        ntheap_synth::oracle::testdata()
            .join(name)
            .display()
            .to_string()
    };
    let mut prints = Vec::new();
    for snapshot in [1, 2] {
        let dump = file(&format!("19041.662-smallust.snap{snapshot}.dmp.zst"));
        let print = path(&format!("{snapshot}.json"));
        fs::write(&print, self::print(&["fingerprint", &dump])).expect("written");
        prints.push(print);
    }
    fs::create_dir(path("dumps")).expect("made");
    fs::write(path("dumps/a.dmp"), b"MDMP").expect("written");
    let symbols = file("symbols");
    let commands: [(&str, &[&str]); 4] = [
        ("diff", &["diff", &prints[0], &prints[1], "-f", "json"]),
        (
            "diff",
            &[
                "diff", &prints[0], &prints[1], "-g", "stack", "-s", &symbols, "-f", "json",
            ],
        ),
        (
            "fingerprint",
            &[
                "fingerprint",
                "--add",
                &prints[0],
                &prints[1],
                "-s",
                &symbols,
            ],
        ),
        (
            "scan",
            &["scan", &path("dumps"), "-o", &path("out"), "-f", "json"],
        ),
    ];
    for (command, arguments) in commands {
        let document: Value = serde_json::from_str(&print(arguments)).expect("JSON");
        let what = format!("{arguments:?}");
        assert_valid(&validator(&format!("document-{command}")), &document, &what);
    }
}

#[test]
fn the_schema_refuses_what_is_wrong() {
    let validator = validator("document-diff");
    assert!(!validator.is_valid(&json!({ "schema": 1, "command": "diff" })));
    assert!(!validator.is_valid(&json!([])));
}
