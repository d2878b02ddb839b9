//! The rows that `!heap -p` and `-flt` print, read back.

use ntheap::blocks::{Block, State};

use crate::excuse::hex;

/// What is printed of a heap.
pub(crate) struct Section {
    pub(crate) handle: u64,
    /// Whether it is the list of a page heap's full blocks.
    pub(crate) is_page_heap: bool,
    pub(crate) lines: Vec<Line>,
}

#[derive(Clone, PartialEq)]
pub(crate) enum Line {
    Row(Row),
    Text(String),
}

impl Line {
    pub(crate) fn row(&self) -> Option<&Row> {
        match self {
            Line::Row(row) => Some(row),
            Line::Text(_) => None,
        }
    }

    /// Whether it belongs to the row before: the guess of a class.
    pub(crate) fn is_of_row(&self) -> bool {
        matches!(self, Line::Text(text) if text.starts_with("          "))
    }

    /// Whether it begins a part of the heap.
    pub(crate) fn is_caption(&self) -> bool {
        matches!(self, Line::Text(_)) && !self.is_of_row()
    }
}

/// The row of a block, without the size of the row before.
#[derive(Clone, PartialEq)]
pub(crate) struct Row {
    /// Whether it is marked as the heap's own.
    pub(crate) own: bool,
    pub(crate) entry: u64,
    pub(crate) units: u64,
    flags: String,
    pub(crate) address: u64,
    pub(crate) size: u64,
    pub(crate) state: String,
    /// The size that it says the row before has.
    previous: u64,
}

impl Row {
    /// What the row of a block shows of it; the size in units and the flags stay as they are.
    pub(crate) fn set(&mut self, block: &Block) {
        self.own = block.internal;
        (self.entry, self.address, self.size) = (block.entry, block.address, block.size);
        if block.state == State::Busy && !self.state.ends_with("VirtualAlloc") {
            self.state = "busy".to_owned();
        }
    }

    /// A row that shows a block, without units and flags.
    pub(crate) fn of(block: &Block) -> Self {
        let mut row = Row {
            own: false,
            entry: 0,
            units: 0,
            flags: String::new(),
            address: 0,
            size: 0,
            state: "free".to_owned(),
            previous: 0,
        };
        row.set(block);
        row
    }

    /// Whether both show the same block in the same state.
    pub(crate) fn same_block(&self, other: &Row) -> bool {
        let key = |row: &Row| (row.own, row.entry, row.address, row.size);
        key(self) == key(other) && self.state == other.state
    }

    fn read(line: &str) -> Option<Row> {
        let (head, state) = line.split_once(" - (")?;
        let own = line.starts_with("      * ");
        let words: Vec<&str> = head[own as usize * 7..].split_whitespace().collect();
        let [entry, units, previous, flags, address, size] = words[..] else {
            return None;
        };
        Some(Row {
            own,
            entry: hex(entry)?,
            units: hex(units)?,
            flags: flags.to_owned(),
            address: hex(address)?,
            size: hex(size)?,
            state: state.strip_suffix(')')?.to_owned(),
            previous: hex(previous)?,
        })
    }
}

/// The sections of a list. `None` if a row does not say the size of the row before.
pub(crate) fn sections(text: &str) -> Option<Vec<Section>> {
    let mut sections: Vec<Section> = Vec::new();
    let mut previous = 0;
    for line in text.lines() {
        let nt = line.strip_prefix("    _HEAP @ ");
        let page = line.strip_prefix("    _DPH_HEAP_ROOT @ ");
        if let Some(handle) = nt.or(page) {
            sections.push(Section {
                handle: hex(handle)?,
                is_page_heap: page.is_some(),
                lines: Vec::new(),
            });
            continue;
        }
        let Some(section) = sections.last_mut() else {
            // `-p -a` says what was looked for.
            continue;
        };
        if line.contains("  HEAP_ENTRY Size Prev Flags ") {
            continue;
        }
        section.lines.push(match Row::read(line) {
            Some(mut row) => {
                if row.previous != previous & 0xffff {
                    return None;
                }
                (previous, row.previous) = (row.units, 0);
                Line::Row(row)
            }
            None => Line::Text(line.to_owned()),
        });
    }
    Some(sections)
}
