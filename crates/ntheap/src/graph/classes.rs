//! Classes of reachability, as memcheck has them: reachable, possibly lost, definitely lost,
//! indirectly lost.

use std::sync::atomic::{AtomicU8, Ordering};

use rayon::prelude::*;

use super::{
    Graph, References, Rules,
    encoded::{Encoded, pointers},
    judge::START,
    sweep::Marks,
};

/// How a block is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Class {
    /// Lost, and no other lost block leads to it (but such as it leads to itself).
    Definite,
    /// Lost, and another lost block leads to it.
    Indirect,
    /// A root leads to it, but on each way by a pointer into the middle of a block.
    Possible,
    /// A root leads to it by pointers to the starts of blocks.
    Reachable,
}

impl Class {
    /// All of them, worst first.
    pub const ALL: [Class; 4] = [
        Class::Definite,
        Class::Indirect,
        Class::Possible,
        Class::Reachable,
    ];

    /// The name used in data.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Class::Definite => "definite",
            Class::Indirect => "indirect",
            Class::Possible => "possible",
            Class::Reachable => "reachable",
        }
    }

    /// Its name in memcheck's words.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Class::Definite => "definitely lost",
            Class::Indirect => "indirectly lost",
            Class::Possible => "possibly lost",
            Class::Reachable => "still reachable",
        }
    }

    /// Whether no root leads to the block.
    #[must_use]
    pub const fn is_lost(self) -> bool {
        matches!(self, Class::Definite | Class::Indirect)
    }
}

/// The class of every block under one set of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classes {
    /// By number of the block.
    classes: Vec<Class>,
    /// The lost blocks, ascending, each with the definitely lost one that keeps it.
    lost: Vec<(u32, u32)>,
}

impl Classes {
    /// The class of a block.
    #[must_use]
    pub fn of(&self, block: u32) -> Class {
        self.classes[block as usize]
    }

    /// The classes of all blocks, by number.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Class)> + '_ {
        (0..).zip(self.classes.iter().copied())
    }

    /// The lost blocks, by number, each with its leader: the first definitely lost block that leads
    /// to it, or itself.
    #[must_use]
    pub fn lost(&self) -> &[(u32, u32)] {
        &self.lost
    }

    /// The leader of a lost block.
    #[must_use]
    pub fn leader(&self, block: u32) -> Option<u32> {
        let found = self.lost.binary_search_by_key(&block, |lost| lost.0).ok()?;
        Some(self.lost[found].1)
    }
}

/// What a reference is under a set of rules.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Strength {
    /// A pointer to the start of a block, or one that counts as such.
    Start,
    /// Any other pointer into a block.
    Interior,
}

/// What a reference with these bits is under a set of rules; `None` if it is no pointer.
#[inline]
pub(super) fn strength(bits: u16, rules: Rules) -> Option<Strength> {
    let holding = Rules::from_bits(bits).and(rules);
    if holding.intersects(Rules::DROPS) {
        return None;
    }
    Some(
        match bits & START != 0 || holding.intersects(Rules::STARTS) {
            true => Strength::Start,
            false => Strength::Interior,
        },
    )
}

/// Marks on the references, on all threads.
struct Marker<'m> {
    references: &'m References,
    encoded: Option<&'m Encoded>,
    rules: Rules,
    /// [`Class`] of each block, as a number.
    classes: Vec<AtomicU8>,
    /// Blocks whose references are to be followed.
    waiting: Marks,
}

impl Marker<'_> {
    /// Gives the blocks that the waiting ones lead to the class, if theirs is worse.
    fn flood(&self, class: Class, weakest: Strength) {
        self.waiting.follow(|block, found| {
            self.follow(block as usize, class, weakest, found);
        });
    }

    /// The same, from one holder alone; calls `found` with each block whose class this changes.
    fn follow(&self, holder: usize, class: Class, weakest: Strength, found: &mut dyn FnMut(u32)) {
        // From within, an iterator that goes on with another one costs nothing at each step.
        pointers(self.references, self.encoded, holder).for_each(|(target, bits)| {
            let mine = &self.classes[target as usize];
            if mine.load(Ordering::Relaxed) >= class as u8 {
                return;
            }
            match strength(bits, self.rules) {
                Some(Strength::Start) => {}
                Some(Strength::Interior) if weakest == Strength::Interior => {}
                _ => return,
            }
            // Nobody else gives another class at the same time.
            mine.store(class as u8, Ordering::Relaxed);
            found(target);
        });
    }

    /// Lets what a holder leads to wait.
    fn start(&self, holder: usize, class: Class, weakest: Strength) {
        self.follow(holder, class, weakest, &mut |found| {
            self.waiting.add(found);
        });
    }
}

