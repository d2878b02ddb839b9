//! Compares every resolved address with the truth that belongs to recorded dumps.
//!
//! Runs when `NTHEAP_ORACLE` names the folder of the recordings; their symbols are expected in
//! `symbols` beside it, and the unpacked dumps in `NTHEAP_ORACLE_UNPACKED` (by default
//! `target/oracle`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use minidump::{Minidump, MinidumpModuleList, Module as _};
use ntheap::dump::{Module, PdbReference};
use ntheap_symbols::{ModuleStatus, SymbolPath, Symbols, strip_parameters};
use serde_json::Value;

fn folders() -> Option<(PathBuf, PathBuf)> {
    let Some(oracle) = std::env::var_os("NTHEAP_ORACLE").map(PathBuf::from) else {
        println!("skipped: NTHEAP_ORACLE is not set");
        return None;
    };
    let unpacked = std::env::var_os("NTHEAP_ORACLE_UNPACKED").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/oracle"),
        PathBuf::from,
    );
    if !unpacked.is_dir() {
        println!("skipped: no unpacked recordings in {}", unpacked.display());
        return None;
    }
    Some((oracle.join("../symbols"), unpacked))
}

fn symbol_path(symbols: &Path) -> SymbolPath {
    let mut path = SymbolPath::default();
    path.push_folder(symbols.join("programs"));
    path.push_folder(symbols.join("ntdll"));
    path
}

fn modules(dump: &Path) -> Vec<Module> {
    let dump = Minidump::read_path(dump).expect("the dump opens");
    let list = dump
        .get_stream::<MinidumpModuleList>()
        .expect("it has modules");
    list.iter()
        .map(|module| Module {
            base: module.base_address(),
            size: module.size(),
            path: module.code_file().into_owned(),
            timestamp: 0,
            checksum: 0,
            version: None,
            pdb: module
                .debug_file()
                .zip(module.debug_identifier())
                .map(|(file, id)| PdbReference {
                    file: file.into_owned(),
                    id,
                }),
        })
        .collect()
}

#[derive(Default, Debug)]
struct Counts {
    dumps: usize,
    checked: usize,
    lines: usize,
    without_pdb: usize,
    modules: BTreeMap<String, usize>,
    time: Duration,
}

#[test]
fn truth_of_recorded_dumps() {
    let Some((symbols, unpacked)) = folders() else {
        return;
    };
    let symbols = Symbols::builder().path(symbol_path(&symbols)).build();
    let mut counts = Counts::default();
    let mut wrong = Vec::new();
    for truth_file in truth_files(&unpacked) {
        let text = fs::read_to_string(&truth_file).unwrap();
        let truth: Value = serde_json::from_str(&text).unwrap();
        let stem = truth_file
            .to_str()
            .unwrap()
            .strip_suffix(".truth.json")
            .unwrap()
            .to_owned();
        let dump = PathBuf::from(format!("{stem}.dmp"));
        if !dump.is_file() {
            continue;
        }
        let modules = modules(&dump);
        counts.dumps += 1;
        for (address, expected) in truth["symbols"].as_object().unwrap() {
            let address = u64::from_str_radix(address, 16).unwrap();
            let Some(module) = modules.iter().find(|module| module.contains(address)) else {
                continue;
            };
            let Some(function) = expected["function"].as_str().filter(|f| *f != "??") else {
                continue;
            };
            let Some(loaded) = symbols.module(module) else {
                counts.without_pdb += 1;
                continue;
            };
            let rva = u32::try_from(address - module.base).unwrap();
            assert_eq!(Some(u64::from(rva)), expected["rva"].as_u64());
            let start = Instant::now();
            let at = loaded.resolve(rva);
            let of_call = loaded.resolve_return(rva);
            counts.time += start.elapsed();
            let mut problems = Vec::new();
            let mut check = |what: &str, got: String, want: String| {
                if got != want {
                    problems.push(format!("{what} {got}, truth {want}"));
                }
            };
            let (Some(at), Some(of_call)) = (at, of_call) else {
                wrong.push(format!("{stem} {address:x}: not resolved"));
                continue;
            };
            // The truth names inlined code by the function around it.
            let name = plain(&at.function().function);
            check("function", name, plain(strip_parameters(function)));
            let displacement = Value::from(at.displacement).to_string();
            // Some older recordings have no displacements.
            if expected["displacement"].is_number() {
                check(
                    "displacement",
                    displacement,
                    expected["displacement"].to_string(),
                );
            }
            check(
                "same function",
                of_call.function().function.clone(),
                at.function().function.clone(),
            );
            if expected["file"].is_string() {
                counts.lines += 1;
                let line = |r: &ntheap_symbols::Resolution| {
                    let frame = r.function();
                    format!("{:?}:{:?}", frame.file.as_deref(), frame.line)
                };
                let truth = |line: &str| {
                    let line = expected[line].as_u64().and_then(|l| u32::try_from(l).ok());
                    format!(
                        "{:?}:{:?}",
                        expected["file"].as_str(),
                        line.filter(|&l| l != 0)
                    )
                };
                check("line", line(&at), truth("line"));
                let recorded = loaded.source_line(rva);
                let recorded = recorded.map(|l| format!("{:?}:{:?}", Some(l.file), Some(l.line)));
                check("line record", recorded.unwrap_or_default(), truth("line"));
                check("line of call", line(&of_call), truth("line_of_call"));
            }
            counts.checked += 1;
            *counts.modules.entry(module.name().to_owned()).or_default() += 1;
            if !problems.is_empty() {
                wrong.push(format!(
                    "{stem} {address:x} {function}: {}",
                    problems.join("; ")
                ));
            }
        }
    }
    println!("{counts:?}");
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong[..wrong.len().min(40)].join("\n")
    );
    assert!(counts.dumps == 0 || counts.checked > 0);
}

