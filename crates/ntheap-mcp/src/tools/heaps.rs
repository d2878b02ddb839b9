//! `heaps`: the heaps by what they hold, or by growth.

use ntheap_session::{DiffOptions, diff};
use serde_json::json;

use super::{bytes, signed, tell_losses};
use crate::{answer::Answer, arguments::Arguments, desk::Desk, fault::Fault};

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let session = desk.session(&arguments.dump)?;
    if let Some(after) = &arguments.after {
        let after = desk.session(after)?;
        let mut options = DiffOptions::default();
        options.judging.look_up = false;
        let report = diff(&[&session, &after], &options)?;
        let mut answer = Answer::of(report.verdict.clone());
        answer.fact("complete", report.complete);
        answer.fact("delta_bytes", report.total.delta_bytes);
        answer.fact("delta_blocks", report.total.delta_blocks);
        for heap in &report.heaps {
            let change = &heap.change;
            answer.row(
                format!(
                    "{} {}: {} -> {} bytes ({}), {} -> {} blocks ({:+})",
                    heap.heap,
                    heap.status,
                    change.before.bytes,
                    change.after.bytes,
                    signed(change.delta_bytes),
                    change.before.blocks,
                    change.after.blocks,
                    change.delta_blocks,
                ),
                json!({
                    "heap": heap.heap,
                    "kind": heap.kind,
                    "status": heap.status,
                    "bytes_before": change.before.bytes,
                    "bytes": change.after.bytes,
                    "delta_bytes": change.delta_bytes,
                    "blocks_before": change.before.blocks,
                    "blocks": change.after.blocks,
                    "delta_blocks": change.delta_blocks,
                }),
            );
        }
        return Ok(answer);
    }
    let report = session.summary()?;
    let mut heaps = report.heaps;
    heaps.sort_by_key(|heap| (std::cmp::Reverse(heap.busy.bytes), heap.index));
    let held = heaps
        .iter()
        .fold(0u64, |sum, heap| sum.saturating_add(heap.busy.bytes));
    let blocks: u64 = heaps.iter().map(|heap| heap.busy.blocks).sum();
    let mut words = format!(
        "{} heaps hold {} in {blocks} blocks.",
        heaps.len(),
        bytes(held)
    );
    if let Some(first) = heaps.first() {
        words.push_str(&format!(
            " Most in {}: {}.",
            first.heap,
            bytes(first.busy.bytes)
        ));
    }
    let mut answer = Answer::of(words);
    answer.fact("bytes", held);
    answer.fact("blocks", blocks);
    tell_losses(&mut answer, &session.losses()?);
    for heap in &heaps {
        let committed = heap.committed.unwrap_or(0);
        answer.row(
            format!(
                "{} {}: {} bytes in {} blocks, {} free, {} committed",
                heap.heap,
                heap.kind,
                heap.busy.bytes,
                heap.busy.blocks,
                bytes(heap.free.bytes),
                bytes(committed),
            ),
            json!({
                "heap": heap.heap,
                "kind": heap.kind,
                "bytes": heap.busy.bytes,
                "blocks": heap.busy.blocks,
                "free_bytes": heap.free.bytes,
                "committed": heap.committed,
                "blocks_with_stacks": heap.traced_blocks,
            }),
        );
    }
    Ok(answer)
}
