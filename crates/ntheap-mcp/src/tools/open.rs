//! `open`: which dumps there are, and what one of them is.

use ntheap::{dump::flag_names, time::UtcTime};
use serde_json::json;

use super::{bytes, tell_losses};
use crate::{
    answer::{Answer, clip},
    arguments::Arguments,
    desk::Desk,
    fault::Fault,
};

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let Some(path) = &arguments.path else {
        return Ok(list(desk, None));
    };
    let real = desk.folders.resolve(path)?;
    if real.is_dir() {
        return Ok(list(desk, Some(&real)));
    }
    let session = desk.session(path)?;
    let info = session.info()?;
    let mut answer = session.with(|view| {
        let (dump, process) = (view.dump, view.process);
        let program = process.program().map_or("?", |module| module.file_name());
        let (blocks, traced) = (info.stacks.busy_blocks, info.stacks.traced_blocks);
        let held: u64 = ntheap::stats::collect(view.heaps)
            .iter()
            .fold(0, |sum: u64, heap| sum.saturating_add(heap.busy_bytes));
        let time = UtcTime::from_unix(dump.timestamp.into()).to_string();
        let bits = process.bitness.bits();
        let pid = dump.process_id.map_or_else(String::new, |pid| format!(" (pid {pid})"));
        let stacks = match traced {
            0 => "No block has a stack.".to_owned(),
            _ if traced == blocks => "All blocks have stacks.".to_owned(),
            _ => format!("{traced} blocks have stacks."),
        };
        let mut answer = Answer::of(format!(
            "{}{pid}, {bits}-bit, Windows build {}, dump of {time} UTC: {} heaps hold {} in {blocks} blocks. {stacks}",
            clip(program),
            process.build,
            view.heaps.iter().count(),
            bytes(held),
        ));
        answer.fact("program", clip(program));
        answer.fact("pid", dump.process_id);
        answer.fact("build", process.build);
        answer.fact("bits", bits);
        answer.fact("wow64", process.wow64);
        answer.fact("time", time);
        answer.fact("full_memory", flag_names(dump.flags).any(|name| name.contains("FullMemory")));
        answer.fact("heaps", view.heaps.iter().count());
        answer.fact("blocks", blocks);
        answer.fact("bytes", held);
        answer.fact("blocks_with_stacks", traced);
        tell_losses(&mut answer, view.heaps.losses());
        answer
    })?;
    let failure = info.heap_failure.iter();
    for failure in failure {
        let text = format!(
            "ntdll noted a damaged heap: {} in {}",
            failure.name.unwrap_or("of unknown kind"),
            failure.heap
        );
        answer.row(text.clone(), json!({"what": "heap-failure", "text": text}));
    }
    for advice in &info.advice {
        let text = format!("missing: {}; next time: {}", advice.missing, advice.command);
        answer.row(
            text,
            json!({"what": "advice", "missing": advice.missing, "command": advice.command}),
        );
    }
    Ok(answer)
}

fn list(desk: &Desk, folder: Option<&std::path::Path>) -> Answer {
    let entries = desk.folders.list(folder);
    let dumps = entries.iter().filter(|entry| !entry.is_folder).count();
    let folders = entries.len() - dumps;
    let mut answer = Answer::of(format!("{dumps} dumps, {folders} folders."));
    for entry in entries {
        let kind = if entry.is_folder { "folder" } else { "dump" };
        let line = match entry.is_folder {
            true => format!("{kind} {}", entry.path),
            false => format!("{kind} {} ({})", entry.path, bytes(entry.bytes)),
        };
        answer.row(line, json!({"what": kind, "path": entry.path}));
    }
    answer
}
