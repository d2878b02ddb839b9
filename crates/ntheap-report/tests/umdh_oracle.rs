//! Compares logs with the library and checks the result against what the real umdh printed.
//!
//! Runs if the environment variable `NTHEAP_ORACLE` holds the path of the oracle folder; beside it
//! lies `umdh/pairs`, with `NAME.before.log`, `NAME.after.log`, umdh's output `NAME.hex.txt` and
//! `NAME.dec.txt` (`-d`), `NAME.A-B.*` for logs `NAME.snapA.log` and `NAME.snapB.log`, and
//! `single_*` for one log.
//!
//! Symbols belong to an upper crate. Here every number, id, sign, the order and the structure is
//! compared byte for byte, and of a frame that umdh resolved, only the module. Frames that umdh did
//! not resolve are compared whole. The comparison of everything, with real symbols, is left to a
//! test of the command line tool.

use std::fs;
use std::path::{Path, PathBuf};

use ntheap::names::Name;
use ntheap_report::umdh::{Diff, Log, Radix, ReportOptions, write_report};

/// The folder `umdh` beside the oracle folder.
fn umdh_folder() -> Option<PathBuf> {
    let Some(oracle) = std::env::var_os("NTHEAP_ORACLE") else {
        eprintln!("NTHEAP_ORACLE is not set: nothing compared");
        return None;
    };
    let oracle = fs::canonicalize(oracle).expect("NTHEAP_ORACLE is a folder");
    Some(
        oracle
            .parent()
            .expect("the oracle folder has a parent")
            .join("umdh"),
    )
}

fn read(path: &Path) -> Vec<u8> {
    fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn parse(path: &Path) -> Log {
    let (log, diagnostics) = Log::parse(&read(path)).expect("a log");
    assert_eq!(
        diagnostics.skipped_lines,
        0,
        "{}: {:?}",
        path.display(),
        diagnostics.skipped
    );
    assert_eq!(diagnostics.traces_without_stack, 0, "{}", path.display());
    assert_eq!(diagnostics.conflicting_stacks, 0, "{}", path.display());
    log
}

/// The logs (old, new) that the output `name` is of.
fn logs_of(name: &str, folder: &Path) -> (Option<PathBuf>, PathBuf) {
    let log = |name: String| folder.join(name + ".log");
    if let Some(single) = name.strip_prefix("single_") {
        let of = match single.trim_end_matches("-d") {
            "forge1" => "ordersvc.snap1".to_owned(),
            other => match other.strip_suffix("after") {
                Some(pair) => format!("{pair}.after"),
                None => panic!("no log is known for {name}"),
            },
        };
        return (None, log(of));
    }
    let pair = name.rsplit_once('.').expect("NAME.hex or NAME.dec").0;
    match pair.split_once('.') {
        None => (
            Some(log(format!("{pair}.before"))),
            log(format!("{pair}.after")),
        ),
        Some((name, numbers)) => {
            let (old, new) = numbers.split_once('-').expect("OLD-NEW");
            (
                Some(log(format!("{name}.snap{old}"))),
                log(format!("{name}.snap{new}")),
            )
        }
    }
}

/// A report in pieces that can be compared.
#[derive(Debug, PartialEq)]
struct Pieces<'a> {
    /// From the legend to the first entry.
    legend: &'a str,
    entries: Vec<&'a str>,
    /// From the end of the last entry.
    total: &'a str,
}

fn pieces(report: &str) -> Pieces<'_> {
    let start = report.find("//    ").expect("a legend");
    let total = report.find("\r\nTotal ").expect("a total");
    let (head, total) = report.split_at(total);
    let (legend, entries) = head[start..].split_at(head[start..].find("\r\n\r\n\r\n").unwrap() + 6);
    let starts: Vec<_> = entries
        .match_indices(" allocs\t")
        .map(|(at, _)| entries[..at].rfind('\n').map_or(0, |line| line + 1))
        .collect();
    assert_eq!(
        starts.first().copied().unwrap_or(0),
        0,
        "nothing before the first entry"
    );
    let ends = starts.iter().skip(1).copied().chain([entries.len()]);
    let entries = starts
        .iter()
        .zip(ends)
        .map(|(&start, end)| &entries[start..end])
        .collect();
    Pieces {
        legend,
        entries,
        total,
    }
}

/// The byte delta, as text, of an entry.
fn delta(entry: &str) -> &str {
    entry.split_once(" (").expect("a delta").0
}

/// An entry with what symbols decide taken out: of a resolved frame only the module is left.
fn without_symbols(entry: &str) -> String {
    entry
        .split_inclusive("\r\n")
        .map(|line| {
            match line
                .strip_prefix('\t')
                .and_then(|frame| frame.split_once('!'))
            {
                Some((module, symbol)) if !symbol.starts_with("???") => format!("\t{module}!\r\n"),
                _ => line.to_owned(),
            }
        })
        .collect()
}

