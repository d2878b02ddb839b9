//! A dump or a log, whichever the file is.

use ntheap::dump::Dump;
use ntheap_report::umdh::{Frame, Log};

use super::report_snapshot;
use crate::{
    failure::{Failure, Status},
    input::{Input, heaps},
    numbers,
    options::Common,
    privacy,
};

/// How much of a file is looked at to tell text from something else.
const LOOKED_AT: usize = 1 << 12;

/// One of the compared files.
pub(super) struct Source<'i> {
    pub(super) input: &'i Input,
    content: Content<'i>,
}

enum Content<'i> {
    Dump(Box<Dump<'i>>),
    Log,
}

impl<'i> Source<'i> {
    pub(super) fn of(input: &'i Input) -> Result<Self, Failure> {
        let content = if is_text(input.bytes()) {
            Content::Log
        } else {
            Content::Dump(Box::new(input.parse()?))
        };
        Ok(Source { input, content })
    }

    pub(super) fn dump(&self) -> Option<&Dump<'i>> {
        match &self.content {
            Content::Dump(dump) => Some(dump),
            Content::Log => None,
        }
    }

    /// The log: of a dump made, else read.
    pub(super) fn log(&self, common: &Common) -> Result<(Log, Status), Failure> {
        let input = self.input;
        let Some(dump) = self.dump() else {
            return self.read(common);
        };
        let process = input.process(dump, common)?;
        let heaps = heaps(input, &process, common)?;
        let (log, snapshot) = Log::of(&heaps);
        let status = report_snapshot(input, &process, &snapshot);
        Ok((log, status))
    }

    fn read(&self, common: &Common) -> Result<(Log, Status), Failure> {
        let (path, name) = (self.input.shown_path(), self.input.name());
        let (mut log, diagnostics) = Log::parse(self.input.bytes())
            .map_err(|error| Failure::Usage(format!("{path}: {error}")))?;
        if privacy::is_on() {
            without_folders(&mut log);
        }
        if let Some(text) = &common.heap {
            let wanted = numbers::parse_address(text)?;
            log.heaps.retain(|heap| heap.address == Some(wanted));
        }
        let mut said = Vec::new();
        if diagnostics.skipped_lines > 0 {
            let first = diagnostics.skipped.first().map_or(0, |line| line.number);
            let lines = diagnostics.skipped_lines;
            said.push(format!("{lines} lines make no sense, first line {first}"));
        }
        if diagnostics.traces_without_stack > 0 {
            let traces = diagnostics.traces_without_stack;
            said.push(format!("{traces} traces have no stack"));
        }
        if diagnostics.conflicting_stacks > 0 {
            let stacks = diagnostics.conflicting_stacks;
            said.push(format!("{stacks} stacks have the id of another one"));
        }
        if diagnostics.unclosed_heaps > 0 {
            said.push("the log is cut off".to_owned());
        }
        said.iter().for_each(|text| say!("{name}: {text}"));
        let status = match said[..] {
            [] => Status::Complete,
            _ => Status::Partial,
        };
        Ok((log, status))
    }
}

fn without_folders(log: &mut Log) {
    log.header.machine.clear();
    for module in &mut log.modules {
        module.path = privacy::file(&module.path).to_owned();
    }
    for trace in log.traces.values_mut() {
        for frame in trace
            .aliases
            .iter_mut()
            .chain([&mut trace.frames])
            .flatten()
        {
            if let Frame::Text(text) = frame {
                *text = privacy::frame(text).into();
            }
        }
    }
}

/// Whether this is text in one of the encodings that logs have. No dump begins like text for long.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(LOOKED_AT)];
    let marked = start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]);
    marked || !(start.is_empty() || start.starts_with(b"MDMP") || start.contains(&0))
}
