//! The verdict over dumps whose leaks are known: what a reader sees first must be what leaks.
//!
//! Runs over the leak oracle if `NTHEAP_ORACLE` is set (beside it lie `oracle-leaks` and the programs'
//! PDBs), else over `testdata/` alone.

use std::{
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn ntheap(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .output()
        .expect("the program runs")
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn json(dumps: &[PathBuf], symbols: &Path, more: &[&str]) -> Value {
    let mut arguments = vec!["diff".to_owned()];
    arguments.extend(dumps.iter().map(|dump| dump.display().to_string()));
    let symbols = symbols.display().to_string();
    let fixed = ["--symbols", &symbols, "--format", "json"];
    arguments.extend(fixed.iter().chain(more).map(|text| (*text).to_owned()));
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = ntheap(&arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v Vec<Value> {
    value["judgement"][name].as_array().expect("a list")
}

fn frames(suspect: &Value) -> Vec<&str> {
    let frames = suspect["frames"].as_array().expect("frames");
    frames.iter().filter_map(Value::as_str).collect()
}

fn comes_from(suspect: &Value, function: &str) -> bool {
    frames(suspect)
        .iter()
        .take(3)
        .any(|frame| frame.ends_with(function))
}

/// The runs of depot with stacks: folder, and its dumps in order.
fn depots() -> Vec<(String, Vec<PathBuf>)> {
    let Some(oracle) = ntheap_synth::oracle::oracle_beside("oracle-leaks") else {
        return Vec::new();
    };
    let entries = std::fs::read_dir(&oracle.unpacked).expect("the oracle");
    let mut folders: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    folders.sort();
    let name = |folder: &PathBuf| {
        let name = folder.file_name().map(|name| name.to_string_lossy());
        name.map_or_else(String::new, |name| name.into_owned())
    };
    folders
        .iter()
        .map(|folder| (name(folder), folder))
        .filter(|(name, _)| name.starts_with("leaks-") && name.ends_with("-ust"))
        .map(|(name, folder)| {
            let dumps = (1..=5).map(|number| folder.join(format!("snap{number}.dmp")));
            (name, dumps.filter(|dump| dump.exists()).collect())
        })
        .collect()
}

fn programs() -> PathBuf {
    let oracle = std::env::var_os("NTHEAP_ORACLE").expect("the oracle is set");
    let oracle = ntheap_synth::oracle::workspace().join(oracle);
    oracle.with_file_name("symbols").join("programs-leaks")
}

#[test]
fn two_dumps_show_the_function_that_loses_blocks() {
    for (name, dumps) in depots() {
        for pair in dumps.windows(2) {
            let answer = json(pair, &programs(), &[]);
            let first = &list(&answer, "suspects")[0];
            assert!(comes_from(first, "depot::LoseSessions"), "{name}: {first}");
            assert_eq!(first["lost"]["lost"]["blocks"], 40, "{name}: {first}");
            assert_eq!(first["delta_blocks"], 40, "{name}");
            assert_eq!(first["confidence"], "high", "{name}");
            assert_eq!(first["type"], "depot::Session", "{name}");
            let wrappers = list(&answer, "wrappers");
            let has = |end: &str| {
                let mut names = wrappers.iter().filter_map(Value::as_str);
                names.any(|name| name.ends_with(end))
            };
            assert!(
                has("depot::AllocateIn") && has("depot::Allocate"),
                "{name}: {wrappers:?}"
            );
        }
    }
}

/// The way to what accumulates leads through a field that the program's PDB names.
#[test]
fn owners_name_the_field() {
    for (name, dumps) in depots() {
        let dump = dumps.last().expect("a dump").display().to_string();
        let symbols = programs().display().to_string();
        let listeners = [
            "owners",
            &dump,
            "--type",
            "depot::Listener",
            "--symbols",
            &symbols,
        ];
        let answer = ntheap(&[&listeners[..], &["--format", "json"]].concat());
        let answer: Value = serde_json::from_slice(&answer.stdout).expect("JSON");
        let steps = answer["accumulation"]["path"].as_array().expect("a path");
        let [root, step] = &steps[..] else {
            panic!("{name}: {steps:?}");
        };
        assert_eq!(root["field"], Value::Null, "{name}: {root}");
        let field = step["field"].as_str().expect("a field");
        assert!(field.starts_with("listeners"), "{name}: {step}");
        let from = format!("depot::Service+0x10 ({field}) at ");
        assert!(
            step["from"].as_str().expect("a place").starts_with(&from),
            "{name}: {step}"
        );
        let words = text(&ntheap(&listeners));
        assert!(
            words.contains(&format!("of depot::Service+0x10 ({field}), held at depot!")),
            "{words}"
        );
        assert!(words.contains(&format!("+0x10 ({field})\n")), "{words}");
    }
}

#[test]
fn a_series_tells_what_comes_always_from_what_came_once() {
    for (name, dumps) in depots().into_iter().filter(|(_, dumps)| dumps.len() == 5) {
        let answer = json(&dumps, &programs(), &[]);
        let suspects = list(&answer, "suspects");
        for (function, steps) in [
            ("depot::LoseSessions", 40),
            ("depot::AddListeners", 12),
            ("depot::LoseOrders", 1),
        ] {
            let found = suspects.iter().find(|one| comes_from(one, function));
            let found = found.unwrap_or_else(|| panic!("{name}: no {function} in {suspects:#?}"));
            assert_eq!(found["trend"], "every-interval", "{name}: {found}");
            assert!(found["steadiness"].as_f64() > Some(0.95), "{name}: {found}");
            let blocks = |moment: usize| found["counts"][moment]["blocks"].as_u64();
            let growth = blocks(4).unwrap() - blocks(0).unwrap();
            assert!(growth >= 4 * steps && growth % 4 == 0, "{name}: {found}");
        }
        assert!(comes_from(&suspects[0], "depot::LoseSessions"), "{name}");
        let held = suspects
            .iter()
            .find(|one| comes_from(one, "depot::AddListeners"));
        let holder = held
            .and_then(|one| one["holder"]["text"].as_str())
            .unwrap_or("");
        assert!(holder.contains("depot::Service+0x10"), "{name}: {holder}");
        let any = |list: &[Value], function: &str| list.iter().any(|o| comes_from(o, function));
        assert!(any(list(&answer, "once"), "depot::AddOrders"), "{name}");
        assert!(any(list(&answer, "once"), "depot::AddNames"), "{name}");
        assert!(
            any(list(&answer, "comes_and_goes"), "depot::AddBacklog"),
            "{name}"
        );
        assert!(!any(suspects, "depot::AddBacklog"), "{name}");
        assert_eq!(answer["series"]["dumps"].as_array().map(Vec::len), Some(5));
    }
}

#[test]
fn without_symbols_the_wrappers_are_found_too() {
    for (name, dumps) in depots() {
        let answer = json(&dumps[..2], Path::new("/nowhere"), &[]);
        let first = &list(&answer, "suspects")[0];
        assert_eq!(first["type"], "depot::Session", "{name}: {first}");
        assert_eq!(first["lost"]["lost"]["blocks"], 40, "{name}: {first}");
        let all = json(&dumps[..2], &programs(), &["--keep-frames"]);
        let kept = frames(&list(&all, "suspects")[0]);
        assert!(
            kept.iter().any(|frame| frame.ends_with("depot::Allocate")),
            "{name}: {kept:?}"
        );
    }
}

fn sample(number: usize) -> PathBuf {
    ntheap_synth::oracle::testdata().join(format!("19041.662-smallust.snap{number}.dmp.zst"))
}

#[test]
fn the_sample_series_has_its_leak_named() {
    let symbols = ntheap_synth::oracle::testdata().join("symbols");
    let answer = json(&[sample(3), sample(1), sample(2)], &symbols, &[]);
    let dumps = answer["series"]["dumps"].as_array().expect("dumps");
    let times: Vec<_> = dumps
        .iter()
        .map(|dump| dump["timestamp"].as_u64())
        .collect();
    assert!(times.is_sorted(), "{times:?}");
    // Strings that the parser makes for several callers are lost.
    let first = &list(&answer, "suspects")[0];
    assert!(
        comes_from(first, "app::parse::MakeStringBuffer"),
        "{first:#}"
    );
    assert_eq!(first["lost"]["lost"]["blocks"], 84, "{first:#}");
}

#[test]
fn growth_beyond_the_limit_ends_with_status_3() {
    let dumps = [sample(1), sample(2)].map(|path| path.display().to_string());
    let status = |limit: &str| {
        let output = ntheap(&["diff", &dumps[0], &dumps[1], "--fail-if-growth", limit]);
        output.status.code()
    };
    // 186,502 bytes in a minute.
    assert_eq!(status("186501"), Some(3));
    assert_eq!(status("186502"), Some(0));
    assert_eq!(status("10MiB/h"), Some(3));
    assert_eq!(status("11MiB/h"), Some(0));
    assert_eq!(status("much"), Some(2));
    let back = ntheap(&["diff", &dumps[1], &dumps[0], "--fail-if-growth", "0"]);
    assert_eq!(back.status.code(), Some(0));
}

#[test]
fn tables_have_a_row_for_each_group() {
    let dumps = [sample(1), sample(2), sample(3)].map(|path| path.display().to_string());
    let output = ntheap(&["diff", &dumps[0], &dumps[1], &dumps[2], "--format", "csv"]);
    let text = text(&output);
    let mut lines = text.split("\r\n");
    let head = lines.next().expect("a head");
    assert_eq!(
        head,
        "heap,size,bytes_1,blocks_1,bytes_2,blocks_2,bytes_3,blocks_3,delta_bytes,delta_blocks,trend,\
         steadiness,stack"
    );
    assert!(lines.clone().count() > 50);
    let delta: i64 = lines
        .filter_map(|line| line.split(',').nth(8))
        .map(|delta| delta.parse::<i64>().expect("a number"))
        .sum();
    let answer = json(
        &[sample(1), sample(2), sample(3)],
        Path::new("/nowhere"),
        &[],
    );
    assert_eq!(answer["total"]["delta_bytes"], delta);
}
