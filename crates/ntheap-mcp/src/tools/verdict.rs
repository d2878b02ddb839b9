//! `verdict`: what leaks.

use std::sync::Arc;

use ntheap::graph::{Class, Rules};
use ntheap_report::diff::DiffReport;
use ntheap_report::diff::SuspectReport;
use ntheap_report::leaks::LeakRecordReport;
use ntheap_session::{DiffOptions, Session, diff};
use serde_json::{Value, json};

use super::{MOST_FRAMES, bytes, joined, list, signed};
use crate::{
    answer::{Answer, clip},
    arguments::Arguments,
    desk::Desk,
    fault::Fault,
};

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let open = |path: &String| desk.session(path);
    let sessions: Vec<Arc<Session>> = arguments.dumps.iter().map(open).collect::<Result<_, _>>()?;
    match &sessions[..] {
        [] => Err(Fault::argument("dumps: name one at least")),
        [one] => lost(one),
        all => {
            let all: Vec<&Session> = all.iter().map(Arc::as_ref).collect();
            Ok(grown(&diff(&all, &DiffOptions::default())?))
        }
    }
}

fn grown(report: &DiffReport) -> Answer {
    let judgement = &report.judgement;
    let first = judgement
        .suspects
        .first()
        .map(|suspect| suspect.text.as_str());
    let mut words = String::new();
    if let Some(outside) = &judgement.outside {
        let owner = outside
            .owners
            .first()
            .and_then(|owner| owner.name.as_deref());
        words.push_str(&format!(
            "Not the heap: private memory outside heaps grew by {} (heaps {}), owner {}. ",
            signed(outside.delta_bytes),
            signed(outside.delta_heaps),
            owner.unwrap_or("unknown"),
        ));
    }
    words.push_str(first.unwrap_or(&report.verdict));
    if !report.complete {
        words.push_str(" Not everything could be read.");
    }
    let mut answer = Answer::of(words);
    answer.fact("complete", report.complete);
    answer.fact("delta_bytes", report.total.delta_bytes);
    answer.fact("delta_blocks", report.total.delta_blocks);
    answer.fact("seconds", report.seconds);
    if !report.warnings.is_empty() {
        answer.fact("warnings", clipped(&report.warnings, 3));
    }
    if !report.missing.is_empty() {
        answer.fact("losses", clipped(&report.missing, 3));
    }
    let groups = [
        ("suspect", &judgement.suspects),
        ("once", &judgement.once),
        ("comes-and-goes", &judgement.comes_and_goes),
    ];
    for (what, suspects) in groups {
        for one in suspects {
            // The first one is what the answer begins with.
            let text = match first == Some(one.text.as_str()) {
                true => "the above",
                false => one.text.as_str(),
            };
            let line = format!("{what} ({} confidence): {text}", one.confidence);
            answer.row(line, suspect(what, one));
        }
    }
    for heap in &judgement.fragmented {
        let text = format!(
            "fragmented: heap {} committed {} more, holds {} more",
            heap.heap,
            signed(heap.delta_committed),
            signed(heap.delta_busy)
        );
        answer.row(text, json!({"what": "fragmented", "heap": heap.heap}));
    }
    for heap in report
        .heaps
        .iter()
        .filter(|heap| heap.change.delta_bytes != 0)
    {
        answer.row(
            format!(
                "heap {} ({}): {:+} bytes, {:+} blocks",
                heap.heap, heap.status, heap.change.delta_bytes, heap.change.delta_blocks
            ),
            json!({
                "what": "heap",
                "heap": heap.heap,
                "status": heap.status,
                "delta_bytes": heap.change.delta_bytes,
                "delta_blocks": heap.change.delta_blocks,
            }),
        );
    }
    answer
}

