//! Compares what is found with the truth.

use std::{collections::BTreeMap, fmt};

use ntheap::types::{Type, TypeKind, Types};

use crate::truth::{TrueBlock, Truth};

#[derive(Default)]
pub(crate) struct Report {
    /// Blocks that have a class.
    pub(crate) classed: u64,
    /// Of these the ones whose class was found.
    pub(crate) right: u64,
    /// Containers of the truth, and those found right.
    pub(crate) containers: u64,
    pub(crate) containers_right: u64,
    /// Everything that is wrong.
    pub(crate) wrong: Vec<String>,
    /// By true type: blocks, and those that were recognised.
    parts: BTreeMap<String, (u64, u64)>,
    /// Containers found, by kind.
    kinds: BTreeMap<&'static str, u64>,
    typed_bytes: u64,
    bytes: u64,
}

impl Report {
    pub(crate) fn merge(&mut self, other: Report) {
        self.classed += other.classed;
        self.right += other.right;
        self.containers += other.containers;
        self.containers_right += other.containers_right;
        self.wrong.extend(other.wrong);
        for (name, (all, right)) in other.parts {
            let part = self.parts.entry(name).or_default();
            part.0 += all;
            part.1 += right;
        }
        for (kind, count) in other.kinds {
            *self.kinds.entry(kind).or_default() += count;
        }
        self.typed_bytes += other.typed_bytes;
        self.bytes += other.bytes;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "class types: {} of {} right", self.right, self.classed)?;
        writeln!(
            f,
            "containers: {} of {} right",
            self.containers_right, self.containers
        )?;
        writeln!(f, "containers found: {:?}", self.kinds)?;
        writeln!(f, "bytes explained: {} of {}", self.typed_bytes, self.bytes)?;
        for (name, (all, right)) in &self.parts {
            writeln!(f, "{right:8} of {all:8} {name}")?;
        }
        Ok(())
    }
}

/// Whether `of` is what the truth calls `expected`; `None`: the truth knows no word for it.
fn is_right(expected: &str, of: Option<&Type>) -> Option<bool> {
    let name = of.map_or("", |of| &*of.name);
    let class = |expected: &str| {
        let plain = ["class ", "struct "]
            .iter()
            .find_map(|key| expected.strip_prefix(key));
        plain.map(str::to_owned)
    };
    if let Some(class) = class(expected) {
        return Some(name == class);
    }
    match expected.split_once(':') {
        Some(("shared", rest)) => Some(name.contains(&class(rest)?)),
        Some(("array", rest)) => Some(name == format!("{}[]", class(rest)?)),
        _ => None,
    }
}

/// Whether a block that is no object of a class is called one.
fn is_invented(block: &TrueBlock, of: Option<&Type>) -> bool {
    let Some(of) = of else { return false };
    let expected = block.of.as_deref().unwrap_or("");
    let is_object = of.kind == TypeKind::Class
        || of.kind == TypeKind::Array
        || of.kind == TypeKind::ControlBlock
        || of.kind == TypeKind::Callable;
    is_object && !matches!(expected, "shared:control" | "function:callable")
}

/// Whether a block is called a part of another container than it is.
fn is_other_part(block: &TrueBlock, of: Option<&Type>) -> bool {
    let Some(of) = of.filter(|of| of.kind == TypeKind::ContainerPart) else {
        return false;
    };
    let titles: &[&str] = match block.of.as_deref().unwrap_or("") {
        "string:char" => &["std::string text"],
        "string:wchar" => &["std::wstring text"],
        "vector" => &["std::vector elements"],
        "list:node" => &["std::list node"],
        "list:head" => &["std::list head", "std::unordered_map/set head"],
        "map:node" => &["std::map/set node"],
        "map:head" => &["std::map/set head"],
        "unordered:node" => &["std::unordered_map/set node"],
        "unordered:buckets" => &["std::unordered_map/set buckets"],
        "deque:map" => &["std::deque map"],
        "deque:block" => &["std::deque block"],
        "container proxy" => &["std::deque debug proxy"],
        _ => &[],
    };
    !titles.iter().any(|title| of.name.starts_with(title))
}

pub(crate) fn judge(types: &Types<'_, '_>, truth: &Truth) -> Report {
    let mut report = Report::default();
    // The C++ library's own program says of its containers, not of its blocks.
    let has_types = truth.containers.is_empty();
    for block in &truth.blocks {
        let of = types.type_of(block.address);
        let named = |of: Option<&Type>| of.map_or("nothing".to_owned(), |of| of.name.to_string());
        let expected = block.of.as_deref().unwrap_or("nothing");
        report.bytes += block.size;
        report.typed_bytes += if of.is_some() { block.size } else { 0 };
        let part = report.parts.entry(expected.to_owned()).or_default();
        part.0 += 1;
        part.1 += u64::from(of.is_some());
        match is_right(expected, of) {
            Some(right) => {
                report.classed += 1;
                report.right += u64::from(right);
                if !right && of.is_some() {
                    let line = format!("{:x}: {expected} is called {}", block.address, named(of));
                    report.wrong.push(line);
                }
            }
            None if has_types && (is_invented(block, of) || is_other_part(block, of)) => {
                let line = format!(
                    "{:x} ({:#x} bytes, {}): {expected} is called {}",
                    block.address,
                    block.size,
                    block.role,
                    named(of)
                );
                report.wrong.push(line);
            }
            None => {}
        }
    }
    containers(types, truth, &mut report);
    report
}

/// In the program on the genuine library a `Fruit` that `make_shared` made has as many weights (32-bit
/// numbers) as the remainder of its number by 20, which nothing but the values shows.
fn weights(types: &Types<'_, '_>, report: &mut Report) {
    for container in types.containers() {
        let fruit = container
            .holder
            .strip_prefix("market::Fruit (make_shared)+");
        let is_vector = container.kind.name() == "vector";
        if fruit.is_none() || !is_vector {
            continue;
        }
        let used = container.bytes - container.spare;
        // The proxy of the debug library counts as well.
        let proxies = (container.blocks - 1) as u64 * 2;
        let exact = [4, 8]
            .iter()
            .any(|word| container.elements * 4 + proxies * word == used);
        report.containers += 1;
        report.containers_right += u64::from(exact);
        if !exact {
            report.wrong.push(format!("weights: {container:x?}"));
        }
    }
}

fn containers(types: &Types<'_, '_>, truth: &Truth, report: &mut Report) {
    report.containers = truth.containers.len() as u64;
    for container in types.containers() {
        *report.kinds.entry(container.kind.name()).or_default() += 1;
        let Some((kind, elements)) = truth.containers.get(&container.owner) else {
            continue;
        };
        let found = container.kind.name();
        let same = found == kind || (found == "map" && kind == "set");
        if same && *elements == container.elements {
            report.containers_right += 1;
        } else {
            report
                .wrong
                .push(format!("{kind} of {elements} is {container:x?}"));
        }
    }
    weights(types, report);
    for (owner, (kind, elements)) in &truth.containers {
        if !types.containers().iter().any(|found| found.owner == *owner) {
            report
                .wrong
                .push(format!("{kind} of {elements} at {owner:x} is missing"));
        }
    }
}
