//! Damage, and what a walk still finds behind it.

use std::{collections::BTreeMap, fmt::Write};

use ntheap::{Error, dump::Dump, process::Process};

use crate::{
    image::Addresses,
    subject::{Subject, Walk},
};

/// A dump with damage.
pub(crate) struct Case {
    /// The file.
    pub(crate) bytes: Vec<u8>,
    /// Memory of the process that was overwritten or left out. Blocks that share none of it are to
    /// be found.
    pub(crate) touched: Vec<Addresses>,
}

/// What does damage to a dump: calls back with each case.
pub(crate) type Damage = fn(&Subject, &mut dyn FnMut(Case));

/// A class of damage: its name in the table, and what does it to a dump. Each dump has any number of
/// cases, none where the damage makes no sense.
pub(crate) struct Class {
    pub(crate) name: &'static str,
    /// Share of the untouched blocks that has to be found, in thousandths; `None` where that is not
    /// reached yet, for the figures alone.
    pub(crate) floor: Option<u64>,
    pub(crate) damage: Damage,
}

/// What was found of all cases of a class.
#[derive(Debug, Clone, Default)]
pub(crate) struct Score {
    pub(crate) cases: u64,
    /// Blocks that share nothing with the damage.
    pub(crate) untouched: u64,
    /// Those of them that were found, with their sizes.
    pub(crate) found: u64,
    /// Blocks that never were, and that the walk called certain.
    pub(crate) invented: u64,
    /// Cases that lost blocks, or whose memory is not all there, and did not say so.
    pub(crate) silent: u64,
    /// The worst cases.
    pub(crate) examples: Vec<String>,
}

impl Score {
    pub(crate) fn add(&mut self, other: Score) {
        self.cases += other.cases;
        self.untouched += other.untouched;
        self.found += other.found;
        self.invented += other.invented;
        self.silent += other.silent;
        self.examples.extend(other.examples);
    }

    /// Found of the untouched, in per cent with two digits, never rounded up.
    pub(crate) fn share(&self) -> String {
        match (self.found * 10000).checked_div(self.untouched) {
            Some(share) => format!("{}.{:02} %", share / 100, share % 100),
            None => "-".to_owned(),
        }
    }

    pub(crate) fn reaches(&self, floor: u64) -> bool {
        self.found * 1000 >= self.untouched * floor && self.invented == 0 && self.silent == 0
    }

    /// Whether it is what the class promises.
    pub(crate) fn holds(&self, class: &Class) -> bool {
        class.floor.is_none_or(|floor| self.reaches(floor))
    }
}

/// Looks at one damaged dump.
pub(crate) fn judge(subject: &Subject, class: &Class, case: &Case) -> Score {
    let mut score = Score {
        cases: 1,
        ..Score::default()
    };
    let touched = |held: &Addresses| {
        case.touched
            .iter()
            .any(|gone| gone.start < held.end && held.start < gone.end)
    };
    let expected = subject
        .blocks
        .iter()
        .filter(|(_, held)| !touched(&held.extent));
    let opened = Dump::parse(&case.bytes);
    let mut said = true;
    let mut walk = Walk::default();
    let mut refused = None;
    match &opened {
        Ok(dump) => match Process::of(dump) {
            Ok(process) => {
                walk = Walk::of(&process);
                said = !dump.problems.is_empty()
                    || process.problems.iter().any(|p| p.loses_heaps())
                    || walk.findings.iter().any(|f| f.kind.loses_blocks());
            }
            Err(error) => refused = Some(error),
        },
        Err(error) => {
            refused = Some(Error::Header {
                reason: error.to_string(),
                size: case.bytes.len() as u64,
            })
        }
    }
    for (key, held) in expected {
        score.untouched += 1;
        let same = |found: &crate::subject::Held| found.size == held.size;
        score.found += u64::from(walk.blocks.get(key).is_some_and(same));
    }
    score.invented = walk
        .blocks
        .iter()
        .filter(|(_, held)| held.certain && !touched(&held.extent))
        .filter(|(key, held)| {
            subject
                .blocks
                .get(key)
                .is_none_or(|real| real.size != held.size)
        })
        .count() as u64;
    score.silent = u64::from(!said && score.found < score.untouched);
    if !score.reaches(class.floor.unwrap_or(1000)) {
        let mut line = format!("{}, {}: {}", class.name, subject.name, score.share());
        if score.invented > 0 {
            let _ = write!(line, ", {} invented", score.invented);
        }
        if score.silent > 0 {
            line.push_str(", not a word");
        }
        if let Some(error) = refused {
            let _ = write!(line, ", refused: {error}");
        }
        score.examples.push(line);
    }
    score
}

/// Scores by class and generation.
#[derive(Default)]
pub(crate) struct Table {
    scores: BTreeMap<(usize, &'static str), Score>,
}

/// The columns of the table.
const GENERATIONS: [&str; 10] = [
    "XP",
    "7",
    "8",
    "8.1",
    "10",
    "11",
    "11 24H2",
    "segment heap",
    "page heap",
    "WOW64",
];

impl Table {
    pub(crate) fn add(&mut self, class: usize, generation: &'static str, score: Score) {
        let entry = self.scores.entry((class, generation)).or_default();
        entry.add(score);
    }

    /// All generations of a class.
    pub(crate) fn class(&self, class: usize) -> Score {
        let mut all = Score::default();
        for (key, score) in &self.scores {
            if key.0 == class {
                all.add(score.clone());
            }
        }
        all
    }

    /// The table as `docs/robustness.md` has it.
    pub(crate) fn markdown(&self, classes: &[Class]) -> String {
        let mut out = format!("| damage | {} | all | cases |\n", GENERATIONS.join(" | "));
        out += &"|---".repeat(GENERATIONS.len() + 3);
        out.push_str("|\n");
        for (index, class) in classes.iter().enumerate() {
            let _ = write!(out, "| {} ", class.name);
            for generation in GENERATIONS {
                let score = self.scores.get(&(index, generation));
                let _ = write!(out, "| {} ", score.map_or("-".to_owned(), Score::share));
            }
            let all = self.class(index);
            let _ = writeln!(out, "| {} | {} |", all.share(), all.cases);
        }
        out
    }
}