fn suspect(what: &str, suspect: &SuspectReport) -> Value {
    let sizes: Vec<u64> = suspect.sizes.iter().take(4).map(|size| size.size).collect();
    let frames: Vec<String> = suspect
        .frames
        .iter()
        .take(4)
        .map(|frame| clip(frame))
        .collect();
    let mut row = json!({
        "what": what,
        "confidence": suspect.confidence,
        "reasons": suspect.reasons,
        "trend": suspect.trend,
        "heap": suspect.heap,
        "sizes": sizes,
        "delta_blocks": suspect.change.delta_blocks,
        "delta_bytes": suspect.change.delta_bytes,
    });
    if !frames.is_empty() {
        row["frames"] = list(frames);
    }
    if let Some(name) = &suspect.type_name {
        row["type"] = clip(name).into();
    }
    if let Some(lost) = &suspect.lost {
        row["lost_blocks"] = lost.lost.blocks.into();
        row["of_new_blocks"] = lost.of.blocks.into();
    }
    if let Some(holder) = &suspect.holder {
        row["holder"] = clip(&holder.text).into();
        row["holder_address"] = json!(holder.address);
    }
    row
}

fn lost(session: &Session) -> Result<Answer, Fault> {
    let report = session.leaks(Rules::DEFAULT)?;
    let losses = session.losses()?;
    let summary = &report.summary;
    let (blocks, size) = (
        summary.definite.blocks + summary.indirect.blocks,
        summary
            .definite
            .bytes
            .saturating_add(summary.indirect.bytes),
    );
    let mut words = match blocks {
        0 => "No blocks are lost.".to_owned(),
        _ => format!(
            "{} in {blocks} blocks are lost: nothing leads to them.",
            bytes(size)
        ),
    };
    if report.doubt.may_accuse_falsely {
        words.push_str(" Some may be held by memory that the dump lacks.");
    }
    words.push_str(" What grows shows a second dump.");
    let mut answer = Answer::of(words);
    for (name, count) in [
        ("definite", summary.definite),
        ("indirect", summary.indirect),
        ("possible", summary.possible),
        ("reachable", summary.reachable),
    ] {
        answer.fact(name, json!({"blocks": count.blocks, "bytes": count.bytes}));
    }
    super::tell_losses(&mut answer, &losses);
    let told = [Class::Definite.name(), Class::Possible.name()];
    for record in report
        .records
        .iter()
        .filter(|record| told.contains(&record.class))
    {
        answer.row(line(record), data(record));
    }
    Ok(answer)
}

fn told_frames(record: &LeakRecordReport) -> Vec<String> {
    let frames = record.frames.as_deref().unwrap_or_default();
    let own = frames.iter().skip_while(|frame| super::is_allocator(frame));
    own.take(MOST_FRAMES).map(|frame| clip(frame)).collect()
}

fn line(record: &LeakRecordReport) -> String {
    let name = record.type_name.as_deref().unwrap_or("unknown type");
    let mut line = format!(
        "{}: {} blocks of {:#x} bytes, {}",
        record.class,
        record.blocks,
        record.size,
        clip(name)
    );
    if record.indirect_blocks > 0 {
        let (blocks, size) = (record.indirect_blocks, bytes(record.indirect_bytes));
        line.push_str(&format!(", keep {size} in {blocks} blocks more"));
    }
    let frames = told_frames(record);
    if !frames.is_empty() {
        line.push_str(&format!(", from {}", joined(&frames)));
    }
    line
}

fn data(record: &LeakRecordReport) -> Value {
    let mut row = json!({
        "what": record.class,
        "type": record.type_name.as_deref().map(clip),
        "size": record.size,
        "blocks": record.blocks,
        "bytes": record.bytes,
        "indirect_bytes": record.indirect_bytes,
        "example": record.example,
    });
    let frames = told_frames(record);
    if !frames.is_empty() {
        row["frames"] = list(frames);
    }
    row
}

fn clipped(texts: &[String], most: usize) -> Value {
    list(texts.iter().take(most).map(|text| clip(text)).collect())
}
