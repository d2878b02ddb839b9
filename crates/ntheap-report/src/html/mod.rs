//! A comparison as one HTML file that needs nothing else: for the ticket.
//!
//! What is shown is data in the file, which its own script turns into tables and pictures; nothing is
//! fetched from anywhere. Text from the dump reaches the page as text alone: it stands in a JSON element
//! with `<` escaped, and the script sets it with `textContent`.

mod flame;
mod strips;

use std::io::{self, Write};

use ntheap::{
    diff::{Comparison, Course, HeapStatus, Judgement, Snapshot},
    dump::Dump,
    graph::Graph,
    heap::Heaps,
    losses::Losses,
    names::NameSource,
    types::{Types, changes},
    usage::Class,
};
use serde::Serialize;

use crate::diff::{JudgementReport, verdict};
use flame::Flame;
use strips::Strip;

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Rows of sizes and of types: the page stays small whatever the dumps hold.
const ROWS: usize = 2000;

/// What the page is made of.
pub struct Report<'r, 'p, 'a> {
    /// The comparison, by size and stack.
    pub comparison: &'r Comparison,
    /// What it comes to.
    pub judgement: &'r Judgement,
    /// The first dump and the last.
    pub ends: [&'r Snapshot<'p, 'a>; 2],
    /// The dumps' names, the oldest first.
    pub files: &'r [String],
    /// Names in the last dump.
    pub names: &'r dyn NameSource,
}

impl std::fmt::Debug for Report<'_, '_, '_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Report")
            .field("files", &self.files)
            .finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Data {
    program: String,
    process: String,
    verdict: Vec<String>,
    sure: Vec<String>,
    judgement: JudgementReport,
    dumps: Vec<DumpRow>,
    classes: Vec<&'static str>,
    heaps: Vec<HeapRow>,
    sizes: Vec<SizeRow>,
    types: Vec<TypeRow>,
    folded: [usize; 2],
    flame: Flame,
    strips: Vec<Strip>,
}

#[derive(Serialize)]
struct DumpRow {
    file: String,
    time: String,
    timestamp: u32,
    bytes: u64,
    blocks: u64,
    /// Private bytes, in the order of `classes`.
    private: Vec<u64>,
}

#[derive(Serialize)]
struct HeapRow {
    heap: String,
    status: &'static str,
    before: u64,
    after: u64,
    delta: i64,
    blocks: u64,
    delta_blocks: i64,
    committed: u64,
    free: u64,
    largest_free: u64,
}

#[derive(Serialize)]
struct SizeRow {
    heap: String,
    size: u64,
    before: u64,
    after: u64,
    delta: i64,
    blocks: u64,
    delta_blocks: i64,
    course: &'static str,
    steadiness: Option<f64>,
    counts: Vec<u64>,
}

#[derive(Serialize)]
struct TypeRow {
    name: String,
    before: u64,
    after: u64,
    delta: i64,
    blocks: u64,
    delta_blocks: i64,
}

/// JSON as it can stand in an HTML element: no `<` can end that, and no comment can begin in it.
fn embedded(json: &str) -> String {
    json.replace('<', "\\u003c")
}

