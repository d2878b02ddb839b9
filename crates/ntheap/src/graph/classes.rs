//! Classes of reachability, as memcheck has them: reachable, possibly lost, definitely lost,
//! indirectly lost.

use super::{Graph, References, Rules, judge::START};

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

/// Marks on the references.
struct Marker<'m> {
    references: &'m References,
    rules: Rules,
    classes: Vec<Class>,
    /// Blocks whose references are to be followed: while sweeping by their bits, else by number.
    waiting: Vec<bool>,
    pending: Vec<u32>,
    sweeping: bool,
}

/// Sweeps over all blocks before what is left is followed one by one. A sweep reads the references in
/// the order in which they lie in memory, and gets far where blocks lead to others all over the
/// place; of a list that runs downwards each follows but one.
const SWEEPS: usize = 6;

impl Marker<'_> {
    /// Gives the blocks that the waiting ones lead to the class, if theirs is worse.
    fn sweep(&mut self, class: Class, weakest: Strength) {
        for _ in 0..SWEEPS {
            let mut any = false;
            for block in 0..self.waiting.len() {
                if std::mem::take(&mut self.waiting[block]) {
                    any = true;
                    self.follow(block, class, weakest);
                }
            }
            if !any {
                return;
            }
        }
        self.sweeping = false;
        let waiting = (0..).zip(&self.waiting).filter(|(_, waits)| **waits);
        self.pending.extend(waiting.map(|(block, _)| block));
        self.waiting.fill(false);
        self.flood(class, weakest);
        self.sweeping = true;
    }

    /// The same, from the pending blocks alone.
    fn flood(&mut self, class: Class, weakest: Strength) {
        while let Some(block) = self.pending.pop() {
            self.follow(block as usize, class, weakest);
        }
    }

    fn follow(&mut self, holder: usize, class: Class, weakest: Strength) {
        let (targets, rules) = self.references.of(holder);
        for (&target, &bits) in targets.iter().zip(rules) {
            let mine = &mut self.classes[target as usize];
            if *mine >= class {
                continue;
            }
            match strength(bits, self.rules) {
                Some(Strength::Start) => {}
                Some(Strength::Interior) if weakest == Strength::Interior => {}
                _ => continue,
            }
            *mine = class;
            match self.sweeping {
                true => self.waiting[target as usize] = true,
                false => self.pending.push(target),
            }
        }
    }
}

/// Classes of all blocks of a graph.
pub(super) fn classify(graph: &Graph<'_, '_>, rules: Rules) -> Classes {
    let count = graph.index.len();
    let mut marker = Marker {
        references: &graph.references,
        rules,
        classes: vec![Class::Definite; count],
        waiting: vec![false; count],
        pending: Vec::new(),
        sweeping: true,
    };
    let roots: Vec<usize> = graph.root_holders(rules).collect();
    for &root in &roots {
        marker.follow(root, Class::Reachable, Strength::Start);
    }
    marker.sweep(Class::Reachable, Strength::Start);
    // Whatever else a root or a reachable block leads to.
    for &root in &roots {
        marker.follow(root, Class::Possible, Strength::Interior);
    }
    for block in 0..count {
        if marker.classes[block] == Class::Reachable {
            marker.follow(block, Class::Possible, Strength::Interior);
        }
    }
    marker.sweep(Class::Possible, Strength::Interior);
    marker.sweeping = false;
    lead(marker)
}

/// Tells definitely lost blocks from those that hang on them.
fn lead(mut marker: Marker<'_>) -> Classes {
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

impl Marker<'_> {
    /// Makes indirect what a lost block leads to, and the block itself.
    fn reach(&mut self, block: u32) {
        self.classes[block as usize] = Class::Indirect;
        self.pending.push(block);
        self.flood(Class::Indirect, Strength::Interior);
    }
}

/// Which leader has which lost block.
struct Claims {
    led: Vec<(u32, u32)>,
    claimed: Vec<bool>,
}

impl Claims {
    fn flood(&mut self, marker: &Marker<'_>, leader: u32) {
        let mut pending = vec![leader];
        while let Some(block) = pending.pop() {
            let (targets, rules) = marker.references.of(block as usize);
            for (&target, &bits) in targets.iter().zip(rules) {
                if marker.classes[target as usize] != Class::Indirect
                    || strength(bits, marker.rules).is_none()
                {
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
