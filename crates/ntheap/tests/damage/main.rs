//! Dumps that this suite damages itself: how much of what is there is still found, and whether the
//! result says that it is not all.
//!
//! * `image`: editing a minidump;
//! * `parts`: where the headers of heaps lie;
//! * `subject`: the dumps, and what is in them while they are whole;
//! * `score`: damage, and what is found behind it;
//! * `classes`: the classes of damage;
//! * `absence`: a page that is not in the dump is no damage;
//! * `accusation`: nor is what it held lost, but with a doubt that says how much was not seen.
//!
//! `docs/robustness.md` has the figures. With `NTHEAP_ORACLE` set the oracle's dumps are damaged, else
//! those of `testdata/`; `NTHEAP_DAMAGE_CLASS` picks classes by a part of their names.

mod absence;
mod accusation;
mod classes;
mod image;
mod parts;
mod score;
mod subject;

use rayon::prelude::*;

use score::{Score, Table, judge};

#[test]
fn what_is_there_is_found() {
    let only = std::env::var("NTHEAP_DAMAGE_CLASS").unwrap_or_default();
    let mut classes = classes::all();
    classes.retain(|class| class.name.contains(&only));
    let scores: Vec<(usize, &'static str, Score)> = subject::paths()
        .par_iter()
        .flat_map_iter(|path| {
            let subject = subject::open(path);
            let judged = classes.iter().enumerate().map(|(index, class)| {
                let mut score = Score::default();
                (class.damage)(&subject, &mut |case| {
                    score.add(judge(&subject, class, &case));
                });
                (index, subject.generation, score)
            });
            judged.collect::<Vec<_>>()
        })
        .collect();
    let mut table = Table::default();
    for (class, generation, score) in scores {
        table.add(class, generation, score);
    }
    println!("{}", table.markdown(&classes));
    let mut failed = Vec::new();
    for (index, class) in classes.iter().enumerate() {
        let score = table.class(index);
        score
            .examples
            .iter()
            .for_each(|example| println!("{example}"));
        if !score.holds(class) {
            failed.push(class.name);
        }
    }
    assert!(
        failed.is_empty(),
        "not enough, or too much, or not said: {failed:?}"
    );
}
