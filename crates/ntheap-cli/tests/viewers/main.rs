//! What is written for other people's viewers, opened by these: DevTools' own loader of heap snapshots
//! (from npm), heaptrack_print, and a browser for the report. What is not installed is said, and left
//! out.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use serde_json::Value;

fn ntheap(arguments: &[&str]) -> Output {
    let output = Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .output()
        .expect("the program runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    output
}

fn sample(number: usize) -> String {
    let path = ntheap_synth::oracle::testdata();
    let path = path.join(format!("19041.662-smallust.snap{number}.dmp.zst"));
    path.display().to_string()
}

fn symbols() -> String {
    ntheap_synth::oracle::testdata()
        .join("symbols")
        .display()
        .to_string()
}

/// Bytes and blocks of the sample pair: before, after, blocks that are new and gone.
fn comparison() -> Value {
    let (before, after) = (sample(1), sample(2));
    let output = ntheap(&["diff", &before, &after, "--format", "json", "--no-owners"]);
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// Whether a program can be started.
fn is_there(program: &str) -> bool {
    let there = Command::new(program).arg("--version").output().is_ok();
    if !there {
        println!("SKIPPED: there is no {program}");
    }
    there
}

#[test]
fn devtools_sees_the_same_sums_and_differences() {
    if !is_there("node") || !is_there("npm") {
        return;
    }
    let place = ntheap_synth::oracle::workspace().join("target/viewers");
    fs::create_dir_all(&place).expect("a folder");
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/viewers");
    for file in ["package.json", "snapshot.ts", "bundle.mjs"] {
        fs::copy(own.join(file), place.join(file)).expect("copied");
    }
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(&place)
            .output()
            .expect("it runs")
    };
    // What was installed by half is no installation.
    let installed_whole = place.join("installed");
    if !installed_whole.exists() {
        let _ = fs::remove_dir_all(place.join("node_modules"));
        let installed = run("npm", &["install", "--no-audit", "--no-fund"]);
        if !installed.status.success() {
            let why = String::from_utf8_lossy(&installed.stderr).into_owned();
            println!("SKIPPED: npm cannot install DevTools' code: {why}");
            return;
        }
        fs::write(&installed_whole, "").expect("written");
    }
    let bundled = run("node", &["bundle.mjs"]);
    assert!(
        bundled.status.success(),
        "{}",
        String::from_utf8_lossy(&bundled.stderr)
    );
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder
        .path()
        .join("heap.heapsnapshot")
        .display()
        .to_string();
    let (before, after) = (sample(1), sample(2));
    ntheap(&[
        "export",
        &before,
        &after,
        "--as",
        "heapsnapshot",
        "-o",
        &file,
        "--symbols",
        &symbols(),
    ]);
    let files = [1, 2].map(|n| file.replace(".heapsnapshot", &format!(".{n}.heapsnapshot")));
    let loaded = run("node", &["snapshot.mjs", &files[0], &files[1]]);
    let stderr = String::from_utf8_lossy(&loaded.stderr);
    assert!(loaded.status.success(), "{stderr}");
    let seen: Value = serde_json::from_slice(&loaded.stdout).expect("JSON");
    let ours = comparison();
    assert_eq!(
        seen["totals"][0], ours["total"]["before"]["bytes"],
        "{seen}"
    );
    assert_eq!(seen["totals"][1], ours["total"]["after"]["bytes"], "{seen}");
    assert_eq!(seen["delta"], ours["total"]["delta_bytes"], "{seen}");
    let sum = |name: &str| -> u64 {
        let heaps = ours["heaps"].as_array().expect("heaps").iter();
        heaps.filter_map(|heap| heap[name]["blocks"].as_u64()).sum()
    };
    // A block whose type became another one counts twice there.
    let (added, removed) = (seen["added"].as_u64(), seen["removed"].as_u64());
    let retyped = added.expect("a number") - sum("new_blocks");
    assert_eq!(removed, Some(sum("gone_blocks") + retyped), "{seen}");
    assert!(retyped <= 4, "{seen}");
    assert!(seen["functions"].as_u64() > Some(1), "{seen}");
    assert!(seen["retained"].as_u64() > Some(1000), "{seen}");
}

#[test]
fn heaptrack_prints_the_same_sums() {
    if !is_there("heaptrack_print") {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heap.heaptrack").display().to_string();
    let export = |dumps: &[&str]| {
        let symbols = symbols();
        let fixed = ["--as", "heaptrack", "-o", &file, "--symbols", &symbols];
        ntheap(&[&["export"], dumps, &fixed].concat());
        let output = Command::new("heaptrack_print")
            .arg(&file)
            .output()
            .expect("it runs");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let ours = comparison();
    let last = |text: &str, start: &str| {
        let line = text.lines().rev().find(|line| line.starts_with(start));
        line.unwrap_or_else(|| panic!("no {start} in {text}"))
            .to_owned()
    };
    let one = export(&[&sample(2)]);
    let blocks = &ours["total"]["after"]["blocks"];
    let calls = last(&one, "calls to allocation functions");
    assert!(calls.contains(&format!(": {blocks} ")), "{calls}");
    let bytes = ours["total"]["after"]["bytes"].as_f64().expect("a number");
    let leaked = last(&one, "total memory leaked");
    assert!(
        leaked.ends_with(&format!(": {:.2}M", bytes / 1e6)),
        "{leaked}"
    );
    assert!(one.contains("app::core::Allocate"), "{one}");

    // A series is a timeline: what was freed in between is not leaked.
    let all = export(&[&sample(1), &sample(2), &sample(3)]);
    assert!(last(&all, "total runtime").contains("120.00s"), "{all}");
}

#[test]
fn speedscope_has_a_profile_for_each_dump() {
    let output = ntheap(&["export", &sample(1), &sample(2), "--as", "speedscope"]);
    let file: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let profiles = file["profiles"].as_array().expect("profiles");
    let frames = file["shared"]["frames"].as_array().expect("frames").len() as u64;
    let ours = comparison();
    for (profile, side) in profiles.iter().zip(["before", "after"]) {
        assert_eq!(profile["endValue"], ours["total"][side]["bytes"]);
        let weights = profile["weights"].as_array().expect("weights");
        let sum: u64 = weights.iter().filter_map(Value::as_u64).sum();
        assert_eq!(profile["endValue"], sum);
        let samples = profile["samples"].as_array().expect("samples");
        assert_eq!(samples.len(), weights.len());
        let ids = samples
            .iter()
            .flat_map(|sample| sample.as_array().expect("frames"));
        assert!(ids.filter_map(Value::as_u64).all(|id| id < frames));
    }
    assert_eq!(profiles.len(), 2);
}

/// Walks through an HPROF file as its description says; answers instances with the sum of their sizes,
/// and references.
fn hprof(bytes: &[u8]) -> (u64, u64, u64) {
    let u32_at = |at: usize| u32::from_be_bytes(bytes[at..at + 4].try_into().expect("4 bytes"));
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]));
    let id_at = |at: usize| u64::from_be_bytes(bytes[at..at + 8].try_into().expect("8 bytes"));
    let (mut instances, mut size, mut references) = (0, 0, 0);
    let mut objects = std::collections::HashSet::new();
    let mut targets = Vec::new();
    let mut at = b"JAVA PROFILE 1.0.2\0".len() + 4 + 8;
    while at < bytes.len() {
        let (tag, length) = (bytes[at], u32_at(at + 5) as usize);
        at += 9;
        let end = at + length;
        while tag == 0x1c && at < end {
            let kind = bytes[at];
            at += 1;
            match kind {
                0xff | 0x05 => at += 8,
                0x20 => {
                    at += 8 + 4 + 8 * 6 + 4;
                    at += 2;
                    let statics = u16_at(at);
                    at += 2;
                    for _ in 0..statics {
                        assert_eq!(bytes[at + 8], 2);
                        targets.push(id_at(at + 9));
                        at += 8 + 1 + 8;
                    }
                    at += 2 + u16_at(at) * 9;
                }
                0x21 => {
                    objects.insert(id_at(at));
                    let length = u32_at(at + 20) as usize;
                    instances += 1;
                    size += length as u64;
                    for word in bytes[at + 24..at + 24 + length].chunks_exact(8) {
                        let target = u64::from_be_bytes(word.try_into().expect("8 bytes"));
                        if target != 0 {
                            references += 1;
                            targets.push(target);
                        }
                    }
                    at += 24 + length;
                }
                0x23 => {
                    objects.insert(id_at(at));
                    instances += 1;
                    size += u64::from(u32_at(at + 12));
                    at += 17 + u32_at(at + 12) as usize;
                }
                other => panic!("tag {other:#x} at {at:#x}"),
            }
        }
        assert!(
            tag != 0x1c || at == end,
            "a segment ends with its last record"
        );
        at = end;
    }
    assert!(
        targets.iter().all(|target| objects.contains(target)),
        "no id is unknown"
    );
    (instances, size, references)
}

