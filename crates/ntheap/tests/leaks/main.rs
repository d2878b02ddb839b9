//! Compares the graph of references with the truth of the leak oracle, block by block.
//!
//! The oracle's leak dumps lie beside those that `NTHEAP_ORACLE` names, in `oracle-leaks`.

mod truth;

use std::{
    collections::BTreeMap,
    env,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::{Dump, DumpFile},
    graph::{Class, Graph, Holder, RootKind, Rules},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::oracle::oracle_beside;
use rayon::prelude::*;
use truth::{Row, Truth};

/// What the comparison of a dump found.
#[derive(Debug, Default)]
struct Outcome {
    blocks: usize,
    /// Blocks that are right, by what was compared and class.
    right: BTreeMap<(&'static str, String), usize>,
    problems: Vec<String>,
}

fn check(dump: &Path, truth: &Path) -> Outcome {
    let truth = Truth::read(truth);
    let file = DumpFile::open(dump).expect("the dump opens");
    let dump = Dump::parse(file.bytes()).expect("the dump parses");
    let process = Process::of(&dump).expect("a process");
    let graph = Graph::of(&Heaps::of(&process));
    let mut outcome = Outcome::default();
    let rows = truth.rows();
    outcome.blocks = rows.len();
    counts(&graph, &truth, &mut outcome);
    classes(&graph, &rows, &mut outcome);
    dominators(&graph, &rows, &mut outcome);
    rules(&graph, &rows, &mut outcome);
    ways(&graph, &rows, &mut outcome);
    if graph.doubt().may_accuse_falsely() {
        let doubt = graph.doubt();
        outcome
            .problems
            .push(format!("doubt over a sound dump: {doubt:?}"));
    }
    outcome
}

fn counts(graph: &Graph<'_, '_>, truth: &Truth, outcome: &mut Outcome) {
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for (position, area) in graph.areas().iter().enumerate() {
        if matches!(area.kind, RootKind::Sealed | RootKind::SealedImage) {
            continue;
        }
        *found.entry(area.kind.name()).or_default() += graph.area_references(position) as u64;
    }
    for (kind, &count) in &truth.root_pointers {
        let mine = found.remove(kind.as_str()).unwrap_or(0);
        if mine != count {
            outcome
                .problems
                .push(format!("{mine} pointers in {kind}, {count} in the truth"));
        }
    }
    for (kind, count) in found.into_iter().filter(|kind| kind.1 > 0) {
        outcome
            .problems
            .push(format!("{count} pointers in {kind}, none in the truth"));
    }
    // The truth counts pointers of blocks to themselves, too.
    let references = graph.reference_count() as u64 + graph.self_pointers();
    if references != truth.reference_count {
        outcome.problems.push(format!(
            "{references} references, {} in the truth",
            truth.reference_count
        ));
    }
}

fn classes(graph: &Graph<'_, '_>, rows: &[Row], outcome: &mut Outcome) {
    let sets = [
        ("strict", Rules::NONE),
        ("default", Rules::DEFAULT),
        ("refined", Rules::ALL),
    ];
    for (set, (name, rules)) in sets.into_iter().enumerate() {
        let classes = graph.classes(rules);
        for row in rows {
            let block = graph.index().find(row.address);
            let Some(block) = block.filter(|&block| graph.index().block(block).0 == row.address)
            else {
                outcome
                    .problems
                    .push(format!("{:x} is no block", row.address));
                continue;
            };
            let class = classes.of(block).name();
            if class == row.classes[set] {
                *outcome.right.entry((name, class.to_owned())).or_default() += 1;
            } else {
                outcome.problems.push(format!(
                    "{:x} ({:#x}, {}) is {class} under {name}, {} in the truth",
                    row.address, row.size, row.role, row.classes[set]
                ));
            }
        }
    }
}

fn dominators(graph: &Graph<'_, '_>, rows: &[Row], outcome: &mut Outcome) {
    let dominators = graph.dominators();
    for row in rows {
        let Some(block) = graph.index().find(row.address) else {
            continue;
        };
        let dominator = dominators.is_reached(block).then(|| {
            dominators
                .of(block)
                .map_or(0, |above| graph.index().block(above).0)
        });
        let retained = dominators.retained(block);
        if (dominator, retained) == (row.dominator, row.retained) {
            let kind = if retained.is_some() {
                "reached"
            } else {
                "lost"
            };
            *outcome
                .right
                .entry(("dominators", kind.to_owned()))
                .or_default() += 1;
        } else {
            outcome.problems.push(format!(
                "{:x} ({:#x}, {}): dominator {dominator:x?} retaining {retained:x?}, in the truth {:x?} and {:x?}",
                row.address, row.size, row.role, row.dominator, row.retained
            ));
        }
    }
}

fn rules(graph: &Graph<'_, '_>, rows: &[Row], outcome: &mut Outcome) {
    let all = graph.interior_rules();
    for row in rows {
        let Some(block) = graph.index().find(row.address) else {
            continue;
        };
        let rule = all[block as usize].and(Rules::DEFAULT).name();
        if rule == row.rule.as_deref() {
            let name = rule.unwrap_or("none").to_owned();
            *outcome.right.entry(("rule", name)).or_default() += 1;
        } else {
            outcome.problems.push(format!(
                "{:x} ({:#x}, {}): rule {rule:?}, in the truth {:?}",
                row.address, row.size, row.role, row.rule
            ));
        }
    }
}

/// A way leads to exactly the blocks that are not lost, each link of it to the next.
fn ways(graph: &Graph<'_, '_>, rows: &[Row], outcome: &mut Outcome) {
    for rules in [Rules::DEFAULT, Rules::ALL] {
        let (classes, ways) = (graph.classes(rules), graph.ways(rules));
        for row in rows {
            let Some(block) = graph.index().find(row.address) else {
                continue;
            };
            let class = classes.of(block);
            let links = ways.to(graph, block);
            let chained = links
                .windows(2)
                .all(|pair| pair[1].holder == Holder::Block(pair[0].target))
                && links.last().is_none_or(|link| link.target == block)
                && links
                    .first()
                    .is_none_or(|link| matches!(link.holder, Holder::Root(_)));
            let doubtful = ways.doubtful(graph, block).is_some();
            if links.is_empty() != class.is_lost()
                || !chained
                || doubtful != (class == Class::Possible)
            {
                outcome.problems.push(format!(
                    "{:x} is {class:?} by the way {links:x?}",
                    row.address
                ));
            }
        }
    }
}

/// The dumps of the leak oracle with their truth files.
fn pairs(folder: &Path) -> Vec<(PathBuf, PathBuf)> {
    let list = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).collect::<Vec<_>>()
    };
    let files = list(folder).into_iter().flat_map(|folder| list(&folder));
    let mut pairs: Vec<_> = files
        .filter(|file| file.extension().is_some_and(|extension| extension == "dmp"))
        .map(|file| (file.clone(), file.with_extension("truth.json")))
        .filter(|(_, truth)| truth.exists())
        .collect();
    pairs.sort();
    pairs
}