/// Classes of all blocks of a graph.
pub(super) fn classify(graph: &Graph<'_, '_>, rules: Rules) -> Classes {
    let count = graph.index.len();
    let worst = |_| AtomicU8::new(Class::Definite as u8);
    let marker = Marker {
        references: &graph.references,
        encoded: graph.encoded(rules),
        rules,
        classes: (0..count).into_par_iter().map(worst).collect(),
        waiting: Marks::new(count),
    };
    let roots: Vec<usize> = graph.root_holders(rules).collect();
    let roots = roots.par_iter();
    let (class, weakest) = (Class::Reachable, Strength::Start);
    roots
        .clone()
        .for_each(|&root| marker.start(root, class, weakest));
    marker.flood(class, weakest);
    // Whatever else a root or a reachable block leads to.
    let (class, weakest) = (Class::Possible, Strength::Interior);
    roots.for_each(|&root| marker.start(root, class, weakest));
    marker
        .classes
        .par_iter()
        .enumerate()
        .for_each(|(block, mine)| {
            if mine.load(Ordering::Relaxed) == Class::Reachable as u8 {
                marker.start(block, class, weakest);
            }
        });
    marker.flood(class, weakest);
    let classes = marker.classes.into_par_iter().map(|class| {
        let class = class.into_inner();
        Class::ALL[usize::from(class)]
    });
    lead(Leader {
        references: &graph.references,
        encoded: graph.encoded(rules),
        rules,
        classes: classes.collect(),
        pending: Vec::new(),
    })
}

/// Tells definitely lost blocks from those that hang on them.
fn lead(mut marker: Leader<'_>) -> Classes {
    let lost: Vec<u32> = (0..)
        .zip(&marker.classes)
        .filter(|(_, class)| class.is_lost())
        .map(|(block, _)| block)
        .collect();
    // From each block in turn that none before leads to. Of those the last is in a cycle, or alone,
    // that no other lost block leads to: whoever leads to it would have been met earlier, or leads
    // from it. So is, going back, each that none behind leads to; and as blocks are taken by
    // ascending address, it is the lowest of its cycle.
    let mut starts = Vec::new();
    for &block in &lost {
        if marker.classes[block as usize] == Class::Definite {
            starts.push(block);
            marker.reach(block);
        }
    }
    for &block in &lost {
        marker.classes[block as usize] = Class::Definite;
    }
    let mut leaders = Vec::new();
    for &block in starts.iter().rev() {
        if marker.classes[block as usize] == Class::Definite {
            leaders.push(block);
            marker.reach(block);
        }
    }
    leaders.reverse();
    for &leader in &leaders {
        marker.classes[leader as usize] = Class::Definite;
    }
    let mut claims = Claims {
        led: lost.iter().map(|&block| (block, block)).collect(),
        claimed: vec![false; lost.len()],
    };
    for &leader in &leaders {
        claims.flood(&marker, leader);
    }
    Classes {
        classes: marker.classes,
        lost: claims.led,
    }
}

/// Tells lost blocks apart.
struct Leader<'m> {
    references: &'m References,
    encoded: Option<&'m Encoded>,
    rules: Rules,
    classes: Vec<Class>,
    pending: Vec<u32>,
}

impl Leader<'_> {
    /// Makes indirect what a lost block leads to, and the block itself.
    fn reach(&mut self, block: u32) {
        self.classes[block as usize] = Class::Indirect;
        self.pending.push(block);
        while let Some(block) = self.pending.pop() {
            for target in led(self.references, self.encoded, self.rules, block) {
                let mine = &mut self.classes[target as usize];
                if *mine < Class::Indirect {
                    *mine = Class::Indirect;
                    self.pending.push(target);
                }
            }
        }
    }
}

/// The blocks that a block leads to by any pointer.
fn led<'m>(
    references: &'m References,
    encoded: Option<&'m Encoded>,
    rules: Rules,
    block: u32,
) -> impl Iterator<Item = u32> + 'm {
    let pointers = pointers(references, encoded, block as usize);
    let counting = pointers.filter(move |&(_, bits)| strength(bits, rules).is_some());
    counting.map(|(target, _)| target)
}

/// Which leader has which lost block.
struct Claims {
    led: Vec<(u32, u32)>,
    claimed: Vec<bool>,
}

impl Claims {
    fn flood(&mut self, marker: &Leader<'_>, leader: u32) {
        let mut pending = vec![leader];
        while let Some(block) = pending.pop() {
            for target in led(marker.references, marker.encoded, marker.rules, block) {
                if marker.classes[target as usize] != Class::Indirect {
                    continue;
                }
                let Ok(position) = self.led.binary_search_by_key(&target, |led| led.0) else {
                    continue;
                };
                if !std::mem::replace(&mut self.claimed[position], true) {
                    self.led[position].1 = leader;
                    pending.push(target);
                }
            }
        }
    }
}
