//! Fingerprints that add up.
//!
//! The sum does not depend on the order of its parts. Nothing is left out while adding: who wants a sum in
//! bounds folds it at the end.

use std::collections::{BTreeMap, BTreeSet};

use super::{Fingerprint, Known, ModuleIdentity, StackRow};

impl Fingerprint {
    /// Adds another fingerprint.
    pub fn add(&mut self, other: &Fingerprint) {
        if other.dumps == 0 {
            return;
        }
        if self.dumps == 0 {
            *self = other.clone().in_order();
            return;
        }
        self.dumps = self.dumps.saturating_add(other.dumps);
        self.incomplete = self.incomplete.saturating_add(other.incomplete);
        self.dump = None;
        self.first = self.first.min(other.first);
        self.last = self.last.max(other.last);
        self.processes.extend(other.processes.iter().cloned());
        self.labels.extend(other.labels.iter().cloned());
        self.total.add(other.total);
        self.free.add(other.free);
        self.untraced.add(other.untraced);
        self.heaps.add(&other.heaps);
        self.sizes.add(&other.sizes);
        self.sites.add(&other.sites);
        match (&mut self.known, &other.known) {
            (Some(known), Some(more)) => known.add(more),
            (known @ None, Some(more)) => *known = Some(more.clone()),
            (_, None) => {}
        }
        let shift = self.modules.len();
        self.modules.extend(other.modules.iter().cloned());
        self.stacks
            .extend(other.stacks.iter().map(|stack| StackRow {
                frames: moved(&stack.frames, |at| at.saturating_add(shift)),
                ..stack.clone()
            }));
        let whole = std::mem::take(self);
        *self = whole.in_order();
    }

    /// The same with everything in the one order, and each module, stack, process and label once.
    pub(super) fn in_order(mut self) -> Self {
        self.processes = once(std::mem::take(&mut self.processes), |row| &mut row.dumps);
        self.labels = once(std::mem::take(&mut self.labels), |row| &mut row.dumps);
        self.order_modules();
        let mut stacks: BTreeMap<String, StackRow> = BTreeMap::new();
        for row in std::mem::take(&mut self.stacks) {
            match stacks.get_mut(&row.stack) {
                None => {
                    stacks.insert(row.stack.clone(), row);
                }
                Some(known) => {
                    let names = known.names.take().max(row.names.clone());
                    if (&row.site, &row.frames) < (&known.site, &known.frames) {
                        *known = row;
                    }
                    known.names = names;
                }
            }
        }
        self.stacks = stacks.into_values().collect();
        self
    }

    /// Sorts the modules, leaves out those that nothing is in, and points the frames to their places.
    fn order_modules(&mut self) {
        let programs: BTreeSet<&str> = self
            .processes
            .iter()
            .filter_map(|row| row.program.as_deref())
            .collect();
        let frames = self
            .stacks
            .iter()
            .flat_map(|stack| stack.frames.iter().flatten());
        let used: BTreeSet<usize> = frames.map(|&(at, _)| at).collect();
        let kept: BTreeSet<&ModuleIdentity> = self
            .modules
            .iter()
            .enumerate()
            .filter(|(at, module)| used.contains(at) || programs.contains(module.name.as_str()))
            .map(|(_, module)| module)
            .collect();
        let ordered: Vec<ModuleIdentity> = kept.into_iter().cloned().collect();
        // Places that there are not stay what they are: none.
        let places: Vec<usize> = self
            .modules
            .iter()
            .map(|module| ordered.binary_search(module).unwrap_or(usize::MAX))
            .collect();
        for stack in &mut self.stacks {
            stack.frames = moved(&stack.frames, |at| {
                places.get(at).copied().unwrap_or(usize::MAX)
            });
        }
        self.modules = ordered;
    }
}

fn moved(
    frames: &[Option<(usize, u64)>],
    to: impl Fn(usize) -> usize,
) -> Vec<Option<(usize, u64)>> {
    frames
        .iter()
        .map(|frame| frame.map(|(at, offset)| (to(at), offset)))
        .collect()
}

/// Rows in order, those that differ in their numbers of dumps alone as one.
fn once<R: Ord>(rows: Vec<R>, dumps: impl Fn(&mut R) -> &mut u64) -> Vec<R> {
    let mut counts: BTreeMap<R, u64> = BTreeMap::new();
    for mut row in rows {
        let more = std::mem::take(dumps(&mut row));
        let count = counts.entry(row).or_default();
        *count = count.saturating_add(more);
    }
    let counted = |(mut row, count)| {
        *dumps(&mut row) = count;
        row
    };
    counts.into_iter().map(counted).collect()
}

/// A sum of many fingerprints. Sums of as many are added to each other, so that the work grows with the
/// number of the fingerprints, and not with its square.
#[derive(Debug, Default)]
pub struct Sum {
    /// At each position the sum of 2 to the power of it, if there is one.
    parts: Vec<Option<Fingerprint>>,
}

impl Sum {
    /// Adds a fingerprint.
    pub fn add(&mut self, one: Fingerprint) {
        let mut carried = one;
        for part in &mut self.parts {
            match part.take() {
                None => {
                    *part = Some(carried);
                    return;
                }
                Some(other) => carried.add(&other),
            }
        }
        self.parts.push(Some(carried));
    }

    /// The sum.
    #[must_use]
    pub fn finish(self) -> Fingerprint {
        let mut sum = Fingerprint::default();
        self.parts.iter().flatten().for_each(|part| sum.add(part));
        sum
    }
}

impl Known {
    fn add(&mut self, other: &Known) {
        self.dumps = self.dumps.saturating_add(other.dumps);
        self.untyped.add(other.untyped);
        self.types.add(&other.types);
        self.owners.add(&other.owners);
    }
}
