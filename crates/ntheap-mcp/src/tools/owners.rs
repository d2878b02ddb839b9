//! `owners`: who holds blocks.

use ntheap::graph::Rules;
use ntheap_report::owners::StepReport;
use ntheap_session::Choice;
use serde_json::json;

use super::{bytes, tell_losses};
use crate::{
    answer::{Answer, clip},
    arguments::Arguments,
    desk::Desk,
    fault::Fault,
};

/// Dominators that are told.
const MOST_KEEPERS: usize = 20;

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let choice = match (
        arguments.address()?,
        arguments.size()?,
        &arguments.type_name,
    ) {
        (Some(address), None, None) => Choice::Address(address),
        (None, Some(size), None) => Choice::Size(size),
        (None, None, Some(name)) => Choice::Type(name.clone()),
        _ => return Err(Fault::argument("give one of address, size, type")),
    };
    let session = desk.session(&arguments.dump)?;
    let report = session.owners(&choice, Rules::DEFAULT, MOST_KEEPERS)?;
    let selected = report.selected;
    let mut words = format!(
        "{} blocks, {}, keep {}.",
        selected.blocks,
        bytes(selected.bytes),
        bytes(report.retained)
    );
    if report.lost.blocks > 0 {
        words.push_str(&format!(
            " {} of them are lost: nothing leads to them.",
            report.lost.blocks
        ));
    }
    let path = match &report.accumulation {
        Some(found) => {
            let name = found.type_name.as_deref().unwrap_or("a block");
            words.push_str(&format!(
                " They accumulate in {} at {} ({} of {} ways lead through it).",
                clip(name),
                found.block,
                found.through,
                found.of
            ));
            &found.path
        }
        None => &report.path,
    };
    if let Some(root) = path.first() {
        words.push_str(&format!(" The way begins at {}.", clip(&root.from)));
    }
    let mut answer = Answer::of(words);
    answer.fact("blocks", selected.blocks);
    answer.fact("bytes", selected.bytes);
    answer.fact("retained", report.retained);
    answer.fact("lost_blocks", report.lost.blocks);
    if let Some(found) = &report.accumulation {
        answer.fact(
            "accumulation",
            json!({
                "block": found.block,
                "type": found.type_name.as_deref().map(clip),
                "through": found.through,
                "of": found.of,
            }),
        );
    }
    tell_losses(&mut answer, &session.losses()?);
    path.iter().for_each(|one| step(&mut answer, one));
    for keeper in &report.dominators {
        let name = keeper.type_name.as_deref().map(clip);
        let who = match (keeper.block, &name) {
            (None, _) => "the roots".to_owned(),
            (Some(block), Some(name)) => format!("{name} at {block}"),
            (Some(block), None) => format!("block {block}"),
        };
        answer.row(
            format!(
                "{who} keeps {} blocks, {}",
                keeper.keeps.blocks,
                bytes(keeper.retained)
            ),
            json!({
                "what": "keeper",
                "block": keeper.block,
                "type": name,
                "keeps_blocks": keeper.keeps.blocks,
                "retained": keeper.retained,
            }),
        );
    }
    Ok(answer)
}

fn step(answer: &mut Answer, step: &StepReport) {
    let name = step.type_name.as_deref().map(clip);
    let to = name.as_deref().unwrap_or("block");
    answer.row(
        format!("{} -> {to} at {}", clip(&step.from), step.block),
        json!({
            "what": "way",
            "from": clip(&step.from),
            "block": step.block,
            "type": name,
            "offset": step.offset,
        }),
    );
}
