//! `ntheap blocks`: every block, streamed.

use std::ops::RangeInclusive;

use ntheap::{
    blocks::{Block, Finding, State, Visitor},
    json::{BlockReport, FindingReport},
    process::Process,
    traces::Traces,
};

use crate::{
    args::{Blocks, Common, Format, StateFilter},
    failure::{Failure, Status},
    input::{Input, heaps},
    output::Output,
};

/// Which blocks are written.
pub(crate) struct Selection {
    pub(crate) busy: bool,
    pub(crate) free: bool,
    pub(crate) internal: bool,
    pub(crate) sizes: RangeInclusive<u64>,
}

impl Selection {
    fn takes(&self, block: &Block) -> bool {
        let state = match block.state {
            State::Busy => self.busy,
            State::Free | State::Freed => self.free,
        };
        state && (self.internal || !block.internal) && self.sizes.contains(&block.size)
    }
}

pub(crate) fn run(args: &Blocks, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let selection = Selection {
        busy: args.state != StateFilter::Free,
        free: args.state != StateFilter::Busy,
        internal: args.internal,
        sizes: 0..=u64::MAX,
    };
    let input = Input::open(&args.dump)?;
    let dump = input.parse()?;
    let processes = input.processes(&dump, common)?;
    write_blocks("blocks", &input, &processes, common, &selection, output)
}

/// Writes the blocks of these processes in the form that the options ask for.
pub(crate) fn write_blocks(
    command: &'static str,
    input: &Input,
    processes: &[Process<'_, '_>],
    common: &Common,
    selection: &Selection,
    output: &mut Output,
) -> Result<Status, Failure> {
    let format = common.format.unwrap_or(Format::Text);
    let mut status = Status::Complete;
    if format == Format::Json {
        output.text(|out| {
            write!(
                out,
                "{{\"schema\":{},\"command\":\"{command}\",\"blocks\":[",
                ntheap::json::SCHEMA
            )
        })?;
    }
    let mut findings = Vec::new();
    let mut written = 0u64;
    for process in processes {
        status = status.and(input.report_problems(process));
        if format == Format::Text {
            let width = process.bitness.pointer_size() as usize * 2;
            output.text(|out| {
                writeln!(
                    out,
                    "{:width$}  {:width$} {:>10} {:>10}  state  kind       trace",
                    "heap", "address", "size", "block"
                )
            })?;
        }
        let traces = Traces::of(process);
        for heap in heaps(input, process, common)? {
            let mut writer = Writer {
                format,
                selection,
                traces: &traces,
                width: process.bitness.pointer_size() as usize * 2,
                output,
                result: Ok(()),
                findings: &mut findings,
                written: &mut written,
            };
            for part in heap.parts() {
                heap.walk_part(part, &mut writer);
                // A closed pipe ends the walk here instead of at the end of the dump.
                std::mem::replace(&mut writer.result, Ok(()))?;
            }
        }
    }
    if format == Format::Json {
        output.bytes(b"],\"findings\":")?;
        let reports: Vec<FindingReport> = findings.iter().map(FindingReport::from).collect();
        output.json_line(&reports)?;
        output.bytes(b"}\n")?;
    }
    Ok(status.and(input.report_findings(&findings)))
}

struct Writer<'w, 'p, 'a> {
    format: Format,
    selection: &'w Selection,
    traces: &'w Traces<'p, 'a>,
    width: usize,
    output: &'w mut Output,
    result: Result<(), Failure>,
    findings: &'w mut Vec<Finding>,
    written: &'w mut u64,
}

impl Writer<'_, '_, '_> {
    fn write(&mut self, block: &Block) -> Result<(), Failure> {
        let trace = self.traces.address(block.trace);
        if self.format == Format::Text {
            let width = self.width;
            let trace = trace.map_or_else(|| "-".to_owned(), |trace| format!("{trace:x}"));
            return self.output.text(|out| {
                writeln!(
                    out,
                    "{:0width$x}  {:0width$x} {:>10x} {:>10x}  {:5}  {:9}  {trace}",
                    block.heap,
                    block.address,
                    block.size,
                    block.block_size,
                    block.state.name(),
                    block.kind.name(),
                )
            });
        }
        if self.format == Format::Json && *self.written > 0 {
            self.output.bytes(b",")?;
        }
        self.output.json_line(&BlockReport::new(block, trace))
    }
}

impl Visitor for Writer<'_, '_, '_> {
    fn block(&mut self, block: &Block) {
        if self.result.is_ok() && self.selection.takes(block) {
            self.result = self.write(block);
            *self.written += 1;
        }
    }

    fn finding(&mut self, finding: Finding) {
        if self.findings.len() < ntheap::stats::MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}
