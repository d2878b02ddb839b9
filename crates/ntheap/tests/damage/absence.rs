//! What is not in the dump is no damage: with any page left out, `verify` says that it could not check
//! everything, and blames nobody.
//!
//! A sample of the pages is left out, one at a time; with `NTHEAP_ABSENCE=N` every Nth page of each
//! dump, so with 1 all of them.

use ntheap::{dump::Dump, heap::Heaps, process::Process, verify};
use rayon::prelude::*;

use crate::{
    image::PAGE,
    subject::{self, Subject},
};

/// Without a wish, about so many pages of each dump are left out.
const SAMPLE: usize = 24;

/// What is called damage with this page left out.
fn damages(subject: &Subject, page: u64) -> Vec<String> {
    let gone = page..page + PAGE;
    let image = subject.image.without(std::slice::from_ref(&gone));
    let Ok(dump) = Dump::parse(image.bytes()) else {
        return Vec::new();
    };
    let Ok(process) = Process::of(&dump) else {
        return Vec::new();
    };
    let result = verify::verify(&Heaps::of(&process));
    let line = |damage| format!("{}, without page {page:x}: {damage}", subject.name);
    result.damages.iter().map(line).collect()
}

#[test]
fn a_missing_page_is_no_damage() {
    let wish = std::env::var("NTHEAP_ABSENCE").ok();
    let wish = wish.and_then(|wish| wish.parse().ok());
    let results: Vec<(usize, Vec<String>)> = subject::paths()
        .par_iter()
        .map(|path| {
            let subject = subject::open(path);
            let is_image = |page: &u64| subject.modules.iter().any(|m| m.1.contains(page));
            let pages: Vec<u64> = subject
                .image
                .ranges()
                .flat_map(|range| (range.start..range.end).step_by(PAGE as usize))
                .filter(|page| !is_image(page))
                .collect();
            let step = wish.unwrap_or(pages.len() / SAMPLE).max(1);
            let picked: Vec<u64> = pages.into_iter().step_by(step).collect();
            let wrong = picked
                .par_iter()
                .flat_map_iter(|&page| damages(&subject, page));
            (picked.len(), wrong.collect())
        })
        .collect();
    let pages: usize = results.iter().map(|result| result.0).sum();
    println!("{pages} pages were left out of {} dumps", results.len());
    let wrong: Vec<&String> = results.iter().flat_map(|result| &result.1).collect();
    wrong.iter().take(20).for_each(|line| println!("{line}"));
    assert!(wrong.is_empty(), "{} false damages", wrong.len());
}
