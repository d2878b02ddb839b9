//! Compares the graph of references with the truth of the leak oracle, block by block.
//!
//! The oracle's leak dumps lie beside those that `NTHEAP_ORACLE` names, in `oracle-leaks`.

mod truth;

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::{Dump, DumpFile},
    graph::{Class, Graph, Holder, Rules},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::oracle::{oracle, oracle_beside, testdata, testdata_dumps};
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
    let heaps = Heaps::of(&process);
    let graph = Graph::of(&heaps);
    let mut outcome = Outcome::default();
    let mut rows = truth.rows();
    outcome.blocks = rows.len();
    match unlisted(&graph, &heaps, &rows) {
        None => counts(&graph, &truth, &mut outcome),
        Some(heap) => correct(&graph, &heaps, heap, &mut rows),
    }
    classes(&graph, &rows, &mut outcome);
    dominators(&graph, &rows, &mut outcome);
    rules(&graph, &rows, &mut outcome);
    encoded(&graph, &rows, &mut outcome);
    ways(&graph, &rows, &mut outcome);
    if graph.doubt().may_accuse_falsely() {
        let doubt = graph.doubt();
        outcome
            .problems
            .push(format!("doubt over a sound dump: {doubt:?}"));
    }
    outcome
}

/// A heap that has blocks, none of which is in the truth: that of 24H2 with segment heaps which no
/// list of Windows names.
fn unlisted(graph: &Graph<'_, '_>, heaps: &Heaps<'_, '_>, rows: &[Row]) -> Option<u64> {
    heaps.index();
    let told: BTreeSet<u64> = rows.iter().map(|row| row.address).collect();
    let heap_of = |address: u64| heaps.block_at(address).map(|block| block.heap);
    let blocks = graph.index().blocks();
    let untold = blocks.filter(|(address, _)| !told.contains(address));
    let heap = untold.filter_map(|(address, _)| heap_of(address)).next()?;
    let known = rows.iter().any(|row| heap_of(row.address) == Some(heap));
    (!known).then_some(heap)
}

/// What only blocks of the heap that the truth lacks hold is lost by the truth and held in fact.
fn correct(graph: &Graph<'_, '_>, heaps: &Heaps<'_, '_>, unlisted: u64, rows: &mut [Row]) {
    let ways = graph.ways(Rules::NONE);
    let dominators = graph.dominators();
    let in_it = |&block: &u32| {
        let (address, _) = graph.index().block(block);
        heaps
            .block_at(address)
            .is_some_and(|block| block.heap == unlisted)
    };
    for row in rows.iter_mut().filter(|row| row.dominator.is_none()) {
        let block = graph.index().find(row.address).expect("a block");
        let way = ways.blocks_to(block).unwrap_or_default();
        if way.iter().any(in_it) {
            row.classes = std::array::from_fn(|_| "reachable".to_owned());
            let above = dominators.of(block);
            row.dominator = Some(above.map_or(0, |above| graph.index().block(above).0));
            row.retained = dominators.retained(block);
        }
    }
}

