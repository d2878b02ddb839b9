//! The lines of an output, and the three ways in which a correction changes them: a line is put
//! right, lines that should not be there are dropped, lines that were left out are put back.

use std::collections::{HashMap, HashSet};

use similar::{Algorithm, DiffOp, capture_diff_slices};

/// An output, split at its ends of lines; joined again it is the same text.
pub(crate) type Lines = Vec<String>;

pub(crate) fn split(text: &str) -> Lines {
    text.split('\n').map(str::to_owned).collect()
}

pub(crate) fn hex(text: &str) -> Option<u64> {
    u64::from_str_radix(text, 16).ok()
}

/// A line's first word: the address, in rows. The mark of the heap's own blocks is none.
pub(crate) fn key(line: &str) -> &str {
    let mut words = line.split_whitespace();
    words.find(|word| *word != "*").unwrap_or_default()
}

/// The words of a line.
pub(crate) fn words(line: &str) -> Vec<&str> {
    line.split_whitespace().collect()
}

/// Our output, and where its lines are.
pub(crate) struct Ours {
    pub(crate) lines: Lines,
    known: HashSet<String>,
    by_key: HashMap<String, Vec<usize>>,
}

impl Ours {
    pub(crate) fn new(lines: Lines) -> Self {
        let mut by_key = HashMap::<String, Vec<usize>>::new();
        for (index, line) in lines.iter().enumerate() {
            by_key.entry(key(line).to_owned()).or_default().push(index);
        }
        Ours {
            known: lines.iter().cloned().collect(),
            lines,
            by_key,
        }
    }

    pub(crate) fn has(&self, line: &str) -> bool {
        self.known.contains(line)
    }

    /// Our lines that begin with the same word.
    pub(crate) fn like(&self, line: &str) -> impl Iterator<Item = &str> {
        let found = self.by_key.get(key(line)).into_iter().flatten();
        found.map(|index| self.lines[*index].as_str())
    }

    /// Puts each line right that only they have and that `right` can correct, told the line and one
    /// of ours that begins with the same word.
    pub(crate) fn rewrite(
        &self,
        theirs: &mut Lines,
        right: impl Fn(&str, &str) -> Option<String>,
    ) -> bool {
        self.rewrite_alone(theirs, |line| {
            self.like(line).find_map(|ours| right(line, ours))
        })
    }

    /// Puts each line right that only they have and that `right` can correct.
    pub(crate) fn rewrite_alone(
        &self,
        theirs: &mut Lines,
        right: impl Fn(&str) -> Option<String>,
    ) -> bool {
        let mut changed = false;
        for line in theirs.iter_mut().filter(|line| !self.has(line)) {
            if let Some(right) = right(line).filter(|right| right != line) {
                *line = right;
                changed = true;
            }
        }
        changed
    }

    /// Drops the lines that only they have and that are wrong.
    pub(crate) fn drop(&self, theirs: &mut Lines, mut wrong: impl FnMut(&str) -> bool) -> bool {
        let before = theirs.len();
        theirs.retain(|line| self.has(line) || !wrong(line));
        theirs.len() < before
    }

    /// Puts back the lines of ours that are `lost`, by their place, and that theirs do not have.
    pub(crate) fn put_back(&self, theirs: &mut Lines, lost: impl Fn(usize) -> bool) -> bool {
        let before = theirs.len();
        let operations = capture_diff_slices(Algorithm::Patience, theirs, &self.lines);
        let mut merged = Lines::new();
        for operation in operations {
            let (old, new) = (operation.old_range(), operation.new_range());
            if let DiffOp::Equal { .. } = operation {
                merged.extend_from_slice(&theirs[old]);
                continue;
            }
            let mut rest = &theirs[old];
            for index in new {
                let line = &self.lines[index];
                if lost(index) {
                    merged.push(line.clone());
                } else if let Some(at) = rest.iter().position(|l| key(l) == key(line)) {
                    // A line that is still wrong.
                    merged.extend_from_slice(&rest[..=at]);
                    rest = &rest[at + 1..];
                }
            }
            merged.extend_from_slice(rest);
        }
        *theirs = merged;
        theirs.len() > before
    }
}
