//! What the caller says of dumps: `--label machine=HAL9000`, or a pattern that takes labels from names of
//! files. Dumps themselves are not asked for such things: names of machines are data of users.

use std::path::Path;

use clap::Args;
use ntheap_report::fingerprint::Fingerprint;

use crate::failure::Failure;

/// Most labels of a dump.
const MOST: usize = 16;

/// Labels of dumps.
#[derive(Debug, Clone, Args)]
pub(crate) struct Labels {
    /// Something to note of every dump, such as machine=HAL9000; any number
    #[arg(long = "label", value_name = "NAME=VALUE")]
    labels: Vec<String>,
    /// Take labels from the names of the dumps: {machine}-{version}-*.dmp; with folders, the last ones
    #[arg(long, value_name = "PATTERN")]
    labels_from: Option<String>,
}

impl Labels {
    /// The labels of the dump at this path, by name; those of its name go before those of all.
    pub(crate) fn of(&self, path: &Path) -> Result<Vec<(String, String)>, Failure> {
        let mut all: Vec<(String, String)> = Vec::new();
        if let Some(pattern) = &self.labels_from {
            let pattern = Pattern::parse(pattern)?;
            let named = path.to_string_lossy().replace('\\', "/");
            all.extend(pattern.take(&named).unwrap_or_default());
        }
        for text in &self.labels {
            let pair = text.split_once('=').filter(|(name, _)| is_name(name));
            let (name, value) = pair.ok_or_else(|| {
                Failure::Usage(format!(
                    "--label '{text}' is not NAME=VALUE, as in machine=HAL9000"
                ))
            })?;
            if !all.iter().any(|(known, _)| known == name) {
                all.push((name.to_owned(), value.to_owned()));
            }
        }
        if all.len() > MOST {
            return Err(Failure::Usage(format!("a dump has {MOST} labels at most")));
        }
        all.sort();
        Ok(all)
    }

    /// Puts the labels of the dump at this path to its fingerprint.
    pub(crate) fn put(&self, path: &Path, fingerprint: &mut Fingerprint) -> Result<(), Failure> {
        for (name, value) in self.of(path)? {
            fingerprint.label(&name, &value);
        }
        Ok(())
    }
}

fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    (1..=40).contains(&text.len()) && text.chars().all(fits)
}

/// A pattern such as `{machine}/{version}-*.dmp`. A label, as `*`, stops at folders.
#[derive(Debug)]
struct Pattern<'p> {
    parts: Vec<Part<'p>>,
    folders: usize,
}

#[derive(Debug, Clone, Copy)]
enum Part<'p> {
    Text(&'p str),
    Label(&'p str),
    Any,
}

impl<'p> Pattern<'p> {
    fn parse(text: &'p str) -> Result<Self, Failure> {
        let wrong = |why: &str| Failure::Usage(format!("--labels-from '{text}': {why}"));
        let mut parts: Vec<Part<'p>> = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '*']) {
            if at > 0 {
                parts.push(Part::Text(&rest[..at]));
            }
            rest = &rest[at..];
            let part = match rest.strip_prefix('{') {
                None => {
                    rest = &rest[1..];
                    Part::Any
                }
                Some(open) => {
                    let (name, behind) =
                        open.split_once('}').ok_or_else(|| wrong("{ without }"))?;
                    if !is_name(name) {
                        return Err(wrong("a label is of letters, digits, - and _"));
                    }
                    rest = behind;
                    Part::Label(name)
                }
            };
            if !matches!(part, Part::Any)
                && matches!(parts.last(), Some(Part::Any | Part::Label(_)))
            {
                return Err(wrong("nothing stands between two labels"));
            }
            parts.push(part);
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest));
        }
        if !parts.iter().any(|part| matches!(part, Part::Label(_))) {
            return Err(wrong("there is no {label} in it"));
        }
        let folders = text.matches('/').count();
        Ok(Pattern { parts, folders })
    }

    /// The labels in a path, whose last folders the pattern names; `None` if it does not fit.
    fn take(&self, path: &str) -> Option<Vec<(String, String)>> {
        let start = path.rmatch_indices('/').nth(self.folders);
        let end = start.map_or(path, |(at, _)| &path[at + 1..]);
        let mut found = Vec::new();
        fits(&self.parts, end, &mut found).then(|| {
            found.reverse();
            found
        })
    }
}

/// Whether a text fits; a label takes as little as lets the rest fit. The labels come last first.
fn fits(parts: &[Part<'_>], text: &str, found: &mut Vec<(String, String)>) -> bool {
    match parts.split_first() {
        None => text.is_empty(),
        Some((Part::Text(expected), rest)) => {
            let behind = text.strip_prefix(expected);
            behind.is_some_and(|behind| fits(rest, behind, found))
        }
        Some((part, rest)) => {
            let end = text.find('/').unwrap_or(text.len());
            let from = usize::from(matches!(part, Part::Label(_)));
            let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
            for at in ends.filter(|&at| (from..=end).contains(&at)) {
                if fits(rest, &text[at..], found) {
                    if let Part::Label(name) = part {
                        found.push(((*name).to_owned(), text[..at].to_owned()));
                    }
                    return true;
                }
            }
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pattern: &str, path: &str) -> Option<Vec<(String, String)>> {
        Pattern::parse(pattern).expect("a pattern").take(path)
    }

    fn pairs(all: &[(&str, &str)]) -> Option<Vec<(String, String)>> {
        Some(
            all.iter()
                .map(|&(a, b)| (a.to_owned(), b.to_owned()))
                .collect(),
        )
    }

    #[test]
    fn labels_of_names() {
        let expected = pairs(&[("machine", "pc-7"), ("version", "1.2")]);
        assert_eq!(
            taken("{machine}_{version}_*.dmp", "/a/pc-7_1.2_0001.dmp"),
            expected
        );
        assert_eq!(
            taken("{machine}/{version}/*", "x/pc-7/1.2/a.dmp.zst"),
            expected
        );
        assert_eq!(taken("{machine}/*.dmp", "a.dmp"), None);
        assert_eq!(taken("{machine}.dmp", "a/b.zip"), None);
        assert_eq!(taken("{m}.dmp", ".dmp"), None);
        assert_eq!(taken("{m}-*.dmp", "ä-ö.dmp"), pairs(&[("m", "ä")]));
    }

    #[test]
    fn wrong_patterns() {
        for pattern in ["*.dmp", "{a}{b}", "{a", "{}", "{a b}"] {
            assert!(Pattern::parse(pattern).is_err(), "{pattern}");
        }
    }
}
