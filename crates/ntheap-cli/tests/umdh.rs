//! `ntheap umdh`: its logs against what the processes had allocated, its comparisons against what
//! the genuine umdh printed.
//!
//! The latter runs if the environment variable `NTHEAP_ORACLE` holds the path of the oracle folder,
//! beside which are `umdh/pairs` and `symbols`.

use std::{
    collections::BTreeMap,
    fs,
    io::Read,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use ntheap_report::umdh::{Frame, Log};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn testdata(name: &str) -> String {
    let path = workspace().join("testdata").join(name);
    path.to_string_lossy().into_owned()
}

fn ntheap(arguments: &[&str]) -> Output {
    let folder = tempfile::tempdir().expect("a folder");
    Command::new(env!("CARGO_BIN_EXE_ntheap"))
        .args(arguments)
        .env_remove("_NT_SYMBOL_PATH")
        .env("NTHEAP_CACHE", folder.path())
        .output()
        .expect("the program runs")
}

/// The output of a run that ended well.
fn text(arguments: &[&str]) -> String {
    let output = ntheap(arguments);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

/// Address of an allocation -> size and captured stack, from a truth file.
fn truth(name: &str) -> BTreeMap<u64, (u64, Vec<u64>)> {
    let file = fs::File::open(testdata(name)).expect("a truth file");
    let mut bytes = Vec::new();
    zstd::Decoder::new(file)
        .and_then(|mut decoder| decoder.read_to_end(&mut bytes))
        .expect("zstd");
    let json: serde_json::Value = serde_json::from_slice(&bytes).expect("JSON");
    let allocations = json["allocations"].as_array().expect("allocations");
    let number = |value: &serde_json::Value| value.as_u64().expect("a number");
    allocations
        .iter()
        .filter_map(|row| {
            let stack = &json["stacks"][row[6].as_u64()? as usize];
            let frames = stack.as_array()?.iter().map(number).collect();
            Some((number(&row[1]), (number(&row[2]), frames)))
        })
        .collect()
}

#[test]
fn a_snapshot_holds_the_allocations_with_their_stacks() {
    for name in [
        "19041.662-smallust.snap1",
        "9600.18438-smallust.snap1",
        "26100.2454-smallust.snap2",
        "22000.778-smallsegust.snap1",
        "x86-7601.21861-smallust.snap2",
        "x86-19041.546-wow64ust.snap1",
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("snapshot.log");
        let path = file.to_string_lossy();
        let dump = testdata(&format!("{name}.dmp.zst"));
        assert_eq!(text(&["umdh", "snapshot", &dump, "-o", &path]), "");

        let bytes = fs::read(&file).expect("the log");
        assert_eq!(text(&["umdh", "snapshot", &dump]).as_bytes(), bytes);
        let (log, diagnostics) = Log::parse(&bytes).expect("a log");
        let wrong = (
            diagnostics.skipped_lines,
            diagnostics.traces_without_stack,
            diagnostics.conflicting_stacks,
            diagnostics.unclosed_heaps,
        );
        assert_eq!(wrong, (0, 0, 0, 0), "{name}");
        let truth = truth(&format!("{name}.truth.json.zst"));
        let mut compared = 0;
        for allocation in log.heaps.iter().flat_map(|heap| &heap.allocations) {
            let address = allocation.address;
            // The process parameters and the like are made before anything can record calls.
            let Some((size, stack)) = truth.get(&address) else {
                continue;
            };
            assert_eq!(allocation.requested, *size, "{name}: {address:x}");
            let frames = &log.traces[&allocation.trace].frames;
            let stack: Vec<Frame> = stack.iter().map(|&frame| Frame::Address(frame)).collect();
            assert_eq!(frames, &stack, "{name}: {address:x}");
            compared += 1;
        }
        assert_eq!(compared, truth.len(), "{name}: every allocation is listed");
        assert!(compared > 1000, "{name}: {compared}");
    }
}

#[test]
fn dumps_and_their_logs_compare_the_same_in_any_mix() {
    let symbols = testdata("symbols");
    let folder = tempfile::tempdir().expect("a folder");
    let dumps = [1, 2].map(|n| testdata(&format!("19041.662-smallust.snap{n}.dmp.zst")));
    let logs =
        ["1.log", "2.log"].map(|name| folder.path().join(name).to_string_lossy().into_owned());
    for (dump, log) in dumps.iter().zip(&logs) {
        text(&["umdh", "snapshot", dump, "-o", log]);
    }
    let compare = |old: &str, new: &str| text(&["umdh", "diff", old, new, "--symbols", &symbols]);
    let of_dumps = compare(&dumps[0], &dumps[1]);
    for (old, new) in [(&dumps[0], &logs[1]), (&logs[0], &dumps[1])] {
        assert_eq!(compare(old, new), of_dumps);
    }
    let reference = ["--modules-of", &dumps[0], "--symbols", &symbols];
    let arguments = [&["umdh", "diff", &logs[0], &logs[1]][..], &reference].concat();
    assert_eq!(text(&arguments), of_dumps);

    // The leak: blocks of 0x30 bytes.
    let leak = of_dumps
        .split("\r\n\r\n")
        .find(|entry| entry.contains("MakeStringBuffer+"));
    assert!(
        leak.is_some_and(|stack| stack.contains("ordersvc!app::LeakSome+3D")),
        "{leak:?}"
    );
    assert!(of_dumps.contains("+     5a0 (   5a0 -     0)     1e allocs\tBackTrace"));

    // Two logs alone do not tell which PDBs belong to their modules: the one of the name is taken, and
    // said to be.
    let output = ntheap(&["umdh", "diff", &logs[0], &logs[1], "--symbols", &symbols]);
    assert!(output.status.success());
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("warning: ordersvc: "), "{stderr}");
    assert!(stderr.contains("of this name on the path"), "{stderr}");
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(stdout.contains("ordersvc!app::"), "{stdout}");
    assert!(stdout.contains("may be another build's"), "{stdout}");

    // Without a PDB of the name there are no names.
    let nowhere = folder.path().to_string_lossy().into_owned();
    let output = ntheap(&["umdh", "diff", &logs[0], &logs[1], "--symbols", &nowhere]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.contains("no symbols for ordersvc"), "{stderr}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("\tordersvc!???+0 : 7FF6228B"));
}

#[test]
fn the_output_never_overwrites_an_input() {
    let folder = tempfile::tempdir().expect("a folder");
    let copy = folder.path().join("copy.dmp.zst");
    fs::copy(testdata("19041.662-smallust.snap1.dmp.zst"), &copy).expect("copied");
    let before = fs::read(&copy).expect("read");
    let path = copy.to_string_lossy();
    let output = ntheap(&["umdh", "snapshot", &path, "-o", &path]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(fs::read(&copy).expect("read"), before);
}

/// The folder beside the oracle folder.
fn beside_oracle(name: &str) -> Option<PathBuf> {
    let oracle = std::env::var_os("NTHEAP_ORACLE")?;
    let oracle = workspace()
        .join(oracle)
        .canonicalize()
        .expect("NTHEAP_ORACLE is a folder");
    Some(oracle.parent().expect("a parent").join(name))
}

/// A comparison without what symbol loading prints, its entries of equal gain in one order.
fn comparable(report: &str) -> Vec<String> {
    let start = report.find("//    ").expect("a legend");
    let (legend, entries) = report[start..].split_once("\r\n\r\n\r\n").expect("entries");
    let (entries, total) = entries.split_at(entries.find("\r\nTotal ").unwrap_or(0));
    let mut list: Vec<String> = Vec::new();
    for line in entries.split_inclusive("\r\n") {
        if line.contains(" allocs\t") {
            list.push(String::new());
        }
        list.last_mut()
            .expect("an entry comes first")
            .push_str(line);
    }
    let gain = |entry: &String| entry.split(" (").next().map(str::to_owned);
    for equal in list.chunk_by_mut(|a, b| gain(a) == gain(b)) {
        equal.sort();
    }
    list.insert(0, legend.to_owned());
    list.push(total.to_owned());
    list
}

#[test]
fn comparisons_equal_those_of_umdh() {
    let (Some(umdh), Some(symbols)) = (beside_oracle("umdh"), beside_oracle("symbols")) else {
        println!("NTHEAP_ORACLE is not set: nothing compared");
        return;
    };
    // The PDBs that umdh used, for no dump names them.
    let pdbs = tempfile::tempdir().expect("a folder");
    for (folder, name, id) in [
        ("ntdll", "ntdll.pdb", "1EB9FACB04C73C5DEA7160764CD333D01"),
        (
            "programs",
            "ordersvc.pdb",
            "E66252E4900C554B4C4C44205044422E1",
        ),
        (
            "programs",
            "strkit.pdb",
            "70DEA8C5995E9CE44C4C44205044422E1",
        ),
    ] {
        let from = symbols.join(folder).join(name).join(id).join(name);
        fs::copy(from, pdbs.path().join(name)).expect("a PDB");
    }
    let pdbs = pdbs.path().to_string_lossy();
    let folder = umdh.join("pairs");
    let (mut outputs, mut frames) = (0, 0);
    for entry in fs::read_dir(&folder).expect("umdh/pairs") {
        let path = entry.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "txt") {
            continue;
        }
        let name = path
            .file_stem()
            .expect("a name")
            .to_string_lossy()
            .into_owned();
        let log = |name: &str| {
            folder
                .join(format!("{name}.log"))
                .to_string_lossy()
                .into_owned()
        };
        let logs = match &name[..] {
            "single_forge1" | "single_forge1-d" => vec![log("ordersvc.snap1")],
            "single_p1after" | "single_p1after-d" => vec![log("p1.after")],
            _ => match name.split('.').collect::<Vec<_>>()[..] {
                [pair, _] => vec![
                    log(&format!("{pair}.before")),
                    log(&format!("{pair}.after")),
                ],
                [series, pair, _] => {
                    let (old, new) = pair.split_once('-').expect("OLD-NEW");
                    [old, new]
                        .map(|n| log(&format!("{series}.snap{n}")))
                        .to_vec()
                }
                _ => panic!("{name}: what was compared is not known"),
            },
        };
        let mut arguments = vec!["umdh", "diff", "--symbols", &pdbs, "--allow-mismatched"];
        if name.ends_with(".dec") || name.ends_with("-d") {
            arguments.push("-d");
        }
        arguments.extend(logs.iter().map(String::as_str));
        let ours = text(&arguments);
        let expected = fs::read(&path).expect("umdh's output");
        let expected = String::from_utf8(expected).expect("UTF-8");
        assert_eq!(comparable(&ours), comparable(&expected), "{name}");
        outputs += 1;
        frames += expected
            .lines()
            .filter(|line| line.starts_with('\t'))
            .count();
    }
    println!("{outputs} outputs of umdh with {frames} frames are equal");
    assert!(outputs > 0 && frames > 0);
}
