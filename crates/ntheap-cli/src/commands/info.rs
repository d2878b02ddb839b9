//! `ntheap info`: what the dump is of, and what it lacks.

mod report;
mod text;

use std::path::Path;

use ntheap::{losses::Losses, stats, traces::Traces};

use self::report::{DumpInfo, Info, SideInfo};
use super::{document, document_format};
use crate::{
    args::{Common, Format},
    failure::{Failure, Status},
    input::{Input, heaps},
    output::Output,
};

pub(crate) fn run(path: &Path, common: &Common, output: &mut Output) -> Result<Status, Failure> {
    let format = document_format(common)?;
    let input = Input::open(path, common)?;
    let dump = input.parse()?;
    let mut status = Status::Complete;
    let mut info = Info {
        dump: DumpInfo::new(&dump),
        sides: Vec::new(),
    };
    for process in input.processes(&dump, common)? {
        let heaps = heaps(&input, &process, common)?;
        let statistics = stats::collect(&heaps);
        let losses = Losses::of(&process).with(statistics.iter().map(|heap| &heap.losses));
        status = status.and(input.report(&losses));
        let traces = Traces::of(&process);
        info.sides
            .push(SideInfo::new(&process, &heaps, &statistics, &traces));
    }
    match format {
        Format::Text => output.text(|out| text::write(&info, out))?,
        Format::Json | Format::Jsonl => output.json(&document("info", info))?,
    }
    Ok(status)
}
