//! `ntheap blocks`: every block, streamed.

use clap::{Args, ValueEnum};
use std::path::PathBuf;
use std::{collections::HashMap, ops::RangeInclusive, sync::Arc};

use ntheap::{
    blocks::{Block, Finding, Span, State, Trace, TryVisitor},
    heap::Heap,
    layout::Bitness,
    losses::Losses,
    process::Process,
    traces::Traces,
};
use ntheap_report::{
    json::{Address, BlockReport, CrtReport, FindingReport, StackReport},
    text::stacks::{frame_texts, write_stack},
};
use ntheap_symbols::DumpNames;

use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    options::{Common, Format},
    output::Output,
    privacy,
};

/// Which blocks are written.
pub(crate) struct Selection {
    pub(crate) busy: bool,
    pub(crate) free: bool,
    pub(crate) internal: bool,
    pub(crate) stack: bool,
    pub(crate) crt: bool,
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

/// `ntheap blocks`.
#[derive(Debug, Args)]
pub(crate) struct Blocks {
    /// The dump
    dump: PathBuf,
    /// Which blocks
    #[arg(long, value_enum, default_value = "busy")]
    state: StateFilter,
    /// Also the heap's own blocks (LFH containers, tables)
    #[arg(long)]
    internal: bool,
    /// Also the call stack of each allocation
    #[arg(long)]
    stack: bool,
    /// Also what the debug C runtime says of its blocks: true size, file, line, request number
    #[arg(long)]
    crt: bool,
}

/// Which blocks `blocks` lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateFilter {
    /// Allocated
    Busy,
    /// Free
    Free,
    /// All
    All,
}

pub(crate) fn run(args: &Blocks, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let selection = Selection {
        busy: args.state != StateFilter::Free,
        free: args.state != StateFilter::Busy,
        internal: args.internal,
        stack: args.stack,
        crt: args.crt,
        sizes: 0..=u64::MAX,
    };
    let input = Input::open(&args.dump, common)?;
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
    super::no_table(common)?;
    let format = common.format.unwrap_or(Format::Text);
    let mut status = Status::Complete;
    if format == Format::Json {
        output.text(|out| {
            write!(
                out,
                "{{\"schema\":{},\"command\":\"{command}\",\"blocks\":[",
                ntheap_report::json::SCHEMA
            )
        })?;
    }
    let mut findings: Vec<FindingReport> = Vec::new();
    let mut written = 0u64;
    for process in processes {
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
        let mut stacks = Stacks {
            traces: Traces::of(process),
            names: input.names(process.dump),
            by_name: input.has_symbols(),
            bitness: process.bitness,
            known: HashMap::new(),
        };
        let mut losses = Losses::of(process);
        for heap in &heaps(input, process, common)? {
            let tags = match heap {
                Heap::Nt(heap) => heap.tags(),
                _ => Vec::new(),
            };
            let mut writer = Writer {
                tags: tags
                    .into_iter()
                    .map(|tag| (tag.index, tag.name.into()))
                    .collect(),
                format,
                selection,
                process,
                stacks: &mut stacks,
                width: process.bitness.pointer_size() as usize * 2,
                output,
                losses: &mut losses,
                written: &mut written,
            };
            // A closed pipe ends the walk at the next block.
            heap.try_walk(&mut writer)?;
        }
        findings.extend(losses.findings().iter().map(FindingReport::from));
        status = status.and(input.report(&losses));
    }
    if format == Format::Json {
        output.bytes(b"],\"findings\":")?;
        output.json_line(&findings)?;
        output.bytes(b"}\n")?;
    }
    Ok(status)
}

/// The stacks of blocks; each distinct trace is read and named once.
struct Stacks<'p, 'a, 's> {
    traces: Traces<'p, 'a>,
    names: DumpNames<'p, 'a, 's>,
    /// Whether JSON records get the frames by name.
    by_name: bool,
    bitness: Bitness,
    known: HashMap<Trace, Arc<StackReport>>,
}

