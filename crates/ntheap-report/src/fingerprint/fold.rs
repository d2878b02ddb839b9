//! Fingerprints in bounds: the rows that say most, and the sum of the others.

use std::collections::{BTreeSet, HashMap};

use serde::Serialize;

use super::{Fingerprint, Known, LabelRow, ProcessRow, Row, Table};

/// Bytes that the sum of a table's others, and what stands around the rows, may take.
const FRAME: usize = 4096;
/// Programs and values of labels that are named.
const MOST_NAMED: usize = 40;
/// Labels whose other values are told apart.
const MOST_LABELS: usize = 16;
/// Parts of the room, in per cent; the sites get what these leave.
const PARTS: [(Part, usize); 5] = [
    (Part::Named, 10),
    (Part::Heaps, 5),
    (Part::Sizes, 12),
    (Part::Types, 15),
    (Part::Owners, 8),
];

/// What shares the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    Named,
    Heaps,
    Sizes,
    Types,
    Owners,
}

impl Fingerprint {
    /// The fingerprint in at most `limit` bytes of JSON ([`Fingerprint::to_line`]), if that is enough for
    /// its frame, which takes less than 8 KiB. Rows that say least are added to the others of their
    /// tables, so that all totals stay what they are.
    #[must_use]
    pub fn folded(&self, limit: usize) -> Self {
        if self.to_line().len() <= limit {
            return self.clone();
        }
        let mut room = limit.saturating_sub(FRAME);
        loop {
            let folded = self.in_room(room);
            let length = folded.to_line().len();
            if length <= limit || room == 0 {
                return folded;
            }
            room = room.saturating_sub(length - limit + 64);
        }
    }

    fn in_room(&self, room: usize) -> Self {
        let mut left = room;
        let mut take = |part: Part, used: &mut dyn FnMut(usize) -> usize| {
            let percent = PARTS
                .iter()
                .find(|(of, _)| *of == part)
                .map_or(0, |of| of.1);
            left = left.saturating_sub(used(room / 100 * percent));
        };
        let mut folded = Fingerprint {
            stacks: Vec::new(),
            modules: Vec::new(),
            ..self.clone()
        };
        take(Part::Named, &mut |room| {
            let used = few(
                &mut folded.processes,
                room / 2,
                |row| row.dumps,
                other_programs,
            );
            let labels: BTreeSet<String> =
                folded.labels.iter().map(|row| row.label.clone()).collect();
            let labels: BTreeSet<String> = labels.into_iter().take(MOST_LABELS).collect();
            let other = |row: &LabelRow| other_values(row, &labels);
            used + few(&mut folded.labels, room / 2, |row| row.dumps, other)
        });
        take(Part::Heaps, &mut |room| shrink(&mut folded.heaps, room));
        take(Part::Sizes, &mut |room| shrink(&mut folded.sizes, room));
        if let Some(Known { types, owners, .. }) = &mut folded.known {
            take(Part::Types, &mut |room| shrink(types, room));
            take(Part::Owners, &mut |room| shrink(owners, room));
        }
        self.sites_in(left, &mut folded);
        folded.in_order()
    }

    /// Takes as many sites as have room, with their stacks and modules.
    fn sites_in(&self, room: usize, folded: &mut Fingerprint) {
        let stacks: HashMap<&str, usize> = self
            .stacks
            .iter()
            .enumerate()
            .map(|(at, stack)| (stack.stack.as_str(), at))
            .collect();
        let mut with_stack = vec![false; self.stacks.len()];
        let mut with_module = vec![false; self.modules.len()];
        let mut left = room;
        let programs = self
            .processes
            .iter()
            .filter_map(|row| row.program.as_deref());
        for program in programs {
            if let Some(at) = self
                .modules
                .iter()
                .position(|module| module.name == program)
            {
                left = left.saturating_sub(length(&self.modules[at]));
                with_module[at] = true;
            }
        }
        let mut wanted = vec![false; self.sites.rows.len()];
        let mut misses = 0;
        for place in self.sites.ranking() {
            let site = &self.sites.rows[place];
            let mut cost = length(site);
            let stack = stacks.get(site.stack.as_str()).copied();
            let mut modules = Vec::new();
            if let Some(at) = stack.filter(|&at| !with_stack[at]) {
                cost += length(&self.stacks[at]);
                for &(module, _) in self.stacks[at].frames.iter().flatten() {
                    if with_module.get(module) == Some(&false) && !modules.contains(&module) {
                        cost += length(&self.modules[module]);
                        modules.push(module);
                    }
                }
            }
            if cost > left {
                // A deep stack does not stand in the way of shallow ones.
                misses += 1;
                if misses > 1000 {
                    break;
                }
                continue;
            }
            left -= cost;
            wanted[place] = true;
            stack.into_iter().for_each(|at| with_stack[at] = true);
            modules.into_iter().for_each(|at| with_module[at] = true);
        }
        folded.sites = self.sites.keep(&wanted);
        folded.modules = self.modules.clone();
        folded.stacks = self
            .stacks
            .iter()
            .zip(with_stack)
            .filter(|(_, kept)| *kept)
            .map(|(stack, _)| stack.clone())
            .collect();
    }
}

/// The length of a row in a list.
fn length(row: &impl Serialize) -> usize {
    serde_json::to_string(row).map_or(usize::MAX / 4, |text| text.len() + 1)
}

/// Keeps the rows of a table that have room, and returns how much they take.
fn shrink<R: Row + Serialize>(table: &mut Table<R>, room: usize) -> usize {
    let mut wanted = vec![false; table.rows.len()];
    let mut used = 0;
    for place in table.ranking() {
        let length = length(&table.rows[place]);
        if used + length > room {
            break;
        }
        used += length;
        wanted[place] = true;
    }
    if wanted.contains(&false) {
        *table = table.keep(&wanted);
    }
    used
}

/// Keeps the rows of the most dumps that have room, and joins the others, as `other` makes them of a row.
fn few<R: Clone + Ord + Serialize>(
    rows: &mut Vec<R>,
    room: usize,
    dumps: impl Fn(&R) -> u64,
    other: impl Fn(&R) -> R,
) -> usize {
    rows.sort_by_key(|row| std::cmp::Reverse(dumps(row)));
    let (mut used, mut kept) = (0, 0);
    for row in rows.iter().take(MOST_NAMED) {
        let length = length(row);
        if used + length > room {
            break;
        }
        used += length;
        kept += 1;
    }
    let others = rows.split_off(kept);
    // Rows that are the same now become one when all is put in order.
    rows.extend(others.iter().map(other));
    used
}

fn other_programs(row: &ProcessRow) -> ProcessRow {
    ProcessRow {
        program: None,
        version: None,
        build: 0,
        bits: 0,
        dumps: row.dumps,
    }
}

fn other_values(row: &LabelRow, labels: &BTreeSet<String>) -> LabelRow {
    LabelRow {
        label: match labels.contains(&row.label) {
            true => row.label.clone(),
            false => "others".to_owned(),
        },
        value: None,
        dumps: row.dumps,
    }
}
