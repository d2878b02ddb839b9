//! No false accusation: whatever is left out of a dump, a block that the whole dump holds is not called
//! lost without a doubt that says how much was not seen.
//!
//! A sample of the pages is left out, one at a time; with `NTHEAP_ABSENCE=N` every Nth page of each
//! dump. Then the file is cut, and streams are taken away.

use std::collections::BTreeSet;

use ntheap::{
    dump::Dump,
    graph::{Class, Graph, Rules},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::oracle::testdata;
use rayon::prelude::*;

use crate::{
    image::{Addresses, Image, PAGE, stream},
    subject,
};

/// Without a wish, about so many pages of each dump are left out.
const SAMPLE: usize = 24;

/// What the graph says of an image.
struct Told {
    /// The blocks that are called lost.
    lost: BTreeSet<(u64, u64)>,
    /// All others that the program has.
    held: BTreeSet<(u64, u64)>,
    doubtful: bool,
    /// Bytes that were not seen, and whether the doubt names them.
    unseen: u64,
    named: bool,
}

fn told(image: &[u8], rules: Rules) -> Option<Told> {
    let dump = Dump::parse(image).ok()?;
    let process = Process::of(&dump).ok()?;
    let graph = Graph::of(&Heaps::of(&process));
    let doubt = graph.doubt();
    let mut told = Told {
        lost: BTreeSet::new(),
        held: BTreeSet::new(),
        doubtful: doubt.may_accuse_falsely(),
        unseen: doubt.unseen(),
        named: doubt.to_string().starts_with(&doubt.unseen().to_string()),
    };
    for ((_, class), block) in graph.classes(rules).iter().zip(graph.index().blocks()) {
        match class {
            Class::Definite | Class::Indirect => told.lost.insert(block),
            _ => told.held.insert(block),
        };
    }
    Some(told)
}

/// The blocks that are falsely called lost, and what is wrong with it.
fn accused(
    whole: &Told,
    image: &[u8],
    rules: Rules,
    gone: &[Addresses],
) -> (usize, Option<String>) {
    let Some(partial) = told(image, rules) else {
        return (0, None);
    };
    let falsely = partial.lost.intersection(&whole.held).count();
    if falsely == 0 {
        return (0, None);
    }
    let wrong = if !partial.doubtful {
        "no doubt at all"
    } else if !gone.is_empty() && (partial.unseen == 0 || !partial.named) {
        "the doubt does not say how much was not seen"
    } else {
        return (falsely, None);
    };
    (falsely, Some(format!("{falsely} blocks: {wrong}")))
}

#[test]
fn what_was_not_seen_accuses_nobody() {
    let wish = std::env::var("NTHEAP_ABSENCE").ok();
    let wish = wish.and_then(|wish| wish.parse().ok());
    let leaky = ["19041.662-depot.snap5", "x86-19041.546-market.snap1"]
        .map(|name| testdata().join(format!("types/{name}.dmp.zst")));
    let paths: Vec<_> = subject::paths().into_iter().chain(leaky).collect();
    let results: Vec<(usize, usize, Vec<String>)> = paths
        .par_iter()
        .map(|path| {
            let file = ntheap::dump::DumpFile::open(path).expect("the dump opens");
            let image = Image::new(file.bytes().to_vec());
            let pages: Vec<u64> = image
                .ranges()
                .flat_map(|range| (range.start..range.end).step_by(PAGE as usize))
                .collect();
            let step = wish.unwrap_or(pages.len() / SAMPLE).max(1);
            let mut cases: Vec<(String, Vec<u8>, Vec<Addresses>)> = Vec::new();
            for &page in pages.iter().step_by(step) {
                let gone = page..page + PAGE;
                let bytes = image.without(std::slice::from_ref(&gone)).bytes().to_vec();
                cases.push((format!("without page {page:x}"), bytes, Vec::from([gone])));
            }
            for thousandths in [500, 900, 990] {
                let (bytes, gone) = image.cut(thousandths);
                cases.push((format!("cut at {thousandths} ‰"), bytes, gone));
            }
            for kind in [
                stream::THREAD_LIST,
                stream::MODULE_LIST,
                stream::MEMORY_INFO_LIST,
            ] {
                let bytes = image.clone().without_stream(kind).bytes().to_vec();
                cases.push((format!("without stream {kind}"), bytes, Vec::new()));
            }
            let (mut falsely, mut wrong) = (0, Vec::new());
            for rules in [Rules::DEFAULT, Rules::ALL] {
                let whole = told(image.bytes(), rules).expect("a process");
                for (what, bytes, gone) in &cases {
                    let (count, problem) = accused(&whole, bytes, rules, gone);
                    falsely += count;
                    let line = |problem| format!("{}, {what}, {rules}: {problem}", path.display());
                    wrong.extend(problem.map(line));
                }
            }
            (cases.len(), falsely, wrong)
        })
        .collect();
    let cases: usize = results.iter().map(|result| result.0).sum();
    let falsely: usize = results.iter().map(|result| result.1).sum();
    println!(
        "{cases} damaged dumps of {}: {falsely} blocks that are held are called lost, with doubt",
        results.len()
    );
    assert!(falsely > 0, "the damage does no harm: nothing was tested");
    let wrong: Vec<&String> = results.iter().flat_map(|result| &result.2).collect();
    wrong.iter().take(20).for_each(|line| println!("{line}"));
    assert!(wrong.is_empty(), "{} false accusations", wrong.len());
}