#[test]
fn hprof_holds_every_block_with_its_size() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("heap.hprof");
    ntheap(&[
        "export",
        &sample(2),
        "--as",
        "hprof",
        "-o",
        &file.display().to_string(),
    ]);
    let (instances, size, references) = hprof(&fs::read(&file).expect("written"));
    let ours = comparison();
    assert_eq!(instances, ours["total"]["after"]["blocks"]);
    assert_eq!(size, ours["total"]["after"]["bytes"]);
    assert!(references > 100, "{references}");
}

/// The browser, if there is one.
fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let there = |name: &&str| Command::new(name).arg("--version").output().is_ok();
    let found = names.into_iter().find(there);
    if found.is_none() {
        println!("SKIPPED: there is no Chromium");
    }
    found
}

/// Opens the page with the probe in it; answers what the probe saw.
fn open(browser: &str, page: &Path, width: u32) -> Value {
    let probe = include_str!("probe.html");
    let text = fs::read_to_string(page).expect("the page");
    let probed: PathBuf = page.with_extension("probed.html");
    fs::write(&probed, text.replace("</body>", &format!("{probe}</body>"))).expect("written");
    let profile = tempfile::tempdir().expect("a folder");
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--enable-logging=stderr",
        ])
        .args(["--virtual-time-budget=5000", "--dump-dom"])
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(format!("--window-size={width},1200"))
        .arg(format!("file://{}", probed.display()))
        .output()
        .expect("the browser runs");
    let stderr = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = stderr
        .lines()
        .filter(|line| line.contains("CONSOLE"))
        .collect();
    assert!(said.is_empty(), "the page's console: {said:#?}");
    let dom = String::from_utf8_lossy(&output.stdout);
    let seen = dom
        .split("id=\"seen\">")
        .nth(1)
        .and_then(|rest| rest.split("</script>").next());
    let seen = seen.unwrap_or_else(|| panic!("the probe saw nothing: {stderr}"));
    serde_json::from_str(seen).expect("JSON")
}