impl Report<'_, '_, '_> {
    /// Writes the page.
    ///
    /// # Errors
    /// Those of `out`.
    pub fn write(&self, out: &mut dyn Write) -> io::Result<()> {
        let data = embedded(&serde_json::to_string(&self.data())?);
        let mut rest = PAGE;
        for (mark, text) in [
            ("/*STYLE*/", STYLE),
            ("/*DATA*/", data.as_str()),
            ("/*SCRIPT*/", SCRIPT),
        ] {
            let (before, after) = rest.split_once(mark).unwrap_or((rest, ""));
            out.write_all(before.as_bytes())?;
            out.write_all(text.as_bytes())?;
            rest = after;
        }
        out.write_all(rest.as_bytes())
    }

    fn dump(&self) -> &Dump<'_> {
        self.ends[1].process().dump
    }

    fn data(&self) -> Data {
        let comparison = self.comparison;
        let process = self.ends[1].process();
        let classes: Vec<Class> = comparison
            .usage
            .classes
            .iter()
            .filter(|change| change.before.private > 0 || change.after.private > 0)
            .map(|change| change.class)
            .collect();
        let (sizes, more_sizes) = self.sizes();
        let (types, more_types) = self.types();
        Data {
            program: process
                .program()
                .map_or_else(String::new, |program| program.file_name().to_owned()),
            process: format!(
                "pid {}, {}-bit, Windows build {}",
                process.dump.process_id.unwrap_or(0),
                process.bitness.bits(),
                process.build
            ),
            verdict: self.verdict(),
            sure: match comparison.is_complete() {
                true => Vec::new(),
                false => comparison.losses.iter().flat_map(Losses::lines).collect(),
            },
            judgement: JudgementReport::new(self.judgement, self.dump(), self.names),
            dumps: self.dumps(&classes),
            classes: classes.iter().map(|class| class.title()).collect(),
            heaps: self.heaps(),
            sizes,
            types,
            folded: [more_sizes, more_types],
            flame: Flame::of(comparison, self.names),
            strips: strips::of(&self.ends[1].heaps),
        }
    }

    fn verdict(&self) -> Vec<String> {
        let mut words = String::new();
        let written = verdict::write(self.judgement, self.dump(), self.names, &mut words);
        debug_assert!(written.is_ok(), "a string takes everything");
        let mut lines: Vec<String> = words.lines().map(str::to_owned).collect();
        lines.push(self.comparison.verdict().to_string());
        lines
    }

    fn dumps(&self, classes: &[Class]) -> Vec<DumpRow> {
        let moments = self.comparison.moments.iter().enumerate();
        moments
            .map(|(index, moment)| DumpRow {
                file: self.files.get(index).cloned().unwrap_or_default(),
                time: ntheap::time::UtcTime::from_unix(moment.timestamp.into()).to_string(),
                timestamp: moment.timestamp,
                bytes: moment.busy.bytes,
                blocks: moment.busy.blocks,
                private: classes
                    .iter()
                    .map(|wanted| {
                        let found = moment.classes.iter().find(|(class, _)| class == wanted);
                        found.map_or(0, |(_, total)| total.private)
                    })
                    .collect(),
            })
            .collect()
    }

    fn heaps(&self) -> Vec<HeapRow> {
        let heaps = self.comparison.heaps.iter();
        heaps
            .map(|heap| HeapRow {
                heap: format!("{:x}", heap.handle),
                status: match heap.status {
                    HeapStatus::Survived => "",
                    HeapStatus::New => "new",
                    HeapStatus::Gone => "gone",
                    HeapStatus::Between => "came and went",
                },
                before: heap.busy.before.bytes,
                after: heap.busy.after.bytes,
                delta: heap.busy.bytes(),
                blocks: heap.busy.after.blocks,
                delta_blocks: heap.busy.blocks(),
                committed: heap.committed[1],
                free: heap.free[1].all.bytes,
                largest_free: heap.free[1].largest,
            })
            .collect()
    }

    fn sizes(&self) -> (Vec<SizeRow>, usize) {
        let moments = self.comparison.moments.iter();
        let times: Vec<u32> = moments.map(|moment| moment.timestamp).collect();
        let mut rows = Vec::new();
        for heap in &self.comparison.heaps {
            for size in heap.by_size() {
                let course = Course::of(&times, &size.counts);
                if size.counts.windows(2).all(|pair| pair[0] == pair[1]) {
                    continue;
                }
                rows.push(SizeRow {
                    heap: format!("{:x}", heap.handle),
                    size: size.key.size.unwrap_or(0),
                    before: size.change.before.bytes,
                    after: size.change.after.bytes,
                    delta: size.change.bytes(),
                    blocks: size.change.after.blocks,
                    delta_blocks: size.change.blocks(),
                    course: course.trend.name(),
                    steadiness: course.steadiness,
                    counts: size.counts.iter().map(|count| count.blocks).collect(),
                });
            }
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.delta));
        let more = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        (rows, more)
    }

    fn types(&self) -> (Vec<TypeRow>, usize) {
        let [before, after] = self.ends.map(|snapshot| {
            let all = Heaps::of(snapshot.process());
            let graph = Graph::of(&all);
            let mut types = Types::of(&graph, Some(self.names));
            types.keep(&snapshot.heaps);
            types.totals()
        });
        let mut rows: Vec<TypeRow> = changes(before, after)
            .into_iter()
            .map(|change| TypeRow {
                name: change.after.name.to_string(),
                before: change.bytes_before,
                after: change.after.bytes,
                delta: change.after.bytes.wrapping_sub(change.bytes_before) as i64,
                blocks: change.after.blocks,
                delta_blocks: change.after.blocks.wrapping_sub(change.blocks_before) as i64,
            })
            .filter(|row| row.delta != 0 || row.delta_blocks != 0)
            .collect();
        rows.sort_by_key(|row| std::cmp::Reverse(row.delta));
        let more = rows.len().saturating_sub(ROWS);
        rows.truncate(ROWS);
        (rows, more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_from_a_dump_cannot_leave_their_element() {
        let hostile = "</script><img src=x onerror=alert(1)><!--";
        let json = serde_json::to_string(hostile).unwrap();
        let text = embedded(&json);
        assert!(!text.contains('<'), "{text}");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), hostile);
    }

    #[test]
    fn the_page_has_a_place_for_each_part_and_loads_nothing() {
        for mark in ["/*STYLE*/", "/*DATA*/", "/*SCRIPT*/"] {
            assert_eq!(PAGE.matches(mark).count(), 1, "{mark}");
        }
        assert!(PAGE.find("/*STYLE*/") < PAGE.find("/*DATA*/"));
        assert!(PAGE.find("/*DATA*/") < PAGE.find("/*SCRIPT*/"));
        assert!(!SCRIPT.contains("</script") && !STYLE.contains("</style"));
        assert!(!SCRIPT.contains("innerHTML") && !SCRIPT.contains("fetch("));
    }
}
