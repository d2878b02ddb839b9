//! `types`: what blocks are.

use ntheap_report::types::TypeReport;
use ntheap_report::types::TypesOptions;
use ntheap_session::compare_types;
use serde_json::json;

use super::tell_losses;
use crate::{
    answer::{Answer, clip},
    arguments::Arguments,
    desk::Desk,
    fault::Fault,
};

pub(super) fn answer(desk: &Desk, arguments: &Arguments) -> Result<Answer, Fault> {
    let session = desk.session(&arguments.dump)?;
    let options = TypesOptions {
        base: arguments.type_name.as_deref(),
        ..TypesOptions::default()
    };
    let (report, newest) = match &arguments.after {
        None => (session.types(&options)?, session),
        Some(after) => {
            let after = desk.session(after)?;
            (compare_types(&session, &after, &options)?, after)
        }
    };
    let is_change = arguments.after.is_some();
    let explained = report.explained;
    let mut words = format!("The type of {} % of the bytes is known.", explained.percent);
    if let Some(first) = report.types.first() {
        words.push_str(&format!(" First: {}.", line(first, is_change)));
    }
    let mut answer = Answer::of(words);
    answer.fact("percent_explained", explained.percent);
    tell_losses(&mut answer, &newest.losses()?);
    for one in &report.types {
        if is_change && one.block_growth() == 0 && one.byte_growth() == 0 {
            continue;
        }
        let mut row = json!({
            "type": clip(&one.name),
            "kind": one.kind,
            "blocks": one.blocks,
            "bytes": one.bytes,
            "retained": one.retained,
        });
        if is_change {
            row["delta_blocks"] = one.block_growth().into();
            row["delta_bytes"] = one.byte_growth().into();
        }
        answer.row(line(one, is_change), row);
    }
    Ok(answer)
}

fn line(one: &TypeReport, is_change: bool) -> String {
    let kind = one.kind.unwrap_or("unknown");
    let name = clip(&one.name);
    match is_change {
        true => format!(
            "{name} ({kind}): {:+} blocks, {:+} bytes (now {}, {})",
            one.block_growth(),
            one.byte_growth(),
            one.blocks,
            one.bytes
        ),
        false => format!(
            "{name} ({kind}): {} blocks, {} bytes",
            one.blocks, one.bytes
        ),
    }
}
