//! No false accusation: whatever is left out of a dump, a block that the whole dump holds is not called
//! lost without a doubt that says how much was not seen.
//!
//! A sample of the pages is left out, one at a time; with `NTHEAP_ABSENCE=N` every Nth page of each
//! dump. Then the file is cut, and streams are taken away.

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use ntheap::{
    dump::Dump,
    graph::{Class, Graph, Rules},
    heap::Heaps,
    process::Process,
};
use ntheap_synth::oracle::{oracle_beside, testdata};
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
    /// Bytes that were not seen, and the doubt, which names them first.
    unseen: u64,
    doubt: String,
}

/// The rules, each with what they tell.
const RULES: [Rules; 2] = [Rules::DEFAULT, Rules::ALL];

fn told(image: &[u8]) -> Option<[Told; 2]> {
    let dump = Dump::parse(image).ok()?;
    let process = Process::of(&dump).ok()?;
    let graph = Graph::of(&Heaps::of(&process));
    let doubt = graph.doubt();
    let by = |rules: Rules| {
        let mut told = Told {
            lost: BTreeSet::new(),
            held: BTreeSet::new(),
            doubtful: doubt.may_accuse_falsely(),
            unseen: doubt.unseen(),
            doubt: doubt.to_string(),
        };
        for ((_, class), block) in graph.classes(rules).iter().zip(graph.index().blocks()) {
            match class {
                Class::Definite | Class::Indirect => told.lost.insert(block),
                _ => told.held.insert(block),
            };
        }
        told
    };
    Some(RULES.map(by))
}

/// The blocks that are falsely called lost, and what is wrong with it.
fn accused(whole: &Told, partial: &Told, gone: &[Addresses]) -> (usize, Option<String>) {
    let falsely = partial.lost.intersection(&whole.held).count();
    if falsely == 0 {
        return (0, None);
    }
    let named = partial.doubt.starts_with(&partial.unseen.to_string());
    let wrong = if !partial.doubtful {
        "no doubt at all".to_owned()
    } else if !gone.is_empty() && (partial.unseen == 0 || !named) {
        format!(
            "the doubt does not say how much was not seen: {}",
            partial.doubt
        )
    } else {
        return (falsely, None);
    };
    (falsely, Some(format!("{falsely} blocks: {wrong}")))
}

/// What was done to a dump, what came of it, and what was left out.
type Case = (String, Vec<u8>, Vec<Addresses>);

/// An image without some of its pages: every `step`th from the one with this number on.
fn without_pages(image: &Image, first: usize, step: usize) -> impl Iterator<Item = Case> + '_ {
    let pages = image
        .ranges()
        .flat_map(|range| (range.start..range.end).step_by(PAGE as usize));
    pages.skip(first).step_by(step).map(|page| {
        let gone = page..page + PAGE;
        let bytes = image.without(std::slice::from_ref(&gone)).bytes().to_vec();
        (format!("without page {page:x}"), bytes, Vec::from([gone]))
    })
}

fn cut(image: &Image, thousandths: usize) -> Case {
    let (bytes, gone) = image.cut(thousandths);
    (format!("cut at {thousandths} ‰"), bytes, gone)
}

fn without_stream(image: &Image, kind: u32) -> Case {
    let bytes = image.clone().without_stream(kind).bytes().to_vec();
    (format!("without stream {kind}"), bytes, Vec::new())
}

/// Streams that say what may hold pointers.
const STREAMS: [u32; 3] = [
    stream::THREAD_LIST,
    stream::MODULE_LIST,
    stream::MEMORY_INFO_LIST,
];

/// Damages dumps, and fails if a block is accused falsely.
fn accuse(paths: &[PathBuf], cases: impl Fn(usize, &Image, &mut dyn FnMut(Case)) + Sync) {
    let results: Vec<(usize, usize, Vec<String>)> = paths
        .par_iter()
        .enumerate()
        .map(|(number, path)| {
            let file = ntheap::dump::DumpFile::open(path).expect("the dump opens");
            let image = Image::new(file.bytes().to_vec());
            let whole = told(image.bytes()).expect("a process");
            let (mut count, mut falsely, mut wrong) = (0, 0, Vec::new());
            cases(number, &image, &mut |(what, bytes, gone)| {
                count += 1;
                let Some(partial) = told(&bytes) else { return };
                for ((whole, partial), rules) in whole.iter().zip(&partial).zip(RULES) {
                    let (blocks, problem) = accused(whole, partial, &gone);
                    falsely += blocks;
                    let line = |problem| format!("{}, {what}, {rules}: {problem}", path.display());
                    wrong.extend(problem.map(line));
                }
            });
            (count, falsely, wrong)
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

#[test]
fn what_was_not_seen_accuses_nobody() {
    let wish = std::env::var("NTHEAP_ABSENCE").ok();
    let wish: Option<usize> = wish.and_then(|wish| wish.parse().ok());
    let leaky = ["19041.662-depot.snap5", "x86-19041.546-market.snap1"]
        .map(|name| testdata().join(format!("types/{name}.dmp.zst")));
    let paths: Vec<_> = subject::paths().into_iter().chain(leaky).collect();
    accuse(&paths, |_, image, take| {
        let pages = image.ranges().map(|range| (range.end - range.start) / PAGE);
        let step = wish.unwrap_or(pages.sum::<u64>() as usize / SAMPLE).max(1);
        without_pages(image, 0, step).for_each(&mut *take);
        let cuts = [500, 900, 990].map(|thousandths| cut(image, thousandths));
        let streams = STREAMS.map(|kind| without_stream(image, kind));
        cuts.into_iter().chain(streams).for_each(take);
    });
}

/// Dumps of programs that hold blocks in every way there is: of each other pages, and one cut.
#[test]
fn what_was_not_seen_of_the_leak_oracle_accuses_nobody() {
    const PAGES: usize = 16;
    let Some(oracle) = oracle_beside("oracle-leaks") else {
        return;
    };
    let files = |folder: &Path| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
        paths.sort();
        paths
    };
    let folders = files(&oracle.unpacked).into_iter();
    let mut paths: Vec<PathBuf> = folders.flat_map(|folder| files(&folder)).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "dmp"));
    accuse(&paths, |number, image, take| {
        let pages = image.ranges().map(|range| (range.end - range.start) / PAGE);
        let step = (pages.sum::<u64>() as usize / PAGES).max(1);
        without_pages(image, number * 7 % step, step).for_each(&mut *take);
        take(cut(image, 500 + number * 29 % 490));
        take(without_stream(image, STREAMS[number % STREAMS.len()]));
    });
}