#[test]
fn every_block_has_its_class() {
    let Some(oracle) = oracle_beside("oracle-leaks") else {
        return;
    };
    let only = env::var("NTHEAP_ORACLE_ONLY").unwrap_or_default();
    let pairs = pairs(&oracle.unpacked);
    assert!(!pairs.is_empty(), "no dump with a truth file was found");
    let outcomes: Vec<(String, Outcome)> = pairs
        .par_iter()
        .map(|(dump, truth)| {
            let folder = dump.parent().and_then(Path::file_name).unwrap_or_default();
            let name = dump.file_stem().unwrap_or_default();
            (
                format!("{}/{}", folder.display(), name.display()),
                dump,
                truth,
            )
        })
        .filter(|(label, ..)| label.contains(&only))
        .map(|(label, dump, truth)| (label, check(dump, truth)))
        .collect();
    let mut right: BTreeMap<&(&str, String), usize> = BTreeMap::new();
    let (mut blocks, mut wrong) = (0, 0);
    for (label, outcome) in &outcomes {
        blocks += outcome.blocks;
        for (key, count) in &outcome.right {
            *right.entry(key).or_default() += count;
        }
        if !outcome.problems.is_empty() {
            wrong += 1;
            println!("{label}: {} problems", outcome.problems.len());
            outcome
                .problems
                .iter()
                .take(12)
                .for_each(|problem| println!("    {problem}"));
        }
    }
    println!(
        "{} dumps, {blocks} blocks; {wrong} dumps differ",
        outcomes.len()
    );
    for ((what, value), count) in right {
        println!("    {what}: {count} {value}");
    }
    assert!(wrong == 0, "{wrong} dumps differ from their truth");
}