impl Stacks<'_, '_, '_> {
    fn of(&mut self, trace: Trace) -> Arc<StackReport> {
        if let Some(known) = self.known.get(&trace) {
            return known.clone();
        }
        let stack = self.traces.frames(trace);
        let names = stack.as_deref().filter(|_| self.by_name);
        let report = Arc::new(StackReport {
            frames: names.map(|stack| frame_texts(stack, self.bitness, &self.names)),
            stack: stack.map(|stack| stack.into_iter().map(Address).collect()),
        });
        self.known.insert(trace, report.clone());
        report
    }
}

struct Writer<'w, 'p, 'a, 's> {
    /// Names of the heap's tags.
    tags: HashMap<u16, Arc<str>>,
    format: Format,
    selection: &'w Selection,
    process: &'w Process<'p, 'a>,
    stacks: &'w mut Stacks<'p, 'a, 's>,
    width: usize,
    output: &'w mut Output,
    losses: &'w mut Losses,
    written: &'w mut u64,
}

impl Writer<'_, '_, '_, '_> {
    fn write(&mut self, block: &Block) -> Result<(), Failure> {
        let trace = self.stacks.traces.address(block.trace);
        if self.format == Format::Text {
            let width = self.width;
            let trace = trace.map_or_else(|| "-".to_owned(), |trace| format!("{trace:x}"));
            self.output.text(|out| {
                writeln!(
                    out,
                    "{:0width$x}  {:0width$x} {:>10x} {:>10x}  {:5}  {:9}  {trace}{}",
                    block.heap,
                    block.address,
                    block.size,
                    block.block_size,
                    block.state.name(),
                    block.kind.name(),
                    match block.certainty.is_certain() {
                        true => String::new(),
                        false => format!("  {}", block.certainty.name()),
                    },
                )
            })?;
            if self.selection.stack {
                let stack = self.stacks.traces.frames(block.trace).unwrap_or_default();
                let (bitness, names) = (self.stacks.bitness, &self.stacks.names);
                self.output
                    .text(|out| write_stack(&stack, bitness, names, 8, out))?;
            }
            let crt = self
                .selection
                .crt
                .then(|| CrtReport::of(self.process, block))
                .flatten();
            if let Some(crt) = crt {
                let file = crt
                    .file
                    .as_deref()
                    .map(privacy::file)
                    .unwrap_or("unknown file");
                self.output.text(|out| {
                    writeln!(
                        out,
                        "        debug C runtime: {} bytes, {} block, request {}, {file}({})",
                        crt.size, crt.block_use, crt.request, crt.line
                    )
                })?;
            }
            return Ok(());
        }
        if self.format == Format::Json && *self.written > 0 {
            self.output.bytes(b",")?;
        }
        let mut report = BlockReport::new(block, trace);
        report.tag_name = self.tags.get(&block.tag).cloned();
        if self.selection.stack {
            report.stack = Some(self.stacks.of(block.trace));
        }
        if self.selection.crt {
            report.crt = CrtReport::of(self.process, block);
            if let Some(file) = report.crt.as_mut().and_then(|crt| crt.file.as_mut()) {
                *file = privacy::file(file).to_owned();
            }
        }
        self.output.json_line(&report)
    }
}

impl TryVisitor for Writer<'_, '_, '_, '_> {
    type Error = Failure;

    fn block(&mut self, block: &Block) -> Result<(), Failure> {
        if !self.selection.takes(block) {
            return Ok(());
        }
        self.write(block)?;
        *self.written += 1;
        Ok(())
    }

    fn finding(&mut self, finding: Finding) -> Result<(), Failure> {
        self.losses.add(finding);
        Ok(())
    }

    fn span(&mut self, span: &Span) -> Result<(), Failure> {
        self.losses.add_span(span);
        Ok(())
    }
}
