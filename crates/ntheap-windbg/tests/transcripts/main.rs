//! Runs every command that the real debugger was given over the oracle's dumps, and compares what
//! is printed with what the debugger printed, byte for byte.
//!
//! Needs `NTHEAP_ORACLE`, a folder of packed dumps; without it nothing is compared. Line ends are
//! normalised, and the debugger's messages about its own symbols and progress are left out.
//!
//! A transcript that differs fails the test unless the difference is proved to be an error of the
//! debugger: see `excuse`, and `docs/fidelity.md`.

mod address;
mod excuse;
mod frames;
mod headers;
mod listing;
mod misplaced;
mod regions;
mod report;
mod rows;
mod segment_blocks;
mod segment_report;
mod segment_x;
mod slots;
mod stat;
mod symbols;
mod transcript;
mod triage;
mod unreachable;
mod xp;

use std::{collections::BTreeMap, env, fs, path::Path, sync::Mutex};

use ntheap::{
    blocks::Block,
    dump::{Dump, DumpFile},
    heap::Heaps,
    process::Process,
};
use ntheap_symbols::{DumpNames, SymbolPath, Symbols};
use ntheap_windbg::{CommandError, Session};
use rayon::prelude::*;

use ntheap_synth::oracle::oracle;
use transcript::{Transcript, transcripts};

/// What became of the transcripts of one kind of command.
#[derive(Debug, Default, Clone)]
struct Tally {
    compared: usize,
    identical: usize,
    excused: BTreeMap<&'static str, usize>,
    not_yet: usize,
    failing: usize,
}

#[test]
fn commands_print_what_the_debugger_prints() {
    let Some(oracle) = oracle() else { return };
    let all = transcripts(&oracle.unpacked);
    assert!(!all.is_empty(), "no transcript was found");

    // The PDBs lie beside the dumps.
    let mut path = SymbolPath::default();
    for folder in ["ntdll", "programs"] {
        path.push_folder(oracle.packed.join("../symbols").join(folder));
    }
    let symbols = Symbols::builder().path(path).build();
    let tallies = Mutex::new(BTreeMap::<String, Tally>::new());
    let report = Mutex::new(Vec::<String>::new());
    all.par_iter().for_each(|transcript| {
        run(transcript, &symbols, &tallies, &report);
    });

    let mut report = report.into_inner().expect("no test thread panicked");
    report.sort();
    report.iter().for_each(|text| println!("{text}"));
    println!("{:24} compared identical excused not-yet failing", "");
    let tallies = tallies.into_inner().expect("no test thread panicked");
    let mut total = Tally::default();
    for (kind, tally) in &tallies {
        print(kind, tally);
        total.compared += tally.compared;
        total.identical += tally.identical;
        total.not_yet += tally.not_yet;
        total.failing += tally.failing;
        for (class, count) in &tally.excused {
            *total.excused.entry(class).or_default() += count;
        }
    }
    print("all", &total);
    for (class, count) in &total.excused {
        println!("    {count:5} {class}");
    }
    let documents = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/fidelity.md");
    let documents = fs::read_to_string(documents).expect("the document of the classes");
    for class in total.excused.keys() {
        let row = format!("\n| {class}");
        assert!(documents.contains(&row), "docs/fidelity.md lacks {class}");
    }
    assert_eq!(
        (total.failing, total.not_yet),
        (0, 0),
        "transcripts differ for no proved reason; set NTHEAP_TRANSCRIPTS_SHOW to a number of lines"
    );
}

fn print(kind: &str, tally: &Tally) {
    println!(
        "{kind:24} {:8} {:9} {:7} {:7} {:7}",
        tally.compared,
        tally.identical,
        tally.excused.values().sum::<usize>(),
        tally.not_yet,
        tally.failing
    );
}

fn run(
    transcript: &Transcript,
    symbols: &Symbols,
    tallies: &Mutex<BTreeMap<String, Tally>>,
    report: &Mutex<Vec<String>>,
) {
    let only = env::var("NTHEAP_TRANSCRIPTS_ONLY").unwrap_or_default();
    let show: usize = env::var("NTHEAP_TRANSCRIPTS_SHOW")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    let file = DumpFile::open(&transcript.dump).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("the dump has heaps");
    let names = DumpNames::new(&dump, symbols);
    let heaps = Heaps::of(&process);
    let mut session = Session::new(&heaps, &names);
    for command in &transcript.commands {
        // What changes how others print is carried out in any case.
        let skipped = !format!("{} {}", transcript.label, command.typed).contains(&only);
        if skipped && command.typed != ".lines" {
            continue;
        }
        let mut actual = String::new();
        let result = session.execute(&command.typed(), &mut actual);
        let not_yet = matches!(
            result,
            Err(CommandError::Unknown { .. } | CommandError::Unavailable { .. })
        );
        let expected = command.expected();
        let mut tallies = tallies.lock().expect("no test thread panicked");
        let tally = tallies.entry(command.kind()).or_default();
        tally.compared += 1;
        if not_yet {
            tally.not_yet += 1;
        } else if actual == expected {
            tally.identical += 1;
        } else if let Some(class) =
            symbols::excuse(&process, transcript, command, &expected, &actual)
                .or_else(|| excuse::excuse(&process, &mut session, command, &expected, &actual))
        {
            *tally.excused.entry(class).or_default() += 1;
        } else {
            tally.failing += 1;
            let mut text = format!("{}: {}", transcript.label, command.typed);
            if let Err(error) = result {
                text += &format!("\n      {error}");
            }
            if show > 0 {
                text += &transcript::difference(&expected, &actual, show);
            }
            report.lock().expect("no test thread panicked").push(text);
        }
    }
}

/// The innermost block that holds `address`.
fn block_at(process: &Process<'_, '_>, address: u64) -> Option<Block> {
    Heaps::of(process).block_at(address)
}
