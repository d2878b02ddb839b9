//! Runs every command that the real debugger was given over the oracle's dumps, and compares what
//! is printed with what the debugger printed, byte for byte.
//!
//! Needs `NTHEAP_ORACLE`, a folder of packed dumps; without it nothing is compared. Line ends are
//! normalised, and the debugger's messages about its own symbols and progress are left out.
//!
//! A transcript that differs fails the test unless the difference is proved to be an error of the
//! debugger: see `corrections`, and `docs/fidelity.md`.

mod address;
mod context;
mod corrections;
mod entries;
mod find;
mod lines;
mod lists;
mod misplaced;
mod mutations;
mod names;
mod regions;
mod reports;
mod segment_blocks;
mod stat;
mod summary;
mod transcript;
mod triage;
mod unreachable;
mod xp;

use std::{collections::BTreeMap, env, fs, path::Path, sync::Mutex};

use ntheap::{
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
};
use ntheap_symbols::{DumpNames, SymbolPath, Symbols};
use rayon::prelude::*;

use context::{Context, Model};
use ntheap_synth::oracle::oracle;
use transcript::transcripts;

/// What became of the transcripts of one kind of command.
#[derive(Debug, Default, Clone)]
struct Tally {
    compared: usize,
    identical: usize,
    proved: usize,
    /// How many transcripts show an error of each class; some show several.
    classes: BTreeMap<&'static str, usize>,
    failing: usize,
}

/// Carries out every command over every dump of the oracle, and calls `visit` with what it has to be
/// compared with, and what the debugger printed.
fn each_output(visit: impl Fn(&Context<'_, '_>, &str) + Sync) {
    let Some(oracle) = oracle() else { return };
    let all = transcripts(&oracle.unpacked);
    assert!(!all.is_empty(), "no transcript was found");

    // The PDBs lie beside the dumps.
    let mut path = SymbolPath::default();
    for folder in ["ntdll", "programs"] {
        path.push_folder(oracle.packed.join("../symbols").join(folder));
    }
    let symbols = Symbols::builder().path(path).build();
    let only = env::var("NTHEAP_TRANSCRIPTS_ONLY").unwrap_or_default();
    all.par_iter().for_each(|transcript| {
        let file = DumpFile::open(&transcript.dump).expect("the dump opens");
        let dump = Dump::parse(file.bytes()).expect("the dump parses");
        let process = Process::of(&dump).expect("the dump has heaps");
        let names = DumpNames::new(&dump, &symbols);
        let heaps = Heaps::listed(&process);
        let model = Model::new(&heaps, &names, transcript);
        for command in &transcript.commands {
            // What changes how others print is carried out in any case.
            let skipped = !format!("{} {}", transcript.label, command.typed).contains(&only);
            if !skipped || command.typed == ".lines" {
                visit(&Context::new(&model, command), &command.expected());
            }
        }
    });
}

#[test]
fn commands_print_what_the_debugger_prints() {
    let tallies = Mutex::new(BTreeMap::<String, Tally>::new());
    let report = Mutex::new(Vec::<String>::new());
    each_output(|context, expected| compare(context, expected, &tallies, &report));

    let mut report = report.into_inner().expect("no test thread panicked");
    report.sort();
    report.iter().for_each(|text| println!("{text}"));
    println!("{:24} compared identical  proved failing", "");
    let tallies = tallies.into_inner().expect("no test thread panicked");
    let mut total = Tally::default();
    for (kind, tally) in &tallies {
        print(kind, tally);
        total.compared += tally.compared;
        total.identical += tally.identical;
        total.proved += tally.proved;
        total.failing += tally.failing;
        for (class, count) in &tally.classes {
            *total.classes.entry(class).or_default() += count;
        }
    }
    print("all", &total);
    for (class, count) in &total.classes {
        println!("    {count:5} {class}");
    }
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    let documents = fs::read_to_string(documents).expect("the document of the classes");
    for class in corrections::classes() {
        let row = format!("\n| {class}");
        assert!(documents.contains(&row), "docs/fidelity.md lacks {class}");
    }
    assert_eq!(
        total.failing, 0,
        "transcripts differ for no proved reason; set NTHEAP_TRANSCRIPTS_SHOW to a number of lines"
    );
}

fn print(kind: &str, tally: &Tally) {
    println!(
        "{kind:24} {:8} {:9} {:7} {:7}",
        tally.compared, tally.identical, tally.proved, tally.failing
    );
}

fn compare(
    context: &Context<'_, '_>,
    expected: &str,
    tallies: &Mutex<BTreeMap<String, Tally>>,
    report: &Mutex<Vec<String>>,
) {
    let proof = corrections::prove(context, expected);
    let mut tallies = tallies.lock().expect("no test thread panicked");
    let tally = tallies.entry(context.command.kind()).or_default();
    tally.compared += 1;
    match proof {
        Ok(classes) if classes.is_empty() => tally.identical += 1,
        Ok(classes) => {
            tally.proved += 1;
            for class in classes {
                *tally.classes.entry(class).or_default() += 1;
            }
        }
        Err(left) => {
            tally.failing += 1;
            let show = env::var("NTHEAP_TRANSCRIPTS_SHOW").ok();
            let show = show.and_then(|text| text.parse().ok()).unwrap_or(0);
            let text = transcript::difference(&left, show);
            let text = format!("{}{text}", context.label());
            report.lock().expect("no test thread panicked").push(text);
        }
    }
}