fn counts(graph: &Graph<'_, '_>, truth: &Truth, outcome: &mut Outcome) {
    let (Some(roots), Some(count)) = (&truth.root_pointers, truth.reference_count) else {
        return;
    };
    let mut found: BTreeMap<&str, u64> = BTreeMap::new();
    for (position, area) in graph.areas().iter().enumerate() {
        if !area.kind.is_sealed() {
            let references = graph.area_references(position) as u64;
            *found.entry(area.kind.name()).or_default() += references;
        }
    }
    for (kind, &count) in roots {
        let mine = found.remove(kind.as_str()).unwrap_or(0);
        if mine != count {
            let problem = format!("{mine} pointers in {kind}, {count} in the truth");
            outcome.problems.push(problem);
        }
    }
    for (kind, count) in found.into_iter().filter(|kind| kind.1 > 0) {
        let problem = format!("{count} pointers in {kind}, none in the truth");
        outcome.problems.push(problem);
    }
    // The truth counts pointers of blocks to themselves, too.
    let references = graph.reference_count() as u64 + graph.self_pointers();
    if references != count {
        let problem = format!("{references} references, {count} in the truth");
        outcome.problems.push(problem);
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

/// What the process's cookie hides is held when it is undone, with what hangs on it, and nothing else
/// changes.
fn encoded(graph: &Graph<'_, '_>, rows: &[Row], outcome: &mut Outcome) {
    let rules = Rules::ALL.or(Rules::ENCODED);
    let (plain, classes) = (graph.classes(Rules::ALL), graph.classes(rules));
    let (dominators, ways) = (graph.dominators(), graph.ways(rules));
    for row in rows {
        let Some(block) = graph.index().find(row.address) else {
            continue;
        };
        let (before, class) = (plain.of(block), classes.of(block));
        let way = ways.to(graph, block);
        let by_code = way.iter().any(|link| link.rules.contains(Rules::ENCODED));
        let right = match row.role.as_str() {
            "reachable.encoded" => {
                before == Class::Definite && class == Class::Reachable && by_code
            }
            _ => class == before || before.is_lost() && !class.is_lost() && by_code,
        };
        if right && class != before {
            let kind = if before == Class::Definite {
                "definite is not"
            } else {
                "indirect is not"
            };
            *outcome
                .right
                .entry(("encoded", kind.to_owned()))
                .or_default() += 1;
        } else if !right || way.is_empty() != class.is_lost() {
            let held = dominators.is_reached(block);
            outcome.problems.push(format!(
                "{:x} ({:#x}, {}) is {class} with encoded pointers, {before} without (held {held})",
                row.address,
                row.size,
                row.role,
                class = class.name(),
                before = before.name(),
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

/// The dumps below a folder that have truth files.
fn pairs(dumps: Vec<PathBuf>) -> Vec<(PathBuf, PathBuf)> {
    let truth = |dump: &Path| {
        let name = dump.to_string_lossy().replace(".dmp", ".truth.json");
        PathBuf::from(name)
    };
    let pairs = dumps.into_iter().map(|dump| (dump.clone(), truth(&dump)));
    pairs.filter(|(_, truth)| truth.exists()).collect()
}

#[test]
fn every_block_has_its_class() {
    if let Some(oracle) = oracle_beside("oracle-leaks") {
        compare(&pairs(below(&oracle.unpacked)));
    }
}

/// Two programs' dumps that come with the library.
#[test]
fn every_block_of_the_samples_has_its_class() {
    compare(&pairs(files_in(&testdata().join("types"))));
}

fn compare(pairs: &[(PathBuf, PathBuf)]) {
    let only = env::var("NTHEAP_ORACLE_ONLY").unwrap_or_default();
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

/// Whatever dump it is, the graph holds together: no dump makes it fail.
#[test]
fn every_dump_has_a_graph() {
    let mut dumps = testdata_dumps();
    if let Some(oracle) = oracle() {
        dumps.extend(below(&oracle.unpacked));
    }
    let only = env::var("NTHEAP_ORACLE_ONLY").unwrap_or_default();
    dumps.retain(|dump| dump.to_string_lossy().contains(&only));
    let counts: Vec<[u64; 4]> = dumps.par_iter().map(|dump| hold_together(dump)).collect();
    let sum = |set: usize| counts.iter().map(|counts| counts[set]).sum::<u64>();
    println!(
        "{} dumps, {} blocks: lost {} without rules, {} by default, {} by all",
        dumps.len(),
        sum(0),
        sum(1),
        sum(2),
        sum(3)
    );
}

/// Number of blocks, and how many are lost under each set of rules.
fn hold_together(path: &Path) -> [u64; 4] {
    let file = DumpFile::open(path).expect("the dump opens");
    let Ok(dump) = Dump::parse(file.bytes()) else {
        return [0; 4];
    };
    let Ok(process) = Process::of(&dump) else {
        return [0; 4];
    };
    let heaps = Heaps::of(&process);
    let graph = Graph::of(&heaps);
    let mut counts = [graph.index().len() as u64, 0, 0, 0];
    let dominators = graph.dominators();
    for (set, rules) in [Rules::NONE, Rules::DEFAULT, Rules::ALL]
        .into_iter()
        .enumerate()
    {
        let (classes, ways) = (graph.classes(rules), graph.ways(rules));
        for (block, class) in classes.iter() {
            counts[set + 1] += u64::from(class.is_lost());
            assert_eq!(
                ways.before(block).is_none(),
                class.is_lost(),
                "{}",
                path.display()
            );
            if rules == Rules::NONE {
                assert_eq!(dominators.is_reached(block), !class.is_lost());
            }
        }
        for &(block, leader) in classes.lost() {
            assert_eq!(block == leader, classes.of(block) == Class::Definite);
            assert_eq!(classes.of(leader), Class::Definite);
        }
    }
    let blocks = 0..graph.index().len() as u32;
    let size = |block: &u32| graph.index().size(*block);
    let reached: u64 = blocks
        .clone()
        .filter(|&b| dominators.is_reached(b))
        .map(|b| size(&b))
        .sum();
    let tops = blocks.filter(|&block| dominators.of(block).is_none());
    let retained: u64 = tops.filter_map(|block| dominators.retained(block)).sum();
    assert_eq!(retained, reached, "{}", path.display());
    counts
}

/// The dumps below a folder, one level down.
fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders.flat_map(|folder| files_in(&folder)).collect()
}

/// The dumps in a folder, in order of their names.
fn files_in(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.map(|entry| entry.path());
    let is_dump = |file: &PathBuf| {
        let name = file.to_string_lossy();
        name.ends_with(".dmp") || name.ends_with(".dmp.zst")
    };
    let mut dumps: Vec<_> = files.filter(is_dump).collect();
    dumps.sort();
    dumps
}