#[test]
fn the_report_opens_sorts_and_zooms() {
    let folder = tempfile::tempdir().expect("a folder");
    let page = folder.path().join("report.html");
    let file = page.display().to_string();
    let dumps = [sample(1), sample(2), sample(3)];
    ntheap(&[
        "report",
        &dumps[0],
        &dumps[1],
        &dumps[2],
        "-o",
        &file,
        "--symbols",
        &symbols(),
    ]);
    let text = fs::read_to_string(&page).expect("written");
    assert!(text.len() < 2 << 20, "{}", text.len());
    // Nothing is loaded from anywhere.
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        let found = text.replace("http://www.w3.org/2000/svg", "");
        assert!(!found.contains(outside), "{outside}");
    }
    let Some(browser) = browser() else { return };
    let seen = open(browser, &page, 1200);
    let number = |text: &Value| {
        let digits = text.as_str().expect("text").trim_start_matches("0x");
        u64::from_str_radix(digits, 16).expect("a size")
    };
    let column = |name: &str| -> Vec<u64> {
        seen[name]
            .as_array()
            .expect("a list")
            .iter()
            .map(number)
            .collect()
    };
    let (down, up) = (column("down"), column("up"));
    assert!(
        down.len() > 20 && down.is_sorted_by(|a, b| a >= b),
        "{down:?}"
    );
    assert!(up.is_sorted(), "{up:?}");
    let found = seen["found"].as_array().expect("a list");
    let has = |size: &Value| size.as_str().is_some_and(|size| size.contains("0x30"));
    assert!(!found.is_empty() && found.iter().all(has), "{found:?}");
    assert!(seen["frames"].as_u64() > Some(20), "{seen}");
    assert_eq!(
        seen["whole"], true,
        "a clicked frame is shown alone: {seen}"
    );
    assert!(
        seen["info"]
            .as_str()
            .is_some_and(|info| info.contains("bytes")),
        "{seen}"
    );
    assert!(
        seen["suspects"].as_u64() > Some(0) && seen["strips"].as_u64() > Some(0),
        "{seen}"
    );
    assert_eq!(seen["wide"], false, "{seen}");

    let narrow = open(browser, &page, 500);
    assert_eq!(narrow["wide"], false, "a phone's width is enough: {narrow}");
}
