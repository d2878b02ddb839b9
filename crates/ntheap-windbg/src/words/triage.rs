//! `!heap -triage`: heaps one after the other, and what was found wrong in them.

use std::fmt::{self, Write};

use super::{format::digits, list::listed_heaps};
use ntheap::{
    blocks::{Block, CONTINUE, Finding, Flow, Visitor},
    heap::{Found, Heap, Heaps},
};

const RULE: &str = "**********************************************************";
const ADVICE: &str = "** !heap: You can try:
          -- !heap <no arguments>: Search all heaps for
             failures.
          -- !heap <heap address>: Analyze a specific
             heap for failures. Try this if searching for an
             address in a heap segment did not find any errors.
          -- !heap <other address>: Search for a heap
             segment that contains a given address; if one
             exists, search it for failures.

          You can also try:
          -- !heap: View this process's heap list.
          -- !heap -x <address>: Search for a heap allocation
             containing a particular address. This can be used
             to verify that an address can be validly freed or
             passed to HeapSize.
";

/// Prints the report, of one heap alone if one is given.
///
/// # Errors
/// Those of `out`.
pub(crate) fn triage(heaps: &Heaps<'_, '_>, only: Option<u64>, out: &mut dyn Write) -> fmt::Result {
    let wanted = |heap: &&Heap<'_, '_>| only.is_none_or(|only| only == heap.handle());
    let process = heaps.process();
    let width = digits(process.bitness);
    for heap in heaps.iter().filter(wanted) {
        if matches!(heap, Heap::Segment(_)) {
            segment_heap(heap, width, out)?;
        }
    }
    let only_segment_heap = |only| matches!(heaps.get(only), Ok(Heap::Segment(_)));
    if only.is_some_and(only_segment_heap) {
        return Ok(());
    }
    writeln!(
        out,
        "{RULE}\n** !heap: Searching all heaps for errors...               \n{RULE}\n"
    )?;
    let mut findings = Findings::default();
    for heap in listed_heaps(heaps).iter().filter(wanted) {
        if matches!(heap, Heap::Segment(_)) {
            continue;
        }
        let handle = heap.handle();
        writeln!(out, "** !heap: Analyzing heap at {handle:0width$x}...")?;
        let _ = heap.walk(&mut findings);
    }
    writeln!(out, "\n\n")?;
    if findings.0.is_empty() {
        writeln!(
            out,
            "** !heap: The extension did not find any heap errors.\n"
        )?;
    } else {
        writeln!(out, "** !heap: {} errors were found:\n", findings.0.len())?;
        for finding in &findings.0 {
            writeln!(out, "          {finding}")?;
        }
        writeln!(out)?;
    }
    out.write_str(ADVICE)
}

/// The report on a segment heap, which comes before those on NT heaps.
fn segment_heap(heap: &Heap<'_, '_>, width: usize, out: &mut dyn Write) -> fmt::Result {
    let handle = heap.handle();
    writeln!(
        out,
        "\n** Starting segment heap triage on 0x{handle:0width$x}\n"
    )?;
    let mut findings = Findings::default();
    let _ = heap.walk(&mut findings);
    let errors = match findings.0.len() {
        0 => "no errors.".to_owned(),
        count => format!("{count} errors:"),
    };
    writeln!(out, "** Segment heap triage ended with {errors}")?;
    for finding in &findings.0 {
        writeln!(out, "          {finding}")?;
    }
    Ok(())
}

/// The heap that holds an address.
#[must_use]
pub(crate) fn owner(heaps: &Heaps<'_, '_>, address: u64) -> Option<u64> {
    Some(match heaps.at(address)? {
        Found::Block(block) => block.heap,
        Found::Span(span) => span.heap,
    })
}

#[derive(Default)]
struct Findings(Vec<Finding>);

impl Visitor for Findings {
    fn block(&mut self, _: &Block) -> Flow {
        CONTINUE
    }

    fn finding(&mut self, finding: Finding) -> Flow {
        self.0.push(finding);
        CONTINUE
    }
}