/// Function names without the words that only some printers write.
fn plain(name: &str) -> String {
    name.replace("struct ", "")
        .replace("class ", "")
        .replace(", ", ",")
}

fn truth_files(unpacked: &Path) -> Vec<PathBuf> {
    let mut files: Vec<PathBuf> = fs::read_dir(unpacked)
        .unwrap()
        .filter_map(|folder| fs::read_dir(folder.ok()?.path()).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .filter(|path| {
            path.to_str()
                .is_some_and(|path| path.ends_with(".truth.json"))
        })
        .collect();
    files.sort();
    files
}

#[test]
fn statuses_of_recorded_symbols() {
    let Some((symbols, _)) = folders() else {
        return;
    };
    for (name, id, is_public) in [
        ("ntdll.pdb", "1EB9FACB04C73C5DEA7160764CD333D01", true),
        ("wntdll.pdb", "CBD5D6B854F6D41D5540B0C888430F081", true),
    ] {
        let module = Module {
            base: 0,
            size: 1 << 30,
            path: r"C:\Windows\System32\ntdll.dll".to_owned(),
            timestamp: 0,
            checksum: 0,
            version: None,
            pdb: Some(PdbReference {
                file: name.to_owned(),
                id: id.parse().unwrap(),
            }),
        };
        let start = Instant::now();
        let resolver = Symbols::builder().path(symbol_path(&symbols)).build();
        let status = resolver.status(&module);
        let loading = start.elapsed();
        let ModuleStatus::Loaded {
            detail,
            mismatched,
            line_error,
            ..
        } = status
        else {
            panic!("{status:?}");
        };
        assert_eq!(
            detail == ntheap_symbols::SymbolDetail::PublicOnly,
            is_public
        );
        assert!(!mismatched);
        assert_eq!(line_error, None);
        assert!(resolver.lookup(&module, "RtlpLFHKey").is_some());
        assert_eq!(resolver.search(&module, "RtlpLFHKe?").len(), 1);
        let loaded = resolver.module(&module).unwrap();
        let start = Instant::now();
        let types = loaded.types().unwrap();
        println!(
            "{name}: loaded in {loading:?}, types in {:?}",
            start.elapsed()
        );
        let (size, encoding) = if name == "ntdll.pdb" {
            (0x2c0, 0x80)
        } else {
            (0x258, 0x50)
        };
        assert_eq!(types.structure("_HEAP").unwrap().size, size);
        assert_eq!(types.field("_HEAP", "Encoding").unwrap().0, encoding);
        // Unnamed structures share their names and lie in each other.
        for structure in types.structures() {
            assert_eq!(types.field(&structure.name, "no such field"), None);
        }
    }
}

/// The debugger's own words: lines such as `7ff6228b19ee ordersvc!app::core::Allocate+0x1e`.
#[test]
fn names_as_the_debugger_prints_them() {
    let Some((symbols, unpacked)) = folders() else {
        return;
    };
    let symbols = Symbols::builder().path(symbol_path(&symbols)).build();
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    let mut wrong: BTreeMap<String, usize> = BTreeMap::new();
    for folder in fs::read_dir(&unpacked).unwrap().filter_map(Result::ok) {
        let dump = folder.path().join("dump.dmp");
        let Ok(transcripts) = fs::read_dir(folder.path().join("cdb")) else {
            continue;
        };
        if !dump.is_file() {
            continue;
        }
        let modules = modules(&dump);
        for transcript in transcripts.filter_map(Result::ok) {
            let Ok(text) = fs::read(transcript.path()) else {
                continue;
            };
            let text = String::from_utf8_lossy(&text);
            for (address, module, name, displacement) in text.lines().filter_map(named_address) {
                let Some(module) = modules
                    .iter()
                    .find(|m| m.contains(address) && m.name().eq_ignore_ascii_case(module))
                else {
                    continue;
                };
                // The debugger had no PDB of strkit for these, and printed its exports.
                let folder_name = folder.file_name().to_string_lossy().into_owned();
                if folder_name.starts_with("cdb-x86-") && module.name() == "strkit" {
                    continue;
                }
                let Some(loaded) = symbols.module(module) else {
                    continue;
                };
                let rva = u32::try_from(address - module.base).unwrap();
                let got = loaded.resolve(rva).map_or_else(String::new, |r| {
                    format!("{}+{:#x}", r.function().function, r.displacement)
                });
                *counts.entry(module.name().to_owned()).or_default() += 1;
                let want = format!("{name}+{displacement:#x}");
                if got != want {
                    let line = format!("{folder_name} {rva:x} {got}, debugger {want}");
                    *wrong.entry(line).or_default() += 1;
                }
            }
        }
    }
    println!("{counts:?}");
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
}

fn named_address(line: &str) -> Option<(u64, &str, &str, u64)> {
    let (address, symbol) = line.trim().split_once(' ')?;
    let address = address.trim_matches(['(', ')']).replace('`', "");
    let address = u64::from_str_radix(&address, 16).ok()?;
    let symbol = symbol.split("   |  ").next()?.trim();
    let (module, symbol) = symbol.split_once('!')?;
    let (name, displacement) = symbol.rsplit_once("+0x")?;
    let is_address = line
        .trim_start()
        .starts_with(|c: char| c.is_ascii_hexdigit());
    let displacement = u64::from_str_radix(displacement, 16).ok()?;
    is_address.then_some((address, module, name, displacement))
}

/// `ln` names an address by the symbol below and the next one, `x` lists the symbols of a pattern.
#[test]
fn neighbours_and_lists_as_the_debugger_prints_them() {
    let Some((symbols, unpacked)) = folders() else {
        return;
    };
    let symbols = Symbols::builder().path(symbol_path(&symbols)).build();
    let (mut neighbours, mut lists, mut wrong) = (0, 0, Vec::new());
    for folder in fs::read_dir(&unpacked).unwrap().filter_map(Result::ok) {
        let dump = folder.path().join("dump.dmp");
        let Ok(transcripts) = fs::read_dir(folder.path().join("cdb")) else {
            continue;
        };
        if !dump.is_file() {
            continue;
        }
        let modules = modules(&dump);
        for transcript in transcripts.filter_map(Result::ok) {
            let file = transcript.file_name().to_string_lossy().into_owned();
            let Ok(text) = fs::read_to_string(transcript.path()) else {
                continue;
            };
            if let Some(rest) = file.strip_prefix("ln_") {
                let address = rest.split(['_', '.']).next().unwrap();
                let address = u64::from_str_radix(address, 16).unwrap();
                let Some(module) = modules.iter().find(|m| m.contains(address)) else {
                    continue;
                };
                let (Some(_), Some(line)) = (
                    symbols.module(module),
                    text.lines().find(|l| l.contains("   |  ")),
                ) else {
                    continue;
                };
                let rva = u32::try_from(address - module.base).unwrap();
                let (below, above) = symbols.nearest(module, rva);
                let (want_below, want_above) = line.split_once("   |  ").unwrap();
                let text = |symbol: Option<ntheap_symbols::Symbol>| {
                    symbol.map_or_else(String::new, |s| {
                        format!(
                            "{:x} {}!{}",
                            module.base + u64::from(s.rva),
                            module.name(),
                            s.name
                        )
                    })
                };
                // Below a module's first symbol the debugger counts backwards from it.
                if want_below.contains("+0xffffffff`") {
                    assert!(below.is_none());
                    assert_eq!(text(above), side(want_below));
                } else if (text(below.clone()), text(above.clone()))
                    != (side(want_below), side(want_above))
                {
                    wrong.push(format!("{file}: {below:?} {above:?}, debugger {line}"));
                }
                neighbours += 1;
            } else if file == "x_ordersvc_Allocate.txt" {
                let module = modules.iter().find(|m| m.name() == "ordersvc").unwrap();
                if symbols.module(module).is_none() {
                    continue;
                }
                let mut got: Vec<(u64, String)> = symbols
                    .search(module, "*Allocate*")
                    .into_iter()
                    .map(|s| (module.base + u64::from(s.rva), s.name))
                    .collect();
                let mut want: Vec<(u64, String)> = text
                    .lines()
                    .filter(|line| !line.contains("(inline caller)"))
                    .filter_map(|line| {
                        let (address, symbol) = line.split_once(" ")?;
                        let address = u64::from_str_radix(&address.replace('`', ""), 16).ok()?;
                        let name = symbol.split_once('!')?.1;
                        let name = name.split([' ']).next()?;
                        Some((address, name.to_owned()))
                    })
                    .collect();
                got.sort();
                want.sort();
                if got != want {
                    wrong.push(format!("{:?}: {got:x?}, debugger {want:x?}", folder.path()));
                }
                lists += 1;
            }
        }
    }
    println!("{neighbours} neighbours, {lists} lists");
    assert!(wrong.is_empty(), "{} wrong: {wrong:#?}", wrong.len());
}

/// Address and name of one side of what `ln` prints.
fn side(text: &str) -> String {
    let (address, name) = text.trim().split_once(')').unwrap();
    let address = address.trim_start_matches('(').replace('`', "");
    let name = name.trim();
    let name = name.rsplit_once("+0x").map_or(name, |(name, _)| name);
    format!("{} {name}", address.trim_start_matches('0'))
}