#[test]
fn comparisons_equal_those_of_umdh() {
    let Some(folder) = umdh_folder() else { return };
    let folder = folder.join("pairs");
    let mut outputs: Vec<_> = fs::read_dir(&folder)
        .expect("umdh/pairs")
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    outputs.sort();
    assert!(!outputs.is_empty());
    let (mut entries, mut same_order) = (0, 0);
    for path in &outputs {
        let name = path.file_stem().unwrap().to_str().unwrap();
        let (old, new) = logs_of(name, &folder);
        let (old, new) = (old.as_deref().map(parse), parse(&new));
        let diff = match &old {
            Some(old) => Diff::between(old, &new),
            None => Diff::single(&new),
        };
        let decimal = name.ends_with(".dec") || name.ends_with("-d");
        let options = ReportOptions {
            radix: if decimal { Radix::Decimal } else { Radix::Hex },
            ..ReportOptions::default()
        };
        // Which modules have symbols is told by umdh's output; what these are is taken out below.
        let expected = String::from_utf8(read(path)).unwrap();
        let resolve = |address: u64, log: &Log| {
            let module = log
                .modules
                .iter()
                .find(|module| module.contains(address))?
                .name();
            expected
                .contains(&format!("DBGHELP: {module} - p"))
                .then(|| Name {
                    module: module.to_owned(),
                    symbol: Some(String::new()),
                    ..Name::default()
                })
        };
        let mut ours = Vec::new();
        write_report(&diff, &options, &resolve, &mut ours).unwrap();
        let ours = String::from_utf8(ours).unwrap();

        let (ours, expected) = (pieces(&ours), pieces(&expected));
        assert_eq!(ours.legend, expected.legend, "{name}");
        assert_eq!(ours.total, expected.total, "{name}");
        let reduced = |pieces: &Pieces<'_>| -> Vec<_> {
            pieces
                .entries
                .iter()
                .map(|e| (delta(e).to_owned(), without_symbols(e)))
                .collect()
        };
        let (mut ours, mut expected) = (reduced(&ours), reduced(&expected));
        entries += expected.len();
        same_order += usize::from(ours == expected);
        // Entries of equal delta come in an order internal to umdh.
        for list in [&mut ours, &mut expected] {
            for equal in list.chunk_by_mut(|a, b| a.0 == b.0) {
                equal.sort();
            }
        }
        assert_eq!(ours, expected, "{name}");
    }
    println!(
        "{} outputs with {entries} entries are equal, {same_order} of them in the same order",
        outputs.len()
    );
    // Not promised by umdh, but so far our order of equal deltas is umdh's.
    assert_eq!(same_order, outputs.len());
}

/// Written again, a log is the same from the first heap on (the header tells how umdh opened the
/// process, which we do not write).
#[test]
fn logs_written_again_are_the_same() {
    let Some(folder) = umdh_folder() else { return };
    let (mut same, mut all) = (0, 0);
    for entry in fs::read_dir(folder.join("pairs")).expect("umdh/pairs") {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let log = parse(&path);
        let written = String::from_utf8(log.write(Vec::new()).unwrap()).unwrap();
        assert_eq!(Log::parse(written.as_bytes()).unwrap().0, log);
        let original = String::from_utf8(read(&path)).unwrap();
        let body = |text: &str| text[text.find("*- -").expect("a heap")..].to_owned();
        let modules = |text: &str| -> Vec<String> {
            let modules = text.lines().skip_while(|line| !line.contains("Base Size"));
            modules
                .take_while(|line| *line != "//")
                .map(str::to_owned)
                .collect()
        };
        assert_eq!(modules(&written), modules(&original));
        all += 1;
        if body(&written) == body(&original) {
            same += 1;
        } else {
            println!("{}: empty lines differ", path.display());
            let lines = |text: &str| -> Vec<String> {
                body(text)
                    .lines()
                    .filter(|line| !line.is_empty())
                    .map(str::to_owned)
                    .collect()
            };
            assert_eq!(lines(&written), lines(&original), "{}", path.display());
        }
    }
    println!("{same} of {all} logs are the same byte for byte from the first heap on");
    assert!(same > 0);
}

/// The log of a real process: nothing in it is garbage.
#[test]
fn real_logs_are_understood() {
    let Some(folder) = umdh_folder() else { return };
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if !path
            .file_name()
            .unwrap()
            .to_string_lossy()
            .starts_with("real-log")
        {
            continue;
        }
        let (log, diagnostics) = Log::parse(&read(&path)).unwrap();
        println!("{}: {diagnostics:?}", path.display());
        assert_eq!(diagnostics.skipped_lines, 0);
        assert_eq!(diagnostics.unclosed_heaps, 0);
        assert!(!log.modules.is_empty() && !log.heaps.is_empty() && !log.traces.is_empty());
        let again = log.write(Vec::new()).unwrap();
        assert_eq!(Log::parse(&again).unwrap().0, log);
    }
}
