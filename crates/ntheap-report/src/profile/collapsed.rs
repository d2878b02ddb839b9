//! Collapsed stacks: a line per stack, outermost function first, as flame graph tools read them.

use ntheap::printable::is_unprintable;
use std::{
    collections::BTreeMap,
    io::{self, Write},
};

use super::{By, Columns, Sample, functions};

/// Writes `outermost;...;innermost N` (or `... BEFORE AFTER`) per stack, sorted by stack.
///
/// Stacks that differ only in places inside functions are one. Lines that would hold nothing but
/// zeros are left out. `out` should be buffered.
///
/// # Errors
/// Those of `out`.
pub fn write_collapsed(
    samples: impl IntoIterator<Item = Sample>,
    by: By,
    columns: Columns,
    mut out: impl Write,
) -> io::Result<()> {
    let mut lines: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    for sample in samples {
        let functions = functions(&sample);
        let names: Vec<_> = functions.iter().rev().map(|name| harmless(name)).collect();
        let (before, after) = lines.entry(names.join(";")).or_default();
        *before = before.saturating_add(by.of(sample.before));
        *after = after.saturating_add(by.of(sample.after));
    }
    for (stack, (before, after)) in lines {
        match columns {
            Columns::After if after > 0 => writeln!(out, "{stack} {after}")?,
            Columns::BeforeAndAfter if before > 0 || after > 0 => {
                writeln!(out, "{stack} {before} {after}")?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// The name without what parts frames and lines.
fn harmless(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            ';' => ':',
            c if is_unprintable(c) => '?',
            c => c,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Frame;
    use ntheap::{names::Name, stats::Count};

    fn frame(address: u64, symbols: &[&str]) -> Frame {
        let name = |symbol: &&str| Name {
            module: "app".into(),
            symbol: Some((*symbol).into()),
            displacement: address,
            ..Name::default()
        };
        Frame {
            address,
            names: symbols.iter().map(name).collect(),
        }
    }

    fn sample(frames: Vec<Frame>, before: (u64, u64), after: (u64, u64)) -> Sample {
        let count = |(blocks, bytes)| Count { blocks, bytes };
        Sample {
            frames,
            before: count(before),
            after: count(after),
        }
    }

    fn text(samples: &[Sample], by: By, columns: Columns) -> String {
        let mut out = Vec::new();
        write_collapsed(samples.iter().cloned(), by, columns, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn stacks_are_lines_outermost_first() {
        let unknown = Frame {
            address: 0x1234,
            names: vec![],
        };
        let module_only = Frame {
            address: 0x9010,
            names: vec![Name {
                module: "lib".into(),
                displacement: 0x10,
                ..Name::default()
            }],
        };
        let samples = [
            sample(
                vec![frame(1, &["inlined", "f"]), frame(2, &["main"])],
                (1, 8),
                (3, 24),
            ),
            sample(
                vec![frame(5, &["inlined", "f"]), frame(2, &["main"])],
                (0, 0),
                (1, 8),
            ),
            sample(
                vec![frame(1, &["a;b\n"]), module_only, unknown],
                (2, 16),
                (0, 0),
            ),
            sample(vec![], (1, 1), (1, 1)),
        ];
        assert_eq!(
            text(&samples, By::Bytes, Columns::After),
            "[no stack] 1\napp!main;app!f;app!inlined 32\n"
        );
        assert_eq!(
            text(&samples, By::Blocks, Columns::BeforeAndAfter),
            "0x1234;lib+0x10;app!a:b? 2 0\n[no stack] 1 1\napp!main;app!f;app!inlined 1 4\n"
        );
    }
}
