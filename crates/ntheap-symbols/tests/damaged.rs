//! Damaged PDBs: always symbols or an error, never a crash or endless work.

mod common;

use std::time::{Duration, Instant};

use common::*;
use ntheap_symbols::{ModuleStatus, PdbTypes};

/// Loads a damaged PDB and asks for everything that can be asked for.
fn load(content: &[u8]) -> (&'static str, Duration) {
    let temp = tempfile::tempdir().unwrap();
    put(temp.path(), &["strkit.pdb"], content);
    let start = Instant::now();
    let symbols = folder(temp.path())
        .allow_mismatched(true)
        .read_limit(Duration::from_secs(20))
        .build();
    let module = module("strkit.pdb", STRKIT);
    for rva in (0..0x4000).step_by(0x11) {
        let _ = symbols.resolve_return(&module, rva);
        let _ = symbols.source_line(&module, rva);
        let _ = symbols.parameters(&module, rva);
    }
    let _ = (
        symbols.search(&module, "*a*b*"),
        symbols.lookup(&module, "strkit::Append"),
    );
    if let Some(loaded) = symbols.module(&module)
        && let Ok(types) = loaded.types()
    {
        for structure in types.structures() {
            assert_eq!(types.field(&structure.name, "no such field"), None);
        }
    }
    let outcome = match symbols.status(&module) {
        ModuleStatus::Loaded {
            line_error: None, ..
        } => "whole",
        ModuleStatus::Loaded { .. } => "without lines",
        ModuleStatus::NotFound { .. } => "refused",
        ModuleStatus::Failed { reason, .. } => {
            assert!(!reason.contains("took more than"), "{reason}");
            "failed"
        }
        status => panic!("{status:?}"),
    };
    (outcome, start.elapsed())
}

/// Numbers that look random and are the same in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).unwrap() % limit
    }
}

#[test]
fn damage_anywhere() {
    let sound = pdb_bytes("strkit.pdb", STRKIT);
    assert_eq!(load(&sound).0, "whole");
    let mut numbers = Numbers(0x9e37_79b9_7f4a_7c15);
    let rounds = std::env::var("NTHEAP_FUZZ_ROUNDS").map_or(400, |text| text.parse().unwrap());
    let mut outcomes = std::collections::BTreeMap::<_, (usize, Duration)>::new();
    for round in 0..rounds {
        let mut damaged = sound.clone();
        match round % 6 {
            0 => damaged.truncate(numbers.below(sound.len())),
            1 => {
                let at = numbers.below(sound.len());
                damaged[at] ^= 1 << numbers.below(8);
            }
            2 => {
                // A number that is likely to be a count, an offset or an index.
                let at = numbers.below(sound.len() / 4) * 4;
                let value = [u32::MAX, 0x7fff_ffff, 0x8000_0000, 0x1000, 1, 0][numbers.below(6)];
                damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            }
            3 => {
                for _ in 0..50 {
                    let at = numbers.below(sound.len());
                    damaged[at] = u8::try_from(numbers.below(256)).unwrap();
                }
            }
            4 => {
                let (from, to) = (
                    numbers.below(sound.len() - 600),
                    numbers.below(sound.len() - 600),
                );
                damaged.copy_within(from..from + 600, to);
            }
            _ => {
                let at = numbers.below(sound.len() - 4096);
                damaged[at..at + 4096].fill(0xff);
            }
        }
        let (outcome, time) = load(&damaged);
        let entry = outcomes.entry(outcome).or_default();
        entry.0 += 1;
        entry.1 = entry.1.max(time);
    }
    println!("{rounds} damaged files, with the longest times: {outcomes:?}");
}

#[test]
fn every_number_at_the_start_of_the_file() {
    let sound = pdb_bytes("strkit.pdb", STRKIT);
    for at in (32..56).step_by(4) {
        for value in [0, 1, 3, 0x1000, 0x10_0000, 0x7fff_ffff, u32::MAX] {
            let mut damaged = sound.clone();
            damaged[at..at + 4].copy_from_slice(&value.to_le_bytes());
            load(&damaged);
        }
    }
    for length in 0..64 {
        assert_eq!(load(&sound[..length]).0, "failed");
    }
}

/// Where the header of the type stream is: version, header size, first index and, behind them, the last.
fn type_header(file: &[u8]) -> usize {
    file.windows(12)
        .position(|w| w == [0x0b, 0xca, 0x31, 0x01, 56, 0, 0, 0, 0, 0x10, 0, 0])
        .expect("a type stream")
}

/// Where the records of the type stream are, as (offset in the file, kind).
fn type_records(file: &[u8]) -> Vec<(usize, u16)> {
    let header = type_header(file);
    let mut at = header + 56;
    let block_end = (header / 4096 + 1) * 4096;
    let mut records = Vec::new();
    while at + 4 < block_end {
        let length = usize::from(u16::from_le_bytes([file[at], file[at + 1]]));
        if length < 2 || at + 2 + length > block_end {
            break;
        }
        records.push((at, u16::from_le_bytes([file[at + 2], file[at + 3]])));
        at += 2 + length;
    }
    records
}

#[test]
fn type_records_in_circles() {
    let sound = pdb_bytes("strkit.pdb", STRKIT);
    let records = type_records(&sound);
    assert!(records.len() > 10);
    let mut tried = 0;
    for (index, &(at, kind)) in (0x1000_u32..).zip(&records) {
        let references: &[usize] = match kind {
            0x1001 | 0x1002 => &[0],
            0x1008 => &[0, 8],
            0x1201 => &[0, 4],
            _ => continue,
        };
        for &reference in references {
            // To itself, to the next, and, where it is a count, to far more than there is.
            for value in [index, index + 1, 0x7fff_ffff] {
                let mut damaged = sound.clone();
                let place = at + 4 + reference;
                damaged[place..place + 4].copy_from_slice(&value.to_le_bytes());
                let (outcome, time) = load(&damaged);
                assert_ne!(outcome, "whole", "record {index:#x} of kind {kind:#x}");
                assert!(time < Duration::from_secs(10));
                tried += 1;
            }
        }
    }
    assert!(tried > 20, "{tried}");
}

#[test]
fn a_type_record_in_a_circle_behind_the_last() {
    let sound = pdb_bytes("strkit.pdb", STRKIT);
    let last = type_header(&sound) + 12;
    let mut tried = 0;
    for (index, (at, kind)) in (0x1000_u32..).zip(type_records(&sound)) {
        let reference = match kind {
            0x1001 | 0x1002 => 0,
            0x1008 => 8,
            _ => continue,
        };
        let mut damaged = sound.clone();
        for place in [last, at + 4 + reference] {
            damaged[place..place + 4].copy_from_slice(&index.to_le_bytes());
        }
        assert_eq!(
            load(&damaged).0,
            "without lines",
            "record {index:#x} of kind {kind:#x}"
        );
        tried += 1;
    }
    assert!(tried > 5, "{tried}");
}

#[test]
fn other_files() {
    for content in [
        &b"Microsoft MSFZ Container\r\n\x1aALD\0\0\0 and what follows is compressed and long"[..],
        b"BSJB this is portable and long enough to be looked at by anyone reading",
        b"MZ",
    ] {
        assert_eq!(load(content).0, "failed");
        assert!(PdbTypes::from_bytes(content).is_err());
    }
    let text = PdbTypes::from_bytes(&[0; 100]).unwrap_err().to_string();
    assert!(text.starts_with("not a PDB"), "{text}");
}
